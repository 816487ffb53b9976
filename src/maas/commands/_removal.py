"""Taking a host out of a cluster: what is checked before, the steps in their order, and what is known about it afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maas import console, files, paths
from maas.cluster import certificates, drain, etcd_members, tunnel
from maas.commands import _hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import ansible, pki

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.cluster.drain import NodeContents
    from maas.cluster.etcd_members import Member
    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host
    from maas.hosts.network_plan import Plan


@dataclass(frozen=True)
class Removal:
    """A host that leaves its cluster, as it was found.

    Attributes:
        node: Its name.
        hosts: The hosts of the cluster that are in the inventory.
        plan: The network plan, with the host.
        cluster: The API server.
        held: What the node holds; None if the node no longer exists.
        via: On a control plane, another one, through which its member of etcd is removed.
        members: On a control plane, the members of etcd.
        without: Names of the other hosts that are down.
    """

    node: str
    hosts: Hosts
    plan: Plan
    cluster: Cluster
    held: NodeContents | None
    via: Host | None = None
    members: tuple[Member, ...] = ()
    without: frozenset[str] = frozenset()

    @property
    def state(self) -> Path:
        """The state directory of the cluster."""
        return self.hosts.state

    @property
    def control_plane(self) -> bool:
        """Whether the host is a control plane."""
        return self.plan.hosts[self.node].role == "control-plane"

    @property
    def own(self) -> Host | None:
        """The host itself, None if it is no longer in the inventory."""
        return next((host for host in self.hosts.inventory.hosts if host.name == self.node), None)

    @property
    def rest(self) -> Hosts:
        """The hosts that stay."""
        staying = tuple(host for host in self.hosts.inventory.hosts if host.name != self.node)
        return replace(self.hosts, inventory=self.hosts.inventory.model_copy(update={"hosts": staying}))


def find(
    name: str, file: Path, node: str, *, without: Collection[str] = (), become_password: str | None = None
) -> Removal:
    """Return a host that is to leave its cluster, and what depends on it. Changes nothing.

    Args:
        name: Name of the cluster.
        file: Its inventory.
        node: Name of the host, which is in the network plan.
        without: Names of other hosts that are down.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: It is the only control plane or a hub without Kubernetes, or the inventory lacks another host.
        ClusterError: The cluster does not answer, or etcd cannot do without it.
    """
    hosts = _hosts.reach(name, file, become_password=become_password)
    plan = _hosts.saved_plan(hosts.state)
    planes = {other for other, host in plan.hosts.items() if host.role == "control-plane"}
    if plan.hosts[node].role == "hub":
        workers = sorted(other for other, host in plan.hosts.items() if host.role == "worker")
        raise UsageError(
            f"{node} is a hub of the VPN of {name}, and only workers and control planes can be removed",
            hint=f"remove a worker: {', '.join(workers)}" if workers else "to remove the cluster, use reset",
        )
    if planes == {node}:
        raise UsageError(
            f"{node} is the only control plane of {name}: without it there is no cluster",
            hint="remove a worker, or use reset to remove the cluster",
            command=paths.command("reset", "--inventory", file),
        )
    listed = {host.name for host in hosts.inventory.hosts}
    if missing := sorted(plan.hosts.keys() - listed - {node}):
        raise UsageError(
            f"{', '.join(missing)} of {name} is not in {file}",
            hint="add the host to the inventory, or remove it from the cluster first",
        )
    if unknown := sorted(set(without) - plan.hosts.keys()):
        raise UsageError(f"--without {unknown[0]}: {name} has no such host", hint=f"it has {', '.join(plan.hosts)}")
    present = tuple(host for host in hosts.inventory.hosts if host.name in plan.hosts)
    own = replace(hosts, inventory=hosts.inventory.model_copy(update={"hosts": present}))
    cluster = tunnel.connect(name)
    found = Removal(node, own, plan, cluster, drain.contents(cluster, node), without=frozenset(without))
    if node not in planes:
        return found
    via, members = etcd_members.find(own, besides={node, *without})
    etcd_members.refuse(members, node, known=planes)
    return replace(found, via=via, members=members)


def refuse_data(removal: Removal, command: str) -> None:
    """Refuse to delete the only copy of data.

    Args:
        removal: The host.
        command: The command that deletes it.

    Raises:
        ClusterError: The host holds volumes that no other host has.
    """
    if removal.held is not None and removal.held.volumes:
        raise ClusterError(
            f"{removal.node} holds the only copy of {len(removal.held.volumes)} volumes",
            context=[str(volume) for volume in removal.held.volumes],
            hint="copy the data, or delete it together with the node with --lose-data",
            command=command,
            code="DataOnNode",
        )


def rows(removal: Removal) -> list[tuple[str, str, str]]:
    """Return what is done, for a table."""
    node, held, found = removal.node, removal.held, list[tuple[str, str, str]]()
    if held is not None:
        count = len(held.evicted)
        how = f"evict {count} pods" if held.ready else f"delete {count} pods, without waiting: it is not Ready"
        found += [("Deployments", "start on another node first", name) for name in held.moved if held.ready]
        found += [("pods", how, ", ".join(held.evicted))]
        found += [("pods", "delete, nothing creates them again", ", ".join(held.deleted))] if held.deleted else []
        found += [("blocked now", "wait", reason) for reason in held.blocked]
        found += [("data", "delete", str(volume)) for volume in held.volumes]
    if any(member.name == node for member in removal.members):
        staying = [member.label for member in removal.members if member.name != node]
        found.append(("etcd", f"remove its member, {len(staying)} stay", ", ".join(staying)))
        if any(member.name == node and member.leader for member in removal.members):
            found.append(("etcd", "hand its leadership over", node))
    if removal.control_plane:
        found.append(("API", "withdraw its address, stop its API server", node))
    if node in removal.plan.hubs:
        found.append(("VPN", "remove the tunnels of every host to it", str(removal.plan.hubs[node].network)))
    found.append(("VPN", "revoke its certificate on every hub", str(removal.plan.hosts[node].vpn_address)))
    return found


def take_out(removal: Removal, *, timeout: float, retry: str) -> None:
    """Drain a host, take it out of etcd and of the VPN, and delete its Node object.

    The network plan here still has the host afterwards. Each step may be repeated.

    Args:
        removal: The host.
        timeout: Seconds that the drain may take.
        retry: The command that continues, for errors.

    Raises:
        ClusterError: The node was not drained, or etcd does not let it go.
        HostsError: Another host was not configured.
        PkiError: The host is still connected to the VPN.
    """
    node, held = removal.node, removal.held
    if held is not None and held.ready:
        with console.phase("Drain") as step:
            drain.drain(removal.cluster, node, moved=held.moved, timeout=timeout, step=step)
            step.note(f"{node}: {len(held.evicted) + len(held.deleted)} pods")
    cluster = _leave_control_plane(removal, removal.via) if removal.via is not None else removal.cluster
    _disconnect(removal, retry=retry)
    with console.phase("Node object") as step:
        drain.delete_node(cluster, node)
        if held is not None:
            drain.delete_volumes(cluster, held.volumes)
        step.note(f"{node} deleted")


def forget(state: Path, plan: Plan, node: str) -> None:
    """Remove a host from the network plan of this controller. Its facts stay until the host has been reset."""
    files.write_private(state / _hosts.PLAN, plan.without_host(node).to_json())


def _leave_control_plane(removal: Removal, via: Host) -> Cluster:
    """Lead everything away from a control plane and take its member out of etcd; return the cluster, reached through others."""
    cluster = _hosts.reconnect(removal.rest, removal.plan, first=via, without=removal.without)
    with console.phase("Control plane") as step:
        if removal.own is not None and removal.held is not None and removal.held.ready:
            step.note(f"withdrawing the address of the API from {removal.node}")
            etcd_members.stop_control_plane(removal.hosts, removal.own)
        step.note(f"removing the member {removal.node} from etcd")
        after = etcd_members.leave(removal.hosts, removal.node, removal.members, via=via)
        step.note(f"members of etcd: {', '.join(member.label for member in after)}")
    return cluster


def _disconnect(removal: Removal, *, retry: str) -> None:
    """Cut a host off, before its Node object is deleted: a kubelet that is connected creates it again."""
    node, state = removal.node, removal.state
    plan, rest = removal.plan.without_host(node), removal.rest.inventory
    directory = state / "pki"
    keys = pki.ensure(directory, plan.cluster, list(plan.hosts), hubs=list(plan.hubs))
    # Only hubs know the addresses of a host that is not a hub.
    affected = set(plan.hosts) if node in removal.plan.hubs else set(plan.hubs)
    without = {host.name for host in rest.hosts} - affected | removal.without
    ansible.run(
        "disconnect",
        inventory=_hosts.variables(rest, plan, state, pki=keys, without=without),
        state=state,
        become_password=removal.hosts.become_password,
        retry=retry,
        without=without,
    )
    if not (directory / "nodes" / f"{node}.crt").exists():
        return
    with console.phase("Revocation") as step:
        serial, address = pki.serial(directory, node), str(removal.plan.hosts[node].vpn_address)
        password = removal.hosts.become_password
        away = certificates.reject(state, node, serial=serial, address=address, become_password=password)
        pki.revoke(directory, node)  # last: after an interruption, the next run starts with the hubs again
        step.note(f"{node}: certificate {serial:x}, {address} does not answer")
    if away:
        console.warn(certificates.away_message(away))


def drop_facts(state: Path, node: str) -> None:
    """Forget the facts of a host, after which nothing here knows it."""
    file = state / _hosts.FACTS
    saved = json.loads(file.read_text(encoding="utf-8"))
    if saved.pop(node, None) is not None:
        files.write_private(file, json.dumps(saved))
