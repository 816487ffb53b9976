"""Check whether hosts can become a cluster, from their facts."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from maas import os_releases
from maas.hosts import host_firewall
from maas.hosts.network_plan import ETCD_LIMIT_MS, ETCD_SLOW_MS, PUBLIC_RESOLVERS, VPN_DEVICES, member_round_trips

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maas.hosts.facts import HostFacts, HubPath
    from maas.hosts.inventory import Host, Hub, Inventory

_GIB = 1 << 30
_MIB = 1 << 20
# kubeadm refuses less than 1700 MiB and 2 processors for a control plane.
_MEMORY = {"control-plane": 1700 * _MIB, "worker": 900 * _MIB, "hub": 200 * _MIB}
_CONTROL_PLANE_CPUS = 2
_DISK_NEEDED, _DISK_WANTED = 4 * _GIB, 10 * _GIB
_DISK_OF_HUB = 300 * _MIB
# What OpenVPN and BIRD need; the others are for containers.
_HUB_CAPABILITIES = {"CAP_NET_ADMIN", "CAP_NET_RAW"}
_PROGRAMS_NEEDED = 1 * _GIB
_SYNC_MS = 50
# Of the slowest writes. A leader of etcd sends no heartbeats while it waits for its disk, and a few such waits in a row are
# longer than the election timeout.
_SYNC_LIMIT_MS = 300
_SKEW = 2.0
_CONTROLLER_SKEW = 60.0
_SMALL_PATH = 1280
_OWN_DEVICES = (VPN_DEVICES, "cali", "vxlan.calico", "*")
_VPN_DEVICE = re.compile(rf"{VPN_DEVICES}[0-9]+")


class Problem(BaseModel):
    """A failed check of a host: an error prevents the installation, a warning does not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    severity: Literal["error", "warning"]
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.host}: {self.message} ({self.fix})"


def check(inventory: Inventory, facts: Mapping[str, HostFacts], *, accept_slow_etcd: bool = False) -> list[Problem]:
    """Check all hosts and return the problems, errors first.

    Args:
        inventory: The hosts.
        facts: Their facts.
        accept_slow_etcd: Warn about control planes that are too far from each other, or whose disks are too slow.
    """
    problems = [problem for host in inventory.hosts for problem in _Check(inventory, host, facts[host.name]).problems()]
    problems += _clocks(inventory, facts)
    problems += _lost(inventory, facts)
    if len(inventory.control_planes) > 1:
        problems += _members(inventory, facts, accept_slow_etcd=accept_slow_etcd)
    return sorted(problems, key=lambda problem: problem.severity)


