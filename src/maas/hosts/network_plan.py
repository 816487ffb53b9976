"""The network plan: addresses, packet sizes and timers, computed from what preflight measured, each with its reason.

A plan is stable: made again with the plan before as `previous`, every host keeps its address, however hosts are added
or reordered, and a packet size only ever shrinks, so that a second run has nothing to change.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv4Network  # noqa: TC003 - pydantic reads them at run time
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from maas.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.preflight import HostFacts, Way

API_PORT = 6443
OWN_RESOLV_CONF = "/etc/maas/resolv.conf"

# What OpenVPN adds to a packet of the tunnel: opcode and peer id 4, packet id 8 (4 before the epoch keys of 2.7, which
# either side may have), AEAD tag 16, UDP 8; and the outer IP header.
_OPENVPN = 4 + 8 + 16 + 8
_IPV4, _IPV6 = 20, 40
_VXLAN = 50
SAFE_TUN_MTU = 1400
# Used only where a host knows no server that a pod could reach.
_PUBLIC_RESOLVERS = ("9.9.9.9", "1.1.1.1")

_ETCD_HEARTBEAT_MS, _ETCD_ELECTION_MS = 100, 1000
_NODE_MONITOR_PERIOD = 5  # kube-controller-manager's default
_PROMISE = 90
_POD_START = 25


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(_Model):
    """A setting of the plan, its value as people read it, and why it has it."""

    setting: str
    value: str
    why: str


class Keepalive(_Model):
    """OpenVPN's keepalive: seconds between pings, and of silence after which a node connects anew."""

    interval: int = 3
    timeout: int = 9


class ConnectRetry(_Model):
    """OpenVPN's connect-retry: seconds before the first new attempt, and at most between later ones."""

    first: int = 1
    longest: int = 5


class Etcd(_Model):
    """etcd's heartbeat interval and election timeout, in milliseconds."""

    heartbeat_ms: int = _ETCD_HEARTBEAT_MS
    election_ms: int = _ETCD_ELECTION_MS


class Timers(_Model):
    """How Kubernetes notices a lost node and when it moves the pods; all in seconds.

    Attributes:
        http2_read_idle: Silence of a connection after which the kubelet pings the API server
            (HTTP2_READ_IDLE_TIMEOUT_SECONDS).
        http2_ping: How long it waits for the answer before it connects anew (HTTP2_PING_TIMEOUT_SECONDS).
        node_lease: nodeLeaseDurationSeconds of the kubelet, which renews after a quarter of it.
        node_status_update: nodeStatusUpdateFrequency of the kubelet.
        node_monitor_grace: Silence after which it calls a node NotReady.
        toleration: How long pods stay bound to such a node (the API server's default tolerations).
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
        # Seen one look after the last renewal, missed one look after the grace period.
        return 2 * _NODE_MONITOR_PERIOD + self.node_monitor_grace + self.toleration


class HostPlan(_Model):
    """What is particular to one host.

    Attributes:
        role: What it does in the cluster.
        vpn_address: Its fixed address in the VPN, and of its node.
        hub_endpoint: Where it reaches the hub.
        hub_port: UDP port at that address.
        cgroup_driver: Who makes the pods' control groups.
        cgroup_version: 1 needs the kubelet's failCgroupV1: false.
        resolv_conf: The file that the kubelet gives to pods as theirs.
        nameservers: What to write into that file; empty when the host has it already.
        lacks_sys_resource: The host lacks CAP_SYS_RESOURCE, so nothing can raise limits or priorities.
        container: The host is a container, whose kernel settings are another's.
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
    """Everything that the hosts are set up with.

    Attributes:
        cluster: Name of the cluster.
        hub: Name of the host with the OpenVPN server, which is the control plane.
        hub_port: UDP port that the server listens on.
        control_plane_endpoint: Address and port of the Kubernetes API inside the VPN.
        vpn, pods, services: The private networks.
        hosts: Each host's part by its name, in the order of the inventory.
        tun_mtu: Largest packet inside the tunnel, in bytes; one for all hosts.
        pod_mtu: Largest packet of a pod, in bytes.
        keepalive, connect_retry, etcd, timers: See their types.
        reasons: Every computed setting with its reason.
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
        """Setting, value and reason, as a table for the terminal."""
        return [(reason.setting, reason.value, reason.why) for reason in self.reasons]

    def to_json(self) -> str:
        """The plan as JSON text, ending in a line feed."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """A plan that `to_json` wrote.

        Raises:
            PlanError: The text is no plan.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise PlanError(
                "the saved network plan cannot be read",
                context=[f"{'.'.join(str(part) for part in first['loc']) or 'the text'}: {first['msg']}"],
                hint="it was changed by hand or by another version; take it from a backup of the state directory",
            ) from error


