"""The types of panels: numbers, lines over time, states over time, tables."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = 24
"""Columns of Grafana's grid."""

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source that the user selected; every panel uses it."""

_NUMBER, _HEIGHT = 4, 8
"""Default heights of numbers and of other panels, in rows of the grid."""

_FILL, _STACKED_FILL = 10, 60
"""Opacity of the area below a line and of stacked areas, in percent."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the legend of its series.

    Attributes:
        expr: The expression; `$name` are the dashboard's variables.
        legend: The name of a series; Grafana replaces `{{label}}` with the value of the label.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Steps:
    """Thresholds: the colors of values.

    Attributes:
        base: The color below all thresholds.
        rising: The thresholds in ascending order, each with the color from there on.
    """

    base: str
    rising: tuple[tuple[float, str], ...] = ()

    def build(self) -> dashboards.ThresholdsConfig:
        """Return the thresholds in the types of the SDK."""
        steps = [models.Threshold(color=self.base)]
        steps += [models.Threshold(value=value, color=color) for value, color in self.rising]
        return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


NEUTRAL = Steps("blue")
"""For numbers that are neither good nor bad."""

UTILIZATION = Steps("green", ((0.8, "orange"), (0.9, "red")))
"""For the used share of a resource: warning above 80 %, critical above 90 %."""

ANY_IS_BAD = Steps("green", ((1, "red"),))
"""For counts that should be zero."""

NONE_IS_BAD = Steps("red", ((1, "green"),))
"""For counts that must not be zero."""

ERRORS = Steps("green", ((0.01, "orange"), (0.05, "red")))
"""For shares of failures: warning from 1 %, critical from 5 %."""

AVAILABILITY = Steps("red", ((0.99, "orange"), (0.999, "green")))
"""For shares of successes."""


def latency(slow: float, bad: float) -> Steps:
    """Return the thresholds of a duration in seconds: warning and critical."""
    return Steps("green", ((slow, "orange"), (bad, "red")))


@dataclass(frozen=True)
class Panel:
    """A panel without its position.

    Attributes:
        built: The panel in the types of the SDK.
        width: Columns of the grid; None for the width that its row sets.
        height: Rows of the grid.
    """

    built: models.Panel
    width: int | None
    height: int


@dataclass(frozen=True)
class Row:
    """A row: the heading of the panels that follow.

    Attributes:
        title: Its title.
        width: Default width of these panels, in columns of the grid.
    """

    title: str
    width: int = 12


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its title.
        query: The query for its numbers, by the labels of the table.
        unit: The unit of the numbers.
        steps: Their thresholds.
    """

    title: str
    query: str
    unit: str = "short"
    steps: Steps | None = None


@dataclass(frozen=True)
class Link:
    """A link to another dashboard that keeps the time range, data source and cluster.

    Attributes:
        uid: The uid of the other dashboard.
        variables: By further variable, its value: a variable of this dashboard (`$namespace`) or the title of a column of
            the same row.
    """

    uid: str
    variables: Mapping[str, str]

    def url(self) -> str:
        """Return the URL with Grafana's placeholders."""
        pairs = ["${datasource:queryparam}", "${cluster:queryparam}", "${__url_time_range}"]
        for name, source in self.variables.items():
            value = source if source.startswith("$") else f'${{__data.fields["{source}"]}}'
            pairs.append(f"var-{name}={value}")
        return f"/d/{self.uid}?" + "&".join(pairs)


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps = NEUTRAL,
    decimals: int | None = None,
    words: Mapping[float, str] | None = None,
    width: int = 4,
) -> Panel:
    """Return a panel with the current value of one query or of a few.

    Args:
        title: Its title.
        description: What the number means, as a sentence.
        unit: The unit, in Grafana's notation.
        *queries: The queries for the numbers.
        steps: The thresholds.
        decimals: Number of decimals; None lets Grafana decide.
        words: By value, the text to show instead.
        width: Columns of the grid.
    """
    panel = (
        stat.Panel()
        .unit(unit)
        .thresholds(steps.build())
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE if steps is NEUTRAL else common.BigValueColorMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if words:
        options = {f"{value:g}": models.ValueMappingResult(text=text) for value, text in words.items()}
        panel.mappings([models.ValueMap(options=options)])
    if len(queries) > 1:
        panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME)
    return _panel(panel.build(), title, description, (_target(query).instant() for query in queries), (width, _NUMBER))


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps | None = None,
    stack: bool = False,
    most: float | None = None,
    stairs: bool = False,
    width: int | None = None,
    height: int = _HEIGHT,
) -> Panel:
    """Return a panel with lines over time.

    Args:
        title: Its title.
        description: What the lines mean, as a sentence.
        unit: The unit, in Grafana's notation.
        *queries: The queries for the lines.
        steps: Thresholds, drawn as dashed lines.
        stack: Stack the lines, for parts of a whole.
        most: The maximum of the axis, for values that cannot exceed it.
        stairs: Draw steps instead of slopes, for counts.
        width: Columns of the grid; None for the width that its row sets.
        height: Rows of the grid.
    """
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .fill_opacity(_STACKED_FILL if stack else _FILL)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if stack:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    if stairs:
        panel.line_interpolation(common.LineInterpolation.STEP_AFTER)
    if steps:
        panel.thresholds(steps.build()).thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return _panel(panel.build(), title, description, (_target(query).range() for query in queries), (width, height))


