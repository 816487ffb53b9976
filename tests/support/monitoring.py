"""Prometheus and Alertmanager of a lab, asked through its API server."""

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

    def told(self) -> list[dict[str, Any]]:
        """The alerts that Alertmanager was told of."""
        path = f"/api/v1/namespaces/{NAMESPACE}/services/alertmanager:web/proxy/api/v2/alerts"
        found: list[dict[str, Any]] = json.loads(self.cluster.raw(path)[1])
        return found

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an expression, now."""
        found = self.prometheus.get("query", query=expression)["result"]
        return [(entry["metric"], float(entry["value"][1])) for entry in found]

    def value(self, expression: str) -> float:
        """The value of an expression that has one series."""
        ((_, value),) = self.query(expression)
        return value

    def targets(self) -> list[dict[str, Any]]:
        """Every target that is scraped, as Prometheus tells of it."""
        found: list[dict[str, Any]] = self.prometheus.get("targets", state="active")["activeTargets"]
        return found

    def alerts(self, state: str = "firing") -> list[dict[str, str]]:
        """The labels of every alert in a state, by Prometheus' word."""
        found = self.prometheus.get("alerts")["alerts"]
        return [alert["labels"] for alert in found if alert["state"] == state]

    def names(self, state: str = "firing") -> set[str]:
        """The names of the alerts in a state."""
        return {labels["alertname"] for labels in self.alerts(state)}

    def wait(self, what: str, missing: Callable[[], object], *, seconds: float) -> float:
        """Ask every two seconds until nothing is missing, and give how long it took.

        Args:
            what: What is waited for, for the message.
            missing: A function that gives what is not there yet; what it cannot ask does not count as there.
            seconds: How long at most.
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
        raise AssertionError(f"waited {seconds:.0f} s in vain for {what}: {left}")
