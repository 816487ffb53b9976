"""Nodes, workloads and image pulls, read from the objects of the API server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maas import paths
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PULL_FAILED = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_PULL_TIMEOUT = 60.0
"""Seconds until a failing image pull is an error; an image may still be on its way to the node."""


@dataclass(frozen=True)
class Workload:
    """A Deployment, DaemonSet or StatefulSet.

    Attributes:
        kind: `Deployment`, `DaemonSet` or `StatefulSet`.
        namespace: Its namespace.
        name: Its name.
        ready: Number of pods of the current revision that are Ready.
        wanted: Desired number of pods.
    """

    kind: str
    namespace: str
    name: str
    ready: int
    wanted: int

    @property
    def settled(self) -> bool:
        """Whether every desired pod of the current revision is Ready."""
        return self.ready >= self.wanted

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.ready}/{self.wanted}"


@dataclass(frozen=True)
class Node:
    """A node as the API server reports it.

    Attributes:
        name: Its name.
        address: Its InternalIP.
        ready: Whether its Ready condition is true.
        reason: The message of the Ready condition where it is not.
        control_plane: Whether it has the control-plane label.
        version: The kubelet's version.
    """

    name: str
    address: str
    ready: bool
    reason: str
    control_plane: bool
    version: str


def parse_node(item: dict[str, Any]) -> Node:
    """Return a node from its object."""
    status = item["status"]
    condition = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    ready = condition is not None and condition["status"] == "True"
    return Node(
        name=item["metadata"]["name"],
        address=next((a["address"] for a in status.get("addresses", ()) if a["type"] == "InternalIP"), ""),
        ready=ready,
        reason="" if ready else (condition.get("message", "") if condition else "no status yet"),
        control_plane="node-role.kubernetes.io/control-plane" in item["metadata"].get("labels", {}),
        version=status["nodeInfo"]["kubeletVersion"],
    )


def not_ready(present: list[Node], count: int) -> list[str]:
    """Return the nodes that are not Ready, and how many have not joined."""
    behind = [f"node {node.name}: {node.reason}" for node in present if not node.ready]
    return behind + ([f"{count - len(present)} nodes have not joined"] if len(present) < count else [])


def parse_workload(kind: str, item: dict[str, Any], *, absent: int = 0) -> Workload:
    """Return a workload from its object.

    Args:
        kind: `deployment`, `daemon_set` or `stateful_set`.
        item: The object.
        absent: Number of nodes that are known to be down, where a DaemonSet cannot run a pod.
    """
    metadata, status = item["metadata"], item.get("status", {})
    seen = status.get("observedGeneration", 0) >= metadata["generation"]
    if kind == "daemon_set":
        wanted = status.get("desiredNumberScheduled", 0) - absent
        # Zero desired pods means that the controller has not counted nodes yet: a running cluster has at least one.
        ready, wanted = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)), max(wanted, 1)
    else:
        wanted = item["spec"].get("replicas", 1)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    name = "".join(word.capitalize() for word in kind.split("_"))
    return Workload(name, metadata["namespace"], metadata["name"], ready if seen else 0, wanted)


@dataclass
class FailingPulls:
    """The images whose pulls fail, and since when (seconds, monotonic)."""

    since: dict[str, float] = field(default_factory=dict)

    def check(self, pods: Iterable[dict[str, Any]]) -> None:
        """Raise an error for images whose pulls have failed for a minute.

        Raises:
            ClusterError: Its context lists the images and pods.
        """
        now = time.monotonic()
        overdue = [
            f"{image}, for {pod}"
            for image, pod in _failing_pulls(pods)
            if now - self.since.setdefault(image, now) > _PULL_TIMEOUT
        ]
        if overdue:
            raise ClusterError(
                "image pull failed: not in the bundle and not available from the registry",
                context=overdue,
                hint="build the bundle on a machine that reaches the registry, or disable the component in the values",
                command=paths.command("bundle", "--list"),
                code="ImagePullFailed",
            )


def _failing_pulls(pods: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the image and pod of every container whose image pull fails."""
    for pod in pods:
        for kind in ("initContainerStatuses", "containerStatuses"):
            for container in pod["status"].get(kind, ()):
                if container["state"].get("waiting", {}).get("reason") in _PULL_FAILED:
                    yield container["image"], f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
