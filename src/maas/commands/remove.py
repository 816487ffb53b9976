"""`maas remove`: take a worker out of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import certificates, drain, tunnel
from maas.commands import _hosts
from maas.errors import ClusterError, HostsError, UsageError
from maas.hosts import ansible, inventory, lock, network_plan, pki

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.cluster.drain import NodeContents
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan


def remove(
    file: Path,
    node: str,
    *,
    timeout: float,
    lose_data: bool,
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Drain a worker, disconnect it from the VPN, delete its Node object, and reset its host if that answers.

    Each step may be repeated: after an interruption, the same command continues.

    Args:
        file: The inventory.
        node: Name of the worker.
        timeout: Seconds that the drain may take.
        lose_data: Whether volumes that exist on this node alone may be deleted.
        dry_run: Only show what would be done.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts, if it asks for one.

    Raises:
        UsageError: The cluster has no such worker, or it is the control plane.
        ClusterError: The node holds the only copy of data, or was not drained.
        PkiError: The node is still connected to the VPN.
    """
    hosts = inventory.load(file)
    state = tunnel.state_dir(hosts.cluster)
    plan = network_plan.Plan.from_json((state / "plan.json").read_text(encoding="utf-8"))
    _refuse(hosts, plan, node)
    cluster = tunnel.connect(hosts.cluster)
    held = drain.contents(cluster, node)
    _show(node, held, plan)
    if held is not None and held.volumes and not lose_data:
        raise ClusterError(
            f"{node} holds the only copy of {len(held.volumes)} volumes",
            context=[str(volume) for volume in held.volumes],
            hint="copy the data, or delete it together with the node with --lose-data",
            command=paths.command("remove", node, "--inventory", hosts.file, "--lose-data"),
            code="DataOnNode",
        )
    if dry_run:
        console.line("nothing was changed (--dry-run)")
        return
    if not console.confirm(f"Remove {node} from {hosts.cluster}?", assume_yes=yes):
        console.line("nothing was changed")
        return
    with lock.hold(state, command=f"removal of {node} from {hosts.cluster}"):
        _drain(cluster, node, held, timeout=timeout)
        _disconnect(state, node, address=str(plan.hosts[node].vpn_address), become_password=become_password)
        with console.phase("Node object") as step:
            drain.delete_node(cluster, node)
            if held is not None:
                drain.delete_volumes(cluster, held.volumes)
            step.note(f"{node} deleted")
        _reset(hosts, plan, state, node, become_password=become_password)
    console.line(f"remove {node} from {hosts.file}, or the next bootstrap adds it again")


def _refuse(hosts: Inventory, plan: Plan, node: str) -> None:
    planes = {name for name, host in plan.hosts.items() if host.role == "control-plane"}
    workers = sorted(name for name, host in plan.hosts.items() if host.role == "worker")
    if node in plan.hubs and node not in planes:
        raise UsageError(
            f"{node} is a hub of the VPN of {hosts.cluster}, and only workers can be removed",
            hint=f"remove a worker: {', '.join(workers)}" if workers else "to remove the cluster, use reset",
        )
    if node in planes:
        raise UsageError(
            f"{node} is the only control plane of {hosts.cluster}: without it there is no cluster"
            if len(planes) == 1
            else f"{node} is a control plane of {hosts.cluster}, and only workers can be removed",
            hint="remove a worker" + (f": {', '.join(workers)}" if workers else "; to remove the cluster, use reset"),
            command=None if workers else paths.command("reset", "--inventory", hosts.file),
        )
    if node not in plan.hosts:
        raise UsageError(f"{hosts.cluster} has no node {node}", hint=f"its workers are {', '.join(workers) or 'none'}")


def _show(node: str, held: NodeContents | None, plan: Plan) -> None:
    if held is None:
        console.line(f"  {node} is no longer a node of the cluster; only what is left of its removal is done")
    else:
        count = len(held.evicted)
        how = f"evict {count} pods" if held.ready else f"delete {count} pods, without waiting: it is not Ready"
        rows = [("Deployments", "start on another node first", name) for name in held.moved if held.ready]
        rows += [("pods", how, ", ".join(held.evicted))]
        rows += [("pods", "delete, nothing creates them again", ", ".join(held.deleted))] if held.deleted else []
        rows += [("blocked now", "wait", reason) for reason in held.blocked]
        rows += [("data", "delete", str(volume)) for volume in held.volumes]
        rows.append(("VPN", "revoke its certificate", str(plan.hosts[node].vpn_address)))
        rows.append(("host", "reset, if it answers", node))
        console.table(f"removal of {node}", ("", "", ""), rows)


def _drain(cluster: Cluster, node: str, held: NodeContents | None, *, timeout: float) -> None:
    if held is not None and held.ready:
        with console.phase("Drain") as step:
            drain.drain(cluster, node, moved=held.moved, timeout=timeout, step=step)
            step.note(f"{node}: {len(held.evicted) + len(held.deleted)} pods")


def _disconnect(state: Path, node: str, *, address: str, become_password: str | None) -> None:
    """Revoke a node's certificate, before its Node object is deleted: a kubelet that is connected creates it again."""
    if not (state / "pki" / "nodes" / f"{node}.crt").exists():
        return
    with console.phase("Revocation") as step:
        serial = pki.serial(state / "pki", node)
        away = certificates.reject(state, node, serial=serial, address=address, become_password=become_password)
        pki.revoke(state / "pki", node)  # last: after an interruption, the next run starts with the hub again
        step.note(f"{node}: certificate {serial:x}, {address} does not answer")
    if away:
        console.warn(certificates.away_message(away))


def _reset(hosts: Inventory, plan: Plan, state: Path, node: str, *, become_password: str | None) -> None:
    """Reset the host of a node, unless it does not answer or is no longer in the inventory."""
    if node not in {host.name for host in hosts.hosts}:
        console.warn(f"{node} is not in {hosts.file}: its host was not reset")
        return
    try:
        ansible.run(
            "reset",
            inventory=_hosts.variables(hosts, plan, state),
            state=state,
            become_password=become_password,
            retry=paths.same_command(),
            without={host.name for host in hosts.hosts} - {node},
        )
    except HostsError as error:
        if error.code != "HostUnreachable":
            raise
        console.warn(f"{node} does not answer: its host was not reset; once it is back, run {paths.same_command()}")
