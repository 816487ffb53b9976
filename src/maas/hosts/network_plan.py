"""The network plan: addresses, MTUs and timers, computed from the facts of the hosts, each with its reason.

Plans are stable: with the previous plan as input, hosts keep their addresses when others are added or reordered, and the
MTU only shrinks, so that a second run changes nothing.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv4Network  # noqa: TC003 - pydantic reads them at run time
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from maas.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maas.hosts.facts import HostFacts, HubPath
    from maas.hosts.inventory import Host, Inventory

API_PORT = 6443
OWN_RESOLV_CONF = "/etc/maas/resolv.conf"

# Overhead of OpenVPN per packet: opcode and peer ID 4, packet ID 8 (4 before the epoch keys of 2.7, which either side can
# have), AEAD tag 16, UDP 8; and the outer IP header.
_OPENVPN = 4 + 8 + 16 + 8
_IPV4, _IPV6 = 20, 40
_VXLAN = 50
SAFE_TUN_MTU = 1400
# Only for hosts without a name server that pods can reach.
_PUBLIC_RESOLVERS = ("9.9.9.9", "1.1.1.1")

_ETCD_HEARTBEAT_MS, _ETCD_ELECTION_MS = 100, 1000
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


class HostPlan(_Model):
    """The part of the plan for a host.

    Attributes:
        role: Its role in the cluster.
        vpn_address: Its fixed address in the VPN, and of its node.
        hub_endpoint: Name or address at which it reaches the hub.
        hub_port: UDP port at that address.
        cgroup_driver: cgroup driver of the kubelet and containerd.
        cgroup_version: Version of control groups; 1 requires failCgroupV1: false of the kubelet.
        resolv_conf: Path of the resolv.conf for pods.
        nameservers: Name servers to write to that file; empty if the host has the file.
        lacks_sys_resource: The host lacks CAP_SYS_RESOURCE, so nothing can raise limits or priorities.
        container: The host is a container, so its kernel settings belong to the machine.
    """

    role: Literal["control-plane", "worker"]
    vpn_address: IPv4Address
    hub_endpoint: str
    hub_port: int
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
        hub: Name of the host with the OpenVPN server, which is the control plane.
        hub_port: UDP port of the OpenVPN server.
        control_plane_endpoint: Address and port of the Kubernetes API inside the VPN.
        vpn, pods, services: The private networks.
        hosts: The parts for the hosts by name, in the order of the inventory.
        tun_mtu: MTU of the tunnel in bytes, the same for all hosts.
        pod_mtu: MTU of the pod network in bytes.
        keepalive, connect_retry, etcd, timers: See their types.
        reasons: The computed settings and their reasons.
    """

    cluster: str
    hub: str
    hub_port: int
    control_plane_endpoint: str
    vpn: IPv4Network
    pods: IPv4Network
    services: IPv4Network
    hosts: dict[str, HostPlan]
    tun_mtu: int
    pod_mtu: int
    keepalive: Keepalive
    connect_retry: ConnectRetry
    etcd: Etcd
    timers: Timers
    reasons: tuple[Reason, ...]

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
    heartbeat = max(_ETCD_HEARTBEAT_MS, math.ceil(1.5 * rtt_ms) if rtt_ms is not None else 0)
    return Etcd(heartbeat_ms=heartbeat, election_ms=10 * heartbeat)


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
    addresses = _addresses(inventory, previous)
    hub = inventory.control_plane.name
    tun, tun_reason = _tun_mtu(inventory, facts, previous)
    members = [facts[host.name].to_hub for host in inventory.hosts if host.role == "control-plane"]
    etcd = etcd_timers(max((path.rtt_ms for path in members if path and path.rtt_ms is not None), default=None))
    endpoint = f"{addresses[hub]}:{API_PORT}"
    keepalive, retry, timers = Keepalive(), ConnectRetry(), Timers()
    hosts = {host.name: _host_plan(inventory, host, facts[host.name], addresses[host.name]) for host in inventory.hosts}
    reasons = [
        Reason(
            setting="VPN addresses",
            value=", ".join(f"{name} {address}" for name, address in addresses.items()),
            why=f"the hub has the first address of {inventory.networks.vpn}; hosts keep their addresses",
        ),
        Reason(setting="API endpoint", value=endpoint, why="VPN address of the hub; the API has no public address"),
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
            why="a single member does not depend on the latency between hosts",
        ),
        *_timer_reasons(keepalive, retry, timers),
        *(reason for host in inventory.hosts for reason in _host_reasons(host, hosts[host.name])),
    ]
    return Plan(
        cluster=inventory.cluster,
        hub=hub,
        hub_port=inventory.hub.port,
        control_plane_endpoint=endpoint,
        vpn=inventory.networks.vpn,
        pods=inventory.networks.pods,
        services=inventory.networks.services,
        hosts=hosts,
        tun_mtu=tun,
        pod_mtu=pod_mtu(tun),
        keepalive=keepalive,
        connect_retry=retry,
        etcd=etcd,
        timers=timers,
        reasons=tuple(reasons),
    )


