from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths
from maas.cluster import certificates, drain, tunnel
from maas.commands import remove as command
from maas.errors import ClusterError, HostsError, PkiError, UsageError
from maas.hosts import ansible, network_plan, pki

if TYPE_CHECKING:
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
        self.steps: list[str] = []
        self.failing: dict[str, Exception] = {}

    def step(self, name: str) -> Any:
        def take(*_: Any, **options: Any) -> None:
            if name in self.failing:
                raise self.failing[name]
            self.steps.append(name if "without" not in options else f"{name} not {sorted(options['without'])}")

        return take


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state = paths.state("shop")
    hosts = inventory_of("node1", "node2")
    facts = {host.name: facts_of() for host in hosts.hosts}
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.1:6443"}))
    (state / "plan.json").write_text(network_plan.compute(hosts, facts).to_json())
    (state / "facts.json").write_text(json.dumps({name: one.model_dump(mode="json") for name, one in facts.items()}))
    pki.ensure(state / "pki", "shop", [host.name for host in hosts.hosts], hubs=["master"])
    file = tmp_path / "hosts.yaml"
    file.write_text(INVENTORY)
    return file


@pytest.fixture
def world(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert inventory.exists()
    made = World()
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(tunnel, "connect", lambda _: None)
    monkeypatch.setattr(drain, "contents", lambda *_: made.held)
    monkeypatch.setattr(drain, "drain", made.step("drain"))
    monkeypatch.setattr(certificates, "reject", made.step("disconnect"))
    monkeypatch.setattr(drain, "delete_node", made.step("delete node"))
    monkeypatch.setattr(drain, "delete_volumes", made.step("delete volumes"))
    monkeypatch.setattr(ansible, "run", made.step("reset"))
    return made


def remove(
    file: Path, node: str = "node2", /, *, lose_data: bool = False, dry_run: bool = False, yes: bool = True
) -> None:
    command.remove(file, node, timeout=300, lose_data=lose_data, dry_run=dry_run, yes=yes)


def test_a_worker_leaves_in_order_and_the_other_hosts_are_not_reset(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    remove(inventory)
    assert world.steps == ["drain", "disconnect", "delete node", "delete volumes", "reset not ['master', 'node1']"]
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
        ("master", "master is the only control plane of shop: without it there is no cluster", "node1, node2"),
        ("node9", "shop has no node node9", "its workers are node1, node2"),
    ],
)
def test_only_a_worker_of_the_cluster_can_be_removed(
    inventory: Path, world: World, node: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        remove(inventory, node)
    assert caught.value.message == message
    assert hint in str(caught.value.hint)
    assert world.steps == []


def test_a_control_plane_without_a_hub_is_not_removed_as_a_worker(inventory: Path, world: World) -> None:
    file = paths.state("shop") / "plan.json"
    plan = json.loads(file.read_text())
    plan["hosts"]["node1"]["role"] = "control-plane"
    file.write_text(json.dumps(plan))
    with pytest.raises(UsageError, match="node1 is a control plane of shop, and only workers can be removed"):
        remove(inventory, "node1")
    assert world.steps == []


def test_a_node_that_is_not_ready_is_not_drained(inventory: Path, world: World) -> None:
    world.held = drain.NodeContents(ready=False, moved=(), evicted=("a/b",), deleted=(), blocked=(), volumes=())
    remove(inventory)
    assert world.steps[0] == "disconnect"


def test_after_an_interruption_the_same_command_continues(inventory: Path, world: World) -> None:
    world.failing["disconnect"] = PkiError("node2 is not disconnected")
    with pytest.raises(PkiError):
        remove(inventory)
    assert (paths.state("shop") / "pki" / "nodes" / "node2.crt").exists()
    del world.failing["disconnect"]
    world.failing["reset"] = HostsError("node2: task failed")
    with pytest.raises(HostsError):
        remove(inventory)
    assert world.steps == ["drain", "drain", "disconnect", "delete node", "delete volumes"]
    del world.failing["reset"]
    world.held = None
    remove(inventory)
    assert world.steps[5:] == ["delete node", "reset not ['master', 'node1']"]


def test_a_host_that_does_not_answer_is_reported(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.failing["reset"] = HostsError("node2: host is unreachable", code="HostUnreachable")
    remove(inventory)
    shown = capsys.readouterr().err
    assert "node2 does not answer: its host was not reset" in shown
    assert "./nox -s same -- --command" in shown
    assert "delete node" in world.steps


def test_a_host_that_left_the_inventory_is_not_reset(
    inventory: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory.write_text("\n".join(line for line in INVENTORY.splitlines() if "node2" not in line))
    remove(inventory)
    assert not any(step.startswith("reset") for step in world.steps)
    assert "its host was not reset" in capsys.readouterr().err
