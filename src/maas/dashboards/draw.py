"""Draws dashboards with matplotlib from the data of a cluster, for docs/: same panels, queries, units and colors.

matplotlib is needed for development only; no other module imports it.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator
from PIL import Image

from maas import console
from maas.cluster import tunnel
from maas.dashboards import probe
from maas.dashboards.probe import Prometheus
from maas.errors import MaasError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

mpl.use("Agg")

PICTURES = ("maas-restaurant-scaling", "maas-capacity", "maas-node-loss", "maas-overview")
"""The uids of the dashboards shown in docs/."""

COLUMN, ROW = 0.52, 0.36
"""Inches of a column and a row of the grid."""

_GAP = 0.1
"""Inches between two panels."""

Box = tuple[float, float, float, float]
"""Left, bottom, width and height, as shares of the picture."""

DPI = 80
_COLOURS = 48
"""Size of the palette: enough for lines and their edges, and small for a small file."""

_POINTS = 240
_LEGEND = 6
"""Maximum number of entries of a legend."""

_LEGEND_LETTERS = 18

_PALETTE = (
    "#73bf69",
    "#f2cc0c",
    "#5794f2",
    "#ff9830",
    "#b877d9",
    "#56a64b",
    "#e02f44",
    "#3274d9",
    "#8ab8ff",
    "#a352cc",
)
_NAMED = {"green": "#299c46", "orange": "#ed8128", "red": "#d44a3a", "blue": "#1f60c4"}

_DURATIONS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"), (1e-6, "µs"))
_THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
_BINARY = ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"), (1, ""))
_SUFFIXES = {"reqps": "req/s", "ops": "ops/s", "iops": "io/s", "pps": "p/s", "Bps": "B/s", "bps": "b/s", "bytes": "B"}


@dataclass(frozen=True)
class Series:
    """One line of a panel.

    Attributes:
        name: Its name in the legend.
        labels: Its labels.
        times: Minutes; 0 is now.
        values: Its values at these times.
    """

    name: str
    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]


def draw(name: str, *, directory: Path, minutes: float) -> None:
    """Draw dashboards from a cluster's data.

    Args:
        name: The cluster's name.
        directory: The directory for the pictures, which are named after the dashboards.
        minutes: The time range, in minutes.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: The cluster has no Prometheus of MaaS.
    """
    prometheus = Prometheus.of(tunnel.connect(name))
    wanted = [dashboard for dashboard in probe.dashboards() if dashboard["uid"] in PICTURES]
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    for dashboard in wanted:
        with console.phase(dashboard["title"]) as step:
            drawn = picture(prometheus, dashboard, span=minutes * 60)
            file = directory / f"{dashboard['uid'].removeprefix('maas-')}.png"
            file.write_bytes(drawn)
            step.note(f"{file.name}, {len(drawn) // 1024} KiB")


def picture(prometheus: Prometheus, dashboard: Mapping[str, Any], *, span: float) -> bytes:
    """Draw a dashboard with the data of the last `span` seconds, as PNG."""
    values, _ = prometheus.choose(dashboard, probe.settings().choices)
    now = time.time()
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    head = 2
    width, height = 24 * COLUMN + 2 * _GAP, (bottom + head) * ROW
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="#f4f5f5")
    figure.text(0.01, 1 - 0.7 * ROW / height, dashboard["title"], size=15, weight="bold", va="center")
    chosen = ", ".join(f"{key}: {value}" for key, value in values.items() if value != ".*")
    when = datetime.fromtimestamp(now, tz=UTC)
    note = f"Drawn with matplotlib from a lab's data, {when:%Y-%m-%d %H:%M} UTC; this is not a picture of Grafana."
    figure.text(0.99, 1 - 0.7 * ROW / height, note, size=9, color="#6a6a6a", va="center", ha="right")
    figure.text(0.01, 1 - 1.5 * ROW / height, dashboard["description"], size=10, color="#444444", va="center")
    figure.text(0.99, 1 - 1.5 * ROW / height, chosen, size=9, color="#444444", va="center", ha="right")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] * COLUMN + 2 * _GAP, (place["y"] + head) * ROW
        inner_width, inner_height = place["w"] * COLUMN - 2 * _GAP, place["h"] * ROW - _GAP
        box = (left / width, 1 - (top + inner_height) / height, inner_width / width, inner_height / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        if panel["type"] == "row":
            axes.text(0, 0.35, panel["title"], size=11, weight="bold", va="center", color="#333333")
            continue
        axes.add_patch(
            FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", transform=axes.transAxes, fc="white", ec="#dcdcdc")
        )
        axes.text(
            0.5,
            1 - 0.28 / inner_height,
            _short(panel["title"], place["w"] * 6),
            size=9.5,
            ha="center",
            va="center",
            transform=axes.transAxes,
        )
        found = _data(prometheus, panel, values, now=now, span=span)
        inside = figure.add_axes(_inside(box, panel["type"], inner_width, inner_height))
        _DRAWN[panel["type"]](inside, panel, found, span)
    raw = io.BytesIO()
    figure.savefig(raw, format="png")
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def _short(text: str, most: int) -> str:
    """Return a text shortened to a number of characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _inside(box: Box, kind: str, width: float, height: float) -> Box:
    """Return the area of a panel's content, without title, axis and legend; width and height are in inches."""
    left, right, below, above = {
        "timeseries": (0.75, 0.15, 0.75, 0.5),
        "state-timeline": (1.0, 0.15, 0.5, 0.5),
    }.get(kind, (0.15, 0.15, 0.1, 0.5))
    x, y, w, h = box
    return (
        x + w * left / width,
        y + h * below / height,
        w * (1 - (left + right) / width),
        h * (1 - (below + above) / height),
    )


