from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from maas.errors import PlanError
from maas.hosts import network_plan
from maas.hosts.inventory import Host, Hub, Networks
from maas.hosts.network_plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Inventory

    Inventories = Callable[..., Inventory]
    Facts = Callable[..., HostFacts]


def way(path_mtu: int | None, *, address: str = "198.51.100.1") -> dict[str, Any]:
    return {"address": address, "rtt_ms": None if path_mtu is None else 12.5, "path_mtu": path_mtu}


@pytest.fixture
def facts(facts_of: Facts) -> Callable[..., dict[str, HostFacts]]:
    """Facts of the hub and of workers with the given path MTU each."""

    def make(hub: dict[str, Any] | None = None, **paths: int | None) -> dict[str, HostFacts]:
        workers = {name: facts_of(to_hub=way(path)) for name, path in paths.items()}
        return {"master": facts_of(**(hub or {})), **workers}

    return make


@pytest.mark.parametrize(
    ("path", "ipv4", "ipv6", "pod"),
    [(1500, 1444, 1424, 1394), (1492, 1436, 1416, 1386), (1460, 1404, 1384, 1354)],
)
def test_packet_sizes_leave_room_for_every_header(path: int, ipv4: int, ipv6: int, pod: int) -> None:
    assert network_plan.tun_mtu(path) == ipv4
    assert network_plan.tun_mtu(path, ipv6=True) == ipv6
    assert network_plan.pod_mtu(ipv4) == pod


def test_the_worst_path_decides_for_all(inventory_of: Inventories, facts: Any) -> None:
    made = network_plan.compute(inventory_of("node1", "node2"), facts(node1=1500, node2=1492))
    assert (made.tun_mtu, made.pod_mtu) == (1436, 1386)
    assert ("tunnel MTU", "1436", "path MTU from node2 of 1492 minus 20 IP, 8 UDP and 28 OpenVPN") in made.rows()


def test_a_path_over_ipv6_has_a_longer_header(inventory_of: Inventories, facts_of: Facts) -> None:
    hosts = {"master": facts_of(), "node1": facts_of(to_hub=way(1500, address="2001:db8::1"))}
    assert network_plan.compute(inventory_of("node1"), hosts).tun_mtu == 1424


def test_a_path_that_cannot_be_measured_gets_the_safe_values(inventory_of: Inventories, facts: Any) -> None:
    made = network_plan.compute(inventory_of("node1", "node2"), facts(node1=1500, node2=None))
    assert (made.tun_mtu, made.pod_mtu) == (1400, 1350)
    assert "safe default: the path MTU from node2 is unknown" in {row[0]: row[2] for row in made.rows()}["tunnel MTU"]


def test_a_path_below_the_safe_value_counts_all_the_same(inventory_of: Inventories, facts: Any) -> None:
    assert network_plan.compute(inventory_of("node1", "node2"), facts(node1=1400, node2=None)).tun_mtu == 1344


def test_a_hub_alone_gets_the_safe_values(inventory_of: Inventories, facts: Any) -> None:
    assert network_plan.compute(inventory_of(), facts()).tun_mtu == 1400


def addresses(made: Plan) -> dict[str, str]:
    return {name: str(host.vpn_address) for name, host in made.hosts.items()}


def test_the_hub_has_the_first_address_wherever_it_stands(inventory_of: Inventories, facts: Any) -> None:
    inventory = inventory_of("node1", "node2")
    turned = inventory.model_copy(update={"hosts": inventory.hosts[::-1]})
    made = network_plan.compute(turned, facts(node1=1500, node2=1500))
    assert addresses(made) == {"node2": "10.90.0.2", "node1": "10.90.0.3", "master": "10.90.0.1"}
    assert made.control_plane_endpoint == "10.90.0.1:6443"
    assert (made.hub, made.hub_port) == ("master", 1194)


def test_addresses_stay_when_hosts_come_go_and_change_places(inventory_of: Inventories, facts: Any) -> None:
    first = network_plan.compute(inventory_of("node1", "node2"), facts(node1=1500, node2=1500))
    second = network_plan.compute(
        inventory_of("new", "node2", "newer"), facts(new=1500, node2=1500, newer=1500), previous=first
    )
    assert addresses(second) == {"master": "10.90.0.1", "new": "10.90.0.2", "node2": "10.90.0.3", "newer": "10.90.0.4"}