def _still_valid(inventory: Inventory, facts: Mapping[str, HostFacts], previous: Plan | None) -> Plan | None:
    """Return the previous plan, unless it has another hub or other networks and was never applied."""
    if previous is None:
        return None
    networks = inventory.networks
    changes = [
        f"{what} was {before} and is {now}"
        for what, before, now in (
            ("the hub", previous.hub, inventory.control_plane.name),
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
            f"the hub and the networks of the existing cluster {inventory.cluster} cannot be changed",
            context=[*changes, f"already in the cluster: {', '.join(members)}"],
            hint="restore the previous values in the inventory, or reset the hosts first",
            code="PlanChanged",
        )
    return None


def _addresses(inventory: Inventory, previous: Plan | None) -> dict[str, IPv4Address]:
    before = previous.hosts if previous else {}
    known = {host.name: before[host.name].vpn_address for host in inventory.hosts if host.name in before}
    free = inventory.networks.vpn.hosts()
    known[inventory.control_plane.name] = next(free)
    taken = set(known.values())
    fresh = (address for address in free if address not in taken)
    return {host.name: known[host.name] if host.name in known else next(fresh) for host in inventory.hosts}


def _tun_mtu(inventory: Inventory, facts: Mapping[str, HostFacts], previous: Plan | None) -> tuple[int, str]:
    """Return the MTU of the tunnel and its reason: the smallest of all hosts, and not larger than before."""
    needs = [_need(host.name, facts[host.name].to_hub, previous) for host in inventory.workers]
    mtu, reason = min(needs, default=(SAFE_TUN_MTU, "safe default: there is no worker to measure"))
    if previous and previous.tun_mtu < mtu:
        return previous.tun_mtu, f"unchanged; {mtu} is possible, but all tunnels and pods would have to restart"
    return mtu, reason


def _need(name: str, path: HubPath | None, previous: Plan | None) -> tuple[int, str]:
    if path is not None and path.path_mtu is not None:
        ipv6 = ":" in (path.address or "")
        mtu = tun_mtu(path.path_mtu, ipv6=ipv6)
        header = _IPV6 if ipv6 else _IPV4
        return mtu, f"path MTU from {name} of {path.path_mtu} minus {header} IP, 8 UDP and {_OPENVPN - 8} OpenVPN"
    if previous and name in previous.hosts:
        return previous.tun_mtu, f"unchanged; the path MTU from {name} is unknown"
    return SAFE_TUN_MTU, f"safe default: the path MTU from {name} is unknown, because the hub does not answer pings"


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
    hub = inventory.hub_of(host)
    own = facts.resolver.path is None
    return HostPlan(
        role=host.role,
        vpn_address=address,
        hub_endpoint=hub.endpoint,
        hub_port=hub.port,
        cgroup_driver=facts.cgroup_driver,
        cgroup_version=facts.cgroup_version,
        resolv_conf=facts.resolver.path or OWN_RESOLV_CONF,
        nameservers=(facts.resolver.servers or _PUBLIC_RESOLVERS) if own else (),
        lacks_sys_resource="CAP_SYS_RESOURCE" in facts.capabilities_missing,
        container=facts.container is not None,
    )


def _host_reasons(host: Host, plan: HostPlan) -> list[Reason]:
    """Return the reasons for the settings of a host that differ from the defaults."""
    reasons = []
    if plan.cgroup_version == 1 or plan.cgroup_driver == "cgroupfs":
        why = "cgroup v1, which the kubelet is configured to accept"
        if plan.cgroup_version != 1:
            why = "systemd is not the init system"
        reasons.append(Reason(setting=f"{host.name}: cgroup driver", value=plan.cgroup_driver, why=why))
    if plan.nameservers:
        why = "resolv.conf of the host names a loopback server, which would make CoreDNS query itself"
        if plan.nameservers == _PUBLIC_RESOLVERS:
            why += "; it names no other, so public servers are used"
        value = f"{plan.resolv_conf}: {', '.join(plan.nameservers)}"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=value, why=why))
    elif plan.resolv_conf != "/etc/resolv.conf":
        why = "/etc/resolv.conf names a loopback server, which would make CoreDNS query itself"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=plan.resolv_conf, why=why))
    if plan.lacks_sys_resource:
        why = "CAP_SYS_RESOURCE is missing: limits cannot be raised, and OOM scores cannot be lowered"
        reasons.append(Reason(setting=f"{host.name}: limits", value="unchanged", why=why))
    return reasons
