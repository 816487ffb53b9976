from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of

from maas import console, paths
from maas.cluster import certificates, drain, etcd_members, tunnel
from maas.cluster.etcd_members import Member
from maas.commands import _hosts
from maas.commands import remove as command
from maas.errors import ClusterError, HostsError, PkiError, UsageError
from maas.hosts import ansible, network_plan, pki, ssh
from maas.hosts import inventory as inventories

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.12, role: worker}
"""
BOOKS = drain.Volume("pvc-1", "restaurant", "books", "5Gi")
IDLE = drain.NodeContents(ready=True, moved=(), evicted=("restaurant/app",), deleted=(), blocked=(), volumes=())


class World:
    """What a removal finds and does, in order."""

    def __init__(self) -> None:
        self.held: drain.NodeContents | None = IDLE
        self.members: tuple[Member, ...] = ()
        self.away: list[str] = []
        self.steps: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.inventory: dict[str, Any] = {}
        self.hubs: dict[str, list[str]] = {}

    def step(self, name: str, answer: Any = None) -> Any:
        def take(*_: Any, **__: Any) -> Any:
            if name in self.failing:
                raise self.failing[name]
            self.steps.append(name)
            return answer() if callable(answer) else answer

        return take

    def connect(self, *_: Any, ssh: list[str], hubs: dict[str, list[str]], **__: Any) -> None:
        self.hubs = hubs
        assert ssh in hubs.values()
        self.steps.append("tunnel through others")

    def ansible(self, playbook: str, *, inventory: dict[str, Any], without: Collection[str] = (), **_: Any) -> None:
        if playbook in self.failing:
            raise self.failing[playbook]
        hosts = [name for group in inventory["all"]["children"].values() for name in group["hosts"]]
        self.inventory = inventory
        self.steps.append(f"{playbook} {', '.join(sorted({*hosts} - {*without}))}")


def cluster_of(directory: Path, text: str) -> Path:
    """Write the inventory and the state of a cluster that bootstrap has made."""
    file = directory / "hosts.yaml"
    file.write_text(text)
    listed = inventories.load(file)
    state = paths.state("shop")
    facts = {host.name: facts_of() for host in listed.hosts}
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.254:6443"}))
    (state / "plan.json").write_text(network_plan.compute(listed, facts).to_json())
    (state / "facts.json").write_text(json.dumps({name: one.model_dump(mode="json") for name, one in facts.items()}))
    entry = {"playbook": "site", "phase": "p", "outcome": "ok", "changed": 1, "seconds": 1, "inputs": ""}
    lines = [{**entry, "time": "2026-11-01T00:00:00Z", "host": host.name} for host in listed.hosts]
    (state / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pki.ensure(state / "pki", "shop", [host.name for host in listed.hosts], hubs=[hub.name for hub in listed.hubs])
    return file


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return cluster_of(tmp_path, INVENTORY)


@pytest.fixture
def world(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert inventory.exists()
    made = World()
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(ssh, "resolve", lambda listed: listed)
    monkeypatch.setattr(tunnel, "connect", lambda _: None)
    monkeypatch.setattr(drain, "contents", lambda *_: made.held)
    monkeypatch.setattr(drain, "drain", made.step("drain"))
    monkeypatch.setattr(_hosts, "admin_kubeconfig", lambda *_: "")
    monkeypatch.setattr(tunnel, "open_tunnel", made.connect)
    monkeypatch.setattr(etcd_members, "find", lambda hosts, **_: (hosts.inventory.control_planes[1], made.members))
    monkeypatch.setattr(etcd_members, "stop_control_plane", made.step("stop control plane"))
    monkeypatch.setattr(etcd_members, "leave", made.step("leave etcd", lambda: made.members))
    monkeypatch.setattr(certificates, "reject", made.step("revoke on hubs", lambda: made.away))
    monkeypatch.setattr(drain, "delete_node", made.step("delete node"))
    monkeypatch.setattr(drain, "delete_volumes", made.step("delete volumes"))
    monkeypatch.setattr(ansible, "run", made.ansible)
    return made


def remove(
    file: Path, node: str = "node2", /, *, lose_data: bool = False, dry_run: bool = False, yes: bool = True
) -> None:
    command.remove(file, node, timeout=300, lose_data=lose_data, dry_run=dry_run, yes=yes)


def test_a_worker_leaves_in_order_and_the_other_hosts_are_not_reset(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    remove(inventory)
    assert world.steps == [
        "drain",
        "disconnect master",
        "revoke on hubs",
        "delete node",
        "delete volumes",
        "reset node2",
    ]
    assert not (paths.state("shop") / "pki" / "nodes" / "node2.crt").exists()
    output = capsys.readouterr().err
    assert "evict 1 pods" in output
    assert "or the next bootstrap adds it again" in output


@pytest.mark.parametrize(
    ("options", "said"), [({"dry_run": True}, "--dry-run"), ({"yes": False}, "nothing was changed")]
)
def test_nothing_is_changed_without_a_confirmation(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str], options: dict[str, bool], said: str
) -> None:
    remove(inventory, **options)
    assert world.steps == []
    assert said in capsys.readouterr().err


def test_the_only_copy_of_data_is_kept_unless_it_may_be_lost(inventory: Path, world: World) -> None:
    world.held = drain.NodeContents(ready=True, moved=(), evicted=(), deleted=(), blocked=(), volumes=(BOOKS,))
    with pytest.raises(ClusterError) as caught:
        remove(inventory)
    assert caught.value.code == "DataOnNode"
    assert caught.value.message == "node2 holds the only copy of 1 volumes"
    assert caught.value.context == ("restaurant/books (5Gi)",)
    assert caught.value.command is not None
    assert caught.value.command.endswith("--lose-data")
    assert world.steps == []
    remove(inventory, lose_data=True)
    assert "delete volumes" in world.steps


@pytest.mark.parametrize(
    ("node", "message", "hint"),
    [
        ("master", "master is the only control plane of shop: without it there is no cluster", "remove a worker"),
        ("node9", "shop has no host node9", "its hosts are master, node1, node2"),
    ],
)
def test_neither_the_only_control_plane_nor_a_stranger_can_be_removed(
    inventory: Path, world: World, node: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        remove(inventory, node)
    assert caught.value.message == message
    assert hint in str(caught.value.hint)
    assert world.steps == []


def test_a_node_that_is_not_ready_is_not_drained(inventory: Path, world: World) -> None:
    world.held = drain.NodeContents(ready=False, moved=(), evicted=("a/b",), deleted=(), blocked=(), volumes=())
    remove(inventory)
    assert world.steps[0] == "disconnect master"


def test_after_an_interruption_the_same_command_continues(inventory: Path, world: World) -> None:
    world.failing["revoke on hubs"] = PkiError("node2 is not disconnected")
    with pytest.raises(PkiError):
        remove(inventory)
    assert (paths.state("shop") / "pki" / "nodes" / "node2.crt").exists()
    del world.failing["revoke on hubs"]
    world.failing["delete node"] = ClusterError("the API server does not answer")
    with pytest.raises(ClusterError):
        remove(inventory)
    del world.failing["delete node"]
    world.failing["reset"] = HostsError("node2: task failed")
    with pytest.raises(HostsError):
        remove(inventory)
    assert world.steps[-4:] == ["drain", "disconnect master", "delete node", "delete volumes"]
    del world.failing["reset"]
    world.steps.clear()
    remove(inventory)
    assert world.steps == ["reset node2"]


def test_the_same_command_again_changes_nothing(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    remove(inventory)
    before = {path: path.read_bytes() for path in paths.state("shop").rglob("*") if path.is_file()}
    world.steps.clear()
    remove(inventory)
    assert world.steps == []
    assert "node2 is no longer part of shop; nothing was changed" in capsys.readouterr().err
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert set(changed) <= {"lock.json"}


def test_the_state_here_no_longer_has_a_host_that_was_removed(inventory: Path, world: World) -> None:
    assert world.held is not None
    before = _hosts.saved_plan(paths.state("shop"))
    remove(inventory, "node1")
    plan = _hosts.saved_plan(paths.state("shop"))
    assert list(plan.hosts) == ["master", "node2"]
    assert plan.hosts["node2"] == before.hosts["node2"]
    assert set(json.loads((paths.state("shop") / "facts.json").read_text())) == {"master", "node2"}


def test_a_host_that_does_not_answer_is_reported_and_reset_later(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.failing["reset"] = HostsError("node2: host is unreachable", code="HostUnreachable")
    remove(inventory)
    shown = capsys.readouterr().err
    assert "node2 does not answer: its host was not reset" in shown
    assert "./nox -s same -- --command" in shown
    assert "delete node" in world.steps
    assert "node2" not in _hosts.saved_plan(paths.state("shop")).hosts
    world.failing.clear()
    world.steps.clear()
    remove(inventory)
    assert world.steps == ["reset node2"]
    assert "only the reset of its host is missing" in capsys.readouterr().err


def test_a_host_that_left_the_inventory_is_not_reset(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory.write_text("\n".join(line for line in INVENTORY.splitlines() if "node2" not in line))
    remove(inventory)
    assert not any(step.startswith("reset") for step in world.steps)
    assert "its host was not reset" in capsys.readouterr().err
    assert set(json.loads((paths.state("shop") / "facts.json").read_text())) == {"master", "node1"}


def test_a_hub_that_does_not_answer_is_named(inventory: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.away = ["hub1"]
    remove(inventory)
    assert "hub1 does not answer, and learns of the revocation from the other hubs" in capsys.readouterr().err


def test_a_hub_without_kubernetes_cannot_leave(tmp_path: Path, world: World) -> None:
    small = "  - {name: hub1, address: 203.0.113.20, role: hub, hub: {endpoint: 203.0.113.20}}\n"
    shutil.rmtree(paths.state("shop"))
    file = cluster_of(tmp_path, INVENTORY + small)
    with pytest.raises(UsageError) as caught:
        remove(file, "hub1")
    assert (
        caught.value.message == "hub1 is a hub of the VPN of shop, and only workers and control planes can be removed"
    )
    assert caught.value.hint == "remove a worker: node1, node2"
    assert world.steps == []
    remove(file, "node2")
    assert "disconnect hub1, master" in world.steps, "each hub forgets its address"


def test_a_host_that_the_inventory_lacks_is_named_before_anything_changes(inventory: Path, world: World) -> None:
    inventory.write_text("\n".join(line for line in INVENTORY.splitlines() if "node1" not in line))
    with pytest.raises(UsageError, match="node1 of shop is not in"):
        remove(inventory)
    assert world.steps == []


PLANES = """\
cluster: shop
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane, hub: {endpoint: 203.0.113.10}}
  - {name: master2, address: 203.0.113.11, role: control-plane, hub: {endpoint: 203.0.113.11}}
  - {name: master3, address: 203.0.113.12, role: control-plane, hub: {endpoint: 203.0.113.12}}
  - {name: node1, address: 203.0.113.13, role: worker}
