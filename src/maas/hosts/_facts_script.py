"""The program that gathers the facts of a host and prints them as one line of JSON.

The source of this module is sent to ``python3 -`` over SSH, followed by a call of `main`. So it uses only the standard
library and the syntax of Python 3.10 (Ubuntu 22.04). It makes no changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MARK = "maas-facts:"

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}
_LISTEN = {"tcp": "0A", "udp": "07"}  # the states in /proc/net of a listening TCP and an unconnected UDP socket
_KUBERNETES = {
    "/etc/kubernetes/admin.conf": "a kubeadm control plane",
    "/etc/kubernetes/kubelet.conf": "a kubeadm node",
    "/var/lib/kubelet/config.yaml": "a kubelet",
    "/etc/rancher/k3s": "k3s",
    "/etc/rancher/rke2": "RKE2",
    "/etc/k0s": "k0s",
    "/snap/microk8s": "MicroK8s",
}
_RUNTIMES = ("containerd", "dockerd", "crio")
_NTP_FILES = ("/etc/ntp.conf", "/etc/ntpsec/ntp.conf", "/etc/openntpd/ntpd.conf", "/etc/chrony/chrony.conf")
_NTP_FOLDERS = ("/etc/chrony/conf.d", "/etc/chrony/sources.d", "/run/chrony-dhcp", "/etc/ntpsec/ntp.d")
_RESOLVE_SECONDS = 5
_HOOKS = ("input", "forward", "output")
_NEUTRAL = {"counter", "log", "limit"}  # expressions of a rule of nft that match every packet
_OPENED = "maas"  # the comment of the rules that preflight asks for
# Units that enable swap without swap.target: of zram-tools, zram-config and dphys-swapfile, and those of the user.
_SWAP_UNITS = ("zramswap.service", "zram-config.service", "dphys-swapfile.service", "*.swap")
_SYNC_SECONDS, _SYNC_WRITES, _SYNC_BYTES = 2, 50, 2300  # as in etcd's recommended fio benchmark
_RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
# Linux names that Python's socket module lacks.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DO = 2
_ECHOES = 5
_SMALLEST_MTU = 576
_LARGEST_MTU = 1500  # jumbo frames rarely pass between sites


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def operating_system() -> dict[str, Any]:
    release = _assignments(_text("/etc/os-release"))
    return {
        "os": release.get("ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "os_name": release.get("PRETTY_NAME", "an unknown system"),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "systemd": pathlib.Path("/run/systemd/system").is_dir(),
        "container": container(),
    }


def container() -> str | None:
    """Return the type of container that this host is, according to systemd or the runtime; None for a machine."""
    manager = _text("/run/systemd/container").strip() or _text("/run/host/container-manager").strip()
    if manager:
        return manager
    environment = dict(item.partition("=")[::2] for item in _text("/proc/1/environ").split("\0"))
    if environment.get("container"):
        return environment["container"]
    return "docker" if pathlib.Path("/.dockerenv").exists() else None


def cgroup_version(mounts: str) -> int:
    """Return 2 if the unified hierarchy is mounted at /sys/fs/cgroup, otherwise 1."""
    fields = (line.split() for line in mounts.splitlines())
    return 2 if any(f[1] == "/sys/fs/cgroup" and f[2] == "cgroup2" for f in fields) else 1


def resources() -> dict[str, Any]:
    memory = next((line for line in _text("/proc/meminfo").splitlines() if line.startswith("MemTotal:")), "x 0")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory": int(memory.split()[1]) * 1024,
        "disk_free": shutil.disk_usage("/var/lib").free,
        "programs_free": shutil.disk_usage("/usr/local").free,
        "swap": [line.split()[0] for line in _text("/proc/swaps").splitlines()[1:]],
        "swap_units": swap_units(_output("systemctl", "--no-legend", "--plain", "list-unit-files", *_SWAP_UNITS)),
        **sync_times(),
    }


def swap_units(listing: str) -> list[str]:
    """Return the units that enable swap at boot, other than through swap.target, from a listing of unit files."""
    fields = (line.split() for line in listing.splitlines())
    return [f[0] for f in fields if len(f) > 1 and f[1] in {"enabled", "enabled-runtime"}]


def etcd() -> str:
    """Return whether this host is a member of etcd, and still has the data."""
    if not pathlib.Path("/var/lib/maas/initialised").exists():
        return "none"
    return "member" if pathlib.Path("/var/lib/etcd/member/wal").is_dir() else "lost"


def sync_times() -> dict[str, float]:
    """Return how many milliseconds a write to disk takes (two percentiles), as etcd does it for each change.

    The file has no name, so nothing remains of it.
    """
    times: list[float] = []
    try:
        with tempfile.TemporaryFile(dir="/var/lib", buffering=0) as file:
            until = time.monotonic() + _SYNC_SECONDS
            while len(times) < _SYNC_WRITES and time.monotonic() < until:
                began = time.monotonic()
                file.write(bytes(_SYNC_BYTES))
                os.fdatasync(file.fileno())
                times.append(time.monotonic() - began)
    except OSError:
        return {}
    times.sort()
    return {f"sync_{name}ms": round(times[len(times) * n // 100] * 1000, 1) for name, n in (("", 90), ("p99_", 99))}


def computation_time() -> float:
    """Return how many milliseconds a small computation takes: the best of three, as other programs may run."""
    times: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        for _ in range(300_000):
            pass
        times.append(time.monotonic() - began)
    return round(min(times) * 1000, 1)


def missing_capabilities(status: str) -> list[str]:
    """Return the required capabilities that are not in the bounding set in /proc/self/status."""
    bounding = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:")), 0)
    return [name for name, bit in _CAPABILITIES.items() if not bounding >> bit & 1]


def routes(table: str) -> list[dict[str, str]]:
    """Return the IPv4 routes in /proc/net/route without the default route."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        target, mask = (socket.inet_ntoa(struct.pack("=L", int(fields[n], 16))) for n in (1, 7))
        network = ipaddress.IPv4Network(f"{target}/{mask}", strict=False)
        # Also without the halves of a default route (0.0.0.0/1 and 128.0.0.0/1), which other VPNs set.
        if network.prefixlen > 1:
            found.append({"device": fields[0], "network": str(network)})
    return found


