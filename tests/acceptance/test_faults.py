"""Faults of a cluster with three control planes in five networks, each with seconds; it prints the table of docs/faults.md.

While each fault happens, a worker reads and writes through the address of the API ten times a second, each time with a
new connection, and sends packets to the other worker.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support import lab_power, labs
from tests.support.faults import PACKETS, PLANES, SECONDS, WORKERS, WRITES, Row, World
from tests.support.labs import maas

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "faults"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with labs.running(NAME, "--control-planes", "3", "--workers", "2") as lab:
        one = World(lab)
        one.wait("a whole cluster", one.whole)
        yield one
        print(f"\n{one.table()}\n")


def test_nothing_is_interrupted_while_nothing_happens(world: World) -> None:
    with world.traffic("none", 15) as row:
        pass
    assert row.lost == 0
    assert row.packets is not None
    assert row.packets <= PACKETS


def test_a_second_run_changes_nothing(world: World) -> None:
    inventory = str(world.lab.state / "hosts.yaml")
    assert "0 changed tasks on the hosts" in maas("bootstrap", "--inventory", inventory, "--yes").stderr


def test_an_api_server_is_stopped(world: World) -> None:
    stop = "crictl stop --timeout 0 $(crictl ps --quiet --name '^kube-apiserver$')"
    with world.traffic("API server of one host killed") as row:
        world.lab.on("master", "sh", "-c", stop)
        row.whole = world.wait("the API server", world.whole)
    held(row)


@pytest.mark.parametrize("host", PLANES)
def test_a_control_plane_dies(world: World, host: str) -> None:
    with world.traffic(f"host {host} killed (hub, API, etcd)") as row:
        lab_power.kill(NAME, host)
        time.sleep(SECONDS - 15)
        lab_power.start(NAME, host)
        row.whole = world.wait("the host", world.whole)
    held(row)


def held(row: Row) -> None:
    """Check a row against the targets of one host's end."""
    assert row.lost == 0
    assert row.writes is not None
    assert row.packets is not None
    assert row.writes <= WRITES
    assert row.packets <= PACKETS


def test_all_hosts_restart_at_once(world: World) -> None:
    row = Row("all hosts restarted at once")
    world.rows.append(row)
    for host in (*PLANES, *WORKERS):
        lab_power.kill(NAME, host)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: lab_power.start(NAME, host), (*PLANES, *WORKERS)))
    row.whole = world.wait("all hosts", world.whole)


def test_a_member_whose_data_is_lost_starts_no_second_cluster(world: World) -> None:
    before = namespaces(world)
    with world.traffic("etcd data directory of one host wiped, host restarted", 60) as row:
        world.lab.on("master2", "sh", "-c", "rm -rf /var/lib/etcd/member")
        lab_power.kill(NAME, "master2")
        lab_power.start(NAME, "master2")
        world.wait("the alert's metric", lambda: "etcd_data_lost 1" in metrics(world, "master2"))
        said = world.lab.on("master2", "journalctl", "--unit", "kubelet", "--no-pager")
        assert "the data of etcd in /var/lib/etcd/member is lost: etcd does not start here" in said
        time.sleep(20)
        # It neither started a cluster of its own, nor came back as a member that forgot its votes.
        assert not world.members()["master2"]
        assert not world.announces("master2")
        refused = world.lab.on("master2", "sh", "-c", "cat /var/log/pods/kube-system_etcd-*/etcd/*.log | tail -n 40")
        assert "cannot fetch cluster info from peer urls" in refused
        # What the user does, as the runbook says.
        inventory = str(world.lab.state / "hosts.yaml")
        began = time.monotonic()
        transcript = maas("bootstrap", "--inventory", inventory, "--yes").stderr
        assert "its data of etcd is lost" in transcript
        world.wait("the member", world.whole)
        row.whole = time.monotonic() - began
    assert row.lost == 0
    assert namespaces(world) == before


def namespaces(world: World) -> set[str]:
    """Return the namespaces without those of the smoke tests, which are deleted in the background."""
    found = world.kubectl("get", "namespaces", "--output", "name").split()
    return {name for name in found if not name.startswith("namespace/maas-verify-")}


def metrics(world: World, host: str) -> str:
    world.lab.run(host, "systemctl", "start", "maas-metrics.service")
    return world.lab.on(host, "cat", "/var/lib/maas/metrics/openvpn.prom")
