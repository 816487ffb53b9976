"""States of hosts that preflight reports, each with every line of its result."""

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

HOME = {
    "addresses": ({"device": "eth0", "address": "192.0.2.44/24"},),
    "routes": ({"device": "eth0", "network": "192.0.2.0/24"},),
}
NEEDED = "so this host could no longer reach it (choose another networks"
GONE = "(stop that program or change its port)"


def way(address: str | None, path_mtu: int | None = 1500) -> dict[str, Any]:
    return {"address": address, "rtt_ms": None if address is None else 10.0, "path_mtu": path_mtu}


def needs(use: str, address: str) -> dict[str, Any]:
    return {**HOME, "needs": ({"use": use, "address": address},)}


def listener(protocol: str, port: int, program: str | None) -> dict[str, Any]:
    return {"listeners": ({"protocol": protocol, "port": port, "program": program},)}


def chain(hook: str, **changes: Any) -> dict[str, Any]:
    known = {"program": "nft", "family": "inet", "table": "filter", "chain": hook, "hook": hook, "opened": False}
    return known | changes


# (facts of the control plane, the problems)
CONTROL_PLANE: list[tuple[dict[str, Any], list[str]]] = [
    # What the host could no longer reach: P1
    (
        needs("an SSH client", "10.91.5.6"),
        [
            f"error: master: the address 10.91.5.6 (an SSH client) is in networks.pods 10.91.0.0/16, {NEEDED}.pods in the inventory)"
        ],
    ),
    (
        needs("a name server", "10.92.0.53"),
        [
            f"error: master: the address 10.92.0.53 (a name server) is in networks.services 10.92.0.0/16, {NEEDED}.services in the inventory)"
        ],
    ),
    (
        needs("an NTP server, ntp.example.org", "10.90.0.123"),
        [
            (
                "error: master: the address 10.90.0.123 (an NTP server, ntp.example.org) is in networks.vpn 10.90.0.0/24, "
                f"{NEEDED}.vpn in the inventory)"
            )
        ],
    ),
    (
        needs("a proxy, proxy.example.org", "10.91.0.8"),
        [
            (
                "error: master: the address 10.91.0.8 (a proxy, proxy.example.org) is in networks.pods 10.91.0.0/16, "
                f"{NEEDED}.pods in the inventory)"
            )
        ],
    ),
    (
        needs("its default gateway", "10.91.0.1"),
        [
            f"error: master: the address 10.91.0.1 (its default gateway) is in networks.pods 10.91.0.0/16, {NEEDED}.pods in the inventory)"
        ],
    ),
    (
        needs("a name server", "10.93.7.53"),
        [
            f"error: master: the address 10.93.7.53 (a name server) is in networks.transit 10.93.0.0/21, {NEEDED}.transit in the inventory)"
        ],
    ),
    (
        needs("a file server", "10.90.0.9"),
        [
            f"error: master: the address 10.90.0.9 (a file server) is in networks.vpn 10.90.0.0/24, {NEEDED}.vpn in the inventory)"
        ],
    ),
    (
        {"addresses": ({"device": "dummy0", "address": "10.91.0.7/32"},)},
        [
            f"error: master: the address 10.91.0.7 (its own, on dummy0) is in networks.pods 10.91.0.0/16, {NEEDED}.pods in the inventory)"
        ],
    ),
    # One server for two uses is one problem, and so is one that is behind a route which is reported itself.
    (
        {**HOME, "needs": tuple({"use": use, "address": "10.92.0.1"} for use in ("a name server", "an NTP server"))},
        [
            (
                "error: master: the address 10.92.0.1 (a name server; an NTP server) is in networks.services 10.92.0.0/16, "
                f"{NEEDED}.services in the inventory)"
            )
        ],
    ),
    (
        {**needs("its default gateway", "10.91.0.1"), "routes": ({"device": "eth0", "network": "10.91.0.0/24"},)},
        [
            (
                "error: master: its route to 10.91.0.0/24 on eth0 overlaps networks.pods 10.91.0.0/16 "
                "(choose another networks.pods in the inventory)"
            )
        ],
    ),
    # Other VPNs: P9
    (
        {"devices": ("eth0", "maas0")},
        [
            (
                "error: master: the network device maas0 exists, but MaaS gives this name to a device of its VPN "
                "(rename or remove that device)"
            )
        ],
    ),
    (
        {"devices": ("eth0", "tun0"), "routes": ({"device": "tun0", "network": "10.90.0.0/24"},)},
        [
            (
                "error: master: its route to 10.90.0.0/24 on tun0 overlaps networks.vpn 10.90.0.0/24 "
                "(choose another networks.vpn in the inventory)"
            )
        ],
    ),
    # Name servers: P10
    (
        {"resolver": {"path": None, "servers": ()}},
        [
            (
                "warning: master: pods can reach none of its name servers (IPv4, not loopback) "
                "(pods use 9.9.9.9 and 1.1.1.1; to use others, set nameservers in the inventory)"
            )
        ],
    ),
    # What enables swap (P11)
    ({"swap": ("/dev/sda2",)}, ["warning: master: swap is enabled (/dev/sda2) (bootstrap disables it)"]),
    (
        {"swap_units": ("zramswap.service",)},
        ["warning: master: swap is enabled (zramswap.service) (bootstrap disables it)"],
    ),
    (
        {"swap": ("/dev/zram0",), "swap_units": ("zramswap.service",), "container": "lxc"},
        ["warning: master: swap is enabled (/dev/zram0, zramswap.service) (the kubelet is configured to allow swap)"],
    ),
    # Disks
    (
        {"sync_ms": 180.4},
        [
            (
                "warning: master: a synchronous write to /var/lib takes 180 ms, which makes etcd and the API slow "
                "(use a disk that takes less than 50 ms, such as a local SSD)"
            )
        ],
    ),
    (
        {"programs_free": 300 << 20},
        ["error: master: only 0.3 GiB free on the filesystem of /usr/local (1 GiB is required for programs)"],
    ),
    (
        {"disk_free": 2 << 30},
        ["error: master: only 2.0 GiB free on the filesystem of /var/lib (4 GiB are required)"],
    ),
    (
        {"disk_free": 6 << 30},
        [
            (
                "warning: master: only 6.0 GiB free on the filesystem of /var/lib "
                "(10 GiB are recommended for your own images and volumes)"
            )
        ],
    ),
    # Size
    ({"memory": 512 << 20}, ["error: master: only 512 MiB of memory (a control-plane host needs at least 1700 MiB)"]),
    ({"cpus": 1}, ["error: master: only one CPU (a control-plane host needs at least two)"]),
    # System
    (
        {"os": "fedora", "codename": "", "os_name": "Fedora 43"},
        ["error: master: Fedora 43 is not supported (install one of Debian 12, Debian 13, Ubuntu 22.04, Ubuntu 24.04)"],
    ),
    (
        {"architecture": "aarch64"},
        ["error: master: the architecture aarch64 is not supported (use an x86_64 host)"],
    ),
    ({"systemd": False}, ["error: master: systemd is not the init system (boot the host with systemd)"]),
    (
        {"tun": False},
        [
            (
                "error: master: there is no /dev/net/tun, which the VPN needs "
                "(run modprobe tun, or ask the provider to enable it)"
            )
        ],
    ),
    (
        {"capabilities_missing": ("CAP_NET_ADMIN", "CAP_SYS_RESOURCE")},
        ["error: master: missing capabilities: CAP_NET_ADMIN (add them to the container of this host)"],
    ),
    (
        {"cgroup_version": 1},
        [
            (
                "warning: master: it uses cgroup v1 (the kubelet is configured with failCgroupV1: false; for cgroup v2, boot "
                "with systemd.unified_cgroup_hierarchy=1)"
            )
        ],
    ),
    # Firewalls: their own table drops what that of MaaS accepts (P2)
    (
        {"firewalls": ("nftables",), "filters": (chain("input"), chain("forward"))},
        [
            (
                "warning: master: nftables drops what it does not accept (inet filter input, inet filter forward) "
                "(bootstrap adds rules for the cluster to these chains, also after each reload)"
            )
        ],
    ),
    (
        {"filters": (chain("input"),)},
        [
            (
                "error: master: the chain input of the table inet filter (nft) drops what it does not accept, whatever "
                "other tables accept (add these rules, also to the files of that firewall: "
                "nft insert rule inet filter input iifname '\"maas*\"' ip saddr 10.90.0.0/24 accept comment '\"maas\"'; "
                "nft insert rule inet filter input iifname '\"maas*\"' ip saddr 10.93.0.0/21 accept comment '\"maas\"'; "
                "nft insert rule inet filter input iifname '\"cali*\"' accept comment '\"maas\"'; "
                "nft insert rule inet filter input iifname '\"vxlan.calico\"' accept comment '\"maas\"'; "
                "nft insert rule inet filter input udp dport 1194 accept comment '\"maas\"')"
            )
        ],
    ),
    (
        {
            "firewalls": ("nftables",),
            "filters": (chain("forward", program="iptables-legacy", family="ip", chain="FORWARD"),),
        },
        [
            (
                "error: master: the chain FORWARD of the table ip filter (iptables-legacy) drops what it does not accept, "
                "whatever other tables accept (add these rules, also to the files of that firewall: "
                "iptables-legacy -I FORWARD -i maas+ -o maas+ -m comment --comment maas -j ACCEPT; "
                "iptables-legacy -I FORWARD -i cali+ -m comment --comment maas -j ACCEPT; "
                "iptables-legacy -I FORWARD -o cali+ -m comment --comment maas -j ACCEPT)"
            )
        ],
    ),
    ({"filters": (chain("input", opened=True),)}, []),
    (
        {"firewalls": ("firewalld",), "filters": (chain("input", table="firewalld", chain="filter_INPUT"),)},
        [
            (
                "error: master: firewalld rejects the traffic of the cluster (run: "
                "firewall-cmd --permanent --new-zone=maas && "
                "firewall-cmd --permanent --zone=maas --set-target=ACCEPT && "
                "firewall-cmd --permanent --zone=maas --add-interface=maas+ && "
                "firewall-cmd --permanent --zone=maas --add-interface=vxlan.calico && "
                "firewall-cmd --permanent --zone=maas --add-interface=cali+ && "
                "firewall-cmd --permanent --add-port=1194/udp && firewall-cmd --reload)"
            )
        ],
    ),
    # bootstrap's rules come first in the same table.
    ({"firewalls": ("ufw",)}, []),
    ({"firewalls": ("netfilter-persistent",)}, []),
    # Clocks
    (
        {"clock_offset": -90.0},
        [
            (
                "warning: master: its clock is 90 s behind the clock of the controller "
                "(synchronize both clocks; certificates are valid only within a period)"
            )
        ],
    ),
    # Ports and programs
    (listener("udp", 1194, "openvpn"), [f"error: master: UDP port 1194 is used by openvpn {GONE}"]),
    (listener("tcp", 10250, None), [f"error: master: TCP port 10250 is used by another program {GONE}"]),
    ({"kubernetes": ("k3s",)}, ["error: master: it already has k3s (uninstall that first)"]),
    (
        {"runtimes": {"dockerd": "27.0.1"}},
        ["error: master: dockerd 27.0.1 is running (uninstall it: bootstrap installs its own containerd)"],
    ),
    (
        {"cluster": "other"},
        [
            (
                "error: master: it belongs to another cluster, other "
                "(remove it from this inventory, or run `reset` with the inventory of other first)"
            )
        ],
    ),
]

