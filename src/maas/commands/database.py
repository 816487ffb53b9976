"""`maas database`: the servers of the restaurant's database, moving its primary, and restarting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console
from maas.cluster import database as databases
from maas.cluster import operation, tunnel
from maas.errors import ClusterError, UsageError
from maas.hosts import inventory as inventories

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.database import Database


def status(name: str, file: Path | None) -> None:
    """Show the servers of the database, which of them accepts writes, and how far the others are behind.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.

    Raises:
        UsageError: The cluster has no database.
        ClusterError: No server accepts writes, or one does not run.
    """
    found = databases.find(tunnel.connect(_name(name, file)))
    if console.json_requested():
        console.document(
            {
                "namespace": found.namespace,
                "name": found.name,
                "replicated": found.replicated,
                "paused": found.paused,
                "servers": [
                    {
                        "name": one.name, "node": one.node, "role": one.role, "state": one.state, "lagBytes": one.lag,
                        "timeline": one.timeline,
                    }
                    for one in found.servers
                ],
                "problems": found.problems,
            }
        )  # fmt: skip
    else:
        _show(found)
    if found.problems:
        raise ClusterError(f"{found.name} is not healthy", context=found.problems, code="NotReady")


def switchover(name: str, file: Path | None, to: str | None, *, yes: bool) -> None:
    """Make a replica the primary.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        to: Name of the replica; by default the one with the least lag.
        yes: Do not ask for confirmation.

    Raises:
        UsageError: The database has a single server, or this replica cannot take over.
        LockError: Another run changes the cluster.
        ClusterError: No other server became the primary.
    """
    cluster_name = _name(name, file)
    cluster = tunnel.connect(cluster_name)
    with operation.hold(tunnel.state_dir(cluster_name), command=f"switchover of the database of {cluster_name}"):
        found = databases.find(cluster)
        if not found.replicated:
            raise UsageError(
                f"{found.name} has a single server, and no other one can take over",
                hint="with three nodes, set restaurant.database.postgresql.replicas to 3",
            )
        _show(found)
        if not console.confirm("Move the primary? Requests wait for some seconds.", assume_yes=yes):
            console.line("nothing was changed")
            return
        with console.phase("Switchover") as step:
            primary = databases.switch_over(cluster, found, to=to, step=step)
            step.note(f"{primary.name} on {primary.node} accepts writes")


def restart(name: str, file: Path | None, *, yes: bool) -> None:
    """Restart the servers one after the other, the primary last.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        yes: Do not ask for confirmation.

    Raises:
        UsageError: The cluster has no database.
        LockError: Another run changes the cluster.
        ClusterError: A server was not ready again in time.
    """
    cluster_name = _name(name, file)
    cluster = tunnel.connect(cluster_name)
    with operation.hold(tunnel.state_dir(cluster_name), command=f"restart of the database of {cluster_name}"):
        found = databases.find(cluster)
        _show(found)
        cost = "Requests wait for some seconds." if found.replicated else "Until it runs again, there is no database."
        if not console.confirm(f"Restart {len(found.servers)} servers? {cost}", assume_yes=yes):
            console.line("nothing was changed")
            return
        with console.phase("Restart") as step:
            databases.restart(cluster, found, step)
            step.note(f"{len(found.servers)} servers run")


def _name(name: str, file: Path | None) -> str:
    return name if file is None else inventories.load(file).cluster


def _show(found: Database) -> None:
    rows = [
        (
            one.name, one.node, one.role, one.state, "" if one.lag is None else f"{one.lag} B",
            "" if one.timeline is None else str(one.timeline),
        )
        for one in found.servers
    ]  # fmt: skip
    console.table(
        f"servers of {found.namespace}/{found.name}", ("server", "node", "role", "state", "lag", "timeline"), rows
    )
