"""Taking a node out of a cluster: what runs and what is stored on it, its drain, and its deletion.

The drain itself is kubectl's: it evicts pods through the API, so that PodDisruptionBudgets hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import process
from maas.bundle import tools
from maas.cluster import database
from maas.cluster.client import listed
from maas.errors import ClusterError, ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maas.cluster.client import Cluster
    from maas.console import Phase

_HOSTNAME = "kubernetes.io/hostname"
_MIRROR = "kubernetes.io/config.mirror"
_GONE_SECONDS = 60


@dataclass(frozen=True)
class Volume:
    """A persistent volume that exists on one node alone.

    Attributes:
        name: Its name.
        namespace: Namespace of the claim that is bound to it.
        claim: Name of that claim.
        capacity: Its size, as a Kubernetes quantity.
    """

    name: str
    namespace: str
    claim: str
    capacity: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.claim} ({self.capacity})"


@dataclass(frozen=True)
class NodeContents:
    """What a node holds.

    Attributes:
        ready: Whether the node is Ready: only then do its pods end in order.
        moved: Deployments that run on this node alone, as `namespace/name`. They start elsewhere before the drain.
        evicted: Pods that are created again on other nodes, as `namespace/name`.
        deleted: Pods without a controller, which nothing creates again.
        blocked: Why pods cannot be evicted at the moment, one line each.
        volumes: Data that no other node has.
    """

    ready: bool
    moved: tuple[str, ...]
    evicted: tuple[str, ...]
    deleted: tuple[str, ...]
    blocked: tuple[str, ...]
    volumes: tuple[Volume, ...]


def contents(cluster: Cluster, node: str) -> NodeContents | None:
    """Return what a node holds; None if the cluster has no such node. Changes nothing."""
    ready = {one.name: one.ready for one in cluster.nodes()}
    if node not in ready:
        return None
    evicted, deleted, blocked = list[str](), list[str](), list[str]()
    for pod in _pods(cluster, node):
        metadata = pod["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        (evicted if metadata.get("ownerReferences") else deleted).append(name)
        if ready[node] and (reason := _blocked(cluster, metadata["namespace"], metadata["name"])):
            blocked.append(f"{name}: {reason}")
    return NodeContents(
        ready=ready[node],
        moved=tuple(sorted(_only_here(cluster, node))),
        evicted=tuple(sorted(evicted)),
        deleted=tuple(sorted(deleted)),
        blocked=tuple(sorted(blocked)),
        volumes=tuple(_volumes(cluster, node)),
    )


def drain(
    cluster: Cluster, node: str, *, moved: Sequence[str], timeout: float, step: Phase, release: bool = True
) -> None:
    """Cordon a node and evict its pods. If that does not succeed in time, the node is made schedulable again.

    An eviction ends a pod before its successor is Ready, so a Deployment with a single pod would be away meanwhile. A
    restart starts the successor first, and a database with replicas gets another primary.

    Args:
        cluster: The cluster.
        node: The node, which is Ready.
        moved: Deployments to restart before the evictions, as `namespace/name`.
        timeout: Seconds until the drain is given up.
        step: The phase that shows progress.
        release: False for a node that was cordoned before, which stays so.

    Raises:
        ClusterError: A pod was not evicted in time; its context has kubectl's reasons.
    """
    words = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={timeout:.0f}s"]
    said: list[str] = []
    drained = False
    # Before the node is cordoned: the eviction of a primary would be a longer pause.
    database.leave(cluster, node, step)
    try:
        process.run(_kubectl(cluster, "cordon", node))
        _restart(cluster, moved, timeout=timeout, step=step)
        for line in process.lines(_kubectl(cluster, *words)):
            step.note(line[:120])
            said.append(line)
        drained = True
    except ProcessError as error:
        reasons = dict.fromkeys(line for line in said if "disruption budget" in line or line.startswith("error"))
        raise ClusterError(
            f"{node} was not drained within {timeout:.0f} s; {'it accepts pods again' if release else 'it stays cordoned'} and "
            "nothing was removed",
            context=list(reasons)[-6:] or said[-6:],
            hint="a PodDisruptionBudget that allows no disruption blocks it: add a replica or change the budget",
            command="kubectl get poddisruptionbudgets --all-namespaces",
            code="DrainFailed",
        ) from error
    finally:
        if release and not drained:  # also after an interruption
            process.run(_kubectl(cluster, "uncordon", node), check=False)


def uncordon(cluster: Cluster, node: str) -> None:
    """Make a node accept pods again."""
    process.run(_kubectl(cluster, "uncordon", node))


def _restart(cluster: Cluster, deployments: Sequence[str], *, timeout: float, step: Phase) -> None:
    """Restart Deployments and wait for them. One that cannot be restarted (it is paused) is evicted like any other."""
    where = [name.split("/") for name in deployments]
    step.note(f"{len(where)} Deployments start elsewhere")
    for namespace, name in where:
        process.run(
            _kubectl(cluster, "rollout", "restart", f"deployment/{name}", f"--namespace={namespace}"), check=False
        )
    for namespace, name in where:
        words = ["rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={timeout:.0f}s"]
        process.run(_kubectl(cluster, *words), check=False)


def delete_volumes(cluster: Cluster, volumes: tuple[Volume, ...]) -> None:
    """Delete volumes with their claims and the pods that wait for them. A StatefulSet creates both again elsewhere."""
    for volume in volumes:
        where = ("--namespace", volume.namespace, "--ignore-not-found")
        process.run(_kubectl(cluster, "delete", "persistentvolumeclaim", volume.claim, "--wait=false", *where))
        for pod in listed(cluster.core.list_namespaced_pod, volume.namespace):
            claims = [entry.get("persistentVolumeClaim", {}) for entry in pod["spec"].get("volumes", ())]
            if volume.claim in {claim.get("claimName") for claim in claims}:
                process.run(_kubectl(cluster, "delete", "pod", pod["metadata"]["name"], "--wait=false", *where))
        process.run(_kubectl(cluster, "delete", "persistentvolume", volume.name, "--wait=false", "--ignore-not-found"))


def delete_node(cluster: Cluster, node: str) -> None:
    """Delete a Node object, and wait until it is gone; one that is gone already is no error."""
    timeout = f"--timeout={_GONE_SECONDS}s"
    process.run(_kubectl(cluster, "delete", "node", node, "--ignore-not-found", timeout))


def _kubectl(cluster: Cluster, *words: str) -> list[str]:
    return [str(tools.tool("kubectl")), f"--kubeconfig={cluster.kubeconfig}", *words]


def _pods(cluster: Cluster, node: str) -> Iterator[dict[str, Any]]:
    """Yield the pods that a drain removes: not those of DaemonSets, static ones, and those that have ended."""
    for pod in listed(cluster.core.list_pod_for_all_namespaces, field_selector=f"spec.nodeName={node}"):
        metadata = pod["metadata"]
        owners = {owner["kind"] for owner in metadata.get("ownerReferences", ())}
        ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if not ended and "DaemonSet" not in owners and _MIRROR not in metadata.get("annotations", {}):
            yield pod


def _only_here(cluster: Cluster, node: str) -> Iterator[str]:
    """Yield the Deployments that have pods on this node and on no other."""
    nodes: dict[str, set[str]] = {}
    for pod in listed(cluster.core.list_pod_for_all_namespaces):
        for owner in pod["metadata"].get("ownerReferences", ()):
            nodes.setdefault(owner["uid"], set()).add(pod["spec"].get("nodeName", ""))
    for replica_set in listed(cluster.apps.list_replica_set_for_all_namespaces):
        metadata = replica_set["metadata"]
        if nodes.get(metadata["uid"]) == {node}:
            for owner in metadata.get("ownerReferences", ()):
                if owner["kind"] == "Deployment":
                    yield f"{metadata['namespace']}/{owner['name']}"


def _blocked(cluster: Cluster, namespace: str, pod: str) -> str:
    """Return why the API server would reject the eviction of a pod now; empty if it would not."""
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    body = client.V1Eviction(
        metadata=client.V1ObjectMeta(name=pod, namespace=namespace),
        delete_options=client.V1DeleteOptions(dry_run=["All"]),
    )
    try:
        cluster.core.create_namespaced_pod_eviction(pod, namespace, body)
    except ApiException as error:
        if error.status == 404:  # noqa: PLR2004 - it ended meanwhile
            return ""
        answer = json.loads(error.body or "{}")
        causes = [cause["message"] for cause in (answer.get("details") or {}).get("causes") or ()]
        return "; ".join(causes) or str(answer.get("message", error.reason))
    return ""


def _volumes(cluster: Cluster, node: str) -> Iterator[Volume]:
    for item in listed(cluster.core.list_persistent_volume):
        claim = item["spec"].get("claimRef")
        terms = item["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", ())
        nodes = [
            expression.get("values")
            for term in terms
            for expression in term.get("matchExpressions", ())
            if expression["key"] == _HOSTNAME and expression["operator"] == "In"
        ]
        if claim is not None and item["status"].get("phase") == "Bound" and [node] in nodes:
            yield Volume(
                item["metadata"]["name"], claim["namespace"], claim["name"], item["spec"]["capacity"]["storage"]
            )