def gateways(table: str) -> list[str]:
    """Return the gateways of the default routes in /proc/net/route."""
    rows = (line.split() for line in table.splitlines()[1:])
    found = (f[2] for f in rows if int(f[1], 16) == 0 and int(f[7], 16) == 0)
    return [socket.inet_ntoa(struct.pack("=L", int(gateway, 16))) for gateway in found if int(gateway, 16)]


def callers() -> dict[str, str]:
    """Return the environment of the SSH session, in which sudo may have started this program."""
    found: dict[str, str] = {}
    process = os.getpid()
    while process > 1:
        pairs = (item.partition("=") for item in _text(f"/proc/{process}/environ").split("\0"))
        found = {**{name: value for name, _, value in pairs}, **found}
        fields = _text(f"/proc/{process}/stat").rpartition(")")[2].split()
        process = int(fields[1]) if fields else 0
        if "SSH_CONNECTION" in found:
            break
    return found


def proxies(sources: Iterable[tuple[str, dict[str, str]]]) -> list[dict[str, str]]:
    """Return the proxies that are set, by variable, without user names and passwords."""
    found = {}
    for source, variables in sources:
        for name, value in variables.items():
            if name.lower().endswith("_proxy") and name.lower() != "no_proxy" and value:
                server = value.rpartition("@")[2] if "@" in value else value.partition("//")[2] or value
                found[name.lower(), server.rstrip("/")] = source
    return [{"source": source, "variable": name, "server": server} for (name, server), source in found.items()]


