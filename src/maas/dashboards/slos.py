"""Service level objectives: what is left of their error budgets, and how fast it goes."""

from __future__ import annotations

from maas.dashboards.model import Dashboard
from maas.dashboards.panels import ANY_IS_BAD, Column, Query, Row, Steps, lines, number, table

_CLUSTER = 'cluster=~"$cluster"'
_BUDGET = Steps("red", ((0, "orange"), (0.25, "green")))
_BURN = Steps("green", ((1, "orange"), (6, "red")))
_RANGES = ("5m", "1h", "6h", "1d", "3d")


def _burn(duration: str) -> str:
    """Return the burn rate over a time: 1 spends exactly the budget within the window."""
    return (
        f"max by (slo) (slo:error_ratio:rate{duration}{{{_CLUSTER}}}) "
        f"/ (1 - max by (slo) (slo:objective:ratio{{{_CLUSTER}}}))"
    )


SLOS = Dashboard(
    folder="platform",
    name="slos",
    title="SLOs",
    description="Do services keep their objectives, and how fast do they spend their error budgets?",
    content=(
        Row("Now"),
        number(
            "With data",
            "Objectives that have data.",
            "short",
            Query(f"count(slo:objective:ratio{{{_CLUSTER}}})"),
        ),
        number(
            "Missed",
            "Objectives whose error budget is exhausted.",
            "short",
            Query(f"count(slo:error_budget_remaining:ratio{{{_CLUSTER}}} < 0) or vector(0)"),
            steps=ANY_IS_BAD,
        ),
        table(
            "Objectives",
            "Every objective: its percentage of good events, what was reached within its window, and what is left of its budget.",
            {"slo": "Objective"},
            Column("Aim", f"max by (slo) (slo:objective:ratio{{{_CLUSTER}}})", "percentunit"),
            Column("Reached", f"1 - max by (slo) (slo:error_ratio:window{{{_CLUSTER}}})", "percentunit"),
            Column("Window", f"max by (slo) (slo:window:days{{{_CLUSTER}}}) * 86400", "s"),
            Column(
                "Budget left",
                f"min by (slo) (slo:error_budget_remaining:ratio{{{_CLUSTER}}})",
                "percentunit",
                steps=_BUDGET,
            ),
            Column("Burn rate", _burn("1h"), "short", steps=_BURN),
        ),
        Row("Over time", width=24),
        lines(
            "Budget left",
            "What is left of each error budget; below zero, the objective is missed.",
            "percentunit",
            Query(f"min by (slo) (slo:error_budget_remaining:ratio{{{_CLUSTER}}})", "{{slo}}"),
        ),
        lines(
            "Burn rate",
            "How many times faster than allowed the budget goes, over short and long windows.",
            "short",
            *(Query(_burn(duration), f"{{{{slo}}}} {duration}") for duration in _RANGES),
            steps=_BURN,
        ),
        lines(
            "Events",
            "Events of each objective, and bad ones.",
            "reqps",
            Query(f"sum by (slo) (slo:all_events:rate5m{{{_CLUSTER}}})", "{{slo}}"),
            Query(
                f"sum by (slo) (slo:all_events:rate5m{{{_CLUSTER}}} - slo:good_events:rate5m{{{_CLUSTER}}})",
                "{{slo}} bad",
            ),
        ),
    ),
)

DASHBOARDS = (SLOS,)
