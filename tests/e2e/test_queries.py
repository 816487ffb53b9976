"""Every query of dashboards and rules on the lab's Prometheus, after the load, the node loss and the restart before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support import promql

from maas.dashboards import probe
from maas.dashboards.probe import Answer, Prometheus, Query, Settings
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4800)]

PATIENCE = 240
"""Seconds that the newest Prometheus may take until every rule has been evaluated on a few scrapes."""


@pytest.fixture(scope="module")
def prometheus(lab: Lab) -> Prometheus:
    return Prometheus.of(lab.cluster)


@pytest.fixture(scope="module")
def known() -> Settings:
    return probe.settings()


def settled(ask: Callable[[], list[Answer]], known: Settings) -> list[Answer]:
    """The answers, once nothing that is expected is missing, or when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answers = ask()
        except ClusterError:  # it was installed a moment ago
            if time.monotonic() > deadline:
                raise
        else:
            if not any(probe.judge(answer, known) for answer in answers) or time.monotonic() > deadline:
                return answers
        time.sleep(10)


def check(answers: list[Answer], known: Settings) -> None:
    """Nothing is broken, and nothing is empty without a reason; what is slow is named."""
    for answer in answers:
        if answer.seconds > probe.SLOW:
            print(f"slow: {answer.query.where}: {answer.seconds:.2f} s: {answer.query.expr}")
    seconds = sum(answer.seconds for answer in answers)
    print(f"{len(answers)} queries, {sum(a.series for a in answers)} series, {seconds:.1f} s in all")
    faults = [fault for answer in answers if (fault := probe.judge(answer, known))]
    assert faults == [], "\n".join(faults)


def test_every_query_of_every_dashboard_has_data_or_a_written_reason(prometheus: Prometheus, known: Settings) -> None:
    dashboards = probe.dashboards()
    check(
        settled(lambda: [a for one in dashboards for a in prometheus.dashboard(one, known.choices)], known),
        known,
    )


def test_every_rule_is_evaluated_and_what_it_compares_has_data(prometheus: Prometheus, known: Settings) -> None:
    rules = prometheus.rules()
    assert len(rules) > 200
    broken = [f"{rule['group']} / {rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] == "err"]
    assert broken == []
    parts = [
        Query(f"{rule['group']} / {rule['name']}", part) for rule in rules for part in promql.operands(rule["query"])
    ]

    def sources() -> list[Answer]:
        # What is rare has no series while all is well; then what it is read from must be there.
        rare = [answer.query for answer in prometheus.run_all(parts) if probe.judge(answer, known)]
        print(f"{len(rules)} rules of {len(parts)} parts, {len(rare)} of them rare")
        return prometheus.run_all(
            [Query(query.where, source) for query in rare for source in sorted(promql.sources(query.expr))]
        )

    check(settled(sources, known), known)
    print(f"one evaluation of all rules: {sum(rule['evaluationTime'] for rule in rules):.2f} s")


def test_every_metric_that_is_read_exists(prometheus: Prometheus, known: Settings) -> None:
    read = {name: f"rule {rule['name']}" for rule in prometheus.rules() for name in promql.metrics(rule["query"])}
    for dashboard in probe.dashboards():
        values = dict.fromkeys((variable["name"] for variable in dashboard["templating"]["list"]), "x")
        for query in probe.panels(dashboard, values):
            read |= dict.fromkeys(promql.metrics(query.expr), query.where)
    there = prometheus.names()
    missing = [
        f"{name}: read by {where}"
        for name, where in sorted(read.items())
        if name not in there and not known.reason(Query(where, name))
    ]
    assert missing == []
