"""Faults of a cluster with three control planes in five networks, each with seconds; it prints the table of docs/faults.md.

While each fault happens, a worker reads and writes through the address of the API ten times a second, each time with a
new connection, sends packets to the other worker, and guests on it read the menu and order. Each row is printed at once, with
the reason if it fails and with what the control planes did, and the next fault follows.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import lab_power, labs
from tests.support.faults import PLANES, WORKERS, World
from tests.support.labs import maas

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "faults"
VALUES = Path(__file__).with_name("faults-values.yaml")
AWAY = 25
"""Seconds that a killed host stays down."""
CUT = 10
"""Seconds that a network is cut."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with labs.running(NAME, "--control-planes", "3", "--workers", "2", "--values", str(VALUES)) as lab:
        one = World(lab)
        one.wait_whole()
        one.gather()
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
    with world.traffic(f"host `{host}` killed (hub, API, etcd)", away=[host]) as row:
        lab_power.kill(NAME, host)
        time.sleep(AWAY)
        lab_power.start(NAME, host)
        row.whole = world.wait_whole()


def test_a_pair_of_hosts_is_cut(world: World) -> None:
    with world.traffic("a worker cut from the hub that it prefers") as row:
        with world.cut((world.other, "master")):
            time.sleep(CUT)
        row.whole = world.wait_whole()


def test_the_network_of_a_control_plane_is_cut(world: World) -> None:
    with world.traffic(f"network of `master2` cut for {CUT} s") as row:
        with world.unplugged("master2"):
            time.sleep(CUT)
        row.whole = world.wait_whole()


def test_the_network_of_a_worker_is_cut_and_its_pods_stay(world: World) -> None:
    # Nothing reaches the restaurant meanwhile, but nothing may be moved either.
    title = f"network of the worker with the restaurant cut for {CUT} s"
    with world.traffic(title, affected=("packets", "guests")) as row:
        with world.unplugged(world.home):
            time.sleep(CUT)
        row.whole = world.wait_whole()


def test_a_minority_with_a_control_plane_is_cut_off(world: World) -> None:
    minority, majority = ("master3", world.other), ("master", "master2", world.home)
    pairs = [(one, other) for one in minority for other in majority if world.tunnels(one, other)]
    with world.traffic("`master3` and a worker cut off for 25 s", source=world.home, to="master2") as row:
        with world.cut(*pairs):
            # Its API must not answer any longer: it has no majority.
            world.wait("the minority to withdraw the address", lambda: not world.announces("master3"), seconds=25)
            time.sleep(max(0.0, 25 - (time.time() - row.began)))
            assert [host for host in PLANES if world.announces(host)] == ["master", "master2"]
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
    with world.traffic("etcd data directory of one host wiped, host restarted", 60, away=["master2"]) as row:
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


@pytest.fixture(scope="module")
def long_paths(world: World) -> Iterator[None]:
    with world.long_paths():
        yield


@pytest.mark.usefixtures("long_paths")
@pytest.mark.parametrize("milliseconds", [20, 80, 150])
def test_a_control_plane_dies_on_long_paths(world: World, milliseconds: int) -> None:
    world.round_trips(milliseconds)
    title = f"round trips of {milliseconds} ms to each hub, host `master` killed"
    # An election takes as much longer as the paths are. The first hub connects to no other one, so it needs no relay when it
    # boots.
    with world.traffic(title, away=["master"], affected=("reads",)) as row:
        lab_power.kill(NAME, "master")
        time.sleep(AWAY)
        lab_power.start(NAME, "master")
        row.whole = world.wait_whole()


def test_a_hub_returns_after_a_revocation(world: World) -> None:
    revoked = world.other
    title = f"`master2` returns after the revocation of `{revoked}`"
    with world.traffic(title, 90, source=world.home, to="master3", away=[revoked, "master2"]) as row:
        lab_power.kill(NAME, "master2")
        said = maas("revoke", "--name", NAME, revoked, "--yes").stderr
        assert "master2 does not answer, and learns of the revocation from the other hubs" in said
        assert not connected(world, "master3", revoked)
        lab_power.start(NAME, "master2")
        world.wait("the hub to serve", lambda: connected(world, "master2", world.home))
        # The node tries to connect every five seconds.
        for _ in range(12):
            assert not connected(world, "master2", revoked)
            time.sleep(1)
        learned = world.lab.on("master2", "journalctl", "--boot", "--no-pager", "--unit", "openvpn-server@maas")
        assert f"of {revoked} is revoked" in learned
        inventory = str(world.lab.state / "hosts.yaml")
        began = time.monotonic()
        maas("bootstrap", "--inventory", inventory, "--yes")
        world.wait_whole()
        row.whole = time.monotonic() - began


def connected(world: World, hub: str, node: str) -> bool:
    """Return whether a node is connected to a hub."""
    ask = f"import runpy; print(runpy.run_path('/usr/local/lib/maas/revoke')['connected']({node!r}))"
    return world.run(hub, "python3", "-c", ask).stdout.strip() == "True"


def namespaces(world: World) -> set[str]:
    """Return the namespaces without those of the smoke tests, which are deleted in the background."""
    found = world.kubectl("get", "namespaces", "--output", "name").split()
    return {name for name in found if not name.startswith("namespace/maas-verify-")}


def metrics(world: World, host: str) -> str:
    world.lab.run(host, "systemctl", "start", "maas-metrics.service")
    return world.lab.on(host, "cat", "/var/lib/maas/metrics/openvpn.prom")
