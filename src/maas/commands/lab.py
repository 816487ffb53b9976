"""`maas up` and `maas down`: a cluster of disposable hosts on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maas import console, lab, paths
from maas.cluster import operation, tunnel
from maas.commands import _apply, _preflight, _timings, _values, bundle
from maas.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy


def up(
    name: str,
    *,
    control_planes: int = 1,
    workers: int = 2,
    directory: Path | None,
    source: Policy,
    values: Sequence[Path],
    dry_run: bool,
    yes: bool,
    timings: bool = False,
) -> None:
    """Create the hosts of a lab on this machine and bootstrap them.

    Raises:
        MaasError: A stage failed.
    """
    run = _timings.Timings()
    hosts = lab.names(control_planes=control_planes, workers=workers)
    chosen = _values.choose(values, paths.state_path(name))
    chart_values = chosen.values
    _values.refuse_replicas(chart_values, workers=workers)
    rendered = _values.refuse_early(chart_values)
    if dry_run:
        for sentence in lab.plan_engine().sentences() or ["use the Docker engine that is running"]:
            console.line(f"  {sentence}")
        console.line(f"  create the hosts {', '.join(hosts)}, each in its own network, and bootstrap them")
        bundle.show_plan(source, values=chart_values)
        console.line("nothing was changed (--dry-run)")
        return
    lab.prepare(assume_yes=yes)
    try:
        components = bundle.prepare(directory, source=source, yes=yes, values=chart_values)
        if not rendered:
            _values.refuse_unrenderable(chart_values)
    except BaseException:
        for what in lab.release_engine():
            console.line(f"  {what}")
        raise
    created = lab.up(name, bundle=components.directory, hosts=hosts, control_planes=control_planes, assume_yes=yes)
    booted = time.monotonic()
    with operation.hold(created.directory, command=f"up of the lab {name}"):
        result = _preflight.run(inventory.load(created.inventory), created.directory)
        _preflight.show(result, chosen.row())
        try:
            _apply.apply(result, components, chart_values, since=booted)
        finally:
            if timings:
                run.show(created.directory)
        used = lab.memory(name)
        console.line(f"memory: {', '.join(f'{host} {size >> 20} MiB' for host, size in used.items())}")


def down(name: str | None) -> None:
    """Remove one lab, or all of them, and show what was removed."""
    for one in [name] if name is not None else lab.labs():
        with console.phase(f"Removing {one}") as step:
            tunnel.close(paths.states() / one)
            removed = lab.down(one)
            step.note(f"{len(removed)} changes")
        for what in removed:
            console.line(f"  {what}")
