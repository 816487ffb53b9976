from __future__ import annotations

import json
import shutil
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


APT = """
Acquire::http::Proxy "http://192.0.2.4:3142";
Acquire::http::Proxy::repository.example.org "http://192.0.2.5:3142";
Acquire::http::Proxy::localhost "DIRECT";
Acquire::https::Proxy "DIRECT";
"""


def on_host(
    monkeypatch: pytest.MonkeyPatch, root: Path, *, files: dict[str, str], programs: dict[str, str] | None = None
) -> None:
    """Let the program read files below a directory, and find the output of other programs instead of running them."""
    for path, content in files.items():
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / path[1:]).write_text(content)
    read = _facts_script._text  # noqa: SLF001
    folders = tuple(f"{root}{folder}" for folder in _facts_script._NTP_FOLDERS)  # noqa: SLF001
    monkeypatch.setattr(_facts_script, "_text", lambda path: read(f"{root}{path.removeprefix(str(root))}"))
    monkeypatch.setattr(_facts_script, "_NTP_FOLDERS", folders)
    if programs is not None:
        monkeypatch.setattr(_facts_script, "_output", lambda *words: programs.get(words[0], ""))


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt is not installed")
def test_proxies_are_read_from_every_place_that_sets_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = (
        "PATH=/usr/bin\n"
        "#http_proxy=http://192.0.2.9:3128\n"
        " # ftp_proxy=http://192.0.2.9:3128\n"
        'https_proxy="http://192.0.2.1:3128"\n'
        "export HTTP_PROXY=http://192.0.2.2:3128 # the old one\n"
        "no_proxy=localhost\n"
    )
    systemd = "LANG=C.UTF-8 \"all_proxy=socks5://192.0.2.3:1080\" 'X=a b'\n"
    (tmp_path / "apt.conf").write_text(APT)
    run = _facts_script._output  # noqa: SLF001
    on_host(monkeypatch, tmp_path, files={"/etc/environment": environment})
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr(_facts_script, "_output", lambda *words: systemd if words[0] == "systemctl" else run(*words))
    found = _facts_script.proxies(_facts_script.proxy_sources({"https_proxy": "http://192.0.2.6:3128"}))
    assert [(one["source"], one["variable"], one["server"]) for one in found] == [
        ("/etc/environment", "https_proxy", "192.0.2.1:3128"),
        ("/etc/environment", "http_proxy", "192.0.2.2:3128"),
        ("systemd's DefaultEnvironment", "all_proxy", "192.0.2.3:1080"),
        ("the SSH session", "https_proxy", "192.0.2.6:3128"),
        ("apt", "http_proxy", "192.0.2.4:3142"),
        ("apt", "http_proxy", "192.0.2.5:3142"),
    ]


def test_a_host_without_proxies_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_host(monkeypatch, tmp_path, files={}, programs={"systemctl": "an unfinished 'quote"})
    assert _facts_script.proxies(_facts_script.proxy_sources({"PATH": "/usr/bin"})) == []


NTP = {
    "/etc/ntp.conf": "driftfile /var/lib/ntp/drift\npool ntpd.example.org iburst\n# server commented.example.org\n",
    "/etc/ntpsec/ntp.conf": "peer 192.0.2.20\n",
    "/etc/openntpd/ntpd.conf": "listen on *\nservers openntpd.example.org\n",
    "/etc/chrony/chrony.conf": "  server 192.0.2.21 iburst\nserver\nmakestep 1 3\n",
    "/etc/chrony/conf.d/own.conf": "server 192.0.2.22\n",
    "/etc/chrony/sources.d/pool.sources": "pool chrony.example.org\nserver 192.0.2.21\n",
    "/run/chrony-dhcp/eth0.sources": "server 192.0.2.23 iburst\n",
    "/etc/ntpsec/ntp.d/more.conf": "server 192.0.2.24\n",
}
TIMESYNCD = (
    "LinkNTPServers=192.0.2.25 192.0.2.26\nSystemNTPServers=timesyncd.example.org\n"
    "FallbackNTPServers=0.debian.pool.ntp.org\nServerName=192.0.2.25\nServerAddress=192.0.2.27\n"
)


def test_time_servers_of_every_program_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_host(monkeypatch, tmp_path, files=NTP, programs={"timedatectl": TIMESYNCD})
    names = {f"{program}.example.org" for program in ("ntpd", "openntpd", "chrony", "timesyncd")}
    found = _facts_script.time_servers()
    assert set(found) == names | {f"192.0.2.{number}" for number in range(20, 28)}
    assert len(found) == len(set(found))


def test_a_host_without_a_time_service_has_no_time_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_host(monkeypatch, tmp_path, files={}, programs={})
    assert _facts_script.time_servers() == []


def test_what_a_host_must_still_reach_is_found_with_its_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 010013AC 3 0 0 0 00000000 0 0 0\n"
    files = {
        "/proc/net/route": route,
        "/etc/resolv.conf": "nameserver 10.92.0.53\nnameserver 2001:db8::53\n",
        "/run/systemd/resolve/resolv.conf": "nameserver 10.92.0.54\n",
        "/run/NetworkManager/no-stub-resolv.conf": "nameserver 10.92.0.55\n",
        "/etc/chrony/sources.d/own.sources": "server ntp.example.org\nserver 10.92.0.53\nserver gone.example.org\n",
        "/proc/mounts": "10.91.0.7:/data /data nfs4 rw,addr=10.91.0.7 0 0\n",
    }
    on_host(monkeypatch, tmp_path, files=files, programs={})
    known = {"ntp.example.org": ["10.90.0.8", "10.90.0.9"], "proxy.example.org": ["10.93.0.8"]}

    def addresses(name: str, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        found = known.get(name) or ([name] if name.replace(".", "").isdigit() else [])
        if not found:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    servers = ("proxy.example.org:3128", "10.93.0.9", "10.93.0.10:3128/path", "[2001:db8::1]:3128")
    proxies = [{"source": "apt", "variable": "http_proxy", "server": server} for server in servers]
    found = _facts_script.needed({"SSH_CONNECTION": "10.91.5.6 50000 192.0.2.1 22"}, proxies)
    assert [(one["use"], one["address"]) for one in found] == [
        ("an SSH client", "10.91.5.6"),
        ("its default gateway", "172.19.0.1"),
        ("a name server", "10.92.0.53"),
        ("a name server", "10.92.0.54"),
        ("a name server", "10.92.0.55"),
        ("an NTP server, ntp.example.org", "10.90.0.8"),
        ("an NTP server, ntp.example.org", "10.90.0.9"),
        ("an NTP server", "10.92.0.53"),
        ("a proxy, proxy.example.org", "10.93.0.8"),
        ("a proxy", "10.93.0.9"),
        ("a proxy", "10.93.0.10"),
        ("a file server", "10.91.0.7"),
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


def test_the_versions_of_kubelet_and_api_server_are_read_from_their_output_and_their_static_pod() -> None:
    assert _facts_script.kubelet_version("Kubernetes v1.40.2\n") == "v1.40.2"
    assert _facts_script.kubelet_version("") == ""
    pod = (
        "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v1.40.2\n"
    )
    assert _facts_script.api_server_version(pod) == "v1.40.2"
    assert _facts_script.api_server_version("") == ""
