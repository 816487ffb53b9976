from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from maas.errors import PlanError
from maas.hosts import network_plan
from maas.hosts.inventory import Backup, Host, Hub, Networks
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
        workers = {name: facts_of(to_hubs={"master": way(path)}) for name, path in paths.items()}
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
    assert (
        "tunnel MTU",
        "1436",
        "path MTU from node2 to master of 1492 minus 20 IP, 8 UDP and 28 OpenVPN",
    ) in made.rows()


def test_a_path_over_ipv6_has_a_longer_header(inventory_of: Inventories, facts_of: Facts) -> None:
    hosts = {"master": facts_of(), "node1": facts_of(to_hubs={"master": way(1500, address="2001:db8::1")})}
    assert network_plan.compute(inventory_of("node1"), hosts).tun_mtu == 1424


def test_a_path_that_cannot_be_measured_gets_the_safe_values(inventory_of: Inventories, facts: Any) -> None:
    made = network_plan.compute(inventory_of("node1", "node2"), facts(node1=1500, node2=None))
    assert (made.tun_mtu, made.pod_mtu) == (1400, 1350)
    assert (
        "safe default: the path MTU from node2 to master is unknown"
        in {row[0]: row[2] for row in made.rows()}["tunnel MTU"]
    )


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
    assert made.control_plane_endpoint == "10.90.0.254:6443"
    assert made.hubs["master"] == network_plan.HubPlan(index=0, port=1194, network=IPv4Network("10.93.0.0/24"))


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
    ("rtt", "heartbeat", "election"),
    [(None, 100, 1000), (1, 100, 2000), (66.7, 101, 2000), (133.3, 200, 2000), (220, 330, 3300)],
)
def test_etcd_waits_for_the_slowest_member(rtt: float | None, heartbeat: int, election: int) -> None:
    assert network_plan.etcd_timers(rtt) == network_plan.Etcd(heartbeat_ms=heartbeat, election_ms=election)


def test_distant_workers_do_not_slow_the_only_member_of_etcd(inventory_of: Inventories, facts_of: Facts) -> None:
    far = facts_of(to_hubs={"master": {"address": "198.51.100.1", "rtt_ms": 300.0, "path_mtu": 1500}})
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
        to_hubs={"master": way(1500)},
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
        # The DNS of the cluster: CoreDNS would query itself.
        (
            {"path": "/etc/resolv.conf", "servers": ("10.92.0.10", "10.0.0.2")},
            "/etc/maas/resolv.conf",
            ("10.0.0.2",),
        ),
        ({"path": "/etc/resolv.conf", "servers": ("10.92.0.10",)}, "/etc/maas/resolv.conf", ("9.9.9.9", "1.1.1.1")),
    ],
)
def test_pods_never_get_a_loopback_name_server(
    inventory_of: Inventories, facts_of: Facts, resolver: dict[str, Any], path: str, servers: tuple[str, ...]
) -> None:
    made = network_plan.compute(inventory_of(), {"master": facts_of(resolver=resolver)})
    assert (made.hosts["master"].resolv_conf, made.hosts["master"].nameservers) == (path, servers)


def test_name_servers_of_the_inventory_replace_those_of_every_host(inventory_of: Inventories, facts_of: Facts) -> None:
    made = network_plan.compute(inventory_of(nameservers=("192.0.2.53",)), {"master": facts_of()})
    host = made.hosts["master"]
    assert (host.resolv_conf, host.nameservers) == ("/etc/maas/resolv.conf", ("192.0.2.53",))
    assert made.rows()[-1] == (
        "master: name servers of pods",
        "/etc/maas/resolv.conf: 192.0.2.53",
        "nameservers in the inventory",
    )


def test_the_hub_listens_on_another_port_than_the_public_one(inventory_of: Inventories, facts: Any) -> None:
    hub = Hub(endpoint="vpn.example.org", port=41194, listen=1194)
    made = network_plan.compute(inventory_of("node1", hub=hub), facts(node1=1500))
    assert (made.hubs["master"].port, made.hosts["node1"].servers["master"].port) == (1194, 41194)
    alone = network_plan.compute(inventory_of(hub=Hub(endpoint="vpn.example.org", port=443)), facts())
    assert alone.hubs["master"].port == 443


def test_the_plan_says_what_runs_without_a_proxy(inventory_of: Inventories, facts_of: Facts) -> None:
    proxy = {"source": "/etc/environment", "variable": "https_proxy", "server": "192.0.2.1:3128"}
    made = network_plan.compute(inventory_of(), {"master": facts_of(proxies=(proxy,))})
    assert made.rows()[-1] == (
        "master: proxy",
        "https_proxy 192.0.2.1:3128",
        "kubeadm, Kubernetes and containerd run without it: they must reach the VPN, pods and services directly",
    )


def test_a_host_takes_its_own_way_to_the_hub(inventory_of: Inventories, facts: Any) -> None:
    inventory = inventory_of("node1", "node2")
    own = inventory.hosts[1].model_copy(update={"hub": Hub(endpoint="10.0.0.1", port=443)})
    made = network_plan.compute(
        inventory.model_copy(update={"hosts": (inventory.hosts[0], own, inventory.hosts[2])}),
        facts(node1=1500, node2=1500),
    )
    ways = {name: host.servers for name, host in made.hosts.items()}
    assert ways["node1"] == {"master": network_plan.Server(endpoint="10.0.0.1", port=443)}
    assert ways["node2"] == {"master": network_plan.Server(endpoint="vpn.example.org", port=1194)}
    assert ways["master"] == {}
    assert made.hubs["master"].port == 1194


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
    saved = json.loads(plan.to_json())
    del saved["hubs"], saved["transit"]
    saved |= {"hub": "master", "hub_port": 1194}
    for name, host in saved["hosts"].items():
        host["limited"] = host.pop("lacks_sys_resource")
        del host["servers"]
        host |= {"hub_endpoint": "vpn.example.org", "hub_port": 1194}
        assert name in plan.hosts
    assert Plan.from_json(json.dumps(saved)) == plan


def test_a_cluster_of_version_0_1_keeps_the_address_of_its_api(inventory_of: Inventories, facts: Any) -> None:
    inventory = inventory_of("node1")
    old = network_plan.compute(inventory, facts(node1=1500)).model_copy(
        update={"control_plane_endpoint": "10.90.0.1:6443"}
    )
    member = facts({"cluster": "shop"}, node1=1500)
    kept = network_plan.compute(inventory, member, previous=old)
    assert kept.control_plane_endpoint == "10.90.0.1:6443"
    # One that was never made takes the address of every cluster.
    assert network_plan.compute(inventory, facts(node1=1500), previous=old).control_plane_endpoint == "10.90.0.254:6443"


def hub(name: str, last: int) -> Host:
    address = f"203.0.113.{last}"
    return Host(name=name, address=address, role="control-plane", hub=Hub(endpoint=address))


def three(inventory_of: Inventories) -> Inventory:
    return inventory_of(
        hosts=(hub("a", 1), hub("b", 2), hub("c", 3), Host(name="node1", address="203.0.113.4", role="worker"))
    )


def path(rtt: float | None, path_mtu: int | None = 1500) -> dict[str, Any]:
    return {"address": "203.0.113.1", "rtt_ms": rtt, "path_mtu": path_mtu}


def test_the_least_of_all_pairs_of_host_and_hub_decides(inventory_of: Inventories, facts_of: Facts) -> None:
    good = {"a": path(1), "b": path(1), "c": path(1)}
    found = {name: facts_of(to_hubs={hub: way for hub, way in good.items() if hub != name}) for name in "abc"}
    found["node1"] = facts_of(to_hubs=good | {"c": path(1, 1460)})
    made = network_plan.compute(three(inventory_of), found)
    assert made.tun_mtu == 1404
    assert {row[0]: row[2] for row in made.rows()}["tunnel MTU"].startswith("path MTU from node1 to c of 1460")


@pytest.mark.parametrize(
    ("times", "heartbeat", "election"),
    [((5.0, 6.0, 7.0), 100, 2000), ((40.0, 40.0, 40.0), 120, 2000), ((None, 100.0, 120.0), 330, 3300)],
)
def test_etcd_bears_the_way_through_another_hub(
    inventory_of: Inventories, facts_of: Facts, times: tuple[float | None, ...], heartbeat: int, election: int
) -> None:
    ab, ac, bc = times
    found = {
        "a": facts_of(),
        "b": facts_of(to_hubs={"a": path(ab)}),
        "c": facts_of(to_hubs={"a": path(ac), "b": path(bc)}),
        "node1": facts_of(to_hubs={"a": path(900.0)}),
    }
    etcd = network_plan.compute(three(inventory_of), found).etcd
    assert etcd == network_plan.Etcd(heartbeat_ms=heartbeat, election_ms=election)


def test_every_pair_of_hubs_has_a_link_of_its_own(inventory_of: Inventories, facts_of: Facts) -> None:
    inventory = three(inventory_of)
    made = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
    links = made.links()
    assert [(link.listens, link.connects, link.port) for link in links] == [
        ("a", "b", 1195),
        ("a", "c", 1196),
        ("b", "c", 1195),
    ]
    ends = [address for link in links for address in link.addresses]
    assert len(set(ends)) == 6
    networks = [hub.network for hub in made.hubs.values()]
    assert not [address for address in ends if any(address in network for network in networks)]
    assert str(made.transit_address("node1", "c")) == "10.93.2.4"


def test_a_hub_keeps_its_number_when_others_come_before_it(inventory_of: Inventories, facts_of: Facts) -> None:
    first = network_plan.compute(inventory_of(hosts=(hub("b", 2),)), {"b": facts_of()})
    inventory = three(inventory_of)
    later = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts}, previous=first)
    assert {name: hub.index for name, hub in later.hubs.items()} == {"a": 1, "b": 0, "c": 2}
    assert list(later.hubs) == ["a", "b", "c"]


def member(facts_of: Facts, **changes: Any) -> HostFacts:
    return facts_of(cluster="shop", joined=True, **changes)


def test_the_plan_of_three_control_planes_says_why(inventory_of: Inventories, facts_of: Facts) -> None:
    inventory = three(inventory_of)
    found = {
        "a": facts_of(),
        "b": facts_of(to_hubs={"a": path(20.0)}),
        "c": facts_of(to_hubs={"a": path(20.0), "b": path(20.0)}),
        "node1": facts_of(),
    }
    made = network_plan.compute(inventory, found)
    rows = {row[0]: row[1:] for row in made.rows()}
    assert rows["tunnels of node1"] == (
        "maas0 to a, maas1 to b, maas2 to c",
        "all of them are open at once, so that the end of a hub costs about a second and no connection",
    )
    assert rows["links between hubs"] == (
        "3, UDP ports a 1194 to 1196, b 1194 to 1196, c 1194 to 1196",
        "one for each pair, so that two hosts need no hub in common",
    )
    assert rows["API endpoint"] == (
        "10.90.0.254:6443",
        "the last address of 10.90.0.0/24; each control plane announces it while its API is ready",
    )
    assert rows["etcd heartbeat / election"] == (
        "100 / 2000 ms",
        "1.5 times the slowest way between members, 40.0 ms; 2 s outlast a lost hub",
    )
    assert made.announcers() == ["a", "b", "c"]


def test_a_control_plane_that_is_no_hub_does_not_announce_the_api(inventory_of: Inventories, facts_of: Facts) -> None:
    hosts = (hub("a", 1), hub("b", 2), Host(name="c", address="203.0.113.3", role="control-plane"))
    inventory = inventory_of(hub=None, hosts=hosts)
    made = network_plan.compute(inventory, {name: facts_of() for name in "abc"})
    assert made.announcers() == ["a", "b"]
    reason = {row[0]: row[2] for row in made.rows()}["API endpoint"]
    assert reason.endswith("not c, because only a hub can announce it")


def test_a_new_control_plane_before_the_old_one_takes_no_address_from_it(
    inventory_of: Inventories, facts_of: Facts
) -> None:
    first = network_plan.compute(inventory_of(hub=None, hosts=(hub("b", 2),)), {"b": facts_of()})
    inventory = three(inventory_of)
    found = {host.name: facts_of() for host in inventory.hosts} | {"b": member(facts_of)}
    later = network_plan.compute(inventory, found, previous=first)
    assert {name: str(host.vpn_address) for name, host in later.hosts.items()} == {
        "a": "10.90.0.2",
        "b": "10.90.0.1",
        "c": "10.90.0.3",
        "node1": "10.90.0.4",
    }
    assert network_plan.primary(inventory, found).name == "b"
    assert network_plan.primary(inventory, found, without=["b"]).name == "a"


def test_a_control_plane_of_the_cluster_cannot_just_be_left_out(inventory_of: Inventories, facts_of: Facts) -> None:
    inventory = three(inventory_of)
    found = {host.name: member(facts_of) for host in inventory.hosts}
    first = network_plan.compute(inventory, found)
    with pytest.raises(PlanError) as caught:
        network_plan.compute(inventory_of(hub=None, hosts=(hub("a", 1),)), found, previous=first)
    assert caught.value.context[:2] == ("b was a control plane and is none", "c was a control plane and is none")


def test_the_api_of_an_existing_cluster_does_not_move(inventory_of: Inventories, facts_of: Facts) -> None:
    old = network_plan.compute(inventory_of(hub=None, hosts=(hub("a", 1),)), {"a": facts_of()})
    old = old.model_copy(update={"control_plane_endpoint": "10.90.0.1:6443"})
    inventory = three(inventory_of)
    found = {host.name: facts_of() for host in inventory.hosts} | {"a": member(facts_of)}
    with pytest.raises(PlanError) as caught:
        network_plan.compute(inventory, found, previous=old)
    assert str(caught.value) == "the address of the API of the existing cluster shop would have to move"
    assert caught.value.context == ("it is 10.90.0.1:6443, the address of one host, and in the certificates",)


def test_the_plan_says_plainly_that_there_are_no_backups(inventory_of: Inventories, facts_of: Facts) -> None:
    def shown(**changes: Any) -> tuple[str, str]:
        inventory = inventory_of("node1", **changes)
        plan = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
        return next((reason.value, reason.why) for reason in plan.reasons if reason.setting == "etcd backup")

    value, why = shown()
    assert value == "none"
    assert "a lost disk of the control plane is a lost cluster" in why
    recipient = "age1mnu7qzkfe6cfwchgzf66hrnd449u4vfp3jsv5zypuvcd03hv6gxq8f6hhz"
    assert shown(backup=Backup(recipients=(recipient,), keep=10))[0] == "every 30 min, 10 kept"


def small(name: str, last: int) -> Host:
    return Host(name=name, address=f"203.0.113.{last}", role="hub", hub=Hub(endpoint=f"203.0.113.{last}"))


def test_small_hubs_carry_a_control_plane_that_is_not_a_hub(inventory_of: Inventories, facts_of: Facts) -> None:
    plane = Host(name="a", address="203.0.113.1", role="control-plane")
    hosts = (plane, small("h1", 2), small("h2", 3), Host(name="node1", address="203.0.113.4", role="worker"))
    inventory = inventory_of(hub=None, hosts=hosts)
    made = network_plan.compute(inventory, {host.name: facts_of() for host in hosts})
    assert list(made.hubs) == ["h1", "h2"]
    assert made.announcers() == ["a"], "the only control plane announces the API through the hubs"
    assert {name: list(host.servers) for name, host in made.hosts.items()} == {
        "a": ["h1", "h2"],
        "h1": ["h2"],
        "h2": ["h1"],
        "node1": ["h1", "h2"],
    }
    rows = {row[0]: row[1:] for row in made.rows()}
    assert rows["h1: role"] == ("hub", "forwards packets in the VPN; it does not run Kubernetes")
    assert rows["API endpoint"][1].endswith("each control plane announces it while its API is ready")
    assert not any(setting.startswith("h1: name servers") for setting in rows)


def test_a_small_hub_does_not_leave_a_cluster_that_exists(inventory_of: Inventories, facts_of: Facts) -> None:
    plane = hub("a", 1)
    first = network_plan.compute(
        inventory_of(hub=None, hosts=(plane, small("h1", 2))), {"a": facts_of(), "h1": facts_of()}
    )
    with pytest.raises(PlanError) as caught:
        network_plan.compute(inventory_of(hub=None, hosts=(plane,)), {"a": member(facts_of)}, previous=first)
    assert caught.value.context == ("h1 was a hub and is none", "already in the cluster: a")


def test_networks_that_would_move_the_address_of_the_api_are_refused(
    inventory_of: Inventories, facts_of: Facts
) -> None:
    first = network_plan.compute(inventory_of(), {"master": facts_of()})
    moved = inventory_of(networks=Networks(vpn=IPv4Network("10.80.0.0/24")))
    with pytest.raises(PlanError) as caught:
        network_plan.compute(moved, {"master": member(facts_of)}, previous=first)
    assert caught.value.context[0] == (
        "networks.vpn was 10.90.0.0/24 and is 10.80.0.0/24, which would move the address of the API from 10.90.0.254 to "
        "10.80.0.254"
    )