def tun_mtu(path_mtu: int, *, ipv6: bool = False) -> int:
    """The largest packet inside the tunnel that leaves as one packet on a path of `path_mtu` bytes."""
    return path_mtu - _OPENVPN - (_IPV6 if ipv6 else _IPV4)


def pod_mtu(tun_mtu: int) -> int:
    """The largest packet of a pod that fits the tunnel in VXLAN."""
    return tun_mtu - _VXLAN


def etcd_timers(rtt_ms: float | None) -> Etcd:
    """The timers of etcd for the longest round trip between its members; its defaults where there is none to wait for.

    Its tuning guide wants a heartbeat of 0.5 to 1.5 round trips and an election timeout of at least 10.
    """
    heartbeat = max(_ETCD_HEARTBEAT_MS, math.ceil(1.5 * rtt_ms) if rtt_ms is not None else 0)
    return Etcd(heartbeat_ms=heartbeat, election_ms=10 * heartbeat)


def make(inventory: Inventory, facts: Mapping[str, HostFacts], *, previous: Plan | None = None) -> Plan:
    """Compute the plan.

    Args:
        inventory: The hosts and networks.
        facts: What preflight found, by host.
        previous: The plan that was made before for this cluster, whose addresses stay.

    Raises:
        PlanError: The inventory moves the hub or a network of a cluster that exists already.
    """
    previous = _still_valid(inventory, facts, previous)
    addresses = _addresses(inventory, previous)
    hub = inventory.control_plane.name
    tun, tun_reason = _tun_mtu(inventory, facts, previous)
    members = [facts[host.name].to_hub for host in inventory.hosts if host.role == "control-plane"]
    etcd = etcd_timers(max((way.rtt_ms for way in members if way and way.rtt_ms is not None), default=None))
    endpoint = f"{addresses[hub]}:{API_PORT}"
    keepalive, retry, timers = Keepalive(), ConnectRetry(), Timers()
    hosts = {host.name: _host_plan(inventory, host, facts[host.name], addresses[host.name]) for host in inventory.hosts}
    reasons = [
        Reason(
            setting="VPN addresses",
            value=", ".join(f"{name} {address}" for name, address in addresses.items()),
            why=f"the hub is the first of {inventory.networks.vpn}; an address given once stays with its host",
        ),
        Reason(setting="API endpoint", value=endpoint, why="the hub's VPN address: the API is on no public address"),
        Reason(setting="tunnel MTU", value=str(tun), why=tun_reason),
        Reason(setting="pod MTU", value=str(pod_mtu(tun)), why=f"the tunnel's {tun} less {_VXLAN} of VXLAN"),
        Reason(
            setting="keepalive",
            value=f"{keepalive.interval} {keepalive.timeout}",
            why=f"a node notices a dead tunnel after {keepalive.timeout} s, the hub after {2 * keepalive.timeout} s",
        ),
        Reason(
            setting="connect-retry",
            value=f"{retry.first} {retry.longest}",
            why=f"a hub that is back is found within {retry.longest} s; OpenVPN's own limit is 300 s",
        ),
        Reason(
            setting="etcd heartbeat / election",
            value=f"{etcd.heartbeat_ms} / {etcd.election_ms} ms",
            why="one member waits for no other, so the distance between hosts does not count",
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
    """The earlier plan, unless it is for other networks or another hub and was never carried out."""
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
            f"the inventory changes what the cluster {inventory.cluster} cannot change while it exists",
            context=[*changes, f"already in the cluster: {', '.join(members)}"],
            hint="write the earlier values into the inventory again, or reset the hosts first",
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
    """The tunnel's MTU and its reason: the smallest that any host needs, and never more than before."""
    needs: dict[str, tuple[int, str]] = {}
    for host in inventory.workers:
        way = facts[host.name].to_hub
        needs[host.name] = _need(host.name, way, previous)
    mtu, reason = min(needs.values(), default=(SAFE_TUN_MTU, "a safe value: there is no way to measure yet"))
    if previous and previous.tun_mtu < mtu:
        return previous.tun_mtu, f"as before; {mtu} would do too, but every tunnel and pod would have to restart"
    return mtu, reason


def _need(name: str, way: Way | None, previous: Plan | None) -> tuple[int, str]:
    if way is not None and way.path_mtu is not None:
        ipv6 = ":" in (way.address or "")
        mtu = tun_mtu(way.path_mtu, ipv6=ipv6)
        header = _IPV6 if ipv6 else _IPV4
        return mtu, f"the path from {name} carries {way.path_mtu}, less {header} IP, 8 UDP and {_OPENVPN - 8} OpenVPN"
    if previous and name in previous.hosts:
        return previous.tun_mtu, f"as before; the path from {name} could not be measured"
    return SAFE_TUN_MTU, f"a safe value: the path from {name} could not be measured, its hub answers no ping"


def _timer_reasons(keepalive: Keepalive, retry: ConnectRetry, timers: Timers) -> list[Reason]:
    renewal = timers.node_lease // 4
    reconnect = timers.http2_read_idle + timers.http2_ping
    outage = keepalive.timeout + retry.longest + 1
    total = timers.lost_node + _POD_START
    return [
        Reason(
            setting="kubelet HTTP/2 timeouts",
            value=f"{timers.http2_read_idle} s + {timers.http2_ping} s",
            why=f"a connection that died silently is replaced after {reconnect} s (45 s by default), "
            "so that a healthy node is not taken for a lost one",
        ),
        Reason(
            setting="node lease",
            value=f"{timers.node_lease} s",
            why=f"a node gives a sign of life every {renewal} s",
        ),
        Reason(
            setting="node NotReady",
            value=f"grace {timers.node_monitor_grace} s",
            why=f"more than a sign of life ({renewal}) + a hub that restarts ({outage}) + {reconnect} to connect anew "
            f"= {renewal + outage + reconnect} s: such a restart moves no pod",
        ),
        Reason(
            setting="pods leave a lost node",
            value=f"after {timers.toleration} s more",
            why=f"{2 * _NODE_MONITOR_PERIOD} to look + {timers.node_monitor_grace} grace + {timers.toleration} "
            f"toleration + {_POD_START} for new pods to be Ready = {total} s, within the promised {_PROMISE} s",
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
    """What differs on this host from an ordinary machine."""
    reasons = []
    if plan.cgroup_version == 1 or plan.cgroup_driver == "cgroupfs":
        why = "control groups of version 1, which the kubelet is told to accept"
        if plan.cgroup_version != 1:
            why = "systemd does not run the host"
        reasons.append(Reason(setting=f"{host.name}: cgroup driver", value=plan.cgroup_driver, why=why))
    if plan.nameservers:
        why = "the host's resolv.conf names a loopback server, with which CoreDNS would ask itself"
        if plan.nameservers == _PUBLIC_RESOLVERS:
            why += "; it names no other, so public ones"
        value = f"{plan.resolv_conf}: {', '.join(plan.nameservers)}"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=value, why=why))
    elif plan.resolv_conf != "/etc/resolv.conf":
        why = "/etc/resolv.conf leads to a local stub, with which CoreDNS would ask itself"
        reasons.append(Reason(setting=f"{host.name}: name servers of pods", value=plan.resolv_conf, why=why))
    if plan.lacks_sys_resource:
        why = "CAP_SYS_RESOURCE is missing, so limits cannot be raised nor out-of-memory scores lowered"
        reasons.append(Reason(setting=f"{host.name}: limits", value="left alone", why=why))
    return reasons
