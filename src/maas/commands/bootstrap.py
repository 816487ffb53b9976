"""`maas bootstrap`: turn the hosts of an inventory into a cluster with MaaS on it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import operation
from maas.commands import _apply, _packages, _preflight, _timings, _values, _versions, bundle
from maas.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy


def bootstrap(
    file: Path,
    *,
    directory: Path | None,
    source: Policy,
    values: Sequence[Path],
    without: Sequence[str],
    accept_slow_etcd: bool = False,
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
    timings: bool = False,
) -> None:
    """Bootstrap the hosts of an inventory.

    Args:
        file: The inventory.
        directory: The bundle; None for the one in the cache.
        source: The sources of components that are not in the bundle yet.
        values: Values files for the chart.
        without: Names of hosts to leave out this time: nodes that are down.
        accept_slow_etcd: Only warn about control planes that are too slow for each other.
        dry_run: Show the plan and change nothing, on the hosts or here.
        yes: Do not ask for confirmation.
        become_password: The password for sudo.
        timings: Show at the end how long each phase took, on each host.

    Raises:
        MaasError: A stage failed; before the plan was confirmed, nothing was changed.
    """
    run = _timings.Timings()
    hosts = inventory.load(file)
    chosen = _values.choose(values, paths.state_path(hosts.cluster))
    chart_values = chosen.values
    _values.refuse_replicas(chart_values, workers=len(hosts.workers))
    rendered = _values.refuse_early(chart_values)
    if dry_run and not rendered:
        console.warn("the chart was not rendered with the values: Helm is not in the cache; bootstrap renders it first")
    state = paths.state_path(hosts.cluster) if dry_run else paths.state(hosts.cluster)
    with nullcontext() if dry_run else operation.hold(state, command=f"bootstrap of {hosts.cluster}"):
        result = _preflight.run(
            hosts,
            state,
            without=without,
            accept_slow_etcd=accept_slow_etcd,
            become_password=become_password,
            more=lambda facts, step: [
                *_versions.problems(facts, directory=directory, inventory=file),
                *_packages.problems(facts, directory=directory, source=source, dry_run=dry_run, phase=step),
            ],
        )
        if dry_run and console.json_requested():
            console.document(result.data() | {"values": {"source": chosen.source, "changes": [*chosen.changes]}})
            return
        _preflight.show(result, chosen.row())
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f'Create cluster "{hosts.cluster}" on these {result.node_count} hosts?', assume_yes=yes):
            console.line("nothing was changed")
            return
        releases = [*_packages.needed(result.facts)]
        components = bundle.prepare(directory, source=source, yes=yes, values=chart_values, releases=releases)
        if not rendered:
            _values.refuse_unrenderable(chart_values)
        try:
            _apply.apply(result, components, chart_values, since=time.monotonic())
        finally:
            if timings:
                run.show(state)
