"""The network plan: addresses, MTUs and timers, computed from the facts of the hosts, each with its reason.

Plans are stable: with the previous plan as input, hosts keep their addresses when others are added or reordered, and the
MTU only shrinks, so that a second run changes nothing.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from maas.errors import PlanError
from maas.hosts import timeouts as host_timeouts
from maas.hosts._inventory_checks import TRANSIT_PARTS
from maas.hosts.inventory import Networks
from maas.hosts.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maas.hosts.facts import HostFacts, HubPath, Proxy
    from maas.hosts.inventory import Host, Inventory

_Part = TypeVar("_Part")
API_PORT = 6443
VPN_DEVICES = "maas"
"""Prefix of the names of the VPN's network devices: one device per hub, maas0 for the first."""
OWN_RESOLV_CONF = "/etc/maas/resolv.conf"

# Overhead of OpenVPN per packet: opcode and peer ID 4, packet ID 8 (4 before the epoch keys of 2.7, which either side can
# have), AEAD tag 16, UDP 8; and the outer IP header.
_OPENVPN = 4 + 8 + 16 + 8
_IPV4, _IPV6 = 20, 40
_VXLAN = 50
SAFE_TUN_MTU = 1400
# Only for hosts without a name server that pods can reach.
PUBLIC_RESOLVERS = ("9.9.9.9", "1.1.1.1")

_ETCD_HEARTBEAT_MS, _ETCD_ELECTION_MS = 100, 1000
# More than the 1.5 s after which TCP repeats a packet on the way through another hub, so that the failure of a hub costs no
# leader. Not much more, because the API waits for up to twice this time when the host of the leader is lost.
_ETCD_ELECTION_MEMBERS_MS = 2000
ETCD_SLOW_MS, ETCD_LIMIT_MS = 50, 150
"""Round-trip times between members of etcd: from which each change is slow, and up to which a cluster is supported."""
_NODE_MONITOR_PERIOD = 5  # kube-controller-manager's default
_LIMIT = 90
_POD_START = 25


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(_Model):
    """A setting of the plan, its value as text, and the reason for it."""

    setting: str
    value: str
    why: str


class Keepalive(_Model):
    """OpenVPN's keepalive: seconds between pings, and without one after which a node reconnects."""

    interval: int = 3
    timeout: int = 9


class ConnectRetry(_Model):
    """OpenVPN's connect-retry: seconds before the first attempt to reconnect, and at most between later ones."""

    first: int = 1
    longest: int = 5


class Etcd(_Model):
    """etcd's heartbeat interval and election timeout, in milliseconds."""

    heartbeat_ms: int = _ETCD_HEARTBEAT_MS
    election_ms: int = _ETCD_ELECTION_MS


class Timers(_Model):
    """When Kubernetes considers a node lost and moves its pods, in seconds.

    Attributes:
        http2_read_idle: Idle time of a connection after which the kubelet pings the API server
            (HTTP2_READ_IDLE_TIMEOUT_SECONDS).
        http2_ping: Time limit for the answer, after which it reconnects (HTTP2_PING_TIMEOUT_SECONDS).
        node_lease: nodeLeaseDurationSeconds of the kubelet, which renews the lease after a quarter of it.
        node_status_update: nodeStatusUpdateFrequency of the kubelet.
        node_monitor_grace: node-monitor-grace-period of kube-controller-manager, after which a node is NotReady.
        toleration: Seconds that pods stay on such a node (the API server's default tolerations).
    """

    http2_read_idle: int = 6
    http2_ping: int = 4
    node_lease: int = 16
    node_status_update: int = 10
    node_monitor_grace: int = 30
    toleration: int = 15

    @property
    def lost_node(self) -> int:
        """Seconds after which the pods of a lost node are deleted at the latest."""
        # The grace period starts up to one check after the last renewal, and its end is noticed up to one check later.
        return 2 * _NODE_MONITOR_PERIOD + self.node_monitor_grace + self.toleration


class Server(_Model):
    """Name or address, and UDP port, at which a host reaches an OpenVPN server."""

    endpoint: str
    port: int