def test_a_second_plan_is_the_same_byte_by_byte(inventory_of: Inventories, facts: Any) -> None:
    inventory = inventory_of("node1", "node2")
    first = network_plan.compute(inventory, facts(node1=1492, node2=1500))
    assert network_plan.compute(inventory, facts(node1=1492, node2=1500), previous=first) == first


@pytest.mark.parametrize("path", [None, 1500])
def test_the_tunnel_keeps_its_size_when_a_path_is_silent_or_grows(
    inventory_of: Inventories, facts: Any, path: int | None
) -> None:
    first = network_plan.compute(inventory_of("node1"), facts(node1=1460))
    assert (
        network_plan.compute(inventory_of("node1"), facts(node1=path), previous=first).tun_mtu == first.tun_mtu == 1404
    )


def test_the_tunnel_shrinks_when_a_path_shrinks_or_a_new_one_is_unknown(inventory_of: Inventories, facts: Any) -> None:
    first = network_plan.compute(inventory_of("node1"), facts(node1=1500))
    assert network_plan.compute(inventory_of("node1"), facts(node1=1460), previous=first).tun_mtu == 1404
    assert (
        network_plan.compute(inventory_of("node1", "new"), facts(node1=1500, new=None), previous=first).tun_mtu == 1400
    )


@pytest.mark.parametrize(
    "change",
    [
        {"networks": Networks(vpn=IPv4Network("10.80.0.0/24"))},
        {"networks": Networks(pods=IPv4Network("10.80.0.0/16"))},
        {"hosts": (Host(name="other", address="203.0.113.9", role="control-plane"),)},
    ],
)
def test_what_a_cluster_cannot_change_is_refused_once_it_exists(
    inventory_of: Inventories, facts_of: Facts, change: dict[str, Any]
) -> None:
    first = network_plan.compute(inventory_of(), {"master": facts_of()})
    changed = inventory_of(**change)
    assert network_plan.compute(changed, {"master": facts_of(), "other": facts_of()}, previous=first).cluster == "shop"
    with pytest.raises(PlanError) as caught:
        network_plan.compute(changed, {"master": facts_of(cluster="shop"), "other": facts_of()}, previous=first)
    assert caught.value.code == "PlanChanged"


def test_a_lost_nodes_pods_are_ready_elsewhere_within_90_seconds() -> None:
    timers = network_plan.Timers()
    assert timers.lost_node + 25 <= 90


def test_a_healthy_node_outlives_a_silent_connection_and_a_hub_that_restarts() -> None:
    # kubernetes#121793: a grace period below the HTTP/2 timeouts takes healthy nodes for lost ones.
    timers = network_plan.Timers()
    silence = timers.http2_read_idle + timers.http2_ping
    outage = network_plan.Keepalive().timeout + network_plan.ConnectRetry().longest + 1
    assert timers.node_monitor_grace > timers.node_lease / 4 + outage + silence
    assert timers.node_monitor_grace >= 3 * timers.node_status_update


def test_the_reasons_say_the_sums(inventory_of: Inventories, facts: Any) -> None:
    reasons = {row[0]: row[2] for row in network_plan.compute(inventory_of("node1"), facts(node1=1500)).rows()}
    assert "= 80 s; the limit is 90 s" in reasons["pod eviction from a lost node"]
    assert "= 29 s" in reasons["node NotReady"]


@pytest.mark.parametrize(
    ("rtt", "heartbeat", "election"), [(None, 100, 1000), (1, 100, 1000), (66.7, 101, 1010), (200, 300, 3000)]
)
def test_etcd_waits_for_the_slowest_member(rtt: float | None, heartbeat: int, election: int) -> None:
    assert network_plan.etcd_timers(rtt) == network_plan.Etcd(heartbeat_ms=heartbeat, election_ms=election)


