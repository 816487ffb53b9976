"""Prometheus and Alertmanager of a lab, through the proxy of its API server."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from maas.dashboards.probe import Prometheus
from maas.errors import MaasError

if TYPE_CHECKING:
    from collections.abc import Callable

    from maas.cluster.client import Cluster

NAMESPACE = "monitoring"
POD = "prometheus-maas-0"


@dataclass(frozen=True)
class Monitoring:
    """The monitoring of a cluster."""

    cluster: Cluster

    @property
    def prometheus(self) -> Prometheus:
        """Prometheus' API."""
        return Prometheus.of(self.cluster)

    def received(self) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager has."""
        path = f"/api/v1/namespaces/{NAMESPACE}/services/alertmanager:web/proxy/api/v2/alerts"
        found: list[dict[str, Any]] = json.loads(self.cluster.raw(path)[1])
        return found

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the present value of each series of an expression."""
        found = self.prometheus.get("query", query=expression)["result"]
        return [(entry["metric"], float(entry["value"][1])) for entry in found]

    def value(self, expression: str) -> float:
        """Return the value of an expression that has one series."""
        ((_, value),) = self.query(expression)
        return value

    def targets(self) -> list[dict[str, Any]]:
        """Return every active target, as Prometheus reports it."""
        found: list[dict[str, Any]] = self.prometheus.get("targets", state="active")["activeTargets"]
        return found

    def alerts(self, state: str = "firing") -> list[dict[str, str]]:
        """Return the labels of every alert that Prometheus has in a state."""
        found = self.prometheus.get("alerts")["alerts"]
        return [alert["labels"] for alert in found if alert["state"] == state]

    def names(self, state: str = "firing") -> set[str]:
        """Return the names of the alerts in a state."""
        return {labels["alertname"] for labels in self.alerts(state)}

    def wait(self, what: str, missing: Callable[[], object], *, seconds: float) -> float:
        """Poll every two seconds until nothing is missing, and return the seconds that it took.

        Args:
            what: What to wait for, for the message.
            missing: A function that returns what is missing; an error of the API means that something is.
            seconds: The timeout.
        """
        began = time.monotonic()
        left: object = None
        while time.monotonic() - began < seconds:
            try:
                left = missing()
                if not left:
                    return time.monotonic() - began
            except (MaasError, ApiException, HTTPError, OSError, ValueError) as error:
                left = str(error).splitlines()[:1]
            time.sleep(2)
        raise AssertionError(f"timed out after {seconds:.0f} s waiting for {what}: {left}")
