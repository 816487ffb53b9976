"""What an upgrade of Kubernetes must know of a cluster: its versions, what would block it, and how far one has come."""

from __future__ import annotations

import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from maas import files
from maas.cluster.client import listed
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.cluster.host_programs import Hosts

FILE = "upgrade.json"
"""Progress of an upgrade in the state directory of the cluster. It exists from its first change to its end."""

_METRIC = "apiserver_requested_deprecated_apis"
_SAMPLE = re.compile(rf"^{_METRIC}\{{(?P<labels>[^}}]*)\}} 1$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_KUBECTL = "/usr/local/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://ADDRESS:6443"
_PKI = "/etc/kubernetes/pki/etcd"
_ETCDCTL = (
    f"/usr/local/bin/etcdctl --endpoints https://127.0.0.1:2379 --cacert {_PKI}/ca.crt "
    f"--cert {_PKI}/healthcheck-client.crt --key {_PKI}/healthcheck-client.key"
)


class Progress(BaseModel):
    """How far an upgrade has come.

    Attributes:
        before: The version that it started from, such as v1.39.4.
        to: The version that it leads to.
        began: When it began.
        done: The phases that are complete.
        cordoned: The node that it has cordoned, empty if there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: str
    to: str
    began: datetime
    done: tuple[str, ...] = ()
    cordoned: str = ""

    def save(self, state: Path) -> Progress:
        """Store it in the state directory of the cluster."""
        files.write_private(state / FILE, self.model_dump_json(indent=1))
        return self


def begin(state: Path, *, before: str, to: str) -> Progress:
    """Return the progress of an upgrade: of one that was interrupted, or of a new one."""
    return unfinished(state) or Progress(before=before, to=to, began=datetime.now(UTC)).save(state)


def unfinished(state: Path) -> Progress | None:
    """Return the progress of an upgrade that was interrupted, None if there is none."""
    try:
        return Progress.model_validate_json((state / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def end(state: Path) -> None:
    """Note that the upgrade is complete."""
    (state / FILE).unlink(missing_ok=True)


def number(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, such as (1, 40, 2) of v1.40.2; a suffix does not count."""
    return tuple(int(part) for part in re.findall(r"\d+", version.removeprefix("v").partition("-")[0])[:3])


def skips(running: Iterable[str], target: str) -> str:
    """Return why the version skew policy forbids to upgrade from these versions to another one, empty if it does not."""
    versions = sorted(set(running), key=number)
    if older := [version for version in versions if number(version) > number(target)]:
        return f"{older[-1]} is newer than {target}, and Kubernetes does not support a downgrade"
    wanted = number(target)
    for version in versions:
        major, minor = number(version)[:2]
        if major != wanted[0] or wanted[1] - minor > 1:
            return f"from {version} to {target} is more than one minor version"
    return ""


def removed_apis(metrics: str, minor: str) -> list[str]:
    """Return the APIs that a minor version no longer has and that were requested since the API server started, from its metrics."""
    found = set()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        removed = labels.get("removed_release", "")
        if removed and number(removed) <= number(minor):
            group = f"{labels['group']}/" if labels.get("group") else ""
            found.add(f"{labels['resource']} of {group}{labels['version']}, removed in {removed}")
    return sorted(found)


def removed_in_use(hosts: Hosts, addresses: Mapping[str, str], minor: str) -> list[str]:
    """Return the APIs that a minor version no longer has and that are in use, over all API servers.

    Raises:
        ClusterError: An API server does not answer.
    """
    # The metrics of an API server are megabytes, so they are searched there.
    script = f"{_KUBECTL} get --raw /metrics | grep ^{_METRIC} || true"
    answers = _on_control_planes(hosts, addresses, script)
    return sorted({api for text in answers.values() for api in removed_apis(text, minor)})


def etcd_problems(hosts: Hosts, addresses: Mapping[str, str]) -> list[str]:
    """Return what is wrong with etcd: members that are not healthy, and alarms.

    Raises:
        ClusterError: A control plane does not answer.
    """
    script = f"{_ETCDCTL} endpoint health --cluster --write-out json 2>/dev/null; echo; {_ETCDCTL} alarm list"
    answers = _on_control_planes(hosts, addresses, script)
    problems = set()
    for text in answers.values():
        health, *alarms = [line for line in text.splitlines() if line] or [""]
        try:
            members = json.loads(health)
        except ValueError:
            problems.add("etcd does not report the health of its members")
            continue
        problems |= {f"etcd at {member['endpoint']} is not healthy" for member in members if not member["health"]}
        problems |= {f"etcd has an alarm: {alarm}" for alarm in alarms}
        if len(members) != len(hosts.control_planes):
            problems.add(f"etcd has {len(members)} members, and there are {len(hosts.control_planes)} control planes")
    return sorted(problems)


def blocking_budgets(cluster: Cluster) -> list[str]:
    """Return the PodDisruptionBudgets that allow no eviction at the moment, one line each."""
    from kubernetes import client

    found = []
    for item in listed(client.PolicyV1Api(cluster.client).list_pod_disruption_budget_for_all_namespaces):
        status, metadata = item.get("status", {}), item["metadata"]
        if status.get("expectedPods", 0) > 0 and status.get("disruptionsAllowed", 0) == 0:
            healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
            found.append(f"{metadata['namespace']}/{metadata['name']}: {healthy} pods are healthy, it needs {needed}")
    return sorted(found)


def cordoned(cluster: Cluster) -> list[str]:
    """Return the nodes that accept no pods, by name."""
    return sorted(
        item["metadata"]["name"] for item in listed(cluster.core.list_node) if item["spec"].get("unschedulable")
    )


def _on_control_planes(hosts: Hosts, addresses: Mapping[str, str], script: str) -> dict[str, str]:
    """Run a script of the shell on every control plane and return the outputs; ADDRESS in it is that of the host."""
    own = [host for host in hosts.inventory.hosts if host.name in hosts.control_planes]
    with ThreadPoolExecutor(len(own)) as pool:
        done = pool.map(
            lambda host: hosts.run(host, f"sh -c {shlex.quote(script.replace('ADDRESS', addresses[host.name]))}"), own
        )
        answers = dict(zip((host.name for host in own), done, strict=True))
    failed = {name: answer for name, answer in answers.items() if answer.returncode}
    if failed:
        raise ClusterError(
            f"cannot read the state of {', '.join(failed)}",
            context=[
                f"{name}: {line}" for name, one in failed.items() for line in one.stderr.strip().splitlines()[-2:]
            ],
            hint="nothing was changed; every control plane must answer",
            code="HostUnreachable",
        )
    return {name: answer.stdout for name, answer in answers.items()}
