"""A revoked node, bootstrap while a worker is down, renewed certificates, and a removed worker, on a lab."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import lab_power, labs, restaurant
from tests.support.labs import maas

from maas import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.client import Cluster

ROOT = Path(__file__).parents[2]
NAME = "lost"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def on(host: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    words = ["docker", "exec", f"maas-{NAME}-{host}", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=check)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with labs.running(NAME) as running:
        yield running.cluster


def ready(cluster: Cluster, name: str) -> bool:
    return next(node for node in cluster.nodes() if node.name == name).ready


def test_a_revoked_node_is_disconnected_at_once_and_the_others_are_not(cluster: Cluster) -> None:
    before = on("master", "grep", "^CLIENT_LIST.node1", "/run/openvpn-server/maas.status").stdout.split("\t")[7]
    assert "node2 is disconnected" in maas("revoke", "--name", NAME, "--node", "node2", "--yes").stderr
    assert on("node2", "ping", "-c1", "-W2", "10.90.0.1", check=False).returncode != 0
    deadline = time.monotonic() + 120
    while ready(cluster, "node2"):
        assert time.monotonic() < deadline, "a node without the VPN stays Ready"
        time.sleep(1)
    assert ready(cluster, "node1")
    after = on("master", "grep", "^CLIENT_LIST.node1", "/run/openvpn-server/maas.status").stdout.split("\t")[7]
    assert after == before, "node1 reconnected"


@pytest.mark.usefixtures("cluster")
def test_bootstrap_continues_without_a_worker_that_is_down() -> None:
    lab_power.kill(NAME, "node2")
    inventory = str(paths.state(NAME) / "hosts.yaml")
    transcript = maas("bootstrap", "--inventory", inventory, "--yes", status=1).stderr
    assert "--without node2" in transcript
    # Also if the volume of the database is on it.
    assert "Ready  2 of 2 nodes" in maas("bootstrap", "--inventory", inventory, "--without", "node2", "--yes").stderr


def test_a_node_that_is_back_gets_new_keys(cluster: Cluster) -> None:
    maas("up", "--name", NAME, "--yes")
    assert ready(cluster, "node2")
    assert "0 changed tasks on the hosts" in maas("up", "--name", NAME, "--yes").stderr


def test_renewed_certificates_are_used_by_the_running_programs(cluster: Cluster) -> None:
    show = "import ssl; print(ssl.get_server_certificate(('10.90.0.1', {})))"
    ports = (6443, 10257, 10259)
    before = [on("master", "python3", "-c", show.format(port)).stdout for port in ports]
    maas("certificates", "renew", "--name", NAME, "--all", "--yes")
    deadline = time.monotonic() + 60
    while [on("master", "python3", "-c", show.format(port), check=False).stdout for port in ports] == before:
        assert time.monotonic() < deadline
        time.sleep(1)
    after = [on("master", "python3", "-c", show.format(port)).stdout for port in ports]
    assert not set(before) & set(after)
    # The administrator's certificate is renewed, too.
    assert all(node.ready for node in cluster.nodes())


def test_a_worker_is_removed_while_guests_order_and_can_be_added_again(cluster: Cluster) -> None:
    lab = labs.Lab(NAME)
    inventory = str(lab.state / "hosts.yaml")
    (database,) = restaurant.pods(lab, restaurant.DATABASE)
    leaving, staying = next(iter({"node1", "node2"} - {database.node})), database.node
    refused = maas("remove", database.node, "--inventory", inventory, "--yes", status=1).stderr
    assert "holds the only copy of" in refused
    assert "restaurant/" in refused
    with restaurant.guests(cluster, rate=10, orders=0.5, seconds=60, node=staying) as guests:
        began = time.monotonic()
        maas("remove", leaving, "--inventory", inventory, "--lose-data", "--yes")
        print(f"removed after {time.monotonic() - began:.0f} s")
        result = guests.result()
    print(f"{result.report['answered']} answers, {result.report['failed']} failed")
    assert result.report["failed"] == 0, result.report["failures"]
    assert set(result.orders) <= restaurant.orders(lab)
    assert leaving not in {node.name for node in cluster.nodes()}
    assert lab.run(leaving, "sh", "-c", "ls /etc/kubernetes /etc/openvpn/client/maas*").returncode != 0
    began = time.monotonic()
    maas("up", "--name", NAME, "--yes")
    print(f"added again after {time.monotonic() - began:.0f} s")
    assert ready(cluster, leaving)
