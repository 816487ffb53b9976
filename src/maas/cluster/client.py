"""A client of a cluster's API server: reading nodes and workloads, and waiting for them.

The kubernetes client takes a quarter of a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from maas.cluster import access, kubeconfig
from maas.cluster.objects import FailingPulls, Node, Workload, not_ready, parse_node, parse_workload
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from maas.console import Phase

_WORKLOADS = ("deployment", "daemon_set", "stateful_set")
_RETRY = 0.5
"""Seconds between two polls, also while the API server does not answer (it restarts, a tunnel reconnects)."""

_T = TypeVar("_T")


def listed(call: Callable[..., Any], *arguments: str, **options: Any) -> list[dict[str, Any]]:
    """Return the objects of a list call as the API server sent them.

    To fill the client's own classes takes longer than everything else that is done with a list here.
    """
    items: list[dict[str, Any]] = json.loads(call(*arguments, _preload_content=False, **options).data)["items"]
    return items


@dataclass(frozen=True)
class Cluster:
    """A cluster, accessed with a kubeconfig.

    Attributes:
        kubeconfig: The file, readable by its owner only.
        absent: Nodes that are known to be down, and not waited for.
        factor: How many times as long as by default to wait for something.
    """

    kubeconfig: Path
    absent: frozenset[str] = frozenset()
    factor: int = 1

    @cached_property
    def client(self) -> Any:
        """The API client; one connection pool for everything.

        Raises:
            UsageError: The kubeconfig is missing or not valid.
            ClusterError: Its exec plugin failed.
        """
        return access.connect(kubeconfig.select(self.kubeconfig))

    @cached_property
    def core(self) -> Any:
        """The core/v1 API."""
        from kubernetes import client  # a quarter of a second that most commands do not need

        return client.CoreV1Api(self.client)

    @cached_property
    def apps(self) -> Any:
        """The apps/v1 API."""
        from kubernetes import client

        return client.AppsV1Api(self.client)

    def raw(self, path: str, *, timeout: float | None = None, **query: str) -> tuple[int, bytes]:
        """Return status and body of a request to a path of the API server, as `kubectl get --raw` does.

        Args:
            path: The path, such as that of a Service's proxy.
            timeout: Seconds until the request times out.
            query: The parameters of the query.
        """
        request = self.client.param_serialize(
            "GET", path, query_params=list(query.items()), auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*request, _request_timeout=timeout)
        return answer.status, answer.read()

    def exec(
        self, namespace: str, pod: str, *command: str, container: str | None = None, timeout: float = 90
    ) -> tuple[int, str]:
        """Run a command in a pod, and return its exit status and output.

        Args:
            namespace: The pod's namespace.
            pod: Its name.
            command: The program and its arguments; no shell interprets them.
            container: Which of its containers, when it has several.
            timeout: Seconds until the command times out; its status is 1 then.
        """
        from kubernetes import client, config
        from kubernetes.stream import stream

        # A stream replaces the transport of its client, so each has its own client.
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
            # Before read_all, which empties every channel, including the one of the status.
            status = connection.returncode
            output = connection.read_all()
        finally:
            connection.close()
            # close() leaves the socket open when the other side has ended the connection.
            connection.sock.shutdown()
        return (1 if status is None else status), output

    def nodes(self) -> list[Node]:
        """Return all nodes, except those that are known to be down, by name."""
        found = (parse_node(item) for item in listed(self.core.list_node))
        return sorted((node for node in found if node.name not in self.absent), key=lambda node: node.name)

    def workloads(self, namespaces: Iterable[str] | None = None) -> list[Workload]:
        """Return the Deployments, DaemonSets and StatefulSets of some namespaces, or of all."""
        wanted = None if namespaces is None else set(namespaces)
        found = [
            parse_workload(kind, item, absent=len(self.absent))
            for kind in _WORKLOADS
            for item in listed(getattr(self.apps, f"list_{kind}_for_all_namespaces"))
            if wanted is None or item["metadata"]["namespace"] in wanted
        ]
        return sorted(found, key=lambda workload: (workload.namespace, workload.kind, workload.name))

    def wait_ready(self, *, nodes: int, step: Phase, timeout: float = 300) -> list[str]:
        """Wait until all nodes and workloads are Ready, and return the workloads that depend on a node that is down.

        A pod of a StatefulSet keeps its name and volume, so nothing replaces it before its node is back. Other workloads
        of its namespace may need it, and none of them is waited for.

        Args:
            nodes: The expected number of nodes.
            step: The phase that shows progress.
            timeout: Seconds until an error is raised.

        Raises:
            ClusterError: Not everything became Ready in time, or an image pull fails; its context lists what is missing.
        """
        pulls = FailingPulls()

        def observe() -> tuple[list[str], list[str]]:
            present = self.nodes()
            bound = self._bound_namespaces()
            everything = self.workloads()
            workloads = [item for item in everything if item.namespace not in bound]
            waiting = [str(item) for item in everything if item.namespace in bound and not item.settled]
            step.note(
                f"{sum(n.ready for n in present)} of {nodes} nodes, "
                f"{sum(w.settled for w in workloads)} of {len(workloads)} workloads"
            )
            missing = not_ready(present, nodes) + [str(item) for item in workloads if not item.settled]
            if missing:
                pulls.check(listed(self.core.list_pod_for_all_namespaces))
            return waiting, missing

        return self.poll(observe, what="all nodes and workloads to be Ready", timeout=timeout)

    def _bound_namespaces(self) -> set[str]:
        """Return the namespaces with a pod of a StatefulSet on a node that is known to be down."""
        if not self.absent:
            return set()
        return {
            pod["metadata"]["namespace"]
            for pod in listed(self.core.list_pod_for_all_namespaces)
            if pod["spec"].get("nodeName") in self.absent
            and any(owner["kind"] == "StatefulSet" for owner in pod["metadata"].get("ownerReferences", ()))
        }

    def wait_nodes(self, count: int, *, step: Phase, timeout: float = 180) -> None:
        """Wait until all nodes are Ready, which each is once its network plugin runs.

        Args:
            count: The expected number of nodes.
            step: The phase that shows progress.
            timeout: Seconds until an error is raised.

        Raises:
            ClusterError: A node was not Ready in time; its context lists the reasons.
        """

        def missing() -> list[str]:
            present = self.nodes()
            step.note(f"{sum(node.ready for node in present)} of {count}")
            return not_ready(present, count)

        self.wait(missing, what="all nodes to be Ready", timeout=timeout)

    def wait_established(self, crds: Iterable[str], *, timeout: float = 60) -> None:
        """Wait until the API server reports CRDs as Established.

        Args:
            crds: Their names.
            timeout: Seconds until an error is raised.

        Raises:
            ClusterError: Some are not Established in time; its context lists them.
        """
        missing = set(crds)
        timeout *= self.factor
        deadline = time.monotonic() + timeout
        while missing and (seconds := deadline - time.monotonic()) > 0:
            try:
                with contextlib.closing(self._established(seconds)) as names:
                    for name in names:
                        missing.discard(name)
                        if not missing:
                            return
            except connection_errors():
                time.sleep(_RETRY)
        if missing:
            raise ClusterError(
                f"timed out after {timeout:.0f} s waiting for {len(missing)} CRDs to be Established",
                context=sorted(missing),
                hint="look at the conditions of each",
                command=f"kubectl describe customresourcedefinition {min(missing)}",
                code="Timeout",
            )

    def _established(self, seconds: float) -> Generator[str, None, None]:
        """Watch CRDs, for some seconds at most, and yield the names of those that are Established."""
        from kubernetes import client

        # Read as text: the client would create a hundred thousand objects for schemas that are not used here.
        api = client.ApiextensionsV1Api(self.client)
        answer = api.list_custom_resource_definition(
            watch=True, timeout_seconds=max(1, int(seconds)), _preload_content=False
        )
        try:
            for line in answer:
                found = json.loads(line)["object"]
                conditions = found.get("status", {}).get("conditions") or ()
                if any((entry["type"], entry["status"]) == ("Established", "True") for entry in conditions):
                    yield found["metadata"]["name"]
        finally:
            answer.close()

    def wait(self, missing: Callable[[], list[str]], *, what: str, timeout: float) -> None:
        """Wait until nothing is missing; see `poll`.

        Args:
            missing: Returns what is missing; may fail while the API server does not answer.
            what: What is waited for, for the error message.
            timeout: Seconds until an error is raised.

        Raises:
            ClusterError: Something was still missing at the end.
        """
        self.poll(lambda: (None, missing()), what=what, timeout=timeout)

    def poll(self, observe: Callable[[], tuple[_T, list[str]]], *, what: str, timeout: float) -> _T:
        """Observe the cluster at every change until nothing is missing, and return the last observation.

        Args:
            observe: Returns an observation and what is missing; may fail while the API server does not answer.
            what: What is waited for, for the error message.
            timeout: Seconds until an error is raised.

        Raises:
            ClusterError: Something was still missing at the end.
        """
        timeout *= self.factor
        deadline = time.monotonic() + timeout
        missing = ["the API server did not answer"]
        late = False
        while not late:
            late = time.monotonic() >= deadline  # then it is observed for the last time
            try:
                observation, missing = observe()
                if not missing:
                    return observation
                if late:
                    break
                observed = time.monotonic()
                self._next_change(min(5.0, deadline - observed))
                # Changes come in bursts, and each observation takes time of the API server.
                time.sleep(max(0.0, observed + _RETRY - time.monotonic()))
            except connection_errors() as error:
                missing = [f"the API server did not answer: {str(error).splitlines()[0][:160]}"]
                time.sleep(_RETRY)
        raise ClusterError(
            f"timed out after {timeout:.0f} s waiting for {what}",
            context=[*missing, *self._warnings()],
            code="Timeout",
        )

    def _next_change(self, seconds: float) -> None:
        """Return at the next change of a pod, or after a number of seconds."""
        from kubernetes import watch

        version = self.core.list_pod_for_all_namespaces(limit=1).metadata.resource_version
        watcher = watch.Watch()
        for _ in watcher.stream(
            self.core.list_pod_for_all_namespaces,
            resource_version=version,
            timeout_seconds=max(1, int(seconds)),
        ):
            watcher.stop()

    def _warnings(self) -> list[str]:
        """Return the latest events of type Warning, which a person would look at next."""
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
    """Return what a call raises while the API server refuses or does not answer."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    return ApiException, HTTPError, OSError