# (facts of the worker, the problems)
WORKER: list[tuple[dict[str, Any], list[str]]] = [
    (
        {**HOME, "to_hubs": {"master": way("10.90.0.77")}},
        [
            f"error: node1: the address 10.90.0.77 (the hub) is in networks.vpn 10.90.0.0/24, {NEEDED}.vpn in the inventory)"
        ],
    ),
    (
        {"to_hubs": {"master": way(None, None)}},
        [
            (
                "error: node1: it cannot resolve the name of the hub, vpn.example.org "
                "(use the hub's address, or fix DNS on this host)"
            )
        ],
    ),
    (
        {"to_hubs": {"master": way("2001:db8::10", None)}},
        [
            (
                "error: node1: the name of the hub, vpn.example.org, has only the IPv6 address 2001:db8::10, but the VPN uses "
                "IPv4 (add an A record to the name, or set hub.endpoint to an IPv4 address)"
            )
        ],
    ),
    (
        {"to_hubs": {"master": way("203.0.113.10")}},
        [
            (
                "error: node1: the hub's endpoint vpn.example.org is an address of this host "
                "(set hub.endpoint to an address of the control plane)"
            )
        ],
    ),
    (
        {"to_hubs": {"master": way("198.51.100.1", 1200)}},
        ["warning: node1: the path MTU to the hub is only 1200 bytes (check for a tunnel or modem on the path)"],
    ),
    (
        {"clock_offset": 4.5},
        [
            (
                "error: node1: its clock is 4.4 s ahead of the clock of master "
                "(enable time synchronization, for example with: apt-get install systemd-timesyncd)"
            )
        ],
    ),
    (
        {"filters": (chain("output"),)},
        [
            (
                "error: node1: the chain output of the table inet filter (nft) drops what it does not accept, whatever "
                "other tables accept (add these rules, also to the files of that firewall: "
                "nft insert rule inet filter output oifname '\"maas*\"' accept comment '\"maas\"'; "
                "nft insert rule inet filter output oifname '\"cali*\"' accept comment '\"maas\"'; "
                "nft insert rule inet filter output oifname '\"vxlan.calico\"' accept comment '\"maas\"'; "
                "nft insert rule inet filter output udp dport 1194 accept comment '\"maas\"')"
            )
        ],
    ),
    # A slow disk matters for etcd only.
    ({"sync_ms": 180.4}, []),
]

