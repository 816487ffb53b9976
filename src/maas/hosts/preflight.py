"""Gather the facts of hosts and check whether they can become a cluster. Makes no changes."""

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
# One SSH session runs one program, as root if the user is root or has passwordless sudo.
_REMOTE = f"""\
command -v python3 >/dev/null 2>&1 || exit {_NO_PYTHON}
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then exec sudo -n python3 -; fi
exec python3 -"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Model):
    """A program that listens on a port that the cluster needs; its name is None if it is unknown."""

    protocol: Literal["tcp", "udp"]
    port: int
    program: str | None


class Address(_Model):
    """An IPv4 address of the host with its prefix length."""

    device: str
    address: IPv4Interface


class Route(_Model):
    """A route of the host: a network and its device."""

    device: str
    network: IPv4Network


class Resolver(_Model):
    """The name servers for pods, and the resolv.conf of the host that contains only these; None if there is none."""

    path: str | None
    servers: tuple[str, ...]


class HubPath(_Model):
    """The network path to the hub; values that could not be measured are None.

    Attributes:
        address: The address that the hub's endpoint resolves to.
        rtt_ms: Median round-trip time in milliseconds.
        path_mtu: Largest unfragmented packet in bytes, with the IP header, at most 1500.
    """

    address: str | None
    rtt_ms: float | None
    path_mtu: int | None


class HostFacts(_Model):
    """The facts of a host.

    Attributes:
        os: ID in os-release, such as debian.
        codename: VERSION_CODENAME in os-release.
        os_name: PRETTY_NAME in os-release.
        architecture: Machine name as in uname.
        kernel: Release of the running kernel.
        systemd: Whether systemd is the init system.
        container: The type of container that the host is; None for a machine.
        uid: The user ID of the SSH session; 0 is root.
        cpus: Number of usable CPUs.
        memory: Memory in bytes.
        disk_free: Free bytes on the file system of /var/lib.
        swap: Swap devices and files.
        cgroup_version: 2 for the unified hierarchy, otherwise 1.
        capabilities_missing: The required capabilities that no process of the host can have.
        tun: Whether /dev/net/tun exists.
        addresses: IPv4 addresses.
        routes: IPv4 routes without the default route.
        listeners: Programs that listen on ports that the cluster needs.
        firewalls: The active ones of ufw and firewalld.
        kubernetes: Kubernetes distributions found on the host.
        runtimes: Running container runtimes and their versions.
        cluster: The MaaS cluster that the host belongs to.
        joined: Whether the kubelet has credentials of a cluster.
        authority: sha256 of the cluster CA certificate on the host, empty if there is none.
        resolver: Name servers for pods.
        packages_missing: Required Debian packages that are not installed.
        to_hub: The path to the hub; None for the hub itself.
        clock_offset: Seconds by which the clock of the host is ahead of the controller's.
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
    to_hub: HubPath | None
    clock_offset: float

    @property
    def cgroup_driver(self) -> Literal["systemd", "cgroupfs"]:
        """The cgroup driver: systemd if it manages a unified hierarchy, otherwise cgroupfs."""
        return "systemd" if self.systemd and self.cgroup_version == 2 else "cgroupfs"  # noqa: PLR2004 - cgroup v2


