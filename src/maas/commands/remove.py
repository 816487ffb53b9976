"""`maas remove`: take a host out of a cluster."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import operation, tunnel
from maas.commands import _hosts, _removal
from maas.errors import HostsError, UsageError
from maas.hosts import ansible, inventory, journal, ssh
from maas.hosts.ansible_inventory import reset_inventory
from maas.hosts.facts import HostFacts

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from maas.commands._removal import Removal
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan


def remove(
    file: Path,
    node: str,
    *,
    timeout: float,
    lose_data: bool,
    without: Collection[str] = (),
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Drain a host, take it out of etcd and the VPN, delete its Node object, and reset it if it answers.

    Each step may be repeated: after an interruption, the same command continues. Afterwards it changes nothing.

    Args:
        file: The inventory.
        node: Name of the host, a worker or a control plane.
        timeout: Seconds that the drain may take.
        lose_data: Whether volumes that exist on this node alone may be deleted.
        without: Names of other hosts that are down.
        dry_run: Only show what would be done.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts, if it asks for one.

    Raises:
        UsageError: The cluster has no such host, or it is the only control plane or a hub without Kubernetes.
        ClusterError: The node holds the only copy of data, was not drained, or etcd needs its member.
        PkiError: The node is still connected to the VPN.
    """
    hosts = inventory.load(file)
    state = tunnel.state_dir(hosts.cluster)
    with nullcontext() if dry_run else operation.hold(state, command=f"removal of {node} from {hosts.cluster}"):
        plan = _hosts.saved_plan(state)
        removal = None
        if node in plan.hosts:
            removal = _removal.find(hosts.cluster, file, node, without=without, become_password=become_password)
            _show(removal)
            if not lose_data:
                again = paths.command("remove", node, "--inventory", hosts.file, "--lose-data")
                _removal.refuse_data(removal, again)
        elif _known(hosts, plan, state, node):
            console.line(f"  {node} has left {hosts.cluster}; only the reset of its host is missing")
        else:
            console.line(f"{node} is no longer part of {hosts.cluster}; nothing was changed")
            return
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Remove {node} from {hosts.cluster}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        if removal is not None:
            _removal.take_out(removal, timeout=timeout, retry=paths.same_command())
            _removal.forget(state, plan, node)
        _reset(hosts, state, node, factor=plan.timeouts.factor, become_password=become_password)
    if removal is not None:
        _advise(hosts, plan.without_host(node), node)


def _known(hosts: Inventory, plan: Plan, state: Path, node: str) -> bool:
    """Return whether a host that is not in the plan is still to be reset.

    Raises:
        UsageError: The cluster never had such a host.
    """
    if node in json.loads((state / _hosts.FACTS).read_text(encoding="utf-8")):
        return True
    if node not in {entry.host for entry in journal.read(state / ansible.JOURNAL)}:
        raise UsageError(f"{hosts.cluster} has no host {node}", hint=f"its hosts are {', '.join(plan.hosts)}")
    return False


def _show(removal: Removal) -> None:
    if removal.held is None:
        console.line(f"  {removal.node} is no longer a node of the cluster; only what is left of its removal is done")
    console.table(
        f"removal of {removal.node}",
        ("", "", ""),
        [*_removal.rows(removal), ("host", "reset, if it answers", removal.node)],
    )
    count = len(removal.members) - any(member.name == removal.node for member in removal.members)
    if count and not count % 2:
        console.warn(
            f"etcd with {count} members survives no more failures than with {count - 1}; to put another machine in the place of "
            f"{removal.node}, use replace"
        )


def _reset(hosts: Inventory, state: Path, node: str, *, factor: int, become_password: str | None) -> None:
    """Reset the host of a node, unless it does not answer or is no longer in the inventory."""
    host = next((host for host in hosts.hosts if host.name == node), None)
    if host is None:
        console.warn(f"{node} is not in {hosts.file}: its host was not reset")
        _removal.drop_facts(state, node)
        return
    facts = HostFacts.model_validate(json.loads((state / _hosts.FACTS).read_text(encoding="utf-8"))[node])
    resolved = ssh.resolve(hosts.model_copy(update={"hosts": (host,)}))
    known = state / ansible.KNOWN_HOSTS
    try:
        ansible.run(
            "reset",
            inventory=reset_inventory(resolved, facts, factor=factor, known_hosts=known),
            state=state,
            become_password=become_password,
            retry=paths.same_command(),
        )
    except HostsError as error:
        if error.code != "HostUnreachable":
            raise
        console.warn(f"{node} does not answer: its host was not reset; once it is back, run {paths.same_command()}")
        return
    _removal.drop_facts(state, node)


def _advise(hosts: Inventory, plan: Plan, node: str) -> None:
    """Say what the inventory has to become."""
    planes = [name for name, host in plan.hosts.items() if host.role == "control-plane"]
    if len(planes) % 2:
        console.line(f"remove {node} from {hosts.file}, or the next bootstrap adds it again")
    else:
        console.line(
            f"{hosts.cluster} has {len(planes)} control planes now, and the inventory must have an odd number: put another "
            f"machine in the place of {node} and run bootstrap, or remove one of {', '.join(planes)} too"
        )
