"""`maas replace`: a new machine takes the place of a dead one, with its name and its address in the VPN."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, files, paths
from maas.cluster import operation, tunnel
from maas.commands import _apply, _hosts, _packages, _preflight, _removal, _values, _versions, bundle
from maas.errors import ClusterError, PreflightError, UsageError
from maas.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy
    from maas.commands._preflight import PreflightResult
    from maas.commands._removal import Removal
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan

_UNFINISHED = "replacement.json"
"""The name of the host whose replacement was interrupted, in the state directory."""


def replace(
    file: Path,
    node: str,
    address: str,
    *,
    directory: Path | None,
    source: Policy,
    lose_data: bool,
    without: Sequence[str] = (),
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Take a dead host out of a cluster, and set a new machine up with its name, its VPN address and new keys.

    Each step may be repeated: after an interruption, the same command continues.

    Args:
        file: The inventory, in which the host has the address of the new machine.
        node: Name of the host, a worker or a control plane.
        address: The address of the new machine, to be sure that the inventory has it.
        directory: The bundle; None for the one in the cache.
        source: The sources of components that are not in the bundle yet.
        lose_data: Whether volumes that existed on the old machine alone may be deleted.
        without: Names of other hosts that are down.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: The cluster has no such host, it is a hub without Kubernetes, or the inventory has another address for it.
        ClusterError: The old machine still runs, held the only copy of data, or etcd needs its member.
        PreflightError: The new machine is not usable, or is the old one.
        MaasError: A stage failed.
    """
    hosts = inventory.load(file)
    state = tunnel.state_dir(hosts.cluster)
    plan = _hosts.saved_plan(state)
    _refuse(hosts, plan, node, address)
    marker = state / _UNFINISHED
    continued = marker.is_file() and json.loads(marker.read_text(encoding="utf-8"))["node"] == node
    values = _values.choose((), state).values
    with nullcontext() if dry_run else operation.hold(state, command=f"replacement of {node} in {hosts.cluster}"):
        removal = _removal.find(hosts.cluster, file, node, without=without, become_password=become_password)
        if not continued:
            _refuse_running(removal, hosts)
            if not lose_data:
                words = (node, address, "--inventory", hosts.file, "--lose-data")
                _removal.refuse_data(removal, paths.command("replace", *words))
        # A hub has new keys, which every host needs; of a worker, only the control planes learn.
        others = [host.name for host in hosts.workers if host.name not in {node, *without}]
        result = _preflight.run(
            hosts,
            state,
            without=without,
            untouched=[] if removal.control_plane else others,
            replaced=node,
            become_password=become_password,
            more=lambda facts, step: [
                *_versions.problems(facts, directory=directory, inventory=file),
                *_packages.problems(facts, directory=directory, source=source, dry_run=dry_run, phase=step),
            ],
        )
        if not continued:
            _refuse_member(result, node)
        rows = [("old machine", "is not contacted: keep it off", node), *_removal.rows(removal)]
        console.table(f"replacement of {node}", ("", "", ""), [*rows, ("new machine", "set up with new keys", address)])
        _preflight.show(result)
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Replace {node} of {hosts.cluster} by {address}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        releases = [*_packages.needed(result.facts)]
        components = bundle.prepare(directory, source=source, yes=yes, values=values, releases=releases)
        began = time.monotonic()
        if not continued:
            files.write_private(marker, json.dumps({"node": node, "removed": False}))
        if not _removed(marker):
            _removal.take_out(removal, timeout=0, retry=paths.same_command())
            files.write_private(marker, json.dumps({"node": node, "removed": True}))
        _apply.apply(result, components, values, since=began, chart=False)
        marker.unlink()
    console.line(f"{node} is {address} now; destroy the disk of the old machine, or reset it before it is used again")


def _removed(marker: Path) -> bool:
    return bool(json.loads(marker.read_text(encoding="utf-8"))["removed"])


def _refuse(hosts: Inventory, plan: Plan, node: str, address: str) -> None:
    if node not in plan.hosts:
        raise UsageError(
            f"{hosts.cluster} has no host {node}",
            hint=f"its hosts are {', '.join(plan.hosts)}; a host that was removed joins again by bootstrap",
        )
    if plan.hosts[node].role == "hub":
        raise UsageError(
            f"{node} is a hub of the VPN of {hosts.cluster}, and only workers and control planes can be replaced",
            hint=f"bootstrap adds a hub with another name, and --without {node} leaves this one out",
        )
    host = next((host for host in hosts.hosts if host.name == node), None)
    if host is None or host.address != address:
        raise UsageError(
            f"{hosts.file} does not have {address} as the address of {node}",
            hint=f"write the new machine into the entry of {node}: its address, its fingerprint if there is one, and its "
            "hub.endpoint if it is a hub; then run the same command again",
        )


def _refuse_running(removal: Removal, hosts: Inventory) -> None:
    if removal.held is not None and removal.held.ready:
        raise ClusterError(
            f"{removal.node} is Ready: two machines with one name would disturb each other",
            hint="nothing was changed; switch the old machine off and wait until its node is not Ready",
            command=paths.command("status", "--name", hosts.cluster),
            code="NodeRuns",
        )


def _refuse_member(result: PreflightResult, node: str) -> None:
    """Refuse a machine that is part of a cluster already, such as the old one after a restart."""
    cluster = result.facts[node].cluster
    if cluster is not None:
        raise PreflightError(
            f"the machine at the address of {node} belongs to {cluster} already",
            hint="nothing was changed; it is the old one, or was not reset: install it again, or use another one",
        )
