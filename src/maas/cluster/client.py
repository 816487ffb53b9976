"""Talks to the API server of a cluster: what is there, what to wait for.

The kubernetes client takes a quarter of a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from maas import paths
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from maas.console import Phase

_WORKLOADS = ("deployment", "daemon_set", "stateful_set")
_NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_IMAGE_PATIENCE = 60.0
"""Seconds for an image that is not there; one that is still being brought to the node comes meanwhile."""

_RETRY = 0.5
"""Seconds between two looks, also while the API server does not answer (it restarts, a tunnel reconnects)."""


@dataclass(frozen=True)
class Workload:
    """A Deployment, DaemonSet or StatefulSet and how far it is.

    Attributes:
        kind: `Deployment`, `DaemonSet` or `StatefulSet`.
        namespace: Where it lives.
        name: Its name.
        ready: Pods of the present revision that are Ready.
        wanted: Pods that there should be.
    """

    kind: str
    namespace: str
    name: str
    ready: int
    wanted: int

    @property
    def settled(self) -> bool:
        """Whether every wanted pod of the present revision is Ready."""
        return self.ready >= self.wanted

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.ready}/{self.wanted}"


@dataclass(frozen=True)
class Node:
    """A node as the API server sees it.

    Attributes:
        name: Its name.
        address: Its InternalIP.
        ready: Whether its Ready condition is true.
        reason: Why it is not, in the kubelet's words.
        control_plane: Whether it carries the control-plane label.
        version: The kubelet's version.
    """

    name: str
    address: str
    ready: bool
    reason: str
    control_plane: bool
    version: str


def _node(item: dict[str, Any]) -> Node:
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


def _behind(present: list[Node], count: int) -> list[str]:
    """What nodes lack: those that are not Ready, and how many have not joined."""
    behind = [f"node {node.name}: {node.reason}" for node in present if not node.ready]
    return behind + ([f"{count - len(present)} nodes have not joined"] if len(present) < count else [])


def _workload(kind: str, item: dict[str, Any], *, absent: int = 0) -> Workload:
    metadata, status = item["metadata"], item.get("status", {})
    seen = status.get("observedGeneration", 0) >= metadata["generation"]
    if kind == "daemon_set":
        wanted = status.get("desiredNumberScheduled", 0) - absent
        # A DaemonSet that no node has been counted for yet is not settled: on a running cluster it has at least one.
        ready, wanted = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)), max(wanted, 1)
    else:
        wanted = item["spec"].get("replicas", 1)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    name = "".join(word.capitalize() for word in kind.split("_"))
    return Workload(name, metadata["namespace"], metadata["name"], ready if seen else 0, wanted)


def listed(call: Callable[..., Any], *arguments: str, **options: Any) -> list[dict[str, Any]]:
    """The objects that a list call of the client gives, as the API server sent them.

    The client's own classes for them take longer to fill than everything else that is done with a list here.
    """
    items: list[dict[str, Any]] = json.loads(call(*arguments, _preload_content=False, **options).data)["items"]
    return items


@dataclass(frozen=True)
class Cluster:
    """A cluster that a kubeconfig leads to.

    Attributes:
        kubeconfig: The file, readable by its owner only.
        absent: Nodes that are known to be down, and not waited for.
    """

    kubeconfig: Path
    absent: frozenset[str] = frozenset()

    @cached_property
    def client(self) -> Any:
        """The API client; one connection pool for everything."""
        from kubernetes import config  # noqa: PLC0415 - a quarter of a second that most commands do not need

        return config.new_client_from_config(config_file=str(self.kubeconfig))

    @cached_property
    def core(self) -> Any:
        """The core/v1 API."""
        from kubernetes import client  # noqa: PLC0415

        return client.CoreV1Api(self.client)

    @cached_property
    def apps(self) -> Any:
        """The apps/v1 API."""
        from kubernetes import client  # noqa: PLC0415

        return client.AppsV1Api(self.client)

    def raw(self, path: str, *, timeout: float | None = None, **query: str) -> tuple[int, bytes]:
        """Status and body that the API server answers to a path, as `kubectl get --raw` asks for it.

        Args:
            path: The path, such as that of a Service's proxy.
            timeout: Seconds until it is given up.
            query: What follows the path.
        """
        request = self.client.param_serialize(
            "GET", path, query_params=list(query.items()), auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*request, _request_timeout=timeout)
        return answer.status, answer.read()

    def exec(
        self, namespace: str, pod: str, *command: str, container: str | None = None, timeout: float = 90
    ) -> tuple[int, str]:
        """Run a command in a pod; its exit status and output.

        Args:
            namespace: The pod's namespace.
            pod: Its name.
            command: The program and its arguments; no shell is between.
            container: Which of its containers, when it has several.
            timeout: Seconds until it is given up; its status is 1 then.
        """
        from kubernetes import client, config  # noqa: PLC0415 - see `client`
        from kubernetes.stream import stream  # noqa: PLC0415

        # A stream replaces the transport of its client for good, so each has a client of its own.
        own = client.CoreV1Api(config.new_client_from_config(config_file=str(self.kubeconfig)))
        connection = stream(
            own.connect_get_namespaced_pod_exec,
            pod,
            namespace,
            command=list(command),
            stdout=True,
            stderr=True,
            _preload_content=False,
            **({"container": container} if container else {}),
        )
        try:
            connection.run_forever(timeout=timeout)
            # Before read_all, which empties every channel, that of the status too.
            status = connection.returncode
            output = connection.read_all()
        finally:
            connection.close()
            # What the other side has ended is not closed by that.
            connection.sock.shutdown()
        return (1 if status is None else status), output

    def nodes(self) -> list[Node]:
        """All nodes that are not known to be down, by name."""
        found = (_node(item) for item in listed(self.core.list_node))
        return sorted((node for node in found if node.name not in self.absent), key=lambda node: node.name)

    def workloads(self, namespaces: Iterable[str] | None = None) -> list[Workload]:
        """All Deployments, DaemonSets and StatefulSets, of some namespaces or of all."""
        wanted = None if namespaces is None else set(namespaces)
        found = [
            _workload(kind, item, absent=len(self.absent))
            for kind in _WORKLOADS
            for item in listed(getattr(self.apps, f"list_{kind}_for_all_namespaces"))
            if wanted is None or item["metadata"]["namespace"] in wanted
        ]
        return sorted(found, key=lambda workload: (workload.namespace, workload.kind, workload.name))

    def wait_ready(self, *, nodes: int, step: Phase, timeout: float = 300) -> list[str]:
        """Wait until all nodes and every workload are Ready, and return the workloads that can only be so later.

        Those have a pod on a node that is known to be down: that of a StatefulSet keeps its name and volume, so nothing
        takes its place before the node is back. What else lives in such a namespace may need it and is not waited for.

        Args:
            nodes: How many nodes there must be.
            step: The phase that says how far it is.
            timeout: Seconds after which it is given up.

        Raises:
            ClusterError: Not everything was Ready in time, or an image cannot be had; its context says what is missing.
        """
        first_missed: dict[str, float] = {}
        later: list[str] = []

        def missing() -> list[str]:
            present = self.nodes()
            bound = self._bound()
            everything = self.workloads()
            workloads = [workload for workload in everything if workload.namespace not in bound]
            later[:] = [str(item) for item in everything if item.namespace in bound and not item.settled]
            step.note(
                f"{sum(n.ready for n in present)} of {nodes} nodes, "
                f"{sum(w.settled for w in workloads)} of {len(workloads)} workloads"
            )
            behind = _behind(present, nodes) + [str(workload) for workload in workloads if not workload.settled]
            if behind:
                self._refuse_missing_images(first_missed)
            return behind

        self.wait(missing, what="nodes and workloads to be Ready", timeout=timeout)
        return later

    def _bound(self) -> set[str]:
        """The namespaces with a pod of a StatefulSet on a node that is known to be down."""
        if not self.absent:
            return set()
        return {
            pod["metadata"]["namespace"]
            for pod in listed(self.core.list_pod_for_all_namespaces)
            if pod["spec"].get("nodeName") in self.absent
            and any(owner["kind"] == "StatefulSet" for owner in pod["metadata"].get("ownerReferences", ()))
        }

    def _refuse_missing_images(self, first_missed: dict[str, float]) -> None:
        """Give up where pods wait for an image that does not come; `first_missed` remembers since when."""
        now = time.monotonic()
        missed = {
            f"{container['image']}, for {pod['metadata']['namespace']}/{pod['metadata']['name']}": first_missed.get(
                container["image"], now
            )
            for pod in listed(self.core.list_pod_for_all_namespaces)
            for kind in ("initContainerStatuses", "containerStatuses")
            for container in pod["status"].get(kind, ())
            if container["state"].get("waiting", {}).get("reason") in _NO_IMAGE
        }
        for what, since in missed.items():
            first_missed.setdefault(what.split(",", 1)[0], since)
        late = [what for what, since in missed.items() if now - since > _IMAGE_PATIENCE]
        if late:
            raise ClusterError(
                "images cannot be had, neither from the bundle nor from a registry",
                context=late,
                hint="make the bundle again where the image can be had, or switch the component off by values",
                command=paths.command("bundle", "--list"),
            )

    def wait_nodes(self, count: int, *, step: Phase, timeout: float = 180) -> None:
        """Wait until all nodes are Ready, which each is once its network plugin is there.

        Args:
            count: How many nodes there must be.
            step: The phase that says how far it is.
            timeout: Seconds after which it is given up.

        Raises:
            ClusterError: A node was not Ready in time; its context says why.
        """

        def missing() -> list[str]:
            present = self.nodes()
            step.note(f"{sum(node.ready for node in present)} of {count}")
            return _behind(present, count)

        self.wait(missing, what="nodes to be Ready", timeout=timeout)

    def wait_established(self, definitions: Iterable[str], *, timeout: float = 60) -> None:
        """Wait until the API server serves the kinds of some CustomResourceDefinitions, told by the server itself.

        Args:
            definitions: Their names.
            timeout: Seconds after which it is given up.

        Raises:
            ClusterError: It does not serve them in time; its context has those that are missing.
        """
        left = set(definitions)
        deadline = time.monotonic() + timeout
        while left and (seconds := deadline - time.monotonic()) > 0:
            try:
                self._follow_definitions(left, seconds)
            except connection_errors():
                time.sleep(_RETRY)
        if left:
            raise ClusterError(
                f"the API server does not serve {len(left)} kinds of the chart",
                context=sorted(left),
                hint="the conditions of each say why",
                command=f"kubectl describe customresourcedefinition {min(left)}",
            )

    def _follow_definitions(self, left: set[str], seconds: float) -> None:
        """Take from a set the definitions that are established, as they become so, for some seconds at most."""
        from kubernetes import client  # noqa: PLC0415

        # Read as text: the client would make a hundred thousand objects of the schemas that nobody reads.
        api = client.ApiextensionsV1Api(self.client)
        answer = api.list_custom_resource_definition(
            watch=True, timeout_seconds=max(1, int(seconds)), _preload_content=False
        )
        try:
            for line in answer:
                found = json.loads(line)["object"]
                conditions = found.get("status", {}).get("conditions") or ()
                if any((entry["type"], entry["status"]) == ("Established", "True") for entry in conditions):
                    left.discard(found["metadata"]["name"])
                if not left:
                    return
        finally:
            answer.close()

    def wait(self, missing: Callable[[], list[str]], *, what: str, timeout: float) -> None:
        """Ask again at every change in the cluster until nothing is missing.

        Args:
            missing: Names what is not there yet; may fail while the API server does not answer.
            what: What is waited for, for the message.
            timeout: Seconds after which it is given up.

        Raises:
            ClusterError: Something was still missing at the end.
        """
        deadline = time.monotonic() + timeout
        left: list[str] = ["the API server did not answer"]
        while time.monotonic() < deadline:
            try:
                left = missing()
                if not left:
                    return
                looked = time.monotonic()
                self._next_change(min(5.0, deadline - looked))
                # Changes come in crowds, and each look takes the API server's time that they need themselves.
                time.sleep(max(0.0, looked + _RETRY - time.monotonic()))
            except connection_errors() as error:
                left = [f"the API server did not answer: {str(error).splitlines()[0][:160]}"]
                time.sleep(_RETRY)
        raise ClusterError(
            f"waited {timeout:.0f} s in vain for {what}",
            context=[*left, *self._complaints()],
        )

    def _next_change(self, seconds: float) -> None:
        """Return at the next change of a pod, or after some seconds."""
        from kubernetes import watch  # noqa: PLC0415

        version = self.core.list_pod_for_all_namespaces(limit=1).metadata.resource_version
        watcher = watch.Watch()
        for _ in watcher.stream(
            self.core.list_pod_for_all_namespaces,
            resource_version=version,
            timeout_seconds=max(1, int(seconds)),
        ):
            watcher.stop()

    def _complaints(self) -> list[str]:
        """The last warnings that the cluster itself recorded: what a person would look at next."""
        try:
            events = self.core.list_event_for_all_namespaces(field_selector="type=Warning", limit=200).items
        except connection_errors():
            return []
        recent = sorted(events, key=lambda event: str(event.last_timestamp or event.event_time or ""))[-6:]
        return [
            f"{event.involved_object.namespace}/{event.involved_object.name}: {event.reason}: {event.message}"[:300]
            for event in recent
        ]


def connection_errors() -> tuple[type[Exception], ...]:
    """What a call raises while the API server refuses or does not answer."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return ApiException, HTTPError, OSError
