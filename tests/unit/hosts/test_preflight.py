from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maas.hosts import preflight
from maas.hosts.inventory import Host, Hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Inventory

    Inventories = Callable[..., Inventory]
    Facts = Callable[..., HostFacts]


def found(inventory: Inventory, facts: dict[str, HostFacts], severity: str) -> list[str]:
    return [f"{p.host}: {p.message}" for p in preflight.check(inventory, facts) if p.severity == severity]


def test_ordinary_hosts_pass_all_checks(inventory_of: Inventories, facts_of: Facts) -> None:
    way = {"address": "198.51.100.1", "rtt_ms": 10.0, "path_mtu": 1500}
    facts = {"master": facts_of(), "node1": facts_of(to_hubs={"master": way})}
    assert preflight.check(inventory_of("node1"), facts) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"os": "fedora", "codename": "", "os_name": "Fedora 43"}, "Fedora 43 is not supported"),
        ({"os": "debian", "codename": "bullseye"}, "is not supported"),
        ({"architecture": "aarch64"}, "the architecture aarch64 is not supported"),
        ({"systemd": False}, "systemd is not the init system"),
        ({"uid": 1000}, "the user root is not root and cannot use sudo without a password"),
        ({"memory": 512 << 20}, "only 512 MiB of memory"),
        ({"cpus": 1}, "only one CPU"),
        ({"disk_free": 2 << 30}, "only 2.0 GiB free on the filesystem of /var/lib"),
        ({"tun": False}, "there is no /dev/net/tun, which the VPN needs"),
        ({"capabilities_missing": ("CAP_NET_ADMIN", "CAP_SYS_RESOURCE")}, "missing capabilities: CAP_NET_ADMIN"),
        ({"kubernetes": ("k3s",)}, "it already has k3s"),
        ({"runtimes": {"containerd": "1.6.20"}}, "containerd 1.6.20 is running"),
        ({"runtimes": {"dockerd": "27.0.1"}}, "dockerd 27.0.1 is running"),
        (
            {"listeners": ({"protocol": "udp", "port": 1194, "program": "openvpn"},)},
            "UDP port 1194 is used by openvpn",
        ),
        (
            {"listeners": ({"protocol": "tcp", "port": 6443, "program": None},)},
            "TCP port 6443 is used by another program",
        ),
        (
            {"routes": ({"device": "eth1", "network": "10.91.7.0/24"},)},
            "its route to 10.91.7.0/24 on eth1 overlaps networks.pods 10.91.0.0/16",
        ),
        (
            {"routes": ({"device": "tun0", "network": "10.90.0.0/24"},)},
            "its route to 10.90.0.0/24 on tun0 overlaps networks.vpn 10.90.0.0/24",
        ),
        ({"devices": ("eth0", "maas1", "maas-lan")}, "the network device maas1 exists"),
        ({"cluster": "other"}, "it belongs to another cluster, other"),
    ],
)
def test_what_prevents_a_cluster_is_an_error(
    inventory_of: Inventories, facts_of: Facts, changes: dict[str, Any], message: str
) -> None:
    errors = found(inventory_of(), {"master": facts_of(**changes)}, "error")
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"disk_free": 6 << 30}, "only 6.0 GiB free on the filesystem of /var/lib"),
        ({"swap": ("/dev/sda2",)}, "swap is enabled (/dev/sda2)"),
        ({"capabilities_missing": ("CAP_SYS_RESOURCE",)}, "missing capability: CAP_SYS_RESOURCE"),
        ({"cgroup_version": 1}, "it uses cgroup v1"),
        ({"clock_offset": -90.0}, "its clock is 90 s behind the clock of the controller"),
    ],
)
def test_what_does_not_prevent_a_cluster_is_a_warning(
    inventory_of: Inventories, facts_of: Facts, changes: dict[str, Any], message: str
) -> None:
    facts = {"master": facts_of(**changes)}
    assert found(inventory_of(), facts, "warning") == [f"master: {message}"]
    assert found(inventory_of(), facts, "error") == []


def test_a_worker_may_be_smaller_than_a_control_plane(inventory_of: Inventories, facts_of: Facts) -> None:
    small = facts_of(memory=1 << 30, cpus=1)
    assert found(inventory_of("node1"), {"master": facts_of(), "node1": small}, "error") == []


