from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from maas.hosts import _facts_script

if TYPE_CHECKING:
    from pathlib import Path


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
        "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
        "wg0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
        "tun0\t00005A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert _facts_script.routes(table) == [
        {"device": "eth0", "network": "192.168.0.0/16"},
        {"device": "tun0", "network": "10.90.0.0/24"},
    ]

    assert _facts_script.gateways(table) == ["192.168.0.1"]


def test_a_session_is_found_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import json; from maas.hosts import _facts_script as f;"
        "print(json.dumps({k: v for k, v in f.callers().items() if k in ('SSH_CONNECTION', 'https_proxy')}))"
    )
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.9 50000 192.0.2.1 22")
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    # What sudo does: the program's own environment has neither.
    words = ["env", "-u", "SSH_CONNECTION", "-u", "https_proxy", "PYTHONPATH=src", sys.executable, "-c", code]
    done = subprocess.run(["sh", "-c", '"$@"; exit 0', "sh", *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "SSH_CONNECTION": "192.0.2.9 50000 192.0.2.1 22",
        "https_proxy": "http://proxy.example.org:3128",
    }


def test_proxies_are_found_without_user_names_and_passwords() -> None:
    sources = [
        (
            "/etc/environment",
            {"https_proxy": "http://u:p@s@192.0.2.1:3128/", "no_proxy": "localhost", "HTTP_PROXY": ""},
        ),
        ("the SSH session", {"HTTPS_PROXY": "http://192.0.2.1:3128", "all_proxy": "192.0.2.2:1080", "PATH": "/bin"}),
    ]
    assert _facts_script.proxies(sources) == [
        {"source": "the SSH session", "variable": "https_proxy", "server": "192.0.2.1:3128"},
        {"source": "the SSH session", "variable": "all_proxy", "server": "192.0.2.2:1080"},
    ]


def ruleset(*rules: tuple[str, list[dict[str, object]]], policy: str = "accept") -> dict[str, object]:
    """The output of `nft -j list ruleset` for a table with a base chain `input` and a chain `more`."""
    table = {"family": "inet", "table": "filter"}
    base = table | {"name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": policy}
    made = [{"rule": table | {"chain": name, "expr": parts}} for name, parts in rules]
    return {"nftables": [{"metainfo": {}}, {"chain": base}, {"chain": table | {"name": "more"}}, *made]}


DROP: dict[str, object] = {"drop": None}
MATCH: dict[str, object] = {"match": {"op": "==", "left": {"payload": {}}, "right": "192.0.2.1"}}
MORE: dict[str, object] = {"jump": {"target": "more"}}


@pytest.mark.parametrize(
    ("rules", "policy", "closed"),
    [
        ([], "drop", True),
        ([], "accept", False),
        ([("input", [MATCH, DROP])], "accept", False),
        ([("input", [{"counter": {}}, {"log": {}}, {"reject": {"type": "icmpx"}}])], "accept", True),
        ([("input", [MORE]), ("more", [MATCH, DROP]), ("more", [DROP])], "accept", True),
        ([("input", [MATCH, MORE]), ("more", [DROP])], "accept", False),
        ([("input", [MORE]), ("more", [{"goto": {"target": "more"}}])], "accept", False),
    ],
)
def test_a_chain_of_nft_that_drops_by_default_is_found(
    rules: list[tuple[str, list[dict[str, object]]]], policy: str, closed: bool
) -> None:
    found = _facts_script.nft_filters(ruleset(*rules, policy=policy))
    named = {"program": "nft", "family": "inet", "table": "filter", "chain": "input", "hook": "input", "opened": False}
    assert found == ([named] if closed else [])


def test_a_chain_that_a_user_opened_is_known_by_the_comment() -> None:
    rules = ruleset(policy="drop")
    rules["nftables"] += [  # type: ignore[operator]
        {"rule": {"family": "inet", "table": "filter", "chain": "input", "comment": comment, "expr": []}}
        for comment in ("maas-firewall", "maas")
    ]
    assert [one["opened"] for one in _facts_script.nft_filters(rules)] == [True]
    rules["nftables"].pop()  # type: ignore[attr-defined]
    assert [one["opened"] for one in _facts_script.nft_filters(rules)] == [False]


def test_chains_of_iptables_legacy_that_drop_by_default_are_found() -> None:
    saved = (
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A INPUT -i maas+ -m comment --comment maas -j ACCEPT\n"
        "-A FORWARD -s 192.0.2.1/32 -j DROP\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n"
    )
    found = _facts_script.legacy_filters(saved)
    assert [(one["chain"], one["opened"]) for one in found] == [("INPUT", True), ("FORWARD", False)]


def test_file_servers_are_found_among_the_mounts() -> None:
    mounts = (
        "192.0.2.7:/data /data nfs4 rw,vers=4.2,addr=192.0.2.7 0 0\n"
        "//192.0.2.8/x /x cifs rw,username=a,addr=192.0.2.8,file_mode=0755 0 0\n"
        "/dev/vda1 / ext4 rw,relatime 0 0\n"
    )
    assert _facts_script.file_servers(mounts) == ["192.0.2.7", "192.0.2.8"]


def test_names_are_resolved_and_unknown_ones_have_no_address() -> None:
    assert _facts_script.resolve(["localhost", "192.0.2.7", "no-such-name.invalid"]) == {
        "localhost": ["127.0.0.1"],
        "192.0.2.7": ["192.0.2.7"],
    }


def test_units_that_enable_swap_at_boot_are_found_unless_masked() -> None:
    listing = "zramswap.service enabled enabled\nswapfile.swap masked enabled\ndev-sda2.swap generated -\n"
    assert _facts_script.swap_units(listing) == ["zramswap.service"]


def test_the_time_of_a_write_is_measured_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: made(**{**options, "dir": tmp_path}))
    found = _facts_script.sync_times()
    assert 0 < found["sync_ms"] <= found["sync_p99_ms"] < 2000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "path", "servers"),
    [
        ([("/a", "search x\nnameserver 10.0.0.2\n")], "/a", ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.53\n"), ("/b", "nameserver 10.0.0.2\n")], "/b", ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.1\nnameserver 10.0.0.2\n")], None, ["10.0.0.2"]),
        ([("/a", "nameserver 127.0.0.11\n"), ("/b", "")], None, []),
        ([("/a", "nameserver ::1\nnameserver\n")], None, []),
        ([("/a", "nameserver 2001:db8::53\n")], None, []),
        ([("/a", "nameserver fe80::1%eth0\nnameserver 10.0.0.2\n")], None, ["10.0.0.2"]),
        ([("/a", "nameserver 2001:db8::53\n"), ("/b", "nameserver 10.0.0.2\n")], "/b", ["10.0.0.2"]),
        ([("/a", "nameserver 0.0.0.0\n")], None, []),
    ],
)
def test_only_name_servers_that_pods_reach_are_used(
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