class Problem(_Model):
    """A failed check of a host: an error prevents the installation, a warning does not."""

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
        PreflightError: The facts of some hosts are not available; all of them are listed.
    """

    def gather(host: Host) -> HostFacts | str:
        return _gather(inventory, host, ssh.options(known_hosts=known_hosts, key=host.key))

    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        found = dict(zip((host.name for host in inventory.hosts), pool.map(gather, inventory.hosts), strict=True))
    failed = {name: result for name, result in found.items() if isinstance(result, str)}
    if failed:
        host = next(host for host in inventory.hosts if host.name in failed)
        raise PreflightError(
            f"cannot gather the facts of {', '.join(failed)}",
            context=[f"{name}: {reason}" for name, reason in failed.items()],
            hint="each host needs an SSH server that accepts the user and the key in the inventory, and python3. To continue "
            f"while a worker is down: --without {host.name}",
            command=shlex.join(["ssh", "-p", str(host.port), f"{host.user}@{host.address}", "true"]),
            code="FactsUnavailable",
        )
    return {name: result for name, result in found.items() if isinstance(result, HostFacts)}


def _gather(inventory: Inventory, host: Host, options: list[str]) -> HostFacts | str:
    """Return the facts of a host, or why they are not available."""
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
        return f"timed out after {_SECONDS} s"
    now = time.time()
    if done.returncode == _NO_PYTHON:
        return "python3 is not installed; on the host run: apt-get install python3"
    line = next((line for line in done.stdout.splitlines() if line.startswith(_facts_script.MARK)), None)
    if done.returncode != 0 or line is None:
        errors = done.stderr.strip().splitlines()
        return errors[-1] if errors else f"ssh exited with status {done.returncode} without a message"
    try:
        answer: dict[str, Any] = json.loads(line.removeprefix(_facts_script.MARK))
        offset = answer.pop("time") - now
        return HostFacts.model_validate({**answer, "clock_offset": offset})
    except (ValueError, KeyError, TypeError) as error:
        return f"invalid answer: {' '.join(str(error).split())}"


def _needed_ports(inventory: Inventory, host: Host) -> tuple[tuple[str, int], ...]:
    hub = (("udp", inventory.hub.port),) if host.role == "control-plane" else ()
    return (*hub, *_PORTS[host.role], *_PORTS_OF_ALL)


def check(inventory: Inventory, facts: Mapping[str, HostFacts]) -> list[Problem]:
    """Check all hosts and return the problems, errors first."""
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
            message=f"its clock is {abs(reference):.0f} s {_side(reference)} the clock of the controller",
            fix="synchronize both clocks; certificates are valid only within a period",
        )
    for host in inventory.workers:
        skew = facts[host.name].clock_offset - reference
        if abs(skew) > _SKEW:
            yield Problem(
                host=host.name,
                severity="error",
                message=f"its clock is {abs(skew):.1f} s {_side(skew)} the clock of {hub}",
                fix="enable time synchronization, for example with: apt-get install systemd-timesyncd",
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
                f"it belongs to another cluster, {self._facts.cluster}",
                f"remove it from this inventory, or run `reset` with the inventory of {self._facts.cluster} first",
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
                f"the user {self._host.user} is not root and has no passwordless sudo",
                "log in as root, or enable passwordless sudo for the user",
            )
        if facts.codename not in _SUPPORTED.get(facts.os, ()):
            known = "Debian 12 and 13, Ubuntu 22.04 and 24.04"
            yield self._error(f"{facts.os_name} is not supported", f"install one of {known}")
        if facts.architecture != "x86_64":
            yield self._error(f"the architecture {facts.architecture} is not supported", "use an x86_64 host")
        if not facts.systemd:
            yield self._error("systemd is not the init system", "boot the host with systemd")

    def _size(self) -> Iterator[Problem]:
        facts, role = self._facts, self._host.role
        if facts.memory < _MEMORY[role]:
            yield self._error(
                f"only {facts.memory // _MIB} MiB of memory",
                f"a {role} host needs at least {_MEMORY[role] // _MIB} MiB",
            )
        if role == "control-plane" and facts.cpus < _CONTROL_PLANE_CPUS:
            yield self._error("only one CPU", "a control-plane host needs at least two")
        if facts.disk_free < _DISK_NEEDED:
            yield self._error(
                f"only {facts.disk_free / _GIB:.1f} GiB free on the filesystem of /var/lib",
                f"{_DISK_NEEDED // _GIB} GiB are required",
            )
        elif facts.disk_free < _DISK_WANTED:
            yield self._warning(
                f"only {facts.disk_free / _GIB:.1f} GiB free on the filesystem of /var/lib",
                f"{_DISK_WANTED // _GIB} GiB are recommended for your own images and volumes",
            )
        if facts.swap:
            fix = "the kubelet is configured to allow swap" if facts.container else "bootstrap disables it"
            yield self._warning(f"swap is enabled ({', '.join(facts.swap)})", fix)

    def _kernel(self) -> Iterator[Problem]:
        facts = self._facts
        if not facts.tun:
            yield self._error(
                "there is no /dev/net/tun, which the VPN needs", "run modprobe tun, or ask the provider to enable it"
            )
        hard = [name for name in facts.capabilities_missing if name != "CAP_SYS_RESOURCE"]
        if hard:
            yield self._error(f"missing capabilities: {', '.join(hard)}", "add them to the container of this host")
        elif facts.capabilities_missing:
            yield self._warning(
                "missing capability: CAP_SYS_RESOURCE",
                "containerd and the kubelet are configured not to raise limits or priorities",
            )
        if facts.cgroup_version == 1:
            yield self._warning(
                "it uses cgroup v1",
                "the kubelet is configured to accept it (failCgroupV1: false); for cgroup v2, boot with "
                "systemd.unified_cgroup_hierarchy=1",
            )

    def _network(self) -> Iterator[Problem]:
        facts, inventory = self._facts, self._inventory
        for name, network in inventory.networks:
            for route in facts.routes:
                own = self._ours and route.device.startswith(_OWN_DEVICES)
                if route.network.overlaps(network) and not own:
                    yield self._error(
                        f"its route to {route.network} on {route.device} overlaps networks.{name} {network}",
                        f"choose another networks.{name} in the inventory",
                    )
        hub = inventory.hub_of(self._host)
        for firewall in facts.firewalls:
            if self._host.role == "control-plane":
                command = {
                    "ufw": f"ufw allow {hub.port}/udp",
                    "firewalld": f"firewall-cmd --permanent --add-port={hub.port}/udp && firewall-cmd --reload",
                }[firewall]
                yield self._warning(f"{firewall} is active", f"allow the VPN: {command}")
            else:
                yield self._warning(f"{firewall} is active", f"allow outgoing UDP to {hub.endpoint} port {hub.port}")
        path = facts.to_hub
        if path is not None and path.address is None:
            yield self._error(
                f"it cannot resolve the name of the hub, {hub.endpoint}",
                "use the hub's address, or fix DNS on this host",
            )
        elif path is not None and any(str(own.address.ip) == path.address for own in facts.addresses):
            yield self._error(
                f"the hub's endpoint {hub.endpoint} is an address of this host",
                "set hub.endpoint to an address of the control plane",
            )
        elif path is not None and path.path_mtu is not None and path.path_mtu < _SMALL_PATH:
            yield self._warning(
                f"the path MTU to the hub is only {path.path_mtu} bytes", "check for a tunnel or modem on the path"
            )

    def _foreign(self) -> Iterator[Problem]:
        """Software on the host that conflicts with a cluster."""
        facts = self._facts
        if facts.kubernetes:
            yield self._error(f"it already has {', '.join(facts.kubernetes)}", "uninstall that first")
        for name, version in facts.runtimes.items():
            yield self._error(f"{name} {version} is running", "uninstall it: bootstrap installs its own containerd")
        for listener in facts.listeners:
            yield self._error(
                f"{listener.protocol.upper()} port {listener.port} is used by {listener.program or 'another program'}",
                "stop that program or change its port",
            )