# (round trips of b to a, and of c to a and b; slowest write of c; the problems): several members of etcd
MEMBERS: list[tuple[tuple[float | None, ...], float | None, list[str]]] = [
    ((20.0, 30.0, 50.0), 300.0, []),
    ((None, None, None), None, []),
    (
        (151.0, 80.2, 20.0),
        None,
        [
            # It is far from a by the direct way, but not through c.
            (
                "warning: a: the round trip to the control plane b takes 100 ms, which each change of the API waits for "
                "(use control planes within 50 ms of each other)"
            ),
            (
                "warning: a: the round trip to the control plane c takes 80 ms, which each change of the API waits for "
                "(use control planes within 50 ms of each other)"
            ),
        ],
    ),
    (
        (10.0, 300.4, 290.0),
        None,
        [
            (
                "error: a: the round trip to the control plane c takes 300 ms, which each change of the API waits for "
                "(use control planes within 150 ms of each other; --accept-slow-etcd continues nevertheless)"
            ),
            (
                "error: b: the round trip to the control plane c takes 290 ms, which each change of the API waits for "
                "(use control planes within 150 ms of each other; --accept-slow-etcd continues nevertheless)"
            ),
        ],
    ),
    (
        (1.0, 1.0, 1.0),
        412.3,
        [
            (
                "error: c: the slowest of 50 synchronous writes to /var/lib takes 412 ms, in which etcd can lose its leader "
                "(use a disk that takes less than 300 ms, such as a local SSD; --accept-slow-etcd continues nevertheless)"
            )
        ],
    ),
]