class HubPlan(_Model):
    """The part of the plan for a hub.

    Attributes:
        index: Its number, which never changes.
        port: UDP port of its OpenVPN server. It accepts the links of later hubs at the ports that follow.
        network: Network of the addresses inside its tunnels.
    """

    index: int
    port: int
    network: IPv4Network


class LinkPlan(_Model):
    """A tunnel between two hubs.

    Attributes:
        listens, connects: Name of the hub that listens, and of the one that connects to it.
        port: UDP port on which the first one listens.
        addresses: Their addresses inside the tunnel, in this order.
    """

    listens: str
    connects: str
    port: int
    addresses: tuple[IPv4Address, IPv4Address]


class HostPlan(_Model):
    """The part of the plan for a host.

    Attributes:
        role: Its role in the cluster.
        vpn_address: Its fixed address in the VPN, and of its node.
        servers: Where it reaches the OpenVPN servers of the other hubs, by their names.
        cgroup_driver: cgroup driver of the kubelet and containerd.
        cgroup_version: Version of control groups; 1 requires failCgroupV1: false of the kubelet.
        resolv_conf: Path of the resolv.conf for pods.
        nameservers: Name servers to write to that file; empty if the host has the file.
        lacks_sys_resource: The host lacks CAP_SYS_RESOURCE, so nothing can raise limits or priorities.
        container: The host is a container, so its kernel settings belong to the machine.
    """

    role: Literal["control-plane", "worker", "hub"]
    vpn_address: IPv4Address
    servers: dict[str, Server]
    cgroup_driver: Literal["systemd", "cgroupfs"]
    cgroup_version: Literal[1, 2]
    resolv_conf: str
    nameservers: tuple[str, ...]
    # Plans of version 0.1 have the name `limited`.
    lacks_sys_resource: bool = Field(validation_alias=AliasChoices("lacks_sys_resource", "limited"))
    container: bool


