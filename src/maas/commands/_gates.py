"""What must hold before a host stops for maintenance, and again before the next one does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas import paths
from maas.cluster import control_planes
from maas.cluster.client import connection_errors, listed
from maas.dashboards.probe import Prometheus
from maas.errors import ClusterError

if TYPE_CHECKING:
    from maas.commands._hosts import Members
    from maas.console import Phase

_CRITICAL = "critical"
_PAUSE = 3.0
"""Seconds between two checks."""


@dataclass(frozen=True)
class Gates:
    """The checks of one run.

    Attributes:
        members: The nodes of the cluster.
        ignored: Names of alerts that may fire.
        unsettled: Workloads that were not Ready when the run began, which it does not wait for.
        alerts: Whether critical alerts are a reason to wait.
    """

    members: Members
    ignored: frozenset[str] = frozenset()
    unsettled: frozenset[str] = frozenset()
    alerts: bool = True

    def problems(self) -> list[str]:
        """Return why no host may stop now; empty if one may."""
        try:
            return [*self._nodes(), *self._planes(), *self._workloads(), *(self._alerts() if self.alerts else [])]
        except connection_errors() as error:
            return [f"the API server did not answer: {str(error).splitlines()[0][:160]}"]
        except ClusterError as error:
            return [error.message, *error.context]

    def refuse(self, *, before: str) -> None:
        """Refuse to begin while a check fails.

        Args:
            before: What is about to begin, for the message.

        Raises:
            ClusterError: A check failed.
        """
        if found := self.problems():
            raise self._closed(f"{before} does not begin", found, done="nothing was changed")

    def wait(self, *, before: str, done: str, step: Phase, seconds: float) -> None:
        """Wait until every check succeeds.

        Args:
            before: What waits for it, for the message.
            done: What has been done already, for the message.
            step: The phase that shows progress.
            seconds: Seconds until an error is raised.

        Raises:
            ClusterError: A check still failed at the end.
        """
        deadline = time.monotonic() + seconds
        while found := self.problems():
            step.note(f"{len(found)} to wait for: {found[0]}")
            if time.monotonic() > deadline:
                raise self._closed(f"stopped before {before}", found, done=done)
            time.sleep(_PAUSE)
        step.note("all nodes, etcd, the API and all workloads are as before")

    def _closed(self, what: str, found: list[str], *, done: str) -> ClusterError:
        name = self.members.hosts.inventory.cluster
        return ClusterError(
            f"{what}: the cluster is not healthy",
            context=found,
            hint=f"{done}; repair this first, then run the same command again",
            command=paths.command("status", "--name", name),
            code="NotReady",
        )

    def _nodes(self) -> list[str]:
        nodes = self.members.cluster.nodes()
        missing = sorted(self.members.plan.hosts.keys() - {node.name for node in nodes})
        return [
            *(f"node {node.name} is not Ready: {node.reason}" for node in nodes if not node.ready),
            *(f"there is no node {name}" for name in missing if name in self.members.addresses),
        ]

    def _planes(self) -> list[str]:
        found = control_planes.inspect(self.members.hosts, self.members.plan)
        return control_planes.problems(found, announcers=self.members.plan.announcers())

    def _workloads(self) -> list[str]:
        return [f"not Ready: {text}" for text in sorted(set(workloads(self.members)) - self.unsettled)]

    def _alerts(self) -> list[str]:
        selector = "app.kubernetes.io/part-of=maas,app.kubernetes.io/name=prometheus"
        if not listed(self.members.cluster.core.list_service_for_all_namespaces, label_selector=selector):
            return []
        alerts: list[dict[str, Any]] = Prometheus.of(self.members.cluster).get("alerts")["alerts"]
        firing = {
            alert["labels"]["alertname"]
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"].get("severity") == _CRITICAL
        }
        return [f"the critical alert {name} is firing" for name in sorted(firing - self.ignored)]


def workloads(members: Members) -> list[str]:
    """Return the workloads that are not Ready, by kind and name, without the numbers of their pods."""
    return [f"{one.kind} {one.namespace}/{one.name}" for one in members.cluster.workloads() if not one.settled]
