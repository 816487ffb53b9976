from __future__ import annotations

import socket

import pytest

from maas.hosts import _facts_script


@pytest.mark.parametrize(
    ("mounts", "version"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", 2),
        ("tmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", 1),
        ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", 1),
    ],
)
def test_a_hybrid_hierarchy_is_version_1(mounts: str, version: int) -> None:
    assert _facts_script.cgroup_version(mounts) == version


@pytest.mark.parametrize(
    ("bounding", "missing"),
    [
        ("000001ffffffffff", []),
        ("000001fffeffffff", ["CAP_SYS_RESOURCE"]),
        ("00000000a80425fb", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"]),
    ],
)
def test_missing_capabilities_are_read_from_the_bounding_set(bounding: str, missing: list[str]) -> None:
    assert _facts_script.missing_capabilities(f"Name:\tcat\nCapBnd:\t{bounding}\nCapAmb:\t0\n") == missing


def test_routes_are_read_as_networks_and_the_default_one_left_out() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "tun0\t00005A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert _facts_script.routes(table) == [
        {"device": "eth0", "network": "192.168.0.0/16"},
        {"device": "tun0", "network": "10.90.0.0/24"},
    ]


@pytest.mark.parametrize(
    ("files", "path", "servers"),
    [
        ([("/a", "search x\nnameserver 10.0.0.2\n")], "/a", ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.53\n"), ("/b", "nameserver 10.0.0.2\n")], "/b", ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.1\nnameserver 10.0.0.2\n")], None, ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.11\n"), ("/b", "")], None, []),
        ([("/a", "nameserver ::1\nnameserver\n")], None, []),
    ],
)
def test_a_loopback_name_server_is_no_server_for_pods(
    files: list[tuple[str, str]], path: str | None, servers: list[str]
) -> None:
    assert _facts_script.resolver(files) == {"path": path, "servers": servers}


def test_packages_that_were_removed_or_never_installed_are_missing() -> None:
    status = (
        "Package: socat\nStatus: install ok installed\nDescription: relay\n Status: none\n\n"
        "Package: ipset\nStatus: deinstall ok config-files\n"
    )
    assert _facts_script.missing_packages(status, ["socat", "ipset", "kmod"]) == ["ipset", "kmod"]


def test_a_listener_is_found_with_its_program_and_others_are_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ports = ("tcp", tcp.getsockname()[1]), ("udp", udp.getsockname()[1])
        found = _facts_script.listeners(ports)
        assert _facts_script.listeners([("udp", ports[0][1])]) == []
    assert [(entry["protocol"], entry["port"]) for entry in found] == list(ports)
    assert all(entry["program"] for entry in found)


@pytest.mark.parametrize("limit", [576, 577, 1037, 1400, 1437, 1499, 1500, 9000])
def test_the_path_mtu_is_found_exactly_and_in_few_packets(limit: int) -> None:
    sizes: list[int] = []

    def passes(size: int) -> bool:
        sizes.append(size)
        return size <= limit

    assert _facts_script.path_mtu(passes) == min(limit, 1500)
    assert len(sizes) <= 12


def test_a_path_that_carries_nothing_has_no_mtu() -> None:
    assert _facts_script.path_mtu(lambda _: False) is None


def test_a_name_that_does_not_resolve_has_no_address() -> None:
    assert _facts_script.path_to_hub("hub.invalid") == {"address": None, "rtt_ms": None, "path_mtu": None}


@pytest.mark.parametrize(("addresses", "used"), [(["::1", "127.0.0.1"], "127.0.0.1"), (["::1"], "::1")])
def test_the_hub_is_reached_over_ipv4_where_its_name_has_such_an_address(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], used: str
) -> None:
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    found = [(families[":" in one], socket.SOCK_DGRAM, 17, "", (one, 0)) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert _facts_script.path_to_hub("vpn.example.org")["address"] == used