def test_distant_workers_do_not_slow_the_only_member_of_etcd(inventory_of: Inventories, facts_of: Facts) -> None:
    far = facts_of(to_hub={"address": "198.51.100.1", "rtt_ms": 300.0, "path_mtu": 1500})
    assert network_plan.compute(inventory_of("node1"), {"master": facts_of(), "node1": far}).etcd == network_plan.Etcd()


def test_an_ordinary_host_needs_nothing_particular(inventory_of: Inventories, facts: Any) -> None:
    made = network_plan.compute(inventory_of("node1"), facts(node1=1500))
    host = made.hosts["node1"]
    assert (host.cgroup_driver, host.resolv_conf, host.nameservers) == ("systemd", "/etc/resolv.conf", ())
    assert (host.lacks_sys_resource, host.container) == (False, False)
    assert not [row for row in made.rows() if row[0].startswith("node1")]


def test_a_container_on_an_old_kernel_setup_is_planned_for(inventory_of: Inventories, facts_of: Facts) -> None:
    odd = facts_of(
        cgroup_version=1,
        container="docker",
        capabilities_missing=("CAP_SYS_RESOURCE",),
        resolver={"path": None, "servers": ()},
        to_hub=way(1500),
    )
    made = network_plan.compute(inventory_of("node1"), {"master": facts_of(), "node1": odd})
    host = made.hosts["node1"]
    assert (host.cgroup_driver, host.cgroup_version, host.lacks_sys_resource, host.container) == (
        "cgroupfs",
        1,
        True,
        True,
    )
    assert host.resolv_conf == network_plan.OWN_RESOLV_CONF
    assert host.nameservers
    assert [row[0] for row in made.rows() if row[0].startswith("node1")] == [
        "node1: cgroup driver",
        "node1: name servers of pods",
        "node1: limits",
    ]


@pytest.mark.parametrize(
    ("resolver", "path", "servers"),
    [
        (
            {"path": "/run/systemd/resolve/resolv.conf", "servers": ("10.0.0.2",)},
            "/run/systemd/resolve/resolv.conf",
            (),
        ),
        ({"path": None, "servers": ("10.0.0.2",)}, "/etc/maas/resolv.conf", ("10.0.0.2",)),
    ],
)
def test_pods_never_get_a_loopback_name_server(
    inventory_of: Inventories, facts_of: Facts, resolver: dict[str, Any], path: str, servers: tuple[str, ...]
) -> None:
    made = network_plan.compute(inventory_of(), {"master": facts_of(resolver=resolver)})
    assert (made.hosts["master"].resolv_conf, made.hosts["master"].nameservers) == (path, servers)


def test_a_host_takes_its_own_way_to_the_hub(inventory_of: Inventories, facts: Any) -> None:
    inventory = inventory_of("node1", "node2")
    own = inventory.hosts[1].model_copy(update={"hub": Hub(endpoint="10.0.0.1", port=443)})
    made = network_plan.compute(
        inventory.model_copy(update={"hosts": (inventory.hosts[0], own, inventory.hosts[2])}),
        facts(node1=1500, node2=1500),
    )
    ways = {name: (host.hub_endpoint, host.hub_port) for name, host in made.hosts.items()}
    assert ways["node1"] == ("10.0.0.1", 443)
    assert ways["node2"] == ("vpn.example.org", 1194)
    assert made.hub_port == 1194


def test_a_plan_survives_json(inventory_of: Inventories, facts: Any) -> None:
    made = network_plan.compute(inventory_of("node1"), facts(node1=1500))
    assert Plan.from_json(made.to_json()) == made
    assert json.loads(made.to_json())["hosts"]["node1"]["vpn_address"] == "10.90.0.2"


@pytest.mark.parametrize("text", ["", "{}", "null", '{"cluster": 1}'])
def test_a_saved_text_that_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_json(text)
    assert caught.value.code == "InvalidPlan"


def test_a_plan_of_version_0_1_is_read(inventory_of: Inventories, facts: Any) -> None:
    plan = network_plan.compute(inventory_of("node1"), facts(node1=1500))
    saved = plan.to_json().replace('"lacks_sys_resource"', '"limited"')
    assert saved != plan.to_json()
    assert Plan.from_json(saved) == plan