def lines(inventory: Inventory, facts: dict[str, HostFacts]) -> list[str]:
    return [f"{problem.severity}: {problem}" for problem in preflight.check(inventory, facts)]


@pytest.mark.parametrize(("state", "problems"), CONTROL_PLANE)
def test_a_bad_control_plane_is_reported_with_reason_and_remedy(
    inventory_of: Inventories, facts_of: Facts, state: dict[str, Any], problems: list[str]
) -> None:
    assert lines(inventory_of(), {"master": facts_of(**state)}) == problems


@pytest.mark.parametrize(("times", "slowest", "problems"), MEMBERS)
def test_control_planes_that_are_too_slow_for_each_other_are_reported(
    inventory_of: Inventories,
    facts_of: Facts,
    times: tuple[float | None, ...],
    slowest: float | None,
    problems: list[str],
) -> None:
    addresses = {name: f"203.0.113.{n}" for n, name in enumerate("abc", start=1)}
    hosts = (
        Host(name=name, address=address, role="control-plane", hub=Hub(endpoint=address))
        for name, address in addresses.items()
    )

    def to(**found: float | None) -> dict[str, Any]:
        return {name: {"address": addresses[name], "rtt_ms": time, "path_mtu": 1500} for name, time in found.items()}

    own = {
        name: {"addresses": ({"device": "eth0", "address": f"{address}/24"},)} for name, address in addresses.items()
    }
    facts = {
        "a": facts_of(**own["a"]),
        "b": facts_of(**own["b"], to_hubs=to(a=times[0])),
        "c": facts_of(**own["c"], to_hubs=to(a=times[1], b=times[2]), sync_p99_ms=slowest),
    }
    inventory = inventory_of(hub=None, hosts=tuple(hosts))
    assert lines(inventory, facts) == problems
    accepted = [str(one) for one in preflight.check(inventory, facts, accept_slow_etcd=True) if one.severity == "error"]
    assert accepted == []


