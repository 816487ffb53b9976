"""What the hosts are and whether a cluster can be made of them; looked at, not touched."""

from __future__ import annotations

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from ipaddress import IPv4Interface, IPv4Network  # noqa: TC003 - pydantic reads them at run time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from maas import process
from maas.errors import PreflightError, ProcessTimeoutError
from maas.hosts import _facts_script, ssh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_GIB = 1 << 30
_MIB = 1 << 20
_SUPPORTED = {"debian": ("bookworm", "trixie"), "ubuntu": ("jammy", "noble")}
# kubeadm refuses less than 1700 MiB and 2 processors for a control plane.
_MEMORY = {"control-plane": 1700 * _MIB, "worker": 900 * _MIB}
_CONTROL_PLANE_CPUS = 2
_DISK_NEEDED, _DISK_WANTED = 4 * _GIB, 10 * _GIB
_SKEW = 2.0
_CONTROLLER_SKEW = 60.0
_SMALL_PATH = 1280
_PORTS = {
    "control-plane": tuple(("tcp", port) for port in (6443, 2379, 2380, 2381, 10257, 10259)),
    "worker": (),
}
_PORTS_OF_ALL = (("tcp", 9091), ("tcp", 9100), ("tcp", 10249), ("tcp", 10250), ("tcp", 10256), ("udp", 4789))
_PACKAGES = ("openvpn", "runc", "iptables", "ipset", "conntrack", "socat", "ethtool", "kmod", "iputils-ping")
_OWN_DEVICES = ("tun", "cali", "vxlan.calico", "*")
_NO_PYTHON = 93
_SECONDS = 60
# One login, one program: as root where the user is root or may become it without a password.
_REMOTE = f"""\
command -v python3 >/dev/null 2>&1 || exit {_NO_PYTHON}
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then exec sudo -n python3 -; fi
exec python3 -"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Model):
    """A program that listens on a port the cluster needs; the name is None when it cannot be seen."""

    protocol: Literal["tcp", "udp"]
    port: int
    program: str | None


class Address(_Model):
    """An IPv4 address of the host, with the prefix length of its network."""

    device: str
    address: IPv4Interface


class Route(_Model):
    """A network that the host reaches over one of its devices."""

    device: str
    network: IPv4Network


class Resolver(_Model):
    """Name servers that a pod can reach, and the host's resolv.conf that names them and no others; None without one."""

    path: str | None
    servers: tuple[str, ...]


class Way(_Model):
    """The way to the hub; what could not be measured is None.

    Attributes:
        address: What the hub's endpoint resolves to.
        rtt_ms: Round trip, in milliseconds, the median of a few.
        path_mtu: Largest unfragmented packet in bytes, IP header included, at most 1500.
    """

    address: str | None
    rtt_ms: float | None
    path_mtu: int | None


class HostFacts(_Model):
    """What one host is.

    Attributes:
        os: ID of os-release, such as debian.
        codename: VERSION_CODENAME of os-release.
        os_name: PRETTY_NAME of os-release.
        architecture: As uname tells it.
        kernel: Release of the running kernel.
        systemd: Whether systemd runs the host.
        container: Which kind of container the host is; None for a machine.
        uid: The user that looked; 0 is root.
        cpus: Processors that may be used.
        memory: Bytes in all.
        disk_free: Free bytes where /var/lib lies.
        swap: Devices and files swapped to.
        cgroup_version: 2 for the unified hierarchy, 1 for anything else.
        capabilities_missing: Those of the needed capabilities that no process of the host can have.
        tun: Whether /dev/net/tun is there.
        addresses: IPv4 addresses.
        routes: IPv4 routes but the default one.
        listeners: Who listens on the ports that the cluster needs.
        firewalls: ufw, firewalld, when active.
        kubernetes: What Kubernetes was found, in words.
        runtimes: Container runtimes that run, with their versions.
        cluster: The MaaS cluster that the host belongs to.
        joined: Whether its kubelet has credentials of a cluster.
        authority: The sha256 of the cluster CA certificate that it trusts, empty without one.
        resolver: Name servers for pods.
        packages_missing: Debian packages that the host needs and lacks.
        to_hub: The way to the hub; None for the hub itself.
        clock_offset: Seconds by which the host's clock is ahead of the controller's.
    """

    os: str
    codename: str
    os_name: str
    architecture: str
    kernel: str
    systemd: bool
    container: str | None
    uid: int
    cpus: int
    memory: int
    disk_free: int
    swap: tuple[str, ...]
    cgroup_version: Literal[1, 2]
    capabilities_missing: tuple[str, ...]
    tun: bool
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    listeners: tuple[Listener, ...]
    firewalls: tuple[str, ...]
    kubernetes: tuple[str, ...]
    runtimes: dict[str, str]
    cluster: str | None
    joined: bool
    authority: str
    resolver: Resolver
    packages_missing: tuple[str, ...]
    to_hub: Way | None
    clock_offset: float

    @property
    def cgroup_driver(self) -> Literal["systemd", "cgroupfs"]:
        """Who shall make the pods' control groups: systemd where it owns a unified hierarchy."""
        return "systemd" if self.systemd and self.cgroup_version == 2 else "cgroupfs"  # noqa: PLR2004 - cgroup v2


class Problem(_Model):
    """Something about a host that stands against a cluster (error) or that one should know (warning)."""

    host: str
    severity: Literal["error", "warning"]
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.host}: {self.message} ({self.fix})"


def examine(inventory: Inventory, *, known_hosts: Path) -> dict[str, HostFacts]:
    """Gather the facts of all hosts in parallel, in one SSH session each. Makes no changes, not even here.

    Args:
        inventory: The hosts.
        known_hosts: The host keys to trust.

    Returns:
        The facts of each host by its name, in the order of the inventory.

    Raises:
        PreflightError: Some hosts could not be looked at; all of them are listed.
    """

    def look(host: Host) -> HostFacts | str:
        return _look(inventory, host, ssh.options(known_hosts=known_hosts, key=host.key))

    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        found = dict(zip((host.name for host in inventory.hosts), pool.map(look, inventory.hosts), strict=True))
    failed = {name: result for name, result in found.items() if isinstance(result, str)}
    if failed:
        host = next(host for host in inventory.hosts if host.name in failed)
        raise PreflightError(
            f"{', '.join(failed)} could not be looked at",
            context=[f"{name}: {reason}" for name, reason in failed.items()],
            hint="each host needs an ssh server, the key of the inventory for its user, and python3; to go on while a "
            f"worker is down: --without {host.name}",
            command=shlex.join(["ssh", "-p", str(host.port), f"{host.user}@{host.address}", "true"]),
        )
    return {name: result for name, result in found.items() if isinstance(result, HostFacts)}


def _look(inventory: Inventory, host: Host, options: list[str]) -> HostFacts | str:
    """The facts of one host, or why they could not be had."""
    parameters = {
        "ports": _needed_ports(inventory, host),
        "packages": _PACKAGES,
        "hub": inventory.hub_of(host).endpoint if host.role == "worker" else None,
    }
    source = resources.files("maas.hosts").joinpath("_facts_script.py").read_text(encoding="utf-8")
    program = f"{source}\nmain(json.loads({json.dumps(parameters)!r}))\n"
    target = ["-p", str(host.port), "-l", host.user, host.address]
    try:
        done = process.run(
            ["ssh", *options, *target, f"sh -c {shlex.quote(_REMOTE)}"], input=program, timeout=_SECONDS, check=False
        )
    except ProcessTimeoutError:
        return f"no answer within {_SECONDS} s"
    now = time.time()
    if done.returncode == _NO_PYTHON:
        return "python3 is missing; on the host run: apt-get install python3"
    line = next((line for line in done.stdout.splitlines() if line.startswith(_facts_script.MARK)), None)
    if done.returncode != 0 or line is None:
        said = done.stderr.strip().splitlines()
        return said[-1] if said else f"ssh ended with status {done.returncode} and said nothing"
    try:
        answer: dict[str, Any] = json.loads(line.removeprefix(_facts_script.MARK))
        offset = answer.pop("time") - now
        return HostFacts.model_validate({**answer, "clock_offset": offset})
    except (ValueError, KeyError, TypeError) as error:
        return f"its answer cannot be read: {' '.join(str(error).split())}"


def _needed_ports(inventory: Inventory, host: Host) -> tuple[tuple[str, int], ...]:
    hub = (("udp", inventory.hub.port),) if host.role == "control-plane" else ()
    return (*hub, *_PORTS[host.role], *_PORTS_OF_ALL)


def check(inventory: Inventory, facts: Mapping[str, HostFacts]) -> list[Problem]:
    """Everything that stands against a cluster of these hosts, and what one should know; errors first."""
    problems = [problem for host in inventory.hosts for problem in _Check(inventory, host, facts[host.name]).problems()]
    problems += _clocks(inventory, facts)
    return sorted(problems, key=lambda problem: problem.severity)


def _clocks(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    hub = inventory.control_plane.name
    reference = facts[hub].clock_offset
    if abs(reference) > _CONTROLLER_SKEW:
        yield Problem(
            host=hub,
            severity="warning",
            message=f"its clock is {abs(reference):.0f} s {_side(reference)} this machine's",
            fix="set both clocks by a time service; certificates hold between dates",
        )
    for host in inventory.workers:
        skew = facts[host.name].clock_offset - reference
        if abs(skew) > _SKEW:
            yield Problem(
                host=host.name,
                severity="error",
                message=f"its clock is {abs(skew):.1f} s {_side(skew)} that of {hub}",
                fix="let a time service set it, for instance: apt-get install systemd-timesyncd",
            )


def _side(skew: float) -> str:
    return "ahead of" if skew > 0 else "behind"


class _Check:
    """The checks of one host."""

    def __init__(self, inventory: Inventory, host: Host, facts: HostFacts) -> None:
        self._inventory = inventory
        self._host = host
        self._facts = facts
        self._ours = facts.cluster == inventory.cluster

    def problems(self) -> Iterator[Problem]:
        yield from self._system()
        yield from self._size()
        yield from self._kernel()
        yield from self._network()
        if self._facts.cluster is not None and not self._ours:
            yield self._error(
                f"it belongs to the cluster {self._facts.cluster} already",
                f"take it out of the inventory, or reset it there first; then remove /etc/maas from {self._host.name}",
            )
        elif not self._ours:
            yield from self._foreign()

    def _error(self, message: str, fix: str) -> Problem:
        return Problem(host=self._host.name, severity="error", message=message, fix=fix)

    def _warning(self, message: str, fix: str) -> Problem:
        return Problem(host=self._host.name, severity="warning", message=message, fix=fix)

    def _system(self) -> Iterator[Problem]:
        facts = self._facts
        if facts.uid != 0:
            yield self._error(
                f"the user {self._host.user} is not root and may not become it without a password",
                "log in as root, or give the user passwordless sudo",
            )
        if facts.codename not in _SUPPORTED.get(facts.os, ()):
            known = "Debian 12 and 13, Ubuntu 22.04 and 24.04"
            yield self._error(f"it runs {facts.os_name}, which is not supported", f"install one of {known}")
        if facts.architecture != "x86_64":
            yield self._error(f"its processor is {facts.architecture}", "the bundle holds programs for x86_64 only")
        if not facts.systemd:
            yield self._error("systemd does not run it", "start the host with systemd as its init")

    def _size(self) -> Iterator[Problem]:
        facts, role = self._facts, self._host.role
        if facts.memory < _MEMORY[role]:
            yield self._error(
                f"{facts.memory // _MIB} MiB of memory are too little for a {role}",
                f"give it {_MEMORY[role] // _MIB} MiB or more",
            )
        if role == "control-plane" and facts.cpus < _CONTROL_PLANE_CPUS:
            yield self._error("one processor is too little for a control plane", "give it two or more")
        if facts.disk_free < _DISK_NEEDED:
            yield self._error(
                f"{facts.disk_free / _GIB:.1f} GiB are free where /var/lib lies", f"free {_DISK_NEEDED // _GIB} GiB"
            )
        elif facts.disk_free < _DISK_WANTED:
            yield self._warning(
                f"{facts.disk_free / _GIB:.1f} GiB are free where /var/lib lies",
                f"enough to begin with; with images and volumes of your own have {_DISK_WANTED // _GIB} GiB",
            )
        if facts.swap:
            fix = "the kubelet is told to bear it" if facts.container else "bootstrap turns it off"
            yield self._warning(f"swap is on ({', '.join(facts.swap)})", fix)

    def _kernel(self) -> Iterator[Problem]:
        facts = self._facts
        if not facts.tun:
            yield self._error("there is no /dev/net/tun, so no VPN", "run modprobe tun, or have the provider allow it")
        hard = [name for name in facts.capabilities_missing if name != "CAP_SYS_RESOURCE"]
        if hard:
            yield self._error(f"the host lacks {', '.join(hard)}", "give its container these capabilities")
        elif facts.capabilities_missing:
            yield self._warning(
                "the host lacks CAP_SYS_RESOURCE",
                "containerd and the kubelet are told not to raise limits or priorities",
            )
        if facts.cgroup_version == 1:
            yield self._warning(
                "it has control groups of version 1",
                "the kubelet is told to accept them (failCgroupV1: false); boot with systemd.unified_cgroup_hierarchy=1",
            )

    def _network(self) -> Iterator[Problem]:
        facts, inventory = self._facts, self._inventory
        for name, network in inventory.networks:
            for route in facts.routes:
                own = self._ours and route.device.startswith(_OWN_DEVICES)
                if route.network.overlaps(network) and not own:
                    yield self._error(
                        f"its route to {route.network} over {route.device} overlaps networks.{name} {network}",
                        f"choose another network for {name} in the inventory",
                    )
        hub = inventory.hub_of(self._host)
        for firewall in facts.firewalls:
            if self._host.role == "control-plane":
                command = {
                    "ufw": f"ufw allow {hub.port}/udp",
                    "firewalld": f"firewall-cmd --permanent --add-port={hub.port}/udp && firewall-cmd --reload",
                }[firewall]
                yield self._warning(f"{firewall} is active", f"it must let the VPN in: {command}")
            else:
                yield self._warning(f"{firewall} is active", f"it must let UDP out to {hub.endpoint} port {hub.port}")
        way = facts.to_hub
        if way is not None and way.address is None:
            yield self._error(
                f"it cannot resolve the hub's name {hub.endpoint}", "give the hub's address, or this host a name server"
            )
        elif way is not None and any(str(own.address.ip) == way.address for own in facts.addresses):
            yield self._error(
                f"the hub's endpoint {hub.endpoint} is an address of this host",
                "give one that leads to the control plane",
            )
        elif way is not None and way.path_mtu is not None and way.path_mtu < _SMALL_PATH:
            yield self._warning(
                f"packets to the hub may have {way.path_mtu} bytes only", "look for a tunnel or modem on the way"
            )

    def _foreign(self) -> Iterator[Problem]:
        """What somebody else installed or runs on the host."""
        facts = self._facts
        if facts.kubernetes:
            yield self._error(
                f"it has {', '.join(facts.kubernetes)} already", "remove that first, with its own reset or uninstall"
            )
        for name, version in facts.runtimes.items():
            reason = ", too old for this Kubernetes" if name == "containerd" and version.startswith("1.") else ""
            yield self._error(
                f"{name} {version} runs already{reason}", "stop and remove it: bootstrap brings its own containerd"
            )
        for listener in facts.listeners:
            yield self._error(
                f"{listener.protocol.upper()} port {listener.port} is taken by {listener.program or 'another program'}",
                "the cluster needs it: stop the program or move it to another port",
            )