class Plan(_Model):
    """The network plan of a cluster.

    Attributes:
        cluster: Name of the cluster.
        control_plane_endpoint: Address and port of the Kubernetes API inside the VPN.
        vpn, transit, pods, services: The private networks.
        hubs: The hosts with an OpenVPN server by name, in the order of preference.
        hosts: The parts for the hosts by name, in the order of the inventory.
        tun_mtu: MTU of the tunnel in bytes, the same for all hosts.
        pod_mtu: MTU of the pod network in bytes.
        keepalive, connect_retry, etcd, timers, timeouts: See their types.
        reasons: The computed settings and their reasons.
    """

    cluster: str
    control_plane_endpoint: str
    vpn: IPv4Network
    transit: IPv4Network
    pods: IPv4Network
    services: IPv4Network
    hubs: dict[str, HubPlan]
    hosts: dict[str, HostPlan]
    tun_mtu: int
    pod_mtu: int
    keepalive: Keepalive
    connect_retry: ConnectRetry
    etcd: Etcd
    timers: Timers
    timeouts: Timeouts = Timeouts()
    reasons: tuple[Reason, ...]

    @model_validator(mode="before")
    @classmethod
    def _with_hubs(cls, data: Any) -> Any:
        """Convert a plan of version 0.1, which had a single hub."""
        if not isinstance(data, dict) or "hub" not in data or not isinstance(data.get("hosts"), dict):
            return data
        name, port, transit = data["hub"], data.get("hub_port"), Networks().transit
        hosts = {}
        for host, plan in data["hosts"].items():
            kept = {key: value for key, value in plan.items() if key not in {"hub_endpoint", "hub_port"}}
            server = {"endpoint": plan.get("hub_endpoint"), "port": plan.get("hub_port")}
            hosts[host] = kept | {"servers": {} if host == name else {name: server}}
        rest = {key: value for key, value in data.items() if key not in {"hub", "hub_port"}}
        hub = {"index": 0, "port": port, "network": _transit_parts(transit)[0]}
        return rest | {"transit": transit, "hubs": {name: hub}, "hosts": hosts}

    @property
    def api_address(self) -> IPv4Address:
        """The address of the Kubernetes API inside the VPN."""
        return IPv4Address(self.control_plane_endpoint.partition(":")[0])

    def transit_address(self, host: str, hub: str) -> IPv4Address:
        """Return the address of a host inside the tunnels of a hub, which is its own one at the hub itself."""
        return self.hubs[hub].network[int(self.hosts[host].vpn_address) - int(self.vpn.network_address)]

    def announcers(self) -> list[str]:
        """Return the hosts that announce the address of the API; none in a cluster of version 0.1, where a host has it.

        Of several control planes, those that are hubs: an OpenVPN server sends packets for an address to one client only.
        """
        if self.api_address in {host.vpn_address for host in self.hosts.values()}:
            return []
        planes = [name for name, host in self.hosts.items() if host.role == "control-plane"]
        return [name for name in planes if name in self.hubs] or planes[:1]

    def links(self) -> tuple[LinkPlan, ...]:
        """Return the tunnels between hubs, one for each pair. The hub with the lower number listens."""
        network = _transit_parts(self.transit)[-1]
        found = []
        for (one, first), (other, second) in combinations(sorted(self.hubs.items(), key=lambda item: item[1].index), 2):
            number = second.index * (second.index - 1) // 2 + first.index
            found.append(
                LinkPlan(
                    listens=one,
                    connects=other,
                    port=first.port + second.index - first.index,
                    addresses=(network[2 * number], network[2 * number + 1]),
                )
            )
        return tuple(found)

    def without_host(self, name: str) -> Plan:
        """Return the plan after a host was removed. The others keep their addresses, and hubs their numbers."""

        def others(found: Mapping[str, _Part]) -> dict[str, _Part]:
            return {key: part for key, part in found.items() if key != name}

        hosts = {
            other: host.model_copy(update={"servers": others(host.servers)})
            for other, host in others(self.hosts).items()
        }
        return self.model_copy(update={"hosts": hosts, "hubs": others(self.hubs)})

    def rows(self) -> list[tuple[str, str, str]]:
        """Return setting, value and reason of each computed setting."""
        return [(reason.setting, reason.value, reason.why) for reason in self.reasons]

    def to_json(self) -> str:
        """Return the plan as JSON with a final newline."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that `to_json` wrote.

        Raises:
            PlanError: The text is not a plan.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise PlanError(
                "cannot read the saved network plan",
                context=[f"{'.'.join(str(part) for part in first['loc']) or 'the text'}: {first['msg']}"],
                hint="it was edited or written by another version; restore plan.json in the state directory from a backup",
            ) from error


def tun_mtu(path_mtu: int, *, ipv6: bool = False) -> int:
    """Return the MTU of the tunnel on a path with an MTU of `path_mtu` bytes."""
    return path_mtu - _OPENVPN - (_IPV6 if ipv6 else _IPV4)


def pod_mtu(tun_mtu: int) -> int:
    """Return the MTU of the pod network: that of the tunnel without the VXLAN header."""
    return tun_mtu - _VXLAN


def etcd_timers(rtt_ms: float | None) -> Etcd:
    """Return the timers of etcd for the longest round-trip time between members, or its defaults for a single member.

    etcd's tuning guide recommends a heartbeat of 0.5 to 1.5 round trips and an election timeout of at least 10.
    """
    if rtt_ms is None:
        return Etcd()
    heartbeat = max(_ETCD_HEARTBEAT_MS, math.ceil(1.5 * rtt_ms))
    return Etcd(heartbeat_ms=heartbeat, election_ms=max(10 * heartbeat, _ETCD_ELECTION_MEMBERS_MS))


def compute(inventory: Inventory, facts: Mapping[str, HostFacts], *, previous: Plan | None = None) -> Plan:
    """Compute the plan.

    Args:
        inventory: The hosts and networks.
        facts: The facts of the hosts by name.
        previous: The previous plan of this cluster, whose addresses are kept.

    Raises:
        PlanError: The inventory changes the hub or a network of an existing cluster.
    """
    previous = _still_valid(inventory, facts, previous)
    endpoint, endpoint_reason = _api_endpoint(inventory, facts, previous)
    addresses = _addresses(inventory, previous, api=IPv4Address(endpoint.partition(":")[0]))
    hubs = _hubs(inventory, previous)
    tun, tun_reason = _tun_mtu(inventory, facts, previous)
    etcd, etcd_reason = _etcd(inventory, facts)
    keepalive, retry, timers = Keepalive(), ConnectRetry(), Timers()
    timeouts = host_timeouts.compute(
        facts, previous=previous.timeouts if previous else None, control_plane=primary(inventory, facts).name
    )
    hosts = {host.name: _host_plan(inventory, host, facts[host.name], addresses[host.name]) for host in inventory.hosts}
    reasons = [
        Reason(
            setting="VPN addresses",
            value=", ".join(f"{name} {address}" for name, address in addresses.items()),
            why=f"the first control plane has the first address of {inventory.networks.vpn}; hosts keep their addresses",
        ),
        Reason(
            setting="hubs",
            value=", ".join(f"{name} {hub.network}" for name, hub in hubs.items()),
            why="addresses of their tunnels; a host has a tunnel to each hub, and prefers them in this order",
        ),
        *_tunnel_reasons(inventory, hubs),
        *(
            Reason(
                setting=f"{host.name}: role", value="hub", why="forwards packets in the VPN; it does not run Kubernetes"
            )
            for host in inventory.hosts
            if host.role == "hub"
        ),
        Reason(setting="API endpoint", value=endpoint, why=endpoint_reason),
        Reason(setting="tunnel MTU", value=str(tun), why=tun_reason),
        Reason(setting="pod MTU", value=str(pod_mtu(tun)), why=f"{tun} of the tunnel minus {_VXLAN} of VXLAN"),
        Reason(
            setting="keepalive",
            value=f"{keepalive.interval} {keepalive.timeout}",
            why=f"a node detects a dead tunnel after {keepalive.timeout} s, the hub after {2 * keepalive.timeout} s",
        ),
        Reason(
            setting="connect-retry",
            value=f"{retry.first} {retry.longest}",
            why=f"nodes reconnect within {retry.longest} s to a hub that is back; OpenVPN's default is up to 300 s",
        ),
        Reason(
            setting="etcd heartbeat / election",
            value=f"{etcd.heartbeat_ms} / {etcd.election_ms} ms",
            why=etcd_reason,
        ),
        _backup_reason(inventory),
        *_timer_reasons(keepalive, retry, timers),
        *([Reason(setting="timeouts", value=timeouts.shown(), why=timeouts.why)] if timeouts.why else []),
        *(
            reason
            for host in inventory.hosts
            for reason in _host_reasons(
                host, hosts[host.name], named=bool(inventory.nameservers), proxies=facts[host.name].proxies
            )
        ),
    ]
    return Plan(
        cluster=inventory.cluster,
        control_plane_endpoint=endpoint,
        vpn=inventory.networks.vpn,
        transit=inventory.networks.transit,
        pods=inventory.networks.pods,
        services=inventory.networks.services,
        hubs=hubs,
        hosts=hosts,
        tun_mtu=tun,
        pod_mtu=pod_mtu(tun),
        keepalive=keepalive,
        connect_retry=retry,
        etcd=etcd,
        timers=timers,
        timeouts=timeouts,
        reasons=tuple(reasons),
    )


def _backup_reason(inventory: Inventory) -> Reason:
    backup = inventory.backup
    if backup is None:
        why = "the inventory has no backup.recipients, so a lost disk of the control plane is a lost cluster"
        return Reason(setting="etcd backup", value="none", why=why)
    keys = "1 key" if len(backup.recipients) == 1 else f"{len(backup.recipients)} keys"
    return Reason(
        setting="etcd backup",
        value=f"every 30 min, {backup.keep} kept",
        why=f"encrypted to {keys} of backup.recipients; the newest is copied to this controller at each run",
    )


def _still_valid(inventory: Inventory, facts: Mapping[str, HostFacts], previous: Plan | None) -> Plan | None:
    """Return the previous plan, unless it has another hub or other networks and was never applied."""
    if previous is None:
        return None
    networks = inventory.networks
    planes = {name for name, host in previous.hosts.items() if host.role == "control-plane"}
    gone = planes - {host.name for host in inventory.control_planes}
    changes = [f"{name} was a control plane and is none" for name in sorted(gone)]
    removed = previous.hubs.keys() - {hub.name for hub in inventory.hubs} - gone
    changes += [f"{name} was a hub and is none" for name in sorted(removed)]
    moved = f", which would move the address of the API from {previous.api_address} to {networks.vpn[-2]}"
    changes += [
        f"{what} was {before} and is {now}{moved if what == 'networks.vpn' else ''}"
        for what, before, now in (
            ("networks.vpn", previous.vpn, networks.vpn),
            ("networks.pods", previous.pods, networks.pods),
            ("networks.services", previous.services, networks.services),
        )
        if before != now
    ]
    if not changes:
        return previous
    members = [name for name, fact in facts.items() if fact.cluster == inventory.cluster]
    if members:
        raise PlanError(
            f"the control planes, hubs and networks of the existing cluster {inventory.cluster} cannot be changed",
            context=[*changes, f"already in the cluster: {', '.join(members)}"],
            hint="restore the previous values in the inventory, or reset the hosts first",
            code="PlanChanged",
        )
    return None


def _api_endpoint(inventory: Inventory, facts: Mapping[str, HostFacts], previous: Plan | None) -> tuple[str, str]:
    """Return address and port of the API, and the reason. A cluster that exists keeps them: its certificates name them.

    Raises:
        PlanError: Several control planes cannot share the address, because it is that of a host.
    """
    last = f"{inventory.networks.vpn[-2]}:{API_PORT}"
    planes = inventory.control_planes
    exists = any(facts[host.name].cluster == inventory.cluster for host in planes)
    if exists and previous and previous.control_plane_endpoint != last:
        if len(planes) > 1:
            raise PlanError(
                f"the address of the API of the existing cluster {inventory.cluster} would have to move",
                context=[f"it is {previous.control_plane_endpoint}, the address of one host, and in the certificates"],
                hint="keep one control plane, or create the cluster again with this version",
                code="PlanChanged",
            )
        return previous.control_plane_endpoint, "unchanged; the certificates of the cluster contain it"
    why = f"the last address of {inventory.networks.vpn}; each control plane announces it while its API is ready"
    if len(planes) > 1 and (silent := [host.name for host in planes if host not in inventory.hubs]):
        why += f"; not {', '.join(silent)}, because only a hub can announce it"
    return last, why


def _addresses(inventory: Inventory, previous: Plan | None, *, api: IPv4Address) -> dict[str, IPv4Address]:
    before = previous.hosts if previous else {}
    known = {host.name: before[host.name].vpn_address for host in inventory.hosts if host.name in before}
    free = inventory.networks.vpn.hosts()
    taken = {*known.values(), api}
    fresh = (address for address in free if address not in taken)
    first = inventory.control_plane.name
    if first not in known:
        known[first] = next(fresh)
    return {host.name: known[host.name] if host.name in known else next(fresh) for host in inventory.hosts}


def _transit_parts(network: IPv4Network) -> list[IPv4Network]:
    return list(network.subnets(TRANSIT_PARTS.bit_length() - 1))


def _hubs(inventory: Inventory, previous: Plan | None) -> dict[str, HubPlan]:
    """Return the hubs in the order of the inventory; each one keeps its number, and so its networks and devices."""
    known = {name: hub.index for name, hub in previous.hubs.items()} if previous else {}
    parts = _transit_parts(inventory.networks.transit)
    free = (index for index in range(TRANSIT_PARTS - 1) if index not in known.values())
    hubs = {}
    for host in inventory.hubs:
        index = known[host.name] if host.name in known else next(free)
        hubs[host.name] = HubPlan(index=index, port=inventory.server_of(host).listening_port, network=parts[index])
    return hubs


def _tunnel_reasons(inventory: Inventory, hubs: Mapping[str, HubPlan]) -> list[Reason]:
    """Return the tunnels of a cluster with several hubs and the reasons for them."""
    if len(hubs) == 1:
        return []
    devices = ", ".join(f"{VPN_DEVICES}{hub.index} to {name}" for name, hub in hubs.items())
    ports = ", ".join(f"{name} {hub.port} to {hub.port + len(hubs) - 1}" for name, hub in hubs.items())
    nodes = [host.name for host in inventory.hosts if host.name not in hubs]
    of_nodes = Reason(
        setting=f"tunnels of {', '.join(nodes)}",
        value=devices,
        why="all of them are open at once, so that the end of a hub costs about a second and no connection",
    )
    return [
        *([of_nodes] if nodes else []),
        Reason(
            setting="links between hubs",
            value=f"{len(hubs) * (len(hubs) - 1) // 2}, UDP ports {ports}",
            why="one for each pair, so that two hosts need no hub in common",
        ),
    ]


def primary(inventory: Inventory, facts: Mapping[str, HostFacts], *, without: Collection[str] = ()) -> Host:
    """Return the control plane that the others join: the first one that is a member of etcd, or the first one.

    Args:
        inventory: The hosts.
        facts: Their facts.
        without: Names of the hosts that are down.
    """
    present = [host for host in inventory.control_planes if host.name not in without]
    members = (host for host in present if facts[host.name].etcd == "member")
    # One whose start was interrupted is continued.
    started = (host for host in present if facts[host.name].joined and facts[host.name].etcd == "none")
    return next(members, None) or next(started, present[0])


def member_round_trips(inventory: Inventory, facts: Mapping[str, HostFacts]) -> list[tuple[str, str, float]]:
    """Return the ways between members of etcd, also those through another hub: both ends, and milliseconds."""
    members = [host.name for host in inventory.control_planes]
    times: dict[tuple[str, str], float] = {}
    for host, found in facts.items():
        for hub, path in found.to_hubs.items():
            if path.rtt_ms is not None:
                times[host, hub] = max(path.rtt_ms, times.get((host, hub), 0))
                times[hub, host] = times[host, hub]
    ways: list[tuple[str, str, float]] = []
    for one, other in combinations(members, 2):
        if (one, other) in times:
            ways.append((one, other, times[one, other]))
        ways += [
            (one, other, times[one, hub.name] + times[hub.name, other])
            for hub in inventory.hubs
            if hub.name not in {one, other} and {(one, hub.name), (hub.name, other)} <= times.keys()
        ]
    return ways


def _etcd(inventory: Inventory, facts: Mapping[str, HostFacts]) -> tuple[Etcd, str]:
    """Return the timers of etcd and their reason: for the slowest way between members, also through another hub."""
    if len(inventory.control_planes) == 1:
        return Etcd(), "a single member does not depend on the latency between hosts"
    ways = [time for _, _, time in member_round_trips(inventory, facts)]
    if not ways:
        return etcd_timers(0), "the round-trip times between members are unknown, because hubs do not answer pings"
    etcd = etcd_timers(max(ways))
    return (
        etcd,
        f"1.5 times the slowest way between members, {max(ways):.1f} ms; {etcd.election_ms // 1000} s outlast a lost hub",
    )


def _tun_mtu(inventory: Inventory, facts: Mapping[str, HostFacts], previous: Plan | None) -> tuple[int, str]:
    """Return the MTU of the tunnels and its reason: the smallest of all pairs of host and hub, and not larger than before."""
    needs = [
        _need(host.name, hub, facts[host.name].to_hubs.get(hub), previous)
        for host in inventory.hosts
        for hub in inventory.servers_for(host)
    ]
    mtu, reason = min(needs, default=(SAFE_TUN_MTU, "safe default: there is no worker to measure"))
    if previous and previous.tun_mtu < mtu:
        return previous.tun_mtu, f"unchanged; {mtu} is possible, but all tunnels and pods would have to restart"
    return mtu, reason


def _need(name: str, hub: str, path: HubPath | None, previous: Plan | None) -> tuple[int, str]:
    if path is not None and path.path_mtu is not None:
        ipv6 = ":" in (path.address or "")
        mtu = tun_mtu(path.path_mtu, ipv6=ipv6)
        header = _IPV6 if ipv6 else _IPV4
        return (
            mtu,
            f"path MTU from {name} to {hub} of {path.path_mtu} minus {header} IP, 8 UDP and {_OPENVPN - 8} OpenVPN",
        )
    if previous and name in previous.hosts and hub in previous.hubs:
        return previous.tun_mtu, f"unchanged; the path MTU from {name} to {hub} is unknown"
    return SAFE_TUN_MTU, f"safe default: the path MTU from {name} to {hub} is unknown, because {hub} answers no pings"


def _timer_reasons(keepalive: Keepalive, retry: ConnectRetry, timers: Timers) -> list[Reason]:
    renewal = timers.node_lease // 4
    reconnect = timers.http2_read_idle + timers.http2_ping
    outage = keepalive.timeout + retry.longest + 1
    total = timers.lost_node + _POD_START
    return [
        Reason(
            setting="kubelet HTTP/2 timeouts",
            value=f"{timers.http2_read_idle} s + {timers.http2_ping} s",
            why=f"a dead connection is replaced after {reconnect} s (default 45 s), so that a healthy node stays Ready",
        ),
        Reason(
            setting="node lease",
            value=f"{timers.node_lease} s",
            why=f"a node renews its lease every {renewal} s",
        ),
        Reason(
            setting="node NotReady",
            value=f"grace {timers.node_monitor_grace} s",
            why=f"more than a renewal ({renewal}) + a restart of the hub ({outage}) + a reconnect ({reconnect}) "
            f"= {renewal + outage + reconnect} s, so that a restart of the hub does not move pods",
        ),
        Reason(
            setting="pod eviction from a lost node",
            value=f"{timers.toleration} s later",
            why=f"{2 * _NODE_MONITOR_PERIOD} for checks + {timers.node_monitor_grace} grace + {timers.toleration} "
            f"toleration + {_POD_START} until new pods are Ready = {total} s; the limit is {_LIMIT} s",
        ),
    ]


def _host_plan(inventory: Inventory, host: Host, facts: HostFacts, address: IPv4Address) -> HostPlan:
    # CoreDNS would forward to itself if the host used the DNS of the cluster.
    usable = tuple(one for one in facts.resolver.servers if not inventory.networks.containing(one))
    own = facts.resolver.path is None or bool(inventory.nameservers) or usable != facts.resolver.servers
    return HostPlan(
        role=host.role,
        vpn_address=address,
        servers={
            name: Server(endpoint=hub.endpoint, port=hub.port) for name, hub in inventory.servers_for(host).items()
        },
        cgroup_driver=facts.cgroup_driver,
        cgroup_version=facts.cgroup_version,
        resolv_conf=OWN_RESOLV_CONF if own else facts.resolver.path,
        nameservers=(inventory.nameservers or usable or PUBLIC_RESOLVERS) if own else (),
        lacks_sys_resource="CAP_SYS_RESOURCE" in facts.capabilities_missing,
        container=facts.container is not None,
    )


def _host_reasons(host: Host, plan: HostPlan, *, named: bool, proxies: tuple[Proxy, ...]) -> list[Reason]:
    """Return the reasons for the settings of a host that differ from the defaults."""
    reasons: list[Reason] = []
    if host.role == "hub":
        return reasons
    if plan.cgroup_version == 1 or plan.cgroup_driver == "cgroupfs":
        why = "cgroup v1, which the kubelet is configured to accept"
        if plan.cgroup_version != 1:
            why = "systemd is not the init system"
        reasons.append(Reason(setting=f"{host.name}: cgroup driver", value=plan.cgroup_driver, why=why))
    if plan.nameservers:
        why = "resolv.conf of the host also names servers that pods cannot reach (loopback, IPv6)"
        if named:
            why = "nameservers in the inventory"
        elif plan.nameservers == PUBLIC_RESOLVERS:
            why = "pods can reach no name server of the host (loopback, IPv6), so public ones are used"
        value = f"{plan.resolv_conf}: {', '.join(plan.nameservers)}"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=value, why=why))
    elif plan.resolv_conf != "/etc/resolv.conf":
        why = "pods can reach no name server of /etc/resolv.conf (loopback, IPv6)"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=plan.resolv_conf, why=why))
    if proxies:
        value = ", ".join(dict.fromkeys(f"{proxy.variable} {proxy.server}" for proxy in proxies))
        why = "kubeadm, Kubernetes and containerd run without it: they must reach the VPN, pods and services directly"
        reasons.append(Reason(setting=f"{host.name}: proxy", value=value, why=why))
    if plan.lacks_sys_resource:
        why = "CAP_SYS_RESOURCE is missing: limits cannot be raised, and OOM scores cannot be lowered"
        reasons.append(Reason(setting=f"{host.name}: limits", value="unchanged", why=why))
    return reasons