@pytest.mark.parametrize(
    ("lost", "count", "problems"),
    [
        (
            1,
            1,
            [
                (
                    "error: m1: its data of etcd is lost, and 0 of 1 control planes are no majority "
                    "(put /var/lib/etcd/member back from a backup, or reset the hosts to start an empty cluster)"
                )
            ],
        ),
        (
            1,
            3,
            [
                (
                    "warning: m1: its data of etcd is lost, and its etcd does not start "
                    "(bootstrap removes it from the members of etcd and joins it again)"
                )
            ],
        ),
        (
            2,
            3,
            [
                (
                    f"error: m{n}: its data of etcd is lost, and 1 of 3 control planes are no majority "
                    "(put /var/lib/etcd/member back from a backup, or reset the hosts to start an empty cluster)"
                )
                for n in (1, 2)
            ],
        ),
    ],
)
def test_lost_data_of_etcd_is_an_error_without_a_majority(
    inventory_of: Inventories, facts_of: Facts, lost: int, count: int, problems: list[str]
) -> None:
    hosts = tuple(
        Host(name=f"m{n}", address=f"203.0.113.{n}", role="control-plane", hub=Hub(endpoint=f"203.0.113.{n}"))
        for n in range(1, count + 1)
    )
    facts = {
        f"m{n}": facts_of(cluster="shop", joined=True, etcd="lost" if n <= lost else "member")
        for n in range(1, count + 1)
    }
    assert lines(inventory_of(hub=None, hosts=hosts), facts) == problems


@pytest.mark.parametrize(("state", "problems"), WORKER)
def test_a_bad_worker_is_reported_with_reason_and_remedy(
    inventory_of: Inventories, facts_of: Facts, state: dict[str, Any], problems: list[str]
) -> None:
    assert lines(inventory_of("node1"), {"master": facts_of(), "node1": facts_of(**state)}) == problems


def test_the_problems_of_all_hosts_are_reported_together_errors_first(
    inventory_of: Inventories, facts_of: Facts
) -> None:
    facts = {"master": facts_of(swap=("/swap",)), "node1": facts_of(systemd=False, tun=False)}
    assert [line.partition(" (")[0] for line in lines(inventory_of("node1"), facts)] == [
        "error: node1: systemd is not the init system",
        "error: node1: there is no /dev/net/tun, which the VPN needs",
        "warning: master: swap is enabled",
    ]


@pytest.mark.parametrize("use", ["an SSH client", "a name server", "the hub"])
def test_addresses_outside_the_networks_of_the_cluster_are_no_problem(
    inventory_of: Inventories, facts_of: Facts, use: str
) -> None:
    facts = {"master": facts_of(**needs(use, "10.94.0.1"))}
    assert lines(inventory_of(hub=Hub(endpoint="198.51.100.1")), facts) == []


def test_a_host_of_the_cluster_uses_addresses_of_the_cluster(inventory_of: Inventories, facts_of: Facts) -> None:
    state = {
        "cluster": "shop",
        "addresses": ({"device": "maas0", "address": "10.90.0.1/24"},),
        "needs": ({"use": "an SSH client", "address": "10.90.0.2"},),
    }
    assert lines(inventory_of(), {"master": facts_of(**state)}) == []