def _data(
    prometheus: Prometheus, panel: Mapping[str, Any], values: Mapping[str, str], *, now: float, span: float
) -> list[list[Series]]:
    """Return the series of each query of a panel."""
    found: list[list[Series]] = []
    for target in panel["targets"]:
        expr = probe.interpolate(target["expr"], values)
        if target.get("instant"):
            data = prometheus.get("query", query=expr)
        else:
            step = f"{max(span / _POINTS, 15):.0f}"
            data = prometheus.get("query_range", query=expr, start=f"{now - span:.0f}", end=f"{now:.0f}", step=step)
        found.append([_series(entry, target.get("legendFormat", ""), now=now) for entry in data["result"]])
    return found


def _series(entry: Mapping[str, Any], legend: str, *, now: float) -> Series:
    samples = entry["values"] if "values" in entry else [entry["value"]]
    labels = entry["metric"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend).strip()
    name = name or ", ".join(value for key, value in labels.items() if key != "__name__")
    return Series(
        name, labels, [(float(moment) - now) / 60 for moment, _ in samples], [float(value) for _, value in samples]
    )


class _BinaryLocator(Locator):
    """Places axis ticks at round numbers of KiB, MiB or GiB."""

    def __call__(self) -> list[float]:
        _, top = self.axis.get_view_interval() if self.axis else (0, 1)
        step = 2.0 ** math.ceil(math.log2(max(top, 1) / 5))
        return [step * number for number in range(int(top / step) + 1)]


def _number(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], _span: float) -> None:
    """Draw one number in the color of its threshold."""
    axes.set_axis_off()
    values = [series.values[-1] for one in found for series in one]
    defaults = panel["fieldConfig"]["defaults"]
    text = "no data" if not values else format_value(values[0], defaults["unit"], defaults.get("decimals"))
    color = _color(values[0], defaults["thresholds"]["steps"]) if values else "#9a9a9a"
    axes.text(0.5, 0.5, text, size=19 if values else 11, ha="center", va="center", color=color, weight="bold")


def _lines(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: float) -> None:
    """Draw lines or stacked areas, with a legend below."""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    every = sorted({moment for one in found for series in one for moment in series.times})
    lines = [series for one in found for series in one if series.values]
    rows = [_aligned(series, every) for series in lines]
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    stairs = custom.get("lineInterpolation") == "stepAfter"
    base = [0.0] * len(every)
    for number, (series, row) in enumerate(zip(lines, rows, strict=True)):
        color, label = (
            _PALETTE[number % len(_PALETTE)],
            _short(series.name or "value", _LEGEND_LETTERS) if number < _LEGEND else "_nolegend_",
        )
        if stacked:
            top = [low + (0 if math.isnan(value) else value) for low, value in zip(base, row, strict=True)]
            axes.fill_between(
                every, base, top, step="post" if stairs else None, color=color, alpha=0.65, lw=0, label=label
            )
            base = top
        else:
            axes.plot(every, row, color=color, lw=1.2, drawstyle="steps-post" if stairs else "default", label=label)
    for limit in defaults.get("thresholds", {}).get("steps", [])[1:]:
        highest = axes.get_ylim()[1]
        if lines and limit["value"] <= highest * 1.5:
            axes.axhline(limit["value"], color=_NAMED[limit["color"]], lw=0.8, ls="--")
    axes.set_ylim(bottom=0, top=defaults.get("max"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value(value, defaults["unit"], None)))
    axes.yaxis.set_major_locator(_BinaryLocator() if defaults["unit"] == "bytes" else MaxNLocator(5))
    _clock(axes, span)
    if lines:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(-0.1, -0.16),
            ncols=3,
            fontsize=7.5,
            frameon=False,
            handlelength=1.2,
            columnspacing=1,
        )
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#9a9a9a")


