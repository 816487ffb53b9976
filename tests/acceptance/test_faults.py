"""Faults of a cluster with three control planes in five networks, each with seconds; it prints the table of docs/faults.md.

While each fault happens, a worker reads and writes through the address of the API ten times a second, each time with a
new connection, and sends packets to the other worker. Each row is printed at once, with the reason if it fails and with what
the control planes did, and the next fault follows.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support import lab_power, labs
from tests.support.faults import PLANES, WORKERS, World
from tests.support.labs import maas

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "faults"
AWAY = 25
"""Seconds that a killed host stays down."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with labs.running(NAME, "--control-planes", "3", "--workers", "2") as lab:
        one = World(lab)
        one.wait_whole()
        yield one
        print(f"\n{one.table()}\n")


@pytest.fixture(autouse=True)
def _whole(world: World) -> None:
    """What one fault left must not be counted for the next one."""
    world.wait_whole()


def test_nothing_is_interrupted_while_nothing_happens(world: World) -> None:
    with world.traffic("none", 15):
        pass


def test_a_second_run_changes_nothing(world: World) -> None:
    inventory = str(world.lab.state / "hosts.yaml")
    assert "0 changed tasks on the hosts" in maas("bootstrap", "--inventory", inventory, "--yes").stderr


def test_an_api_server_is_stopped(world: World) -> None:
    stop = "crictl stop --timeout 0 $(crictl ps --quiet --name '^kube-apiserver$')"
    with world.traffic("API server of one host killed") as row:
        world.lab.on("master", "sh", "-c", stop)
        row.whole = world.wait_whole()


def test_the_program_of_a_hub_is_killed(world: World) -> None:
    with world.traffic("OpenVPN of one hub killed") as row:
        world.lab.on("master", "systemctl", "kill", "--signal", "KILL", "openvpn-server@maas.service")
        row.whole = world.wait_whole()


@pytest.mark.parametrize("host", PLANES)
def test_a_control_plane_dies(world: World, host: str) -> None:
    with world.traffic(f"host `{host}` killed (hub, API, etcd)") as row:
        lab_power.kill(NAME, host)
        time.sleep(AWAY)
        lab_power.start(NAME, host)
        row.whole = world.wait_whole()


def test_all_hosts_restart_at_once(world: World) -> None:
    with world.row("all hosts restarted at once") as row:
        for host in (*PLANES, *WORKERS):
            lab_power.kill(NAME, host)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: lab_power.start(NAME, host), (*PLANES, *WORKERS)))
        row.whole = world.wait_whole()


def test_a_member_whose_data_is_lost_starts_no_second_cluster(world: World) -> None:
    before = namespaces(world)
    with world.traffic("etcd data directory of one host wiped, host restarted", 60) as row:
        world.lab.on("master2", "sh", "-c", "rm -rf /var/lib/etcd/member")
        lab_power.kill(NAME, "master2")
        lab_power.start(NAME, "master2")
        world.wait("the alert's metric", lambda: "etcd_data_lost 1" in metrics(world, "master2"))
        said = world.lab.on("master2", "journalctl", "--unit", "kubelet", "--no-pager")
        assert "the data of etcd in /var/lib/etcd/member is lost: etcd does not start here" in said
        # It neither starts a cluster of its own, nor comes back as a member that forgot its votes.
        log = "cat /var/log/pods/kube-system_etcd-*/etcd/*.log | tail -n 40"
        refused = "cannot fetch cluster info from peer urls"
        world.wait("etcd to refuse to start", lambda: refused in world.run("master2", "sh", "-c", log).stdout)
        assert not world.members()["master2"]
        assert not world.announces("master2")
        # What the user does, as the runbook says.
        inventory = str(world.lab.state / "hosts.yaml")
        began = time.monotonic()
        transcript = maas("bootstrap", "--inventory", inventory, "--yes").stderr
        assert "its data of etcd is lost" in transcript
        world.wait_whole()
        row.whole = time.monotonic() - began
    assert namespaces(world) == before


def namespaces(world: World) -> set[str]:
    """Return the namespaces without those of the smoke tests, which are deleted in the background."""
    found = world.kubectl("get", "namespaces", "--output", "name").split()
    return {name for name in found if not name.startswith("namespace/maas-verify-")}


def metrics(world: World, host: str) -> str:
    world.lab.run(host, "systemctl", "start", "maas-metrics.service")
    return world.lab.on(host, "cat", "/var/lib/maas/metrics/openvpn.prom")
