"""The panels of a dashboard: one number, lines over time, a table, states over time."""

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
"""The data source that the reader chose; no panel names another."""

_NUMBER, _HEIGHT = 4, 8
"""Rows of the grid."""

_FILL, _STACKED_FILL = 10, 60
"""Per cent of colour below a line, and in the areas of a stack."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the name of what it gives.

    Attributes:
        expr: The expression; `$name` are the dashboard's variables.
        legend: The name of a series; `{{label}}` is replaced by the label's value.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Steps:
    """The colours of values.

    Attributes:
        base: The colour below every step.
        rising: Where the next colour begins, in ascending order, and the colour.
    """

    base: str
    rising: tuple[tuple[float, str], ...] = ()

    def build(self) -> dashboards.ThresholdsConfig:
        """The steps in Grafana's types."""
        steps = [models.Threshold(color=self.base)]
        steps += [models.Threshold(value=value, color=colour) for value, colour in self.rising]
        return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


NEUTRAL = Steps("blue")
"""A number that is neither good nor bad."""

UTILIZATION = Steps("green", ((0.8, "orange"), (0.9, "red")))
"""A share of what there is: worth a look above 80 %, full above 90 %."""

ANY_IS_BAD = Steps("green", ((1, "red"),))
"""A count of what should not be."""

NONE_IS_BAD = Steps("red", ((1, "green"),))
"""A count of what there must be at least one of."""

ERRORS = Steps("green", ((0.01, "orange"), (0.05, "red")))
"""A share of failures: 1 % is worth a look, 5 % hurts."""

AVAILABILITY = Steps("red", ((0.99, "orange"), (0.999, "green")))
"""A share of successes."""


def latency(slow: float, bad: float) -> Steps:
    """Seconds that are worth a look, and that hurt."""
    return Steps("green", ((slow, "orange"), (bad, "red")))


@dataclass(frozen=True)
class Panel:
    """A panel, without its place.

    Attributes:
        built: The panel in Grafana's types.
        width: Columns of the grid; None for the width that its row sets.
        height: Rows of the grid.
    """

    built: models.Panel
    width: int | None
    height: int


@dataclass(frozen=True)
class Row:
    """A heading over the panels that follow.

    Attributes:
        title: Its text.
        width: Columns of the grid for each of these panels that does not set its own.
    """

    title: str
    width: int = 12


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        query: What gives its numbers, by the table's labels.
        unit: The unit of the numbers.
        steps: Their colours.
    """

    title: str
    query: str
    unit: str = "short"
    steps: Steps | None = None


@dataclass(frozen=True)
class Link:
    """Another dashboard, opened with the reader's time range and variables.

    Attributes:
        uid: The dashboard's uid.
        variables: More of its variables, and where each value comes from: a variable here (`$namespace`) or the
            heading of a column of the same row.
    """

    uid: str
    variables: Mapping[str, str]

    def url(self) -> str:
        """The address, in Grafana's notation."""
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
    """One number, or a few beside each other, as they are now.

    Args:
        title: Its heading.
        description: What the number means, in a sentence.
        unit: Grafana's name of the unit.
        *queries: What gives it.
        steps: The colours of values.
        decimals: Digits behind the point; without it as many as Grafana finds useful.
        words: Words to show instead of some values.
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
    """Values over time.

    Args:
        title: Its heading.
        description: What the lines mean, in a sentence.
        unit: Grafana's name of the unit.
        *queries: What gives them.
        steps: Values that are drawn as dashed lines.
        stack: Draw areas on top of each other: the parts of a whole.
        most: The end of the axis, where values cannot be above it.
        stairs: Values are counts that stay until they change: no slopes between them.
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
    """What state things were in over time: a bar for each, its colour the state.

    Args:
        title: Its heading.
        description: What the states mean, in a sentence.
        *queries: What gives them, as numbers.
        words: The word and colour of each number.
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
    """Numbers of many things as they are now, a row for each.

    Args:
        title: Its heading.
        description: What the rows are, in a sentence.
        labels: The labels that name a row, and their headings.
        *columns: The columns of numbers.
        links: Where the text of a column leads, by heading.
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
        # One row for the same labels, then only what has a heading, in the order of the headings.
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
    """A panel with what every kind has."""
    built.title, built.description, built.datasource = title, description, DATASOURCE
    # The letters that Grafana itself would give them.
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
