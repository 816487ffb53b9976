from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.hosts import INVENTORY

from maas.cluster import control_planes
from maas.cluster.client import Cluster
from maas.cluster.host_programs import Hosts
from maas.commands import _gates
from maas.dashboards.probe import Prometheus
from maas.errors import ClusterError

ALERTS = [
    {"state": "firing", "labels": {"alertname": "KubeAPIDown", "severity": "critical"}},
    {"state": "firing", "labels": {"alertname": "KubeAPIDown", "severity": "critical", "job": "other"}},
    {"state": "firing", "labels": {"alertname": "TargetDown", "severity": "warning"}},
    {"state": "firing", "labels": {"alertname": "Watchdog"}},
    {"state": "pending", "labels": {"alertname": "KubeletDown", "severity": "critical"}},
]


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> _gates.Gates:
    """The gates of a cluster in which everything is as it should be, but for its alerts."""
    plan: Any = SimpleNamespace(hosts={}, announcers=list)
    hosts = Hosts(INVENTORY, Path("/nowhere"))
    core = SimpleNamespace(list_service_for_all_namespaces=None)
    monkeypatch.setattr(Cluster, "core", core)
    monkeypatch.setattr(Cluster, "nodes", lambda _: [])
    monkeypatch.setattr(Cluster, "workloads", lambda _: [])
    monkeypatch.setattr(control_planes, "inspect", lambda *_: {})
    monkeypatch.setattr(_gates, "listed", lambda *_, **__: [{}])
    monkeypatch.setattr(Prometheus, "of", lambda cluster: Prometheus(cluster, "/prometheus"))
    monkeypatch.setattr(Prometheus, "get", lambda *_: {"alerts": ALERTS})
    members: Any = SimpleNamespace(cluster=Cluster(Path("/nowhere")), hosts=hosts, plan=plan, addresses={})
    return _gates.Gates(members)


def test_a_critical_alert_that_fires_is_a_reason_to_wait(gates: _gates.Gates) -> None:
    assert gates.problems() == ["the critical alert KubeAPIDown is firing"]


def test_an_alert_can_be_accepted(gates: _gates.Gates) -> None:
    assert _gates.Gates(gates.members, ignored=frozenset({"KubeAPIDown"})).problems() == []


def test_a_cluster_without_prometheus_has_no_alerts(gates: _gates.Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gates, "listed", lambda *_, **__: [])
    assert gates.problems() == []


def test_a_prometheus_that_does_not_answer_is_waited_for(gates: _gates.Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> None:
        raise ClusterError("Prometheus is not available: HTTP status 503", context=["no endpoints"])

    monkeypatch.setattr(Prometheus, "get", unavailable)
    assert gates.problems() == ["Prometheus is not available: HTTP status 503", "no endpoints"]


def test_an_api_server_that_does_not_answer_is_a_reason_to_wait(
    gates: _gates.Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise ConnectionRefusedError("connection refused")

    monkeypatch.setattr(Cluster, "nodes", refused)
    assert gates.problems() == ["the API server did not answer: connection refused"]