def _lost(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    """Report control planes whose data of etcd is gone."""
    lost = [host.name for host in inventory.control_planes if facts[host.name].etcd == "lost"]
    count = len(inventory.control_planes)
    for name in lost:
        if len(lost) <= (count - 1) // 2:
            yield Problem(
                host=name,
                severity="warning",
                message="its data of etcd is lost, and its etcd does not start",
                fix="bootstrap removes it from the members of etcd and joins it again",
            )
        else:
            yield Problem(
                host=name,
                severity="error",
                message=f"its data of etcd is lost, and {count - len(lost)} of {count} control planes are no majority",
                fix="put /var/lib/etcd/member back from a backup, or reset the hosts to start an empty cluster",
            )


def _members(inventory: Inventory, facts: Mapping[str, HostFacts], *, accept_slow_etcd: bool) -> Iterator[Problem]:
    """Check what several members of etcd depend on: the time between them, and their disks."""
    severity: Literal["error", "warning"] = "warning" if accept_slow_etcd else "error"
    accept = "; --accept-slow-etcd continues nevertheless"
    shortest: dict[tuple[str, str], float] = {}
    for one, other, time in member_round_trips(inventory, facts):
        shortest[one, other] = min(time, shortest.get((one, other), time))
    for (one, other), time in shortest.items():
        if time > ETCD_SLOW_MS:
            beyond = time > ETCD_LIMIT_MS
            yield Problem(
                host=one,
                severity=severity if beyond else "warning",
                message=f"the round trip to the control plane {other} takes {time:.0f} ms, which each change of the API "
                "waits for",
                fix=f"use control planes within {ETCD_LIMIT_MS if beyond else ETCD_SLOW_MS} ms of each other"
                + (accept if beyond else ""),
            )
    for host in inventory.control_planes:
        slowest = facts[host.name].sync_p99_ms
        if slowest is not None and slowest > _SYNC_LIMIT_MS:
            yield Problem(
                host=host.name,
                severity=severity,
                message=f"the slowest of 50 synchronous writes to /var/lib takes {slowest:.0f} ms, in which etcd can lose "
                "its leader",
                fix=f"use a disk that takes less than {_SYNC_LIMIT_MS} ms, such as a local SSD{accept}",
            )


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
    for host in inventory.hosts:
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
            yield from self._unreachable()
            yield from self._foreign()

    @property
    def _is_node(self) -> bool:
        """Whether the host runs Kubernetes."""
        return self._host.role != "hub"

    def _error(self, message: str, fix: str) -> Problem:
        return Problem(host=self._host.name, severity="error", message=message, fix=fix)

    def _warning(self, message: str, fix: str) -> Problem:
        return Problem(host=self._host.name, severity="warning", message=message, fix=fix)

    def _system(self) -> Iterator[Problem]:
        facts = self._facts
        if facts.uid != 0:
            yield self._error(
                f"the user {self._host.user} is not root and cannot use sudo without a password",
                "give the password with --ask-become-pass, or log in as root, or enable passwordless sudo",
            )
        if os_releases.find(facts.os, facts.codename) is None:
            known = ", ".join(map(str, os_releases.SUPPORTED))
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
        if not self._is_node:
            if facts.disk_free < _DISK_OF_HUB:
                yield self._error(
                    f"only {facts.disk_free // _MIB} MiB free on the filesystem of /var/lib",
                    f"{_DISK_OF_HUB // _MIB} MiB are required",
                )
            return
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
        if facts.programs_free is not None and facts.programs_free < _PROGRAMS_NEEDED:
            yield self._error(
                f"only {facts.programs_free / _GIB:.1f} GiB free on the filesystem of /usr/local",
                f"{_PROGRAMS_NEEDED // _GIB} GiB is required for programs",
            )
        if role == "control-plane" and facts.sync_ms is not None and facts.sync_ms > _SYNC_MS:
            yield self._warning(
                f"a synchronous write to /var/lib takes {facts.sync_ms:.0f} ms, which makes etcd and the API slow",
                f"use a disk that takes less than {_SYNC_MS} ms, such as a local SSD",
            )
        sources = (*facts.swap, *facts.swap_units)
        if sources:
            fix = "the kubelet is configured to allow swap" if facts.container else "bootstrap disables it"
            yield self._warning(f"swap is enabled ({', '.join(sources)})", fix)

    def _kernel(self) -> Iterator[Problem]:
        facts = self._facts
        if not facts.tun:
            yield self._error(
                "there is no /dev/net/tun, which the VPN needs", "run modprobe tun, or ask the provider to enable it"
            )
        hard = [name for name in facts.capabilities_missing if name != "CAP_SYS_RESOURCE"]
        if not self._is_node:
            if needed := [name for name in hard if name in _HUB_CAPABILITIES]:
                yield self._error(
                    f"missing capabilities: {', '.join(needed)}", "add them to the container of this host"
                )
            return
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
                "the kubelet is configured with failCgroupV1: false; for cgroup v2, boot with "
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
        if self._is_node and not (inventory.nameservers or facts.resolver.servers):
            yield self._warning(
                "pods can reach none of its name servers (IPv4, not loopback)",
                f"pods use {' and '.join(PUBLIC_RESOLVERS)}; to use others, set nameservers in the inventory",
            )
        yield from self._firewalls()
        for name, hub in inventory.servers_for(self._host).items():
            yield from self._path(hub, facts.to_hubs.get(name))

    def _firewalls(self) -> Iterator[Problem]:
        facts, inventory, host = self._facts, self._inventory, self._host
        for one in host_firewall.refused(facts):
            yield self._error(
                f"the chain {one.chain} of the table {one.family} {one.table} ({one.program}) drops what it does not "
                "accept, whatever other tables accept",
                "add these rules, also to the files of that firewall: "
                + "; ".join(host_firewall.lines(one, inventory, host)),
            )
        if added := host_firewall.handled(facts):
            chains = ", ".join(f"{one.family} {one.table} {one.chain}" for one in added)
            yield self._warning(
                f"nftables drops what it does not accept ({chains})",
                "bootstrap adds rules for the cluster to these chains, also after each reload",
            )
        if "firewalld" in facts.firewalls:
            yield self._error(
                "firewalld rejects the traffic of the cluster",
                "run: " + " && ".join(host_firewall.firewalld(inventory, host)),
            )

    def _path(self, hub: Hub, path: HubPath | None) -> Iterator[Problem]:
        """Check the path to a hub."""
        facts = self._facts
        if path is not None and path.address is None:
            yield self._error(
                f"it cannot resolve the name of the hub, {hub.endpoint}",
                "use the hub's address, or fix DNS on this host",
            )
        elif path is not None and ":" in (path.address or ""):
            yield self._error(
                f"the name of the hub, {hub.endpoint}, has only the IPv6 address {path.address}, but the VPN uses IPv4",
                "add an A record to the name, or set hub.endpoint to an IPv4 address",
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

    def _unreachable(self) -> Iterator[Problem]:
        """Addresses that the host needs, and would look for in the cluster."""
        facts, networks = self._facts, self._inventory.networks
        needs = [(need.address, need.use) for need in facts.needs]
        for name, path in facts.to_hubs.items():
            if path.address is not None and ":" not in path.address:
                needs.append((IPv4Address(path.address), f"the hub {name}" if len(facts.to_hubs) > 1 else "the hub"))
        needs += [(own.address.ip, f"its own, on {own.device}") for own in facts.addresses]
        uses: dict[IPv4Address, list[str]] = {}
        for address, use in needs:
            uses.setdefault(address, []).append(use)
        for address, found in uses.items():
            network = networks.containing(address)
            if network is not None and not any(address in route.network for route in facts.routes):
                yield self._error(
                    f"the address {address} ({'; '.join(dict.fromkeys(found))}) is in networks.{network} "
                    f"{getattr(networks, network)}, so this host could no longer reach it",
                    f"choose another networks.{network} in the inventory",
                )

    def _foreign(self) -> Iterator[Problem]:
        """Software on the host that conflicts with a cluster."""
        facts = self._facts
        if facts.kubernetes and self._is_node:
            yield self._error(f"it already has {', '.join(facts.kubernetes)}", "uninstall that first")
        for name, version in facts.runtimes.items() if self._is_node else ():
            yield self._error(f"{name} {version} is running", "uninstall it: bootstrap installs its own containerd")
        for device in filter(_VPN_DEVICE.fullmatch, facts.devices):
            yield self._error(
                f"the network device {device} exists, but MaaS gives this name to a device of its VPN",
                "rename or remove that device",
            )
        for listener in facts.listeners:
            yield self._error(
                f"{listener.protocol.upper()} port {listener.port} is used by {listener.program or 'another program'}",
                "stop that program or change its port",
            )
