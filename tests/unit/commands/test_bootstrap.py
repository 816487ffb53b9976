from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas.commands import _preflight
from maas.errors import PreflightError
from maas.hosts import facts, known_hosts, network_plan, ssh, udp_probe
from maas.hosts.inventory import Host
from maas.hosts.preflight import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Inventory


def test_a_worker_that_is_down_is_planned_with_its_last_facts(tmp_path: Path) -> None:
    inventory = inventory_of("node1", "node2")
    (tmp_path / "facts.json").write_text(json.dumps({"node2": facts_of(kernel="6.1").model_dump(mode="json")}))
    assert _preflight.facts_of_absent(inventory, tmp_path, ["node2"]) == {"node2": facts_of(kernel="6.1")}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("master", "without master, 0 of 1 control planes remain, and etcd needs 1"),
        ("node9", "node9 is not a host of the inventory"),
        ("node1", "node1 has no facts from an earlier run"),
    ],
)
def test_only_a_worker_with_facts_can_be_left_out(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"master": {}}))
    with pytest.raises(PreflightError) as caught:
        _preflight.facts_of_absent(inventory_of("node1"), tmp_path, [name])
    assert caught.value.context == (why,)


def test_a_worker_that_does_not_reach_the_hub_stops_the_run_before_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Problem(host="node1", severity="error", message="it does not reach the hub at X:1194/udp", fix="open it")
    tried: list[str] = []

    def probe(
        inventory: Inventory, found: dict[str, HostFacts], *, run: Callable[..., str], order: list[str]
    ) -> list[Problem]:
        assert order == []
        tried.extend(found)
        assert callable(run)
        return [silent] if len(inventory.hosts) > 1 else []

    known = {host.name: facts_of() for host in inventory_of("node1").hosts}
    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(known_hosts, "scan", lambda *_, **__: ())
    monkeypatch.setattr(known_hosts, "pin", lambda *_, **__: None)
    monkeypatch.setattr(facts, "gather", lambda *_, **__: known)
    monkeypatch.setattr(udp_probe, "check", probe)
    with pytest.raises(PreflightError) as caught:
        _preflight.run(inventory_of("node1"), tmp_path)
    assert tried == ["master", "node1"]
    assert caught.value.context == ("node1: it does not reach the hub at X:1194/udp (open it)",)
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def plane(name: str, last: int, *, role: str = "control-plane") -> dict[str, object]:
    return {"name": name, "address": f"203.0.113.{last}", "role": role, "hub": {"endpoint": f"203.0.113.{last}"}}


THREE = [plane("a", 1), plane("b", 2), plane("c", 3)]


@pytest.mark.parametrize(
    ("hosts", "optional"),
    [
        # Of three control planes one can be down, of one none. A small hub can, unless it is the only one.
        (THREE, {"a", "b", "c"}),
        ([plane("a", 1), plane("h", 2, role="hub")], {"h"}),
        ([{"name": "a", "address": "203.0.113.1", "role": "control-plane"}, plane("h", 2, role="hub")], set()),
    ],
)
def test_a_second_run_while_a_host_is_down_says_how_to_continue_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: list[dict[str, object]], optional: set[str]
) -> None:
    inventory = inventory_of(hub=None, hosts=tuple(Host.model_validate(host) for host in hosts))
    saved = {host.name: facts_of().model_dump(mode="json") for host in inventory.hosts}
    (tmp_path / "facts.json").write_text(json.dumps(saved))
    seen: list[set[str]] = []

    class Stop(Exception):  # noqa: N818 - not an error
        pass

    def scan(*_: object, optional: set[str], **__: object) -> None:
        seen.append(optional)
        raise Stop

    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(known_hosts, "scan", scan)
    with pytest.raises(Stop):
        _preflight.run(inventory, tmp_path)
    assert seen == [optional]


@pytest.mark.parametrize(
    ("hosts", "names", "why"),
    [
        (THREE, ["b", "c"], "without b, c, 1 of 3 control planes remain, and etcd needs 2"),
        (
            [{"name": "a", "address": "203.0.113.1", "role": "control-plane"}, plane("h", 2, role="hub")],
            ["h"],
            "without h, no hub remains, and no host reaches another",
        ),
    ],
)
def test_hosts_that_a_cluster_needs_cannot_be_left_out(
    tmp_path: Path, hosts: list[dict[str, object]], names: list[str], why: str
) -> None:
    inventory = inventory_of(hub=None, hosts=tuple(Host.model_validate(host) for host in hosts))
    saved = {host.name: facts_of().model_dump(mode="json") for host in inventory.hosts}
    (tmp_path / "facts.json").write_text(json.dumps(saved))
    with pytest.raises(PreflightError) as caught:
        _preflight.facts_of_absent(inventory, tmp_path, names)
    assert caught.value.context == (why,)


def test_a_host_that_was_removed_and_not_reset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = inventory_of("node1")
    known = {host.name: facts_of(cluster="shop") for host in inventory.hosts}
    plan = network_plan.compute(inventory, known).without_host("node1")
    (tmp_path / "plan.json").write_text(plan.to_json())
    saved = {name: one.model_dump(mode="json") for name, one in known.items()}
    (tmp_path / "facts.json").write_text(json.dumps(saved))
    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(known_hosts, "scan", lambda *_, **__: ())
    monkeypatch.setattr(known_hosts, "pin", lambda *_, **__: None)
    monkeypatch.setattr(facts, "gather", lambda *_, **__: known)
    monkeypatch.setattr(udp_probe, "check", lambda *_, **__: [])
    with pytest.raises(PreflightError) as caught:
        _preflight.run(inventory, tmp_path)
    assert any("node1: it was removed from the cluster, but not reset" in line for line in caught.value.context)
    with pytest.raises(PreflightError) as caught:
        _preflight.facts_of_absent(inventory, tmp_path, ["node1"])
    assert "node1 was removed from the cluster" in caught.value.context
