from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.support.hosts import facts_of, inventory_of

from maas import console, lab, paths
from maas.cluster import control_planes, drain, reboots
from maas.cluster.client import Cluster
from maas.cluster.control_planes import ControlPlane
from maas.cluster.host_programs import Hosts
from maas.cluster.objects import Node, Workload
from maas.cluster.reboots import HostState
from maas.commands import _gates, _hosts
from maas.commands import reboot as command
from maas.errors import ClusterError, LockError, UsageError
from maas.hosts import ansible, journal, lock, network_plan
from maas.hosts.inventory import Host, Inventory

PLANES = ("master", "master2", "master3")
IDLE = drain.NodeContents(ready=True, moved=("shop/app",), evicted=("shop/app-1",), deleted=(), blocked=(), volumes=())
NEEDED = "kernel 6.2 is installed, 6.1 is running"


class World:
    """A cluster, and what a run does to it, in order."""

    def __init__(self, *planes: str) -> None:
        own = tuple(
            Host(name=name, address=f"203.0.113.{n}", role="control-plane") for n, name in enumerate(planes, 20)
        )
        workers = inventory_of("node1", "node2").hosts[1:]
        self.inventory = Inventory(
            file=Path("/hosts.yaml"), cluster="shop", hub={"endpoint": "203.0.113.20"}, hosts=(*own, *workers)
        )
        self.names = [host.name for host in self.inventory.hosts]
        self.boots = dict.fromkeys(self.names, 1)
        self.newer: set[str] = set()
        self.updates: set[str] = set()
        self.cordoned: set[str] = set()
        self.foreign: set[str] = set()
        self.not_ready: set[str] = set()
        self.unsettled: list[str] = []
        self.wrong: list[list[str]] = []
        self.refreshed: list[bool] = []
        self.held = IDLE
        self.steps: list[str] = []
        self.failing: dict[str, BaseException] = {}

    def step(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]
        self.steps.append(name)

    # The hosts.

    def inspect(self, *_: object, updates: bool, refresh: bool) -> dict[str, HostState]:
        self.refreshed.append(refresh)
        return {
            name: HostState(
                boot=str(self.boots[name]),
                since=0.0,
                kernel="6.1",
                newer="6.2" if name in self.newer else "",
                updates=("libc6",) if updates and name in self.updates else (),
            )
            for name in self.names
        }

    def reboot(self, _: Hosts, host: Host) -> str:
        assert host.name in self.cordoned | self.foreign
        self.step(f"reboot {host.name}")
        before = self.boots[host.name]
        self.boots[host.name] += 1
        self.newer.discard(host.name)
        self.updates.discard(host.name)
        return str(before)

    def wait_booted(self, _: Hosts, host: Host, before: str, **__: object) -> HostState:
        self.step(f"boot {host.name}")
        assert int(before) + 1 == self.boots[host.name]
        return HostState(str(self.boots[host.name]), 5.0, "6.2")

    def upgrade(self, _: Hosts, host: Host) -> list[str]:
        self.step(f"upgrade {host.name}")
        return ["libc6"]

    # The nodes.

    def cordon(self, _: Cluster, name: str) -> bool:
        if name in self.foreign:
            return False
        self.cordoned.add(name)
        return True

    def uncordon(self, _: Cluster, name: str) -> None:
        self.cordoned.remove(name)
        self.steps.append(f"uncordon {name}")

    def drain(self, _: Cluster, node: str, *, release: bool, **__: object) -> None:
        assert release is (node not in self.foreign)
        self.step(f"drain {node}")

    def wait_node(self, _: Cluster, name: str, *, since: float, **__: object) -> None:
        assert since == 5.0
        self.step(f"ready {name}")

    def nodes(self) -> list[Node]:
        return [
            Node(name, "", name not in self.not_ready, "down", control_plane=False, version="") for name in self.names
        ]

    def workloads(self) -> list[Workload]:
        return [Workload("Deployment", "shop", name, 0, 1) for name in self.unsettled]

    # The control planes.

    def planes(self, *_: object) -> dict[str, ControlPlane]:
        self.step("gates")
        own = [host.name for host in self.inventory.control_planes]
        voters = {name: name for name in own}
        wrong = self.wrong.pop(0) if self.wrong else []
        found = {name: ControlPlane(announces=True, own=name, leader="master", voters=voters) for name in own}
        return found | {name: replace(found[name], error="refused") for name in wrong}

    def leave(self, _: Hosts, __: object, host: Host) -> str:
        self.step(f"leave {host.name}")
        return ""

    def stay(self, _: Hosts, __: object, host: Host) -> None:
        self.step(f"stay {host.name}")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return paths.state("shop")


