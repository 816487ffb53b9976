from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas.hosts import network_plan, ssh, timeouts
from maas.hosts.ansible_inventory import ansible_inventory
from maas.hosts.timeouts import Timeouts

if TYPE_CHECKING:
    from pathlib import Path


def of(previous: Timeouts | None = None, *, joined: bool = False, **worker: Any) -> Timeouts:
    facts = {"master": facts_of(joined=joined, cpu_ms=9, sync_ms=2, login_seconds=0.3), "node1": facts_of(**worker)}
    return timeouts.compute(facts, previous=previous, control_plane="master")


@pytest.mark.parametrize(
    ("measured", "factor", "why"),
    [
        ({}, 1, ""),
        ({"cpu_ms": 40, "sync_ms": 20, "login_seconds": 2}, 1, ""),
        ({"cpu_ms": 110, "sync_ms": 30}, 3, "node1: a small computation takes 110 ms, more than 40 ms"),
        ({"sync_ms": 71}, 4, "node1: a synchronous write takes 71 ms, more than 20 ms"),
        ({"login_seconds": 4.1}, 3, "node1: an SSH login takes 4.1 s, more than 2 s"),
        ({"sync_ms": 9000}, 10, "node1: a synchronous write takes 9000 ms, more than 20 ms"),
    ],
)
def test_the_slowest_measure_of_a_host_decides(measured: dict[str, Any], factor: int, why: str) -> None:
    found = of(**measured)
    assert (found.factor, found.kubeadm, found.why) == (factor, factor, why)


def test_kubeadm_keeps_its_defaults_on_ordinary_hosts() -> None:
    assert of().for_kubeadm() == {}
    assert of(sync_ms=71).for_kubeadm()["controlPlaneComponentHealthCheck"] == "960s"


def test_the_timeouts_of_a_cluster_that_exists_do_not_change_its_files() -> None:
    assert of(Timeouts(factor=1, kubeadm=3), joined=True, sync_ms=71) == Timeouts(
        factor=4, kubeadm=3, why="node1: a synchronous write takes 71 ms, more than 20 ms"
    )
    # A start that failed is repeated with at least the same time.
    assert of(Timeouts(factor=5, kubeadm=5), sync_ms=41).kubeadm == 5


def test_the_plan_shows_timeouts_that_are_not_the_defaults() -> None:
    inventory = inventory_of("node1")
    quick = {"master": facts_of(), "node1": facts_of()}
    assert "timeouts" not in [row[0] for row in network_plan.compute(inventory, quick).rows()]
    plan = network_plan.compute(inventory, quick | {"node1": facts_of(sync_ms=71)})
    assert [row for row in plan.rows() if row[0] == "timeouts"] == [
        (
            "timeouts",
            "4 times the defaults; kubeadm waits 16 min for the control plane",
            "node1: a synchronous write takes 71 ms, more than 20 ms",
        )
    ]
    assert network_plan.Plan.from_json(plan.to_json()) == plan


def test_ssh_waits_longer_for_slow_hosts(tmp_path: Path) -> None:
    (host, *_) = inventory_of().hosts
    assert {"ConnectTimeout=10", "ServerAliveCountMax=3"} <= set(ssh.options(host, known_hosts=tmp_path))
    assert {"ConnectTimeout=40", "ServerAliveCountMax=12"} <= set(ssh.options(host, known_hosts=tmp_path, factor=4))


def test_ansible_waits_longer_for_sudo_on_slow_hosts(tmp_path: Path) -> None:
    inventory = inventory_of("node1")
    for sync_ms, seconds in ((1, 15), (71, 60)):
        facts = {"master": facts_of(), "node1": facts_of(sync_ms=sync_ms)}
        plan = network_plan.compute(inventory, facts)
        made = ansible_inventory(inventory, plan=plan, facts=facts, known_hosts=tmp_path)["all"]["children"]
        variables = [host for group in made.values() for host in group["hosts"].values()]
        assert [host["ansible_ssh_timeout"] for host in variables] == [seconds, seconds]
