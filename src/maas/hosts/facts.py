"""Gather the facts of hosts over SSH. Makes no changes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from ipaddress import IPv4Address, IPv4Interface, IPv4Network  # noqa: TC003 - pydantic reads them at run time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from maas import process
from maas.errors import PreflightError, ProcessTimeoutError
from maas.hosts import _facts_script, ssh

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_PORTS = {
    "control-plane": tuple(("tcp", port) for port in (6443, 2379, 2380, 2381, 10257, 10259)),
    "worker": (),
}
_PORTS_OF_HUBS = (("tcp", 9100),)
_PORTS_OF_NODES = (("tcp", 9091), ("tcp", 9100), ("tcp", 10249), ("tcp", 10250), ("tcp", 10256), ("udp", 4789))
_PACKAGES = ("bird2", "openvpn", "runc", "iptables", "ipset", "conntrack", "socat", "ethtool", "kmod", "iputils-ping")
_PACKAGES_OF_HUBS = ("bird2", "openvpn", "iptables", "kmod", "iputils-ping")
_NO_PYTHON = 93
_SECONDS = 60
_PYTHON = f"sh -c 'command -v python3 >/dev/null 2>&1 || exit {_NO_PYTHON}; exec python3 -'"


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


class Need(_Model):
    """An address that the host must still reach in the cluster, and its use."""

    use: str
    address: IPv4Address


class Proxy(_Model):
    """A proxy that is set on the host: where, the variable, and the server without a user name and password."""

    source: str
    variable: str
    server: str


class Filter(_Model):
    """A chain of a firewall that drops or rejects packets which nothing in it accepts.

    Attributes:
        program: The program that changes it.
        opened: Whether it has the rules that preflight asks for, by their comment.
    """

    program: Literal["nft", "iptables-legacy"]
    family: Literal["ip", "inet"]
    table: str
    chain: str
    hook: Literal["input", "forward", "output"]
    opened: bool


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
        programs_free: Free bytes on the file system of /usr/local.
        swap: Swap devices and files.
        swap_units: Services that enable swap at boot.
        sync_ms: Milliseconds of a synchronous write to /var/lib (90th percentile); None if it is unknown.
        sync_p99_ms: The same, the slowest of 50 writes (99th percentile).
        cgroup_version: 2 for the unified hierarchy, otherwise 1.
        capabilities_missing: The required capabilities that no process of the host can have.
        tun: Whether /dev/net/tun exists.
        devices: Names of the network devices.
        addresses: IPv4 addresses.
        routes: IPv4 routes without the default route.
        needs: Addresses that the host must still reach in the cluster.
        proxies: Proxies in the environment of programs.
        listeners: Programs that listen on ports that the cluster needs.
        firewalls: The active ones of ufw, firewalld without the zone maas, nftables and netfilter-persistent.
        filters: Chains that drop or reject by default, without those of the iptables that bootstrap uses.
        kubernetes: Kubernetes distributions found on the host.
        runtimes: Running container runtimes and their versions.
        cluster: The MaaS cluster that the host belongs to.
        joined: Whether the kubelet has credentials of a cluster.
        etcd: Whether the host is a member of etcd, and lost if it was one and its data is gone.
        kubelet: Version of the installed kubelet, such as v1.40.2, empty if there is none.
        api_server: Version of the API server on the host, empty if there is none.
        authority: sha256 of the cluster CA certificate on the host, empty if there is none.
        encryption_keys: Names of the keys with which the API server on the host encrypts Secrets.
        resolver: Name servers for pods.
        packages_missing: Required Debian packages that are not installed.
        to_hubs: The paths to the other hubs, by their names.
        cpu_ms: Milliseconds of a small computation; None if it is unknown.
        login_seconds: Seconds until a program runs on the host over SSH; None if it is unknown.
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
    programs_free: int | None = None
    swap: tuple[str, ...]
    swap_units: tuple[str, ...] = ()
    sync_ms: float | None = None
    sync_p99_ms: float | None = None
    cgroup_version: Literal[1, 2]
    capabilities_missing: tuple[str, ...]
    tun: bool
    devices: tuple[str, ...] = ()
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    needs: tuple[Need, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    listeners: tuple[Listener, ...]
    firewalls: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    kubernetes: tuple[str, ...]
    runtimes: dict[str, str]
    cluster: str | None
    joined: bool
    etcd: Literal["none", "member", "lost"] = "none"
    kubelet: str = ""
    api_server: str = ""
    authority: str
    encryption_keys: tuple[str, ...] = ()
    resolver: Resolver
    packages_missing: tuple[str, ...]
    to_hubs: dict[str, HubPath]
    clock_offset: float
    cpu_ms: float | None = None
    login_seconds: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_hub(cls, data: Any) -> Any:
        """Leave out the path to the only hub in facts that version 0.1 saved: they do not have the name of the hub."""
        if isinstance(data, dict) and "to_hub" in data:
            return {key: value for key, value in data.items() if key != "to_hub"} | {"to_hubs": {}}
        return data

    @property
    def cgroup_driver(self) -> Literal["systemd", "cgroupfs"]:
        """The cgroup driver: systemd if it manages a unified hierarchy, otherwise cgroupfs."""
        return "systemd" if self.systemd and self.cgroup_version == 2 else "cgroupfs"  # noqa: PLR2004 - cgroup v2


def gather(
    inventory: Inventory, *, known_hosts: Path, optional: Collection[str] = (), become_password: str | None = None
) -> dict[str, HostFacts]:
    """Gather the facts of all hosts in parallel, in one SSH session each. Makes no changes, not even here.

    Args:
        inventory: The hosts.
        known_hosts: The host keys to trust.
        optional: Names of the hosts that `--without` can leave out, for the hint.
        become_password: The password for sudo.

    Returns:
        The facts of each host by its name, in the order of the inventory.

    Raises:
        PreflightError: The facts of some hosts are not available; all of them are listed.
    """

    def of(host: Host) -> HostFacts | str:
        return _gather(inventory, host, ssh.command(host, known_hosts=known_hosts), become_password or "")

    with ThreadPoolExecutor(max_workers=len(inventory.hosts)) as pool:
        found = dict(zip((host.name for host in inventory.hosts), pool.map(of, inventory.hosts), strict=True))
    failed = {name: result for name, result in found.items() if isinstance(result, str)}
    if failed:
        host = next(host for host in inventory.hosts if host.name in failed)
        raise PreflightError(
            f"cannot gather the facts of {', '.join(failed)}",
            context=[f"{name}: {reason}" for name, reason in failed.items()],
            hint="each host needs an SSH server that accepts the user and the key in the inventory, and python3"
            + ("; a key with a passphrase must be in an agent (ssh-add)" if _denied(failed.values()) else "")
            + ssh.without_hint(list(failed), optional=optional),
            command=ssh.plain_command(host),
            code="FactsUnavailable",
        )
    return {name: result for name, result in found.items() if isinstance(result, HostFacts)}


def program_text(source: str, parameters: Mapping[str, Any], *, function: str = "main") -> str:
    """Return a Python program for a host: the source of a script, which imports json, and a call of its function."""
    return f"{source}\n{function}(json.loads({json.dumps(parameters)!r}))\n"


def run_program(host: Host, program: str, *, known_hosts: Path, become_password: str | None = None) -> str:
    """Run a Python program on a host, as root if possible, and return what it printed; empty if it failed."""
    try:
        return _run(program, ssh.command(host, known_hosts=known_hosts), become_password or "").stdout
    except ProcessTimeoutError:
        return ""


def _run(program: str, command: list[str], password: str) -> process.Completed:
    words = [*command, ssh.as_root(_PYTHON)]
    return process.run(words, input=f"{password}\n{program}", timeout=_SECONDS, check=False)


def _denied(reasons: Iterable[str]) -> bool:
    return any("Permission denied" in reason for reason in reasons)


def _gather(inventory: Inventory, host: Host, command: list[str], password: str) -> HostFacts | str:
    """Return the facts of a host, or why they are not available."""
    parameters = {
        "ports": _needed_ports(inventory, host),
        "packages": _PACKAGES_OF_HUBS if host.role == "hub" else _PACKAGES,
        "hubs": {name: hub.endpoint for name, hub in inventory.servers_for(host).items()},
    }
    source = resources.files("maas.hosts").joinpath("_facts_script.py").read_text(encoding="utf-8")
    program = program_text(source, parameters)
    try:
        done = _run(program, command, password)
    except ProcessTimeoutError:
        return f"timed out after {_SECONDS} s"
    now = time.time()
    if done.returncode == _NO_PYTHON:
        return "python3 is not installed; on the host run: apt-get install python3"
    if done.returncode == ssh.BECOME_FAILED:
        return f"sudo rejects the password of {host.user}"
    line = next((line for line in done.stdout.splitlines() if line.startswith(_facts_script.MARK)), None)
    if done.returncode != 0 or line is None:
        errors = done.stderr.strip().splitlines()
        return errors[-1] if errors else f"ssh exited with status {done.returncode} without a message"
    try:
        answer: dict[str, Any] = json.loads(line.removeprefix(_facts_script.MARK))
        offset = answer.pop("time") - now
        login = round(max(0.0, done.seconds - answer.pop("seconds")), 2)
        return HostFacts.model_validate({**answer, "clock_offset": offset, "login_seconds": login})
    except (ValueError, KeyError, TypeError) as error:
        return f"invalid answer: {' '.join(str(error).split())}"


def _needed_ports(inventory: Inventory, host: Host) -> tuple[tuple[str, int], ...]:
    hub: tuple[tuple[str, int], ...] = ()
    if host in inventory.hubs:
        first = inventory.server_of(host).listening_port
        hub = tuple(("udp", first + number) for number in range(len(inventory.hubs)))
    if host.role == "hub":
        return (*hub, *_PORTS_OF_HUBS)
    return (*hub, *_PORTS[host.role], *_PORTS_OF_NODES)
