from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of

from maas import console, paths
from maas.commands import _apply, _packages, _preflight, bundle
from maas.commands import add as command
from maas.errors import LockError, MaasError, PlanError, UsageError
from maas.hosts import facts, inventory, known_hosts, lock, network_plan, ssh, udp_probe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.hosts.inventory import Inventory

INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.12, role: worker}
  - {name: node3, address: 203.0.113.13, role: worker}
"""
NEW = "  - {name: node3, address: 203.0.113.13, role: worker}\n"


class World:
    """A cluster of master, node1 and node2, and what an addition finds and does."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.asked: list[str] = []
        self.applied: list[tuple[_preflight.PreflightResult, dict[str, Any]]] = []

    def gather(self, present: Inventory, **_: object) -> dict[str, Any]:
        self.asked = [host.name for host in present.hosts]
        return {name: self.facts.get(name, facts_of()) for name in self.asked}

    def apply(self, result: _preflight.PreflightResult, *_: object, **options: Any) -> None:
        self.applied.append((result, options))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state = paths.state("shop")
    made = tmp_path / "hosts.yaml"
    made.write_text(INVENTORY.replace(NEW, ""))
    hosts = inventory.load(made)
    made.write_text(INVENTORY)
    found = {host.name: facts_of() for host in hosts.hosts}
    (state / "access.json").write_text("{}")
    (state / "plan.json").write_text(network_plan.compute(hosts, found).to_json())
    (state / "facts.json").write_text(json.dumps({name: one.model_dump(mode="json") for name, one in found.items()}))
    return made


@pytest.fixture
def world(file: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert file.exists()
    made = World()
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(known_hosts, "scan", lambda *_, **__: ())
    monkeypatch.setattr(known_hosts, "pin", lambda *_, **__: None)
    monkeypatch.setattr(facts, "gather", made.gather)
    monkeypatch.setattr(udp_probe, "check", lambda *_, **__: [])
    monkeypatch.setattr(_packages, "problems", lambda *_, **__: [])
    monkeypatch.setattr(bundle, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(_apply, "apply", made.apply)
    return made


def add(file: Path, *names: str, without: Sequence[str] = (), dry_run: bool = False, yes: bool = True) -> None:
    command.add(file, names, directory=None, source="auto", values=[], without=without, dry_run=dry_run, yes=yes)


def test_the_workers_of_before_are_not_contacted(file: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    add(file, "node3")
    assert world.asked == ["master", "node3"]
    ((result, options),) = world.applied
    assert result.without == {"node1", "node2"}
    assert result.absent == frozenset(), "they are Ready, and everything on them is waited for"
    assert result.node_count == 4
    assert options["chart"] is False
    before = network_plan.Plan.from_json((paths.state("shop") / "plan.json").read_text())
    assert {name: result.plan.hosts[name] for name in before.hosts} == before.hosts
    assert "not touched: node1, node2" in capsys.readouterr().err


def test_a_host_that_is_down_is_not_waited_for(file: Path, world: World) -> None:
    add(file, "node3", without=["node2"])
    ((result, _),) = world.applied
    assert result.absent == {"node2"}
    assert result.node_count == 3


@pytest.mark.parametrize(("dry_run", "yes"), [(True, True), (False, False)])
def test_nothing_is_changed_without_a_confirmation(file: Path, world: World, *, dry_run: bool, yes: bool) -> None:
    add(file, "node3", dry_run=dry_run, yes=yes)
    assert world.applied == []


@pytest.mark.parametrize(
    ("name", "without", "message"),
    [
        ("node9", [], "has no host node9"),
        ("master", [], "master is a control plane, which every host has to learn of"),
        ("node2", [], "node3 is in"),
        ("node3", ["node3"], "node3 cannot be added and be left out"),
    ],
)
def test_what_cannot_be_added_is_refused(file: Path, world: World, name: str, without: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        add(file, name, without=without)
    assert message in caught.value.message
    assert caught.value.hint
    assert world.asked == []


def test_a_host_that_changes_the_settings_of_all_is_refused(file: Path, world: World) -> None:
    path = {"address": "203.0.113.10", "rtt_ms": 20.0, "path_mtu": 1300}
    own = {"device": "eth0", "address": "203.0.113.13/24"}
    world.facts["node3"] = facts_of(to_hubs={"master": path}, addresses=(own,))
    with pytest.raises(PlanError, match="other settings for every host") as caught:
        add(file, "node3")
    assert any(line.startswith("tun_mtu") for line in caught.value.context)
    assert "bootstrap" in str(caught.value.command)
    assert world.applied == []


def test_a_run_in_progress_is_not_disturbed(file: Path, world: World) -> None:
    with lock.hold(paths.state("shop"), command="bootstrap of shop"), pytest.raises(LockError):
        add(file, "node3")
    assert world.applied == []


def test_a_cluster_that_does_not_exist_gets_no_host(file: Path, world: World) -> None:
    file.write_text(INVENTORY.replace("shop", "bakery"))
    with pytest.raises(MaasError, match="bakery"):
        add(file, "node3")
    assert world.asked == []