def states(
    title: str,
    description: str,
    *queries: Query,
    words: Mapping[float, tuple[str, str]],
    width: int = COLUMNS,
    height: int = _HEIGHT,
) -> Panel:
    """Return a panel with states over time: a bar for each series, whose color is the state.

    Args:
        title: Its title.
        description: What the states mean, as a sentence.
        *queries: The queries for the states, as numbers.
        words: By number, the name and color of the state.
        width: Columns of the grid.
        height: Rows of the grid.
    """
    options = {f"{value:g}": models.ValueMappingResult(text=text, color=c) for value, (text, c) in words.items()}
    panel = (
        statetimeline.Panel()
        .unit("short")
        .mappings([models.ValueMap(options=options)])
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .legend(_legend())
    )
    return _panel(panel.build(), title, description, (_target(query).range() for query in queries), (width, height))


def table(
    title: str,
    description: str,
    labels: Mapping[str, str],
    *columns: Column,
    links: Mapping[str, Link] | None = None,
    width: int = COLUMNS,
    height: int = _HEIGHT,
) -> Panel:
    """Return a table of current values.

    Args:
        title: Its title.
        description: What the rows are, as a sentence.
        labels: The labels that identify a row, and the titles of their columns.
        *columns: The columns of numbers.
        links: By title of a column, the dashboard that its cells link to.
        width: Columns of the grid.
        height: Rows of the grid.
    """
    panel = tables.Panel().unit("short")
    headings = dict(labels)
    for letter, column in zip(string.ascii_uppercase, columns, strict=False):
        headings[f"Value #{letter}" if len(columns) > 1 else "Value"] = column.title
        properties = [models.DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.steps:
            properties += [
                models.DynamicConfigValue(id_val="thresholds", value=column.steps.build().build()),
                models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ]
        panel.override_by_name(column.title, properties)
    for heading, link in (links or {}).items():
        target = {"title": "Drill down", "url": link.url()}
        panel.override_by_name(heading, [models.DynamicConfigValue(id_val="links", value=[target])])
    order = {name: place for place, name in enumerate(headings)}
    built = panel.build()
    built.transformations = [
        # Merge the results to one row per set of labels, keep the columns with a title, and order them.
        models.DataTransformerConfig(id_val="merge", options={}),
        models.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(headings)}}),
        models.DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": headings}),
    ]
    targets = (_target(Query(column.query)).instant().format(PromQueryFormat.TABLE) for column in columns)
    return _panel(built, title, description, targets, (width, height))


def _target(query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr)
    return target.legend_format(query.legend) if query.legend else target


def _panel(
    built: models.Panel,
    title: str,
    description: str,
    targets: Iterable[prometheus.Dataquery],
    size: tuple[int | None, int],
) -> Panel:
    """Return a panel with the fields that all types have."""
    built.title, built.description, built.datasource = title, description, DATASOURCE
    # The letters that Grafana assigns by default.
    built.targets = [
        target.ref_id(letter).build() for letter, target in zip(string.ascii_uppercase, targets, strict=False)
    ]
    return Panel(built, *size)


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )
