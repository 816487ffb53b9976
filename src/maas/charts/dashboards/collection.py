"""All dashboards, and their files in the monitoring chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas.charts import render
from maas.charts.dashboards import (
    control_plane,
    kubelet,
    monitoring,
    networking,
    nodes,
    platform,
    resources,
    restaurant,
    tunnels,
)

if TYPE_CHECKING:
    from pathlib import Path

DASHBOARDS = (
    *control_plane.DASHBOARDS,
    *kubelet.DASHBOARDS,
    *resources.DASHBOARDS,
    *nodes.DASHBOARDS,
    *networking.DASHBOARDS,
    *tunnels.DASHBOARDS,
    *platform.DASHBOARDS,
    *monitoring.DASHBOARDS,
    *restaurant.DASHBOARDS,
)


def directory() -> Path:
    """Where the files lie."""
    return render.umbrella() / "charts" / "kube-prometheus" / "files" / "dashboards"


def drift() -> list[Path]:
    """The files that are not as the code says: changed, missing, or too many."""
    wanted = {directory() / dashboard.path: dashboard.text() for dashboard in DASHBOARDS}
    there = {file: file.read_text(encoding="utf-8") for file in directory().rglob("*.json")}
    return sorted(file for file in wanted.keys() | there.keys() if wanted.get(file) != there.get(file))


def write() -> list[Path]:
    """Write the files, and return those that changed or went."""
    wanted = {directory() / dashboard.path: dashboard.text() for dashboard in DASHBOARDS}
    changed = drift()
    for file in changed:
        if file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], encoding="utf-8")
        else:
            file.unlink()
    return changed
