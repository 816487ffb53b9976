"""`maas export-state` and `maas adopt`: take a cluster from one controller to another one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import controller_state, operation, tunnel
from maas.cluster.host_programs import Hosts
from maas.commands import _hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import inventory as inventories
from maas.hosts import lock, ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maas.cluster.controller_state import Found, Opened, Relation


def export_state(name: str, inventory: Path | None, target: Path | None, *, recipients: Sequence[str]) -> None:
    """Write the state of a cluster on this controller to an encrypted file.

    Args:
        name: Name of the lab.
        inventory: The inventory; by default that of the lab.
        target: The file to write; by default one in the working directory.
        recipients: Public keys of age; by default those of the inventory's backups.

    Raises:
        UsageError: There is no such cluster or nobody to encrypt for, or the file exists.
    """
    listed = _hosts.find_inventory(name, inventory)
    state = tunnel.state_dir(listed.cluster)
    chosen = list(recipients) or list(listed.backup.recipients if listed.backup else ())
    if not chosen:
        raise UsageError(
            f"the state of {listed.cluster} has its keys, and nobody to encrypt it for was given",
            hint="create a key pair with `age-keygen -o KEY`, and pass its public key",
            command=paths.command("export-state", "--name", listed.cluster, "--recipient", "age1..."),
        )
    target = target or Path(f"{listed.cluster}-state-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.age")
    if target.exists():
        raise UsageError(f"{target} exists", hint="choose another name", code="FileExists")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the directory of {target} does not exist", hint="create it first", code="FileNotFound")
    with lock.hold(state, command=f"export of the state of {listed.cluster}"), console.phase("Export") as step:
        made = controller_state.export(state, listed.file, target, recipients=chosen)
        step.note(f"{target}, {len(made.files)} files for {len(chosen)} recipients")
    adopt = paths.command("adopt", str(target), "--identity", "KEY")
    console.line(f"on another controller, with the private key of one of the recipients: {adopt}")


def adopt(
    file: Path,
    *,
    identity: Path,
    inventory: Path | None,
    force: bool,
    dry_run: bool,
    yes: bool,
    become_password: str | None,
) -> None:
    """Take a cluster over from another controller.

    Args:
        file: What `export-state` wrote.
        identity: The file with a private key of age.
        inventory: An inventory to use instead of the one in the file.
        force: Replace a state on this controller that is newer.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such file, or no private key.
        ClusterError: The file is damaged, for another key or of another cluster, or no control plane answers.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", hint="pass what export-state wrote", code="FileNotFound")
    with controller_state.opened(file, identity) as opened:
        cluster = opened.description.cluster
        listed = inventories.load(inventory or opened.directory / controller_state.INVENTORY)
        if listed.cluster != cluster:
            raise UsageError(
                f"{listed.file} is the inventory of {listed.cluster}, and {file.name} has the state of {cluster}",
                hint="pass the inventory of that cluster, or none",
            )
        state = paths.state_path(cluster)
        controller_state.refuse_other(opened, state)
        plan = _hosts.saved_plan(opened.directory)
        reached = Hosts(
            ssh.resolve(listed), opened.directory, become_password=become_password, factor=plan.timeouts.factor
        )
        with console.phase("Control plane") as step:
            found = controller_state.find(reached)
            news = controller_state.update(opened, found)
            step.note(f"{found.host.name} is of this cluster")
        relation = controller_state.relation(opened, state)
        _show(opened, relation, news)
        if relation == "newer" and not force:
            raise ClusterError(
                f"the state of {cluster} on this controller changed at {controller_state.changed(state):%F %T} UTC, and "
                f"{file.name} is of {opened.description.changed:%F %T} UTC",
                hint="nothing was changed; --force replaces it, and keeps it in a directory beside",
                command=paths.command("adopt", str(file), "--identity", identity, "--force"),
                code="StateNewer",
            )
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Take over {cluster} from {opened.description.controller}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        _take(opened, paths.state(cluster), reached, found, inventory)


def _take(opened: Opened, state: Path, reached: Hosts, found: Found, inventory: Path | None) -> None:
    """Write the state, and show that the cluster can be reached with it."""
    cluster = opened.description.cluster
    with operation.hold(state, command=f"adoption of {cluster}") as held:
        with console.phase("State") as step:
            before = controller_state.place(opened, state, inventory)
            step.note(str(state))
        with console.phase("Tunnel") as step:
            hosts = Hosts(reached.inventory, state, factor=reached.factor)
            words = {host.name: hosts.ssh(host) for host in hosts.inventory.control_planes}
            first = words.pop(found.host.name)
            api = _hosts.saved_plan(state).control_plane_endpoint
            hubs = {host.name: hosts.ssh(host) for host in hosts.inventory.hubs}
            opened_to = tunnel.open_tunnel(
                state, ssh=first, others=list(words.values()), hubs=hubs, api=api, admin=found.admin
            )
            held.acquire()
            nodes = opened_to.nodes()
            step.note(f"{sum(node.ready for node in nodes)} of {len(nodes)} nodes are Ready")
    if before is not None:
        console.line(f"the state of before is in {before}; delete it, once you do not need it")
    file = inventory or state / controller_state.INVENTORY
    console.line(f"{cluster} is on this controller now; its inventory is {file}")
    console.line(
        f"change it from here only, or export the state again: {opened.description.controller} does not learn of changes"
    )
    console.line(f"look at it: {paths.command('status', '--name', cluster)}")


def _show(opened: Opened, relation: Relation, news: Sequence[str]) -> None:
    said = opened.description
    own = {
        "absent": "has none",
        "same": "has the same already",
        "older": "has an older one, which is kept in a directory beside",
        "newer": "has another one, which is not older",
    }
    rows = [
        ("file", opened.file.name, f"of {said.controller}, exported {said.exported:%F %T} UTC"),
        ("state", said.cluster, f"{len(said.files)} files, changed {said.changed:%F %T} UTC"),
        ("this controller", own[relation], str(paths.state_path(said.cluster))),
        *(("newer on the hosts", "take over", text) for text in news),
    ]
    console.table("adoption of a cluster", ("", "", ""), rows)