def test_clocks_that_differ_are_reported_with_the_direction(inventory_of: Inventories, facts_of: Facts) -> None:
    facts = {"master": facts_of(clock_offset=1.0), "node1": facts_of(clock_offset=4.5), "node2": facts_of()}
    assert found(inventory_of("node1", "node2"), facts, "error") == [
        "node1: its clock is 3.5 s ahead of the clock of master"
    ]


def test_a_hub_name_that_a_worker_cannot_resolve_is_an_error(inventory_of: Inventories, facts_of: Facts) -> None:
    facts = {
        "master": facts_of(),
        "node1": facts_of(to_hubs={"master": {"address": None, "rtt_ms": None, "path_mtu": None}}),
    }
    assert found(inventory_of("node1"), facts, "error") == [
        "node1: it cannot resolve the name of the hub, vpn.example.org"
    ]


def test_a_hub_name_with_ipv6_addresses_only_is_an_error(inventory_of: Inventories, facts_of: Facts) -> None:
    way = {"address": "2001:db8::10", "rtt_ms": None, "path_mtu": None}
    facts = {"master": facts_of(), "node1": facts_of(to_hubs={"master": way})}
    assert found(inventory_of("node1"), facts, "error") == [
        "node1: the name of the hub, vpn.example.org, has only the IPv6 address 2001:db8::10, but the VPN uses IPv4"
    ]


def test_a_hub_name_that_leads_a_worker_to_itself_is_an_error(inventory_of: Inventories, facts_of: Facts) -> None:
    facts = {
        "master": facts_of(),
        "node1": facts_of(to_hubs={"master": {"address": "203.0.113.10", "rtt_ms": 0.1, "path_mtu": 1500}}),
    }
    assert found(inventory_of("node1"), facts, "error") == [
        "node1: the hub's endpoint vpn.example.org is an address of this host"
    ]


def test_a_path_that_carries_little_is_a_warning(inventory_of: Inventories, facts_of: Facts) -> None:
    way = {"address": "198.51.100.1", "rtt_ms": 10.0, "path_mtu": 1200}
    facts = {"master": facts_of(), "node1": facts_of(to_hubs={"master": way})}
    assert found(inventory_of("node1"), facts, "warning") == ["node1: the path MTU to the hub is only 1200 bytes"]


def test_a_host_of_this_cluster_may_have_everything_that_bootstrap_made(
    inventory_of: Inventories, facts_of: Facts
) -> None:
    member = facts_of(
        cluster="shop",
        devices=("cali123", "eth0", "lo", "maas0", "vxlan.calico"),
        kubernetes=("a kubeadm node",),
        runtimes={"containerd": "2.4.2"},
        listeners=({"protocol": "tcp", "port": 6443, "program": "kube-apiserver"},),
        routes=(
            {"device": "maas0", "network": "10.90.0.0/24"},
            {"device": "vxlan.calico", "network": "10.91.3.64/26"},
            {"device": "cali123", "network": "10.91.3.1/32"},
            {"device": "*", "network": "10.91.3.0/26"},
        ),
    )
    assert preflight.check(inventory_of(), {"master": member}) == []


def test_errors_come_before_warnings(inventory_of: Inventories, facts_of: Facts) -> None:
    facts = {"master": facts_of(swap=("/swap",)), "node1": facts_of(tun=False)}
    assert [p.severity for p in preflight.check(inventory_of("node1"), facts)] == ["error", "warning"]


def test_a_hub_needs_little_and_what_containers_need_does_not_matter(
    inventory_of: Inventories, facts_of: Facts
) -> None:
    small = Host(name="hub1", address="203.0.113.9", role="hub", hub=Hub(endpoint="203.0.113.9"))
    inventory = inventory_of(hub=None, hosts=(*inventory_of().hosts, small))
    tiny = {"cpus": 1, "memory": 256 << 20, "disk_free": 400 << 20, "swap": ("/dev/sda2",), "cgroup_version": 1}
    tiny |= {"capabilities_missing": ("CAP_SYS_ADMIN",), "runtimes": {"docker": "20.10"}, "programs_free": 1 << 20}
    facts = {"master": facts_of(), "hub1": facts_of(**tiny)}
    assert found(inventory, facts, "error") == found(inventory, facts, "warning") == []
    facts["hub1"] = facts_of(
        **tiny | {"memory": 100 << 20, "disk_free": 1 << 20, "capabilities_missing": ("CAP_NET_RAW",)}
    )
    assert found(inventory, facts, "error") == [
        "hub1: only 100 MiB of memory",
        "hub1: only 1 MiB free on the filesystem of /var/lib",
        "hub1: missing capabilities: CAP_NET_RAW",
    ]
