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
import shutil
import socket
import statistics
import struct
import subprocess
import sys
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
        "swap": [line.split()[0] for line in _text("/proc/swaps").splitlines()[1:]],
    }


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
        if network.prefixlen:
            found.append({"device": fields[0], "network": str(network)})
    return found


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
    if _output("systemctl", "is-active", "firewalld").strip() == "active":
        found.append("firewalld")
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
    queries to itself, detect the loop and crash.
    """
    for path, text in texts:
        words = (line.split() for line in text.splitlines())
        servers = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]
        real = [server for server in servers if not server.startswith("127.") and server != "::1"]
        if real:
            return {"path": path if real == servers else None, "servers": real}
    return {"path": None, "servers": []}


def authority() -> str:
    """Return the sha256 of the cluster CA certificate on the host, empty if there is none."""
    try:
        return hashlib.sha256(pathlib.Path("/etc/kubernetes/pki/ca.crt").read_bytes()).hexdigest()
    except OSError:
        return ""


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
    facts = {
        **operating_system(),
        **resources(),
        "uid": os.geteuid(),
        "cgroup_version": cgroup_version(_text("/proc/mounts")),
        "capabilities_missing": missing_capabilities(_text("/proc/self/status")),
        "tun": pathlib.Path("/dev/net/tun").is_char_device(),
        "addresses": addresses(),
        "routes": routes(_text("/proc/net/route")),
        "listeners": listeners([(protocol, port) for protocol, port in parameters["ports"]]),
        "firewalls": firewalls(),
        "kubernetes": [name for path, name in _KUBERNETES.items() if pathlib.Path(path).exists()],
        "runtimes": runtimes(),
        "cluster": _text("/etc/maas/cluster").strip() or None,
        "joined": pathlib.Path("/etc/kubernetes/kubelet.conf").is_file(),
        "authority": authority(),
        "resolver": resolver((path, _text(path)) for path in _RESOLVERS),
        "packages_missing": missing_packages(_text("/var/lib/dpkg/status"), parameters["packages"]),
        "to_hub": path_to_hub(parameters["hub"]) if parameters["hub"] else None,
    }
    # Last, so that only the network is between this clock and the controller's.
    facts["time"] = time.time()
    sys.stdout.write(f"{MARK}{json.dumps(facts)}\n")