"""
MEMBERS = tuple(
    Member(str(number), name, f"10.90.0.{number}") for number, name in enumerate(("master", "master2", "master3"), 1)
)


@pytest.fixture
def planes(tmp_path: Path, world: World) -> Path:
    """The inventory of a cluster with three control planes."""
    world.members = MEMBERS
    shutil.rmtree(paths.state("shop"))
    return cluster_of(tmp_path, PLANES)


def test_the_first_control_plane_leaves_in_order(
    planes: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    remove(planes, "master")
    assert world.steps == [
        "drain",
        "tunnel through others",
        "stop control plane",
        "leave etcd",
        "disconnect master2, master3, node1",
        "revoke on hubs",
        "delete node",
        "delete volumes",
        "reset master",
    ]
    shown = capsys.readouterr().err
    assert "etcd with 2 members survives no more failures than with 1" in shown
    assert "shop has 2 control planes now" in shown
    state = paths.state("shop")
    plan = _hosts.saved_plan(state)
    assert list(plan.hubs) == ["master2", "master3"]
    assert [hub.index for hub in plan.hubs.values()] == [1, 2]
    assert set(plan.hosts["node1"].servers) == {"master2", "master3"}
    assert set(world.hubs) == {"master2", "master3"}, "a later revocation does not ask the hub that is gone"
    assert not (state / "pki" / "hubs" / "master").exists()
    assert not list((state / "pki" / "hubs").glob("*/clients/master.key"))


def test_no_host_keeps_a_tunnel_to_a_hub_that_is_removed(planes: Path, world: World) -> None:
    world.failing["reset"] = HostsError("master: host is unreachable", code="HostUnreachable")
    remove(planes, "master")
    hosts = {
        name: own
        for group in world.inventory["all"]["children"].values()
        for name, own in group["hosts"].items()
        if own
    }
    assert hosts["node1"]["node"]["vpn_units"] == ["openvpn-client@maas1.service", "openvpn-client@maas2.service"]
    assert [one["name"] for one in hosts["master2"]["node"]["neighbors"]] == ["node1", "master3"]
    assert world.inventory["all"]["vars"]["cluster"]["control_planes"] == ["master2", "master3"]


def test_a_control_plane_that_is_dead_is_not_stopped(planes: Path, world: World) -> None:
    world.held = drain.NodeContents(ready=False, moved=(), evicted=(), deleted=(), blocked=(), volumes=())
    remove(planes, "master3")
    assert world.steps[:3] == ["tunnel through others", "leave etcd", "disconnect master, master2, node1"]


def test_a_host_that_is_down_is_left_out(planes: Path, world: World) -> None:
    command.remove(planes, "master3", timeout=300, lose_data=False, without=["node1"], dry_run=False, yes=True)
    assert "disconnect master, master2" in world.steps
    with pytest.raises(UsageError, match="--without node7: shop has no such host"):
        command.remove(planes, "master2", timeout=300, lose_data=False, without=["node7"], dry_run=False, yes=True)


def test_a_control_plane_that_etcd_needs_is_not_removed(planes: Path, world: World) -> None:
    world.members = (*MEMBERS[:2], replace(MEMBERS[2], healthy=False))
    with pytest.raises(ClusterError) as caught:
        remove(planes, "master")
    assert caught.value.code == "QuorumLost"
    assert caught.value.message == ("without master, 1 of 2 members of etcd would be healthy, and it needs 2 to decide")
    assert world.steps == []
    remove(planes, "master3")
    assert "leave etcd" in world.steps


def test_etcd_with_an_unknown_member_is_not_changed(planes: Path, world: World) -> None:
    world.members = (*MEMBERS, Member("9", "", "10.90.0.9", learner=True))
    with pytest.raises(
        ClusterError, match=r"no control plane of this cluster: a member at 10\.90\.0\.9 that never started"
    ):
        remove(planes, "master")
    assert world.steps == []


def test_the_removal_of_a_control_plane_is_continued_after_its_member_has_left(planes: Path, world: World) -> None:
    world.members = MEMBERS[1:]
    world.held = None
    remove(planes, "master")
    assert world.steps[:2] == ["tunnel through others", "leave etcd"]
    assert "delete node" in world.steps
