"""`maas add`: set up new workers, without touching those that the cluster has."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import operation, tunnel
from maas.commands import _apply, _hosts, _packages, _preflight, _timings, _values, _versions, bundle
from maas.errors import PlanError, UsageError
from maas.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy
    from maas.commands._preflight import PreflightResult
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan


def add(
    file: Path,
    names: Sequence[str],
    *,
    directory: Path | None,
    source: Policy,
    values: Sequence[Path],
    without: Sequence[str],
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
    timings: bool = False,
) -> None:
    """Set up new workers of the inventory. Of the other hosts, only the control planes learn of them.

    So it takes as long in a large cluster as in a small one. The chart is not changed. The same command continues after an
    interruption, and otherwise changes nothing.

    Args:
        file: The inventory, with the new hosts.
        names: Names of the new hosts.
        directory: The bundle; None for the one in the cache.
        source: The sources of components that are not in the bundle yet.
        values: The values files of the chart, for the images that the new hosts need.
        without: Names of hosts that are down.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo.
        timings: Show at the end how long each phase took, on each host.

    Raises:
        UsageError: There is no such cluster, or a host cannot be added.
        PlanError: The new hosts change settings of all hosts.
        MaasError: A stage failed; before the plan was confirmed, nothing was changed.
    """
    run = _timings.Timings()
    hosts = inventory.load(file)
    state = tunnel.state_dir(hosts.cluster)
    chart_values = _values.choose(values, state).values
    _refuse(hosts, names, without, state)
    what = f"addition of {', '.join(names)} to {hosts.cluster}"
    with nullcontext() if dry_run else operation.hold(state, command=what):
        result = _preflight.run(
            hosts,
            state,
            without=without,
            untouched=[host.name for host in hosts.workers if host.name not in {*names, *without}],
            become_password=become_password,
            more=lambda facts, step: [
                *_versions.problems(facts, directory=directory, inventory=file),
                *_packages.problems(facts, directory=directory, source=source, dry_run=dry_run, phase=step),
            ],
        )
        _refuse_other_settings(_hosts.saved_plan(state), result)
        _preflight.show(result)
        console.line(f"not touched: {', '.join(sorted(result.untouched)) or 'no other worker'}")
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Add {', '.join(names)} to {hosts.cluster}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        releases = [*_packages.needed(result.facts)]
        components = bundle.prepare(directory, source=source, yes=yes, values=chart_values, releases=releases)
        try:
            _apply.apply(result, components, chart_values, since=time.monotonic(), chart=False)
        finally:
            if timings:
                run.show(state)


def _refuse(hosts: Inventory, names: Sequence[str], without: Sequence[str], state: Path) -> None:
    roles = {host.name: host.role for host in hosts.hosts}
    if unknown := sorted(set(names) - roles.keys()):
        raise UsageError(
            f"{hosts.file} has no host {', '.join(unknown)}",
            hint="add the host to the inventory first, with its address and the role worker",
        )
    if both := sorted(set(names).intersection(without)):
        raise UsageError(f"{', '.join(both)} cannot be added and be left out", hint="start the host first")
    if others := sorted(name for name in names if roles[name] != "worker"):
        kind = "control plane" if roles[others[0]] == "control-plane" else "hub"
        raise UsageError(
            f"{', '.join(others)} is a {kind}, which every host has to learn of",
            hint="bootstrap does that",
            command=paths.command("bootstrap", "--inventory", hosts.file),
        )
    known = _hosts.saved_plan(state).hosts.keys()
    if others := sorted(roles.keys() - known - {*names, *without}):
        raise UsageError(
            f"{', '.join(others)} is in {hosts.file}, but not in {hosts.cluster}",
            hint="add it too",
            command=paths.command("add", *names, *others, "--inventory", hosts.file),
        )


def _refuse_other_settings(before: Plan, result: PreflightResult) -> None:
    """Refuse a plan with other settings for the hosts that are not touched, such as a smaller MTU."""
    elsewhere = {"hosts", "reasons", "etcd", "timeouts"}  # of no host, or of control planes and new hosts alone
    old, new = (plan.model_dump(mode="json", exclude=elsewhere) for plan in (before, result.plan))
    changes = [f"{name}: {old[name]} becomes {new[name]}" for name in old if old[name] != new[name]]
    changes += [
        f"{name}: other settings" for name in result.untouched if before.hosts.get(name) != result.plan.hosts[name]
    ]
    if changes:
        raise PlanError(
            "with the new hosts, the network plan has other settings for every host",
            context=changes,
            hint="no host was changed; bootstrap applies them to all",
            command=paths.command("bootstrap", "--inventory", result.inventory.file),
        )
