from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths
from maas.cluster import drain
from maas.commands import _apply, _preflight, _removal, bundle
from maas.commands import replace as command
from maas.errors import ClusterError, HostsError, PreflightError, UsageError
from maas.hosts import lock, network_plan
from maas.hosts.inventory import Host, Hub

if TYPE_CHECKING:
    from pathlib import Path

INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.99, role: worker}
"""
DEAD = drain.NodeContents(ready=False, moved=(), evicted=(), deleted=(), blocked=(), volumes=())
READY = drain.NodeContents(ready=True, moved=(), evicted=(), deleted=(), blocked=(), volumes=())
BOOKS = drain.Volume("pvc-1", "restaurant", "books", "5Gi")


class World:
    """What a replacement finds and does, in order."""

    def __init__(self) -> None:
        self.held = DEAD
        self.control_plane = False
        self.new = facts_of(cluster=None)
        self.steps: list[str] = []
        self.asked: dict[str, Any] = {}
        self.failing: Exception | None = None

    def find(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(node="node2", held=self.held, control_plane=self.control_plane)

    def preflight(self, *_: Any, **options: Any) -> Any:
        self.asked = options
        return SimpleNamespace(facts={"node2": self.new})

    def apply(self, *_: Any, chart: bool, **__: Any) -> None:
        assert not chart
        if self.failing:
            raise self.failing
        self.steps.append("apply")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state, hosts = paths.state("shop"), inventory_of("node1", "node2")
    (state / "access.json").write_text("{}")
    plan = network_plan.compute(hosts, {host.name: facts_of() for host in hosts.hosts})
    (state / "plan.json").write_text(plan.to_json())
    path = tmp_path / "hosts.yaml"
    path.write_text(INVENTORY)
    return path


@pytest.fixture
def world(file: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert file.exists()
    made = World()
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(lock, "hold", lambda *_, **__: nullcontext())
    monkeypatch.setattr(_removal, "find", made.find)
    monkeypatch.setattr(_removal, "rows", lambda _: [])
    monkeypatch.setattr(_removal, "take_out", lambda *_, **__: made.steps.append("take out"))
    monkeypatch.setattr(_preflight, "run", made.preflight)
    monkeypatch.setattr(_preflight, "show", lambda *_: None)
    monkeypatch.setattr("maas.commands._packages.needed", lambda _: [])
    monkeypatch.setattr(bundle, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(_apply, "apply", made.apply)
    return made


def replace(
    file: Path, node: str = "node2", address: str = "203.0.113.99", *, lose_data: bool = False, dry_run: bool = False
) -> None:
    command.replace(file, node, address, directory=None, source="auto", lose_data=lose_data, dry_run=dry_run, yes=True)


def test_a_dead_worker_is_taken_out_and_a_new_machine_set_up(file: Path, world: World) -> None:
    replace(file)
    assert world.steps == ["take out", "apply"]
    assert world.asked["replaced"] == "node2"
    assert world.asked["untouched"] == ["node1"]
    assert not (paths.state("shop") / "replacement.json").exists()


def test_every_host_gets_the_keys_of_a_new_hub(file: Path, world: World) -> None:
    world.control_plane = True
    replace(file)
    assert world.asked["untouched"] == []


def test_after_an_interruption_the_same_command_continues(file: Path, world: World) -> None:
    world.failing = HostsError("node2: task failed")
    with pytest.raises(HostsError):
        replace(file)
    world.failing = None
    # By now the new machine is part of the cluster, and may be Ready.
    world.held, world.new = READY, facts_of(cluster="shop")
    replace(file)
    assert world.steps == ["take out", "apply"]


@pytest.mark.parametrize(
    ("node", "address", "message"),
    [
        ("node9", "203.0.113.99", "shop has no host node9"),
        ("node1", "203.0.113.99", "does not have 203.0.113.99 as the address of node1"),
    ],
)
def test_a_wrong_name_or_address_is_refused(file: Path, world: World, node: str, address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(file, node, address)
    assert world.steps == []


def test_a_hub_without_kubernetes_is_refused(file: Path, world: World) -> None:
    hosts = inventory_of("node1")
    small = Host(name="node2", address="203.0.113.99", role="hub", hub=Hub(endpoint="203.0.113.99"))
    hosts = hosts.model_copy(update={"hosts": (*hosts.hosts, small)})
    plan = network_plan.compute(hosts, {host.name: facts_of() for host in hosts.hosts})
    (paths.state("shop") / "plan.json").write_text(plan.to_json())
    with pytest.raises(UsageError, match="node2 is a hub of the VPN of shop, and only workers and control planes"):
        replace(file)
    assert world.steps == []


def test_a_cluster_whose_upgrade_is_not_complete_is_refused(
    file: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maas.commands._packages.problems", lambda *_, **__: [])
    replace(file)
    found = {"master": facts_of(joined=True, kubelet="v1.2.3")}
    [problem] = world.asked["more"](found, None)
    assert "runs Kubernetes v1.2.3" in problem.message


def test_a_machine_that_runs_is_not_replaced(file: Path, world: World) -> None:
    world.held = READY
    with pytest.raises(ClusterError) as caught:
        replace(file)
    assert caught.value.code == "NodeRuns"
    assert world.steps == []


def test_the_old_machine_does_not_replace_itself(file: Path, world: World) -> None:
    world.new = facts_of(cluster="shop")
    with pytest.raises(PreflightError, match="the machine at the address of node2 belongs to shop already"):
        replace(file)
    assert world.steps == []


def test_the_only_copy_of_data_is_kept_unless_it_may_be_lost(file: Path, world: World) -> None:
    world.held = drain.NodeContents(ready=False, moved=(), evicted=(), deleted=(), blocked=(), volumes=(BOOKS,))
    with pytest.raises(ClusterError) as caught:
        replace(file)
    assert caught.value.code == "DataOnNode"
    assert world.steps == []
    replace(file, lose_data=True)
    assert world.steps == ["take out", "apply"]


def test_a_dry_run_changes_nothing(file: Path, world: World) -> None:
    before = sorted(path.name for path in paths.state("shop").iterdir())
    replace(file, dry_run=True)
    assert world.steps == []
    assert sorted(path.name for path in paths.state("shop").iterdir()) == before
    assert json.loads((paths.state("shop") / "plan.json").read_text())["cluster"] == "shop"