def connect(world: World, state: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    facts = {name: facts_of() for name in world.names}
    plan = network_plan.compute(world.inventory, facts)
    hosts = Hosts(world.inventory, state)
    members = _hosts.Members(Cluster(state / "kubeconfig"), hosts, plan, dict.fromkeys(world.names, ""))
    wide = Console(stderr=True, highlight=False, soft_wrap=True, width=200)
    monkeypatch.setattr(console, "_err", lambda: wide)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(_hosts, "connect", lambda *_, **__: members)
    monkeypatch.setattr(Cluster, "nodes", lambda _: world.nodes())
    monkeypatch.setattr(Cluster, "workloads", lambda _: world.workloads())
    monkeypatch.setattr(_gates.Gates, "_alerts", lambda _: [])
    monkeypatch.setattr(_gates, "_PAUSE", 0.0)
    monkeypatch.setattr(control_planes, "inspect", world.planes)
    monkeypatch.setattr(drain, "contents", lambda *_: world.held)
    monkeypatch.setattr(drain, "drain", world.drain)
    monkeypatch.setattr(reboots, "cordoned", lambda _: sorted(world.cordoned))
    for name in ("inspect", "reboot", "wait_booted", "upgrade", "cordon", "uncordon", "wait_node"):
        monkeypatch.setattr(reboots, name, getattr(world, name))
    for name in ("leave", "stay"):
        monkeypatch.setattr(control_planes, name, getattr(world, name))
    return world


@pytest.fixture
def world(state: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return connect(World(*PLANES), state, monkeypatch)


def reboot(*names: str, dry_run: bool = False, yes: bool = True, **options: Any) -> None:
    command.reboot("shop", None, command.Options(names=names, **options), dry_run=dry_run, yes=yes)


def one(name: str, *more: str) -> list[str]:
    return [f"drain {name}", *more, f"reboot {name}", f"boot {name}", f"ready {name}", f"uncordon {name}"]


def test_only_hosts_that_need_it_restart_workers_first_and_the_tools_own_host_last(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.newer = {"master", "master2", "node2"}
    reboot()
    assert world.steps == [
        "gates",
        *one("node2"),
        "gates",
        *one("master2", "leave master2"),
        "gates",
        *one("master", "leave master"),
        "gates",
    ]
    assert NEEDED in capsys.readouterr().err
    world.steps.clear()
    reboot()
    assert world.steps == []
    assert "no host of shop needs a reboot" in capsys.readouterr().err


def test_the_journal_has_each_host(world: World, state: Path) -> None:
    world.newer = {"node1", "node2"}
    world.failing["boot node2"] = ClusterError("node2 did not boot")
    with pytest.raises(ClusterError, match="node2 did not boot"):
        reboot()
    entries = journal.read(state / ansible.JOURNAL)
    assert [(entry.playbook, entry.host, entry.outcome) for entry in entries] == [
        ("reboot", "node1", "changed"),
        ("reboot", "node2", "failed"),
    ]


@pytest.mark.parametrize("options", [{"dry_run": True}, {"yes": False}])
def test_nothing_is_changed_without_a_confirmation(
    world: World, state: Path, capsys: pytest.CaptureFixture[str], options: dict[str, bool]
) -> None:
    world.newer = {"node1"}
    files = sorted(state.iterdir())
    reboot(**options)
    assert world.steps == ["gates"]
    assert "evict 1 pods" in capsys.readouterr().err
    assert sorted(path for path in state.iterdir() if path.name != lock.FILE) == files


def test_a_dry_run_does_not_touch_the_lists_of_apt(world: World) -> None:
    world.updates = {"node1"}
    reboot(packages=True, dry_run=True)
    reboot(packages=True)
    assert world.refreshed == [False, True]
    assert world.steps == ["gates", "gates", "drain node1", "upgrade node1", *one("node1")[1:], "gates"]


@pytest.mark.parametrize("step", ["drain node1", "reboot node1", "boot node1", "ready node1"])
@pytest.mark.parametrize("error", [ClusterError("failed"), KeyboardInterrupt()])
def test_a_failure_leaves_no_node_cordoned_and_no_other_host_is_touched(
    world: World, step: str, error: BaseException
) -> None:
    world.newer = {"node1", "node2"}
    world.failing[step] = error
    with pytest.raises(type(error)):
        reboot()
    assert world.cordoned == set()
    assert world.steps[-1] == "uncordon node1"
    assert not any("node2" in done for done in world.steps)


@pytest.mark.parametrize("step", ["leave master2", "reboot master2"])
def test_a_control_plane_that_does_not_restart_announces_the_api_again(world: World, step: str) -> None:
    world.newer = {"master2"}
    world.failing[step] = ClusterError("failed")
    with pytest.raises(ClusterError):
        reboot()
    assert world.steps[-2:] == ["stay master2", "uncordon master2"]


def test_a_node_that_an_interrupted_run_left_cordoned_is_released_first(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cordoned.add("node2")
    reboot(dry_run=True)
    assert world.steps == []
    assert "it would accept pods again" in capsys.readouterr().err
    reboot()
    assert world.steps == ["uncordon node2"]


def test_a_node_that_somebody_else_cordoned_stays_so(world: World) -> None:
    world.foreign = {"node1"}
    world.newer = {"node1"}
    reboot()
    assert world.steps == ["gates", *one("node1")[:-1], "gates"]


def interrupt(world: World, step: str) -> None:
    """Begin to restart all hosts, and interrupt that."""
    world.failing[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        reboot(everything=True)
    world.failing.clear()
    world.steps.clear()


def test_the_same_command_restarts_only_what_is_left(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt(world, "drain node2")
    reboot(everything=True)
    assert [step for step in world.steps if step.startswith("reboot")] == [
        *("reboot node2", "reboot master2", "reboot master3", "reboot master")
    ]
    assert "this continues a run that was interrupted" in capsys.readouterr().err
    world.steps.clear()
    reboot(everything=True)
    assert len([step for step in world.steps if step.startswith("reboot")]) == 5, "a completed run is not continued"


def test_another_command_does_not_continue_what_was_interrupted(world: World) -> None:
    interrupt(world, "drain node2")
    reboot("node1")
    assert [step for step in world.steps if step.startswith("reboot")] == ["reboot node1"]


def test_an_unhealthy_cluster_is_refused_before_anything_changes(world: World, state: Path) -> None:
    world.newer, world.not_ready = {"node1"}, {"node2"}
    with pytest.raises(ClusterError) as caught:
        reboot()
    assert caught.value.message == "the first reboot does not begin: the cluster is not healthy"
    assert caught.value.context == ("node node2 is not Ready: down",)
    assert "nothing was changed" in str(caught.value.hint)
    assert world.steps == ["gates"]
    assert reboots.remembered(state, command.Options().key) == {}


def test_the_next_host_waits_until_the_cluster_is_whole_again(world: World) -> None:
    world.newer, world.wrong = {"master2", "master3"}, [[], ["master2"], ["master2"]]
    reboot()
    between = world.steps[world.steps.index("uncordon master2") : world.steps.index("drain master3")]
    assert between == ["uncordon master2", "gates", "gates", "gates"]


def test_a_run_stops_while_the_cluster_does_not_become_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_GATE_SECONDS", 0.01)
    world.newer, world.wrong = {"master2", "master3"}, [[], *[["master2"]] * 100_000]
    with pytest.raises(ClusterError) as caught:
        reboot()
    assert caught.value.message == "stopped before master3: the cluster is not healthy"
    assert caught.value.context == ("etcd on master2 does not answer: refused",)
    assert "restarted: master2" in str(caught.value.hint)
    assert "reboot master3" not in world.steps


def test_a_workload_that_was_broken_before_is_not_waited_for(world: World) -> None:
    world.newer, world.unsettled = {"node1", "node2"}, ["broken"]
    reboot()
    assert "reboot node2" in world.steps


def test_the_only_control_plane_restarts_by_name_only(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = connect(World("master"), state, monkeypatch)
    world.newer = {"master", "node1"}
    reboot()
    assert "reboot master" not in world.steps
    output = capsys.readouterr().err
    assert "master is left out: it is the only control plane" in output
    reboot("master")
    assert "reboot master" in world.steps
    output = capsys.readouterr().err
    assert "the API is not available meanwhile" in output
    assert "every host is disconnected from the VPN meanwhile" in output


def test_what_is_not_available_during_a_reboot_is_shown(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.held = drain.NodeContents(
        ready=True,
        moved=(),
        evicted=("a/b",),
        deleted=("shop/alone",),
        blocked=("a/b: the budget needs it",),
        volumes=(drain.Volume("pvc-1", "restaurant", "books", "5Gi"),),
    )
    reboot("node1", dry_run=True)
    output = capsys.readouterr().err
    assert "nothing creates shop/alone again" in output
    assert "away meanwhile: restaurant/books (5Gi)" in output
    assert "blocked now on node1, waits: a/b: the budget needs it" in output


def test_an_unknown_host_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="shop has no host node9"):
        reboot("node9")
    with pytest.raises(UsageError, match="--all"):
        reboot("node1", everything=True)
    assert world.steps == []


def test_another_run_is_not_disturbed(world: World, state: Path) -> None:
    world.newer = {"node1"}
    with lock.hold(state, command="bootstrap of shop"), pytest.raises(LockError):
        reboot()
    assert world.steps == []


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("02:00-05:00", ["02:00", "04:59"], ["01:59", "05:00"]), ("22:30-01:00", ["22:30", "00:10"], ["01:00", "12:00"])],
)
def test_a_window_can_include_midnight(text: str, inside: list[str], outside: list[str]) -> None:
    window = command.Window.parse(text)
    assert str(window) == text

    def included(clock: str) -> bool:
        return window.includes(datetime.strptime(f"2026-11-29 {clock}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC))

    assert [clock for clock in (*inside, *outside) if included(clock)] == inside


@pytest.mark.parametrize("text", ["2", "02:00", "02:00-02:00", "25:00-03:00", "a-b-c"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=text):
        command.Window.parse(text)


def test_no_host_restarts_outside_of_the_window(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.newer = {"node1", "node2"}
    answers = iter([False, True, True, False])
    monkeypatch.setattr(command.Window, "includes", lambda _: next(answers))
    window = command.Window.parse("02:00-05:00")
    reboot(window=window)
    assert world.steps == []
    assert "the window is 02:00-05:00" in capsys.readouterr().err
    with pytest.raises(ClusterError) as caught:
        reboot(window=window)
    assert caught.value.code == "WindowEnded"
    assert caught.value.context == ("restarted: node1",)
    assert "drain node2" not in world.steps


def test_a_host_of_a_lab_is_started_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, str]] = []

    def wait_booted(hosts: Hosts, host: Host, before: str, *, started: Any, **_: object) -> HostState:
        started()
        return world.wait_booted(hosts, host, before)

    monkeypatch.setattr(reboots, "wait_booted", wait_booted)
    monkeypatch.setattr(lab, "power_on", lambda *words: started.append(words))
    reboot("node1")
    assert started == []
    monkeypatch.setattr(lab, "is_lab", lambda _: True)
    reboot("node2")
    assert started == [("shop", "node2")]
