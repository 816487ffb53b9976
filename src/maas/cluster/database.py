"""The restaurant's database: its servers, moving the primary, and restarting them one after the other.

With replicas, Patroni decides which server is the primary. It is asked in a pod of the database, where its configuration with
the password for changes is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import paths
from maas.cluster.client import connection_errors, listed
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from maas.cluster.client import Cluster
    from maas.console import Phase

_SELECTOR = "app.kubernetes.io/name=restaurant-database"
_MEMBER_OF = "cluster-name"
"""The label by which Patroni finds the pods of its cluster."""

_CONTAINER = "postgresql"
_READ_CLUSTER = (
    "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8008/cluster', timeout=5).read().decode())"
)
"""A program for Python, because BusyBox's wget crashes with a timeout (-T)."""

_RUNNING = frozenset({"running", "streaming"})
_SWITCH_SECONDS = 60.0
_RESTART_SECONDS = 180.0


@dataclass(frozen=True)
class Server:
    """A server of the database.

    Attributes:
        name: Name of its pod.
        node: Its node; empty while it has none.
        role: `primary`, `synchronous replica` or `replica`; empty while it is not known.
        state: What Patroni says about it, such as `running` or `streaming`, or whether the pod is ready.
        lag: Bytes of WAL that it has not replayed; None if that is not known.
        timeline: How often the database has had another primary; None if that is not known.
    """

    name: str
    node: str
    role: str
    state: str
    lag: int | None = None
    timeline: int | None = None


@dataclass(frozen=True)
class Database:
    """The database of a restaurant.

    Attributes:
        namespace: Namespace of its pods.
        name: Name of its StatefulSet, and of the cluster in Patroni.
        servers: Its servers, by name.
        replicated: Whether Patroni runs it.
        paused: Whether Patroni does nothing by itself.
    """

    namespace: str
    name: str
    servers: tuple[Server, ...]
    replicated: bool
    paused: bool = False

    @property
    def primary(self) -> Server | None:
        """The server that accepts writes; None while there is none."""
        return next((server for server in self.servers if server.role == "primary"), None)

    @property
    def candidates(self) -> list[Server]:
        """The servers that can take over without losing a commit, those with the least lag first."""
        found = [one for one in self.servers if one.role == "synchronous replica" and one.state in _RUNNING]
        return sorted(found, key=lambda one: (one.lag is None, one.lag or 0, one.name))

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, one line each."""
        found = [] if self.primary else ["no server accepts writes"]
        found += [f"{one.name} is {one.state}" for one in self.servers if one.state not in _RUNNING]
        if self.paused:
            found.append("Patroni is paused: no server takes over from one that fails")
        return found


def find(cluster: Cluster) -> Database:
    """Return the database of the restaurant.

    Raises:
        UsageError: The cluster has none, or several.
    """
    pods = listed(cluster.core.list_pod_for_all_namespaces, label_selector=_SELECTOR)
    owners = {_owner(pod) for pod in pods}
    if len(owners) != 1:
        which = ", ".join(sorted("/".join(owner) for owner in owners))
        raise UsageError(
            f"the cluster has several databases: {which}" if owners else "the cluster has no database of a restaurant",
            hint="an external database is managed where it runs" if not owners else "remove the other releases",
            command=paths.command("status"),
        )
    namespace, name = owners.pop()
    pods.sort(key=lambda pod: str(pod["metadata"]["name"]))
    if all(_MEMBER_OF not in pod["metadata"]["labels"] for pod in pods):
        return Database(namespace, name, tuple(_single(pod) for pod in pods), replicated=False)
    said = _ask(cluster, namespace, pods)
    members = {member["name"]: member for member in said.get("members", ())}
    servers = tuple(_member(pod, members.get(pod["metadata"]["name"])) for pod in pods)
    return Database(namespace, name, servers, replicated=True, paused=bool(said.get("pause")))


def switch_over(cluster: Cluster, database: Database, *, to: str | None, step: Phase) -> Server:
    """Make a replica the primary, and return it. Clients wait for a few seconds.

    Args:
        cluster: The cluster.
        database: Its database, as it is now.
        to: Name of the replica; by default the one with the least lag.
        step: The phase that shows progress.

    Raises:
        UsageError: There are no replicas, or this one cannot take over.
        ClusterError: No other server became the primary in time.
    """
    primary = _primary(database)
    names = [server.name for server in database.candidates]
    if to is not None and to not in names:
        raise UsageError(
            f"{to} is the primary already" if to == primary.name else f"{to} cannot take over without losing commits",
            hint=f"these can: {', '.join(names) or 'none'}",
            command=paths.command("database", "status"),
        )
    if not names:
        raise ClusterError(
            f"no replica of {database.name} has all commits",
            context=database.problems,
            hint="wait until a replica is synchronous",
            command=paths.command("database", "status"),
            code="NoReplica",
        )
    target = to or names[0]
    step.note(f"{primary.name} to {target}")
    words = ("switchover", database.name, "--leader", primary.name, "--candidate", target, "--force")
    status, said = cluster.exec(
        database.namespace, primary.name, "patronictl", "-c", "/tmp/patroni", *words, container=_CONTAINER  # noqa: S108 - in the pod
    )  # fmt: skip

    def moved() -> tuple[Server | None, list[str]]:
        found = find(cluster).primary
        return found, [] if found and found.name == target else [f"{target} is not the primary: {said.strip()[-300:]}"]

    if status:
        raise ClusterError(
            "Patroni refused the switchover", context=said.strip().splitlines()[-4:], code="SwitchoverFailed"
        )
    found = cluster.poll(moved, what=f"{target} to be the primary", timeout=_SWITCH_SECONDS)
    assert found is not None  # noqa: S101 - poll returns only then
    return found


def leave(cluster: Cluster, node: str, step: Phase) -> None:
    """Move the primary away from a node that is about to be drained, if it is there and a replica can take over.

    Nothing happens while the database does not answer.

    Raises:
        ClusterError: The replica did not become the primary.
    """
    try:
        database = find(cluster)
    except (UsageError, ClusterError):
        return  # there is none, or its budget of disruptions decides
    if database.replicated and database.primary is not None and database.primary.node == node and database.candidates:
        switch_over(cluster, database, to=None, step=step)


def restart(cluster: Cluster, database: Database, step: Phase) -> None:
    """Restart the pods of the servers one after the other, the primary's last, after another one has taken over.

    Raises:
        ClusterError: A server was not ready again in time.
    """
    primary = _primary(database)
    for server in database.servers:
        if server.name != primary.name:
            _restart_pod(cluster, database.namespace, server.name, step)
    if database.replicated:
        switch_over(cluster, _settled(cluster, len(database.servers)), to=None, step=step)
    _restart_pod(cluster, database.namespace, primary.name, step)
    _settled(cluster, len(database.servers))


def _settled(cluster: Cluster, servers: int) -> Database:
    def observe() -> tuple[Database, list[str]]:
        found = find(cluster)
        missing = found.problems
        if found.replicated and len(found.candidates) < servers - 1:
            missing = missing or ["not all replicas are synchronous"]
        return found, missing

    return cluster.poll(observe, what="all servers of the database to be running", timeout=_RESTART_SECONDS)


def _restart_pod(cluster: Cluster, namespace: str, pod: str, step: Phase) -> None:
    step.note(f"restart {pod}")
    before = cluster.core.read_namespaced_pod(pod, namespace).metadata.uid
    cluster.core.delete_namespaced_pod(pod, namespace)

    def missing() -> list[str]:
        found = {one["metadata"]["name"]: one for one in listed(cluster.core.list_namespaced_pod, namespace)}
        new = found.get(pod)
        ready = new is not None and new["metadata"]["uid"] != before and _is_ready(new)
        return [] if ready else [f"{namespace}/{pod} is not ready"]

    cluster.wait(missing, what=f"{pod} to be ready again", timeout=_RESTART_SECONDS)


def _primary(database: Database) -> Server:
    if database.primary is None:
        raise ClusterError(
            f"no server of {database.name} accepts writes",
            context=database.problems,
            hint="look at the log of its pods",
            command=f"kubectl -n {database.namespace} logs -l {_SELECTOR} --tail=50",
            code="NoPrimary",
        )
    return database.primary


def _owner(pod: dict[str, Any]) -> tuple[str, str]:
    metadata = pod["metadata"]
    names = [owner["name"] for owner in metadata.get("ownerReferences", ()) if owner["kind"] == "StatefulSet"]
    return metadata["namespace"], names[0] if names else metadata["name"]


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any((entry["type"], entry["status"]) == ("Ready", "True") for entry in conditions)


def _single(pod: dict[str, Any]) -> Server:
    ready = _is_ready(pod)
    return Server(
        pod["metadata"]["name"],
        pod["spec"].get("nodeName", ""),
        "primary" if ready else "",
        "running" if ready else "not ready",
    )


def _member(pod: dict[str, Any], member: dict[str, Any] | None) -> Server:
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
    if member is None:
        return Server(name, node, "", "not a member yet")
    role = member.get("role", "")
    lag = member.get("replay_lag", member.get("lag"))
    return Server(
        name,
        node,
        {"leader": "primary", "sync_standby": "synchronous replica", "quorum_standby": "synchronous replica"}.get(
            role, role
        ),
        member.get("state", "unknown"),
        lag if isinstance(lag, int) else None,
        member.get("timeline"),
    )


def _ask(cluster: Cluster, namespace: str, pods: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what Patroni in one of the pods, those that are ready first, says about its cluster."""
    for pod in sorted(pods, key=lambda pod: not _is_ready(pod)):
        try:
            status, said = cluster.exec(
                namespace, pod["metadata"]["name"], "python3", "-c", _READ_CLUSTER, container=_CONTAINER, timeout=15
            )
        except connection_errors():
            continue
        if status == 0:
            found: dict[str, Any] = json.loads(said)
            return found
    raise ClusterError(
        "Patroni does not answer in any pod of the database",
        hint="look at their log",
        command=f"kubectl -n {namespace} logs -l {_SELECTOR} --tail=50",
        code="NotReady",
    )
