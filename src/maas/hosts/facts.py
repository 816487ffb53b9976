"""Gather the facts of hosts over SSH. Makes no changes."""

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
    from collections.abc import Collection
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_PORTS = {
    "control-plane": tuple(("tcp", port) for port in (6443, 2379, 2380, 2381, 10257, 10259)),
    "worker": (),
}
_PORTS_OF_ALL = (("tcp", 9091), ("tcp", 9100), ("tcp", 10249), ("tcp", 10250), ("tcp", 10256), ("udp", 4789))
_PACKAGES = ("openvpn", "runc", "iptables", "ipset", "conntrack", "socat", "ethtool", "kmod", "iputils-ping")
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


def gather(inventory: Inventory, *, known_hosts: Path, optional: Collection[str] = ()) -> dict[str, HostFacts]:
    """Gather the facts of all hosts in parallel, in one SSH session each. Makes no changes, not even here.

    Args:
        inventory: The hosts.
        known_hosts: The host keys to trust.
        optional: Names of the hosts that `--without` can leave out, for the hint.

    Returns:
        The facts of each host by its name, in the order of the inventory.

    Raises:
        PreflightError: The facts of some hosts are not available; all of them are listed.
    """

    def of(host: Host) -> HostFacts | str:
        return _gather(inventory, host, ssh.options(known_hosts=known_hosts, key=host.key))

    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        found = dict(zip((host.name for host in inventory.hosts), pool.map(of, inventory.hosts), strict=True))
    failed = {name: result for name, result in found.items() if isinstance(result, str)}
    if failed:
        host = next(host for host in inventory.hosts if host.name in failed)
        raise PreflightError(
            f"cannot gather the facts of {', '.join(failed)}",
            context=[f"{name}: {reason}" for name, reason in failed.items()],
            hint="each host needs an SSH server that accepts the user and the key in the inventory, and python3"
            + ssh.without_hint(list(failed), optional=optional),
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