def proxy_sources(session: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return the variables, by source, that can set a proxy for programs of this host."""
    # As PAM reads the file: a comment can also follow a value.
    lines = (line.partition("#")[0].strip() for line in _text("/etc/environment").splitlines())
    environment = "\n".join(line.removeprefix("export ") for line in lines)
    default = _output("systemctl", "show", "--property=DefaultEnvironment", "--value")
    apt = _output("apt-config", "dump", "--format", "%f=%v%n", "Acquire::http::Proxy", "Acquire::https::Proxy")
    return [
        ("/etc/environment", _assignments(environment)),
        ("systemd's DefaultEnvironment", _assignments("\n".join(_words(default)))),
        ("the SSH session", session),
        # Acquire::http::Proxy::HOST is for one repository, and none is DIRECT.
        *(
            ("apt", {f"{name.split('::')[1]}_proxy": value})
            for name, value in _assignments(apt).items()
            if value != "DIRECT"
        ),
    ]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def time_servers() -> list[str]:
    """Return the names and addresses of the NTP servers in the configuration of timesyncd, chrony and ntpd."""
    shown = _output("timedatectl", "show-timesync", "--all")
    fields = _assignments(shown)
    names = ("ServerAddress", "ServerName", "LinkNTPServers", "SystemNTPServers")
    found = [word for name in names for word in fields.get(name, "").split()]
    files = [pathlib.Path(name) for name in _NTP_FILES]
    files += [path for folder in _NTP_FOLDERS for path in sorted(pathlib.Path(folder).glob("*"))]
    for path in files:
        words = (line.split() for line in _text(str(path)).splitlines())
        found += [w[1] for w in words if len(w) > 1 and w[0] in {"server", "servers", "pool", "peer"}]
    return list(dict.fromkeys(found))


def file_servers(mounts: str) -> list[str]:
    """Return the addresses of mounted network file systems."""
    return list(dict.fromkeys(re.findall(r"[ ,]addr=([0-9.]+)", mounts)))


def name_servers(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return all name servers of this host."""
    words = (line.split() for _, text in texts for line in text.splitlines())
    return list(dict.fromkeys(w[1] for w in words if len(w) > 1 and w[0] == "nameserver"))


def resolve(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the IPv4 addresses of names, in parallel; a name that takes too long has none."""
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found[name] = sorted({item[4][0] for item in socket.getaddrinfo(name, None, socket.AF_INET)})  # type: ignore[misc]

    # Daemons, so that a resolver that hangs does not keep the program from ending.
    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in dict.fromkeys(names)]
    until = time.monotonic() + _RESOLVE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(found)


def needed(session: dict[str, str], found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return the addresses that this host must still reach in the cluster, each with its use."""
    named = [("an SSH client", session.get("SSH_CONNECTION", "").partition(" ")[0])]
    named += [("its default gateway", gateway) for gateway in gateways(_text("/proc/net/route"))]
    named += [("a name server", server) for server in name_servers((path, _text(path)) for path in _RESOLVERS)]
    named += [("an NTP server", server) for server in time_servers()]
    named += [("a proxy", _host_of(proxy["server"])) for proxy in found]
    named += [("a file server", server) for server in file_servers(_text("/proc/mounts"))]
    known = resolve(name for _, name in named if name)
    return [
        {"use": use if address == name else f"{use}, {name}", "address": address}
        for use, name in dict.fromkeys(named)
        for address in known.get(name, ())
    ]


def _host_of(server: str) -> str:
    """Return the host of HOST[:PORT][/PATH]."""
    return server.partition("/")[0].rpartition(":")[0] or server.partition("/")[0]


def addresses() -> list[dict[str, str]]:
    try:
        links = json.loads(_output("ip", "-json", "-4", "address") or "[]")
    except ValueError:
        return []
    return [
        {"device": link["ifname"], "address": f"{item['local']}/{item['prefixlen']}"}
        for link in links
        for item in link.get("addr_info", ())
        if "local" in item
    ]


def listeners(ports: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return the programs that listen on ports."""
    wanted = set(ports)
    found: dict[tuple[str, int], str] = {}
    for protocol, state in _LISTEN.items():
        for line in (_text(f"/proc/net/{protocol}") + _text(f"/proc/net/{protocol}6")).splitlines():
            fields = line.split()
            if len(fields) > 9 and fields[3] == state:  # noqa: PLR2004 - the inode is field 9
                port = int(fields[1].rsplit(":", 1)[1], 16)
                if (protocol, port) in wanted:
                    found[protocol, port] = fields[9]
    programs = _programs(set(found.values())) if found else {}
    return [
        {"protocol": protocol, "port": port, "program": programs.get(inode)}
        for (protocol, port), inode in sorted(found.items())
    ]


def _programs(inodes: set[str]) -> dict[str, str]:
    """Return the names of the programs that have sockets open, by inode."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, str] = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    inode = links.get(str(descriptor.readlink()))
                    if inode:
                        found[inode] = _text(f"{process}/comm").strip()
    return found


def firewalls() -> list[str]:
    found = []
    if _assignments(_text("/etc/ufw/ufw.conf")).get("ENABLED") == "yes":
        found.append("ufw")
    services = ("firewalld", "nftables", "netfilter-persistent")
    states = _output("systemctl", "is-active", *services).split()
    active = [service for service, state in zip(services, states, strict=False) if state == "active"]
    if pathlib.Path("/etc/firewalld/zones/maas.xml").exists():
        active = [service for service in active if service != "firewalld"]
    return found + active


def filters() -> list[dict[str, Any]]:
    """Return the chains, of any firewall, that drop or reject packets which nothing accepts.

    Without the chains of the iptables that bootstrap uses, in which its rules come first.
    """
    legacy = "legacy" in _output("iptables", "--version")
    found = []
    with contextlib.suppress(ValueError):
        found = nft_filters(json.loads(_output("nft", "-j", "list", "ruleset") or "{}"))
    if not legacy:
        found = [
            one for one in found if (one["family"], one["table"], one["chain"].isupper()) != ("ip", "filter", True)
        ]
        # Otherwise the command would load the modules.
        if "filter" in _text("/proc/net/ip_tables_names").split():
            found += legacy_filters(_output("iptables-legacy-save", "-t", "filter"))
    return found


def nft_filters(ruleset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the IPv4 base chains in the output of `nft -j list ruleset` that drop or reject by default."""
    rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    bases = []
    for item in ruleset.get("nftables", ()):
        if "rule" in item:
            rule = item["rule"]
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
        chain = item.get("chain", {})
        if chain.get("hook") in _HOOKS and chain["family"] in {"ip", "inet"}:
            bases.append(chain)

    def ends(chain: tuple[str, str, str], seen: frozenset[tuple[str, str, str]]) -> bool:
        for rule in rules.get(chain, ()) if chain not in seen else ():
            verdicts = [(name, value) for part in rule["expr"] for name, value in part.items() if name not in _NEUTRAL]
            if len(verdicts) != 1:
                continue  # a rule for some packets only
            name, value = verdicts[0]
            if name in {"drop", "reject"}:
                return True
            if name in {"jump", "goto"} and ends((*chain[:2], value["target"]), seen | {chain}):
                return True
        return False

    return [
        {
            "program": "nft",
            "family": base["family"],
            "table": base["table"],
            "chain": base["name"],
            "hook": base["hook"],
            "opened": any(
                rule.get("comment") == _OPENED for rule in rules.get((base["family"], base["table"], base["name"]), ())
            ),
        }
        for base in bases
        if base.get("policy") == "drop" or ends((base["family"], base["table"], base["name"]), frozenset())
    ]


def legacy_filters(saved: str) -> list[dict[str, Any]]:
    """Return the chains in the output of `iptables-legacy-save -t filter` that drop or reject by default."""
    found = []
    for hook in _HOOKS:
        chain = hook.upper()
        rules = [line.split()[2:] for line in saved.splitlines() if line.startswith(f"-A {chain} ")]
        final = any(rule[:1] == ["-j"] and rule[1] in {"DROP", "REJECT"} for rule in rules)
        if f":{chain} DROP" in saved or final:
            opened = any(_OPENED in rule for rule in rules)
            found.append(
                {
                    "program": "iptables-legacy",
                    "family": "ip",
                    "table": "filter",
                    "chain": chain,
                    "hook": hook,
                    "opened": opened,
                }
            )
    return found


def runtimes() -> dict[str, str]:
    """Return the running container runtimes and their versions."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*/comm"):
        name = _text(str(process)).strip()
        if name in _RUNTIMES and name not in found:
            words = _output(f"/proc/{process.parent.name}/exe", "--version").split()
            # "containerd <package> v2.1.4 <commit>", "Docker version 20.10.24, build ...", "crio version 1.30.0"
            versions = (word.strip("v,") for word in words)
            found[name] = next((word for word in versions if word[:1].isdigit() and "." in word), "")
    return found


def resolver(texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the first resolv.conf with usable name servers, and these. The path is None if it has others too.

    Loopback addresses (127.0.0.53 of systemd-resolved, 127.0.0.11 of Docker) are not usable: CoreDNS would forward
    queries to itself, detect the loop and crash. Neither are IPv6 addresses: pods have IPv4 only.
    """
    for path, text in texts:
        words = (line.split() for line in text.splitlines())
        servers = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]
        real = [server for server in servers if _is_usable(server)]
        if real:
            return {"path": path if real == servers else None, "servers": real}
    return {"path": None, "servers": []}


def _is_usable(server: str) -> bool:
    try:
        address = ipaddress.IPv4Address(server)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_unspecified


def authority() -> str:
    """Return the sha256 of the cluster CA certificate on the host, empty if there is none."""
    try:
        return hashlib.sha256(pathlib.Path("/etc/kubernetes/pki/ca.crt").read_bytes()).hexdigest()
    except OSError:
        return ""


def kubelet_version(output: str) -> str:
    """Return the version from the output of `kubelet --version`, empty if there is none."""
    return output.strip().rpartition(" ")[2]


def api_server_version(text: str) -> str:
    """Return the version of the API server from its static pod, empty if there is none."""
    found = re.search(r"^\s+image: \S*/kube-apiserver:(\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def encryption_keys(text: str) -> list[str]:
    """Return the names of the keys in the API server's EncryptionConfiguration, if it is one of MaaS."""
    try:
        (resource,) = json.loads(text)["resources"]
        return [str(key["name"]) for key in resource["providers"][0]["secretbox"]["keys"]]
    except (ValueError, KeyError, TypeError):
        return []


def missing_packages(status: str, wanted: Sequence[str]) -> list[str]:
    """Return the packages that are not installed, from the text of dpkg's status file."""
    installed = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in paragraph.splitlines() if not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            installed.add(fields.get("Package"))
    return [package for package in wanted if package not in installed]


class Echo:
    """ICMP echo requests that must not be fragmented."""

    def __init__(self, family: int, address: tuple[Any, ...]) -> None:
        self._six = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if self._six else socket.IPPROTO_ICMP
        try:
            self._socket = socket.socket(family, socket.SOCK_RAW, protocol)
            self._raw = True
        except PermissionError:
            self._socket = socket.socket(family, socket.SOCK_DGRAM, protocol)
            self._raw = False
        level, option = (
            (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER) if self._six else (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
        )
        self._socket.setsockopt(level, option, _PMTUDISC_DO)
        self._socket.connect(address)
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, size: int, timeout: float) -> float | None:
        """Send a packet of `size` bytes with its headers; return the seconds until the reply, or None without one."""
        self._sequence += 1
        payload = bytes(size - (48 if self._six else 28))
        head = struct.pack("!BBHHH", 128 if self._six else 8, 0, 0, self._identifier, self._sequence)
        packet = head[:2] + struct.pack("!H", self._checksum(head + payload)) + head[4:] + payload
        began = time.monotonic()
        try:
            self._socket.send(packet)
            while (left := began + timeout - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if self._is_answer(self._socket.recv(65535)):
                    return time.monotonic() - began
        except OSError:  # too big for the known path MTU, rejected, or timed out
            return None
        return None

    def _is_answer(self, data: bytes) -> bool:
        if self._raw and not self._six:
            data = data[(data[0] & 0x0F) * 4 :]
        kind, _, _, identifier, sequence = struct.unpack("!BBHHH", data[:8])
        # The kernel sets the identifier of a datagram socket.
        mine = identifier == self._identifier or not self._raw
        return kind == (129 if self._six else 0) and mine and sequence == self._sequence

    @staticmethod
    def _checksum(data: bytes) -> int:
        total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
        total = (total >> 16) + (total & 0xFFFF)
        return ~(total + (total >> 16)) & 0xFFFF


def path_mtu(passes: Callable[[int], bool]) -> int | None:
    """Return the size of the largest packet that passes, by bisection; None if even a small one fails."""
    if passes(_LARGEST_MTU):
        return _LARGEST_MTU
    if not passes(_SMALLEST_MTU):
        return None
    low, high = _SMALLEST_MTU, _LARGEST_MTU
    while high - low > 1:
        middle = (low + high) // 2
        if passes(middle):
            low = middle
        else:
            high = middle
    return low


def path_to_hub(endpoint: str) -> dict[str, Any]:
    """Return address, round-trip time and path MTU of the hub; values that cannot be measured are None."""
    path: dict[str, Any] = {"address": None, "rtt_ms": None, "path_mtu": None}
    try:
        found = socket.getaddrinfo(endpoint, 0, type=socket.SOCK_DGRAM)
        # The VPN uses IPv4. An IPv6 address is reported only where there is no other, for preflight.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        path["address"] = address[0]
        echo = Echo(family, address)
    except OSError:
        return path
    with contextlib.closing(echo):
        times: list[float] = []
        for sent in range(_ECHOES):
            seconds = echo.send(84, 1)
            if seconds is not None:
                times.append(seconds)
            elif sent and not times:
                return path  # two without a reply: the hub does not answer pings
        path["rtt_ms"] = round(statistics.median(times) * 1000, 3)
        # Two attempts per size, so that a lost packet is not taken for one that is too big.
        timeout = max(0.3, 3 * max(times))
        path["path_mtu"] = path_mtu(lambda size: any(echo.send(size, timeout) is not None for _ in range(2)))
    return path


def main(parameters: dict[str, Any]) -> None:
    """Print the facts of this host."""
    began = time.monotonic()
    session = callers()
    proxied = proxies(proxy_sources(session))
    facts = {
        **operating_system(),
        **resources(),
        "cpu_ms": computation_time(),
        "uid": os.geteuid(),
        "cgroup_version": cgroup_version(_text("/proc/mounts")),
        "capabilities_missing": missing_capabilities(_text("/proc/self/status")),
        "tun": pathlib.Path("/dev/net/tun").is_char_device(),
        "devices": sorted(path.name for path in pathlib.Path("/sys/class/net").iterdir()),
        "addresses": addresses(),
        "routes": routes(_text("/proc/net/route")),
        "needs": needed(session, proxied),
        "proxies": [proxy for proxy in proxied if proxy["source"] != "apt"],
        "listeners": listeners([(protocol, port) for protocol, port in parameters["ports"]]),
        "firewalls": firewalls(),
        "filters": filters(),
        "kubernetes": [name for path, name in _KUBERNETES.items() if pathlib.Path(path).exists()],
        "runtimes": runtimes(),
        "cluster": _text("/etc/maas/cluster").strip() or None,
        "etcd": etcd(),
        "joined": pathlib.Path("/etc/kubernetes/kubelet.conf").is_file(),
        "kubelet": kubelet_version(_output("/usr/local/bin/kubelet", "--version")),
        "api_server": api_server_version(_text("/etc/kubernetes/manifests/kube-apiserver.yaml")),
        "authority": authority(),
        "encryption_keys": encryption_keys(_text("/etc/kubernetes/encryption/config.yaml")),
        "resolver": resolver((path, _text(path)) for path in _RESOLVERS),
        "packages_missing": missing_packages(_text("/var/lib/dpkg/status"), parameters["packages"]),
        "to_hubs": {name: path_to_hub(endpoint) for name, endpoint in parameters["hubs"].items()},
    }
    # Last, so that only the network is between this clock and the controller's.
    facts["seconds"] = round(time.monotonic() - began, 3)
    facts["time"] = time.time()
    sys.stdout.write(f"{MARK}{json.dumps(facts)}\n")