def _states(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: float) -> None:
    """Draw a bar for each series, colored by state."""
    words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    lines = [series for one in found for series in one]
    for row, series in enumerate(lines):
        width = series.times[1] - series.times[0] if len(series.times) > 1 else 1
        for moment, value in zip(series.times, series.values, strict=True):
            color = _NAMED[words.get(f"{value:g}", {"color": "orange"})["color"]]
            axes.fill_between([moment, moment + width], row - 0.38, row + 0.38, color=color, lw=0)
    axes.set_yticks(range(len(lines)), [series.name for series in lines])
    _clock(axes, span)


def _table(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], _span: float) -> None:
    """Draw the rows of a table that fit."""
    axes.set_axis_off()
    merged: dict[tuple[str, ...], dict[str, Series]] = {}
    organized = panel["transformations"][-1]["options"]["renameByName"]
    labels = [name for name in organized if not name.startswith("Value")]
    columns = [name for name in organized if name.startswith("Value")]
    for column, one in zip(columns, found, strict=True):
        for series in one:
            merged.setdefault(tuple(series.labels.get(label, "") for label in labels), {})[column] = series
    settings: dict[str, dict[str, Any]] = {}
    for override in panel["fieldConfig"]["overrides"]:
        for entry in override["properties"]:
            settings.setdefault(override["matcher"]["options"], {})[entry["id"]] = entry["value"]
    rows = min(len(merged), int((panel["gridPos"]["h"] - 1) * ROW / 0.24) - 1)
    widths = [2.2] * len(labels) + [1.0] * len(columns)
    edges = [sum(widths[:place]) / sum(widths) for place in range(len(widths))]
    height = 1 / max(rows + 1, 6)
    for place, name in enumerate([*labels, *columns]):
        axes.text(
            edges[place],
            1 - height / 2,
            _short(organized[name], 18),
            size=8,
            weight="bold",
            va="center",
            transform=axes.transAxes,
        )
    for number, (key, cells) in enumerate(sorted(merged.items())[:rows], start=1):
        y = 1 - height * (number + 0.5)
        for place, text in enumerate(key):
            axes.text(edges[place], y, _short(text, 24), size=8, va="center", transform=axes.transAxes)
        for place, column in enumerate(columns, start=len(labels)):
            if column in cells:
                value = cells[column].values[-1]
                steps = settings[organized[column]].get("thresholds", {"steps": []})["steps"]
                color = _color(value, steps) if steps else "#333333"
                axes.text(
                    edges[place],
                    y,
                    format_value(value, settings[organized[column]]["unit"], None),
                    size=8,
                    va="center",
                    color=color,
                    transform=axes.transAxes,
                )


_DRAWN = {"stat": _number, "timeseries": _lines, "state-timeline": _states, "table": _table}


def _clock(axes: Axes, span: float) -> None:
    axes.set_xlim(-span / 60, 0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:g} min"))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(labelsize=7.5, color="#bbbbbb", labelcolor="#555555")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#ececec", lw=0.6)
    for edge in axes.spines.values():
        edge.set_visible(False)


def _aligned(series: Series, every: Sequence[float]) -> list[float]:
    """Return the values at all times of a panel; NaN where a series has none."""
    known = dict(zip(series.times, series.values, strict=True))
    return [known.get(moment, math.nan) for moment in every]


def _color(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return _NAMED[passed[-1]]


def format_value(value: float, unit: str, decimals: int | None) -> str:
    """Return a value formatted in its unit."""
    if math.isnan(value) or math.isinf(value):
        return "-"
    if unit == "percentunit":
        percent = value * 100
        return f"{percent:.{decimals}f} %" if decimals is not None else f"{float(f'{percent:.3g}'):g} %"
    if unit in {"bool", "bool_yes_no"}:
        return "yes" if value else "no"
    if unit == "s":
        table: Sequence[tuple[float, str]] = _DURATIONS
    else:
        table = _BINARY if unit == "bytes" else _THOUSANDS
    factor, prefix = next(((factor, name) for factor, name in table if abs(value) >= factor), table[-1])
    if value == 0:
        factor, prefix = 1, "s" if unit == "s" else ""
    shown = value / factor
    number = f"{shown:.{decimals}f}" if decimals is not None else f"{shown:.3g}"
    return f"{number} {prefix}{_SUFFIXES.get(unit, '')}".strip()


def main() -> None:
    """Draw the dashboards of docs/ from a cluster's data."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--name", default="lab", help="name of the lab, or of the cluster in the inventory")
    parser.add_argument("--minutes", type=float, default=30, help="time range of the pictures")
    parser.add_argument("--directory", type=Path, default=Path("docs/pictures"), help="output directory")
    options = parser.parse_args()
    try:
        draw(options.name, directory=options.directory, minutes=options.minutes)
    except MaasError as error:
        console.error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
