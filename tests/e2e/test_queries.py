"""Every query of dashboards and rules on the lab's Prometheus, after a load, the loss of a node and its restart."""

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

TIMEOUT = 240
"""Seconds until every rule is evaluated on enough samples, also where Prometheus has just been restarted."""


@pytest.fixture(scope="module")
def prometheus(lab: Lab) -> Prometheus:
    return Prometheus.of(lab.cluster)


@pytest.fixture(scope="module")
def known() -> Settings:
    return probe.settings()


def settled(ask: Callable[[], list[Answer]], known: Settings) -> list[Answer]:
    """Return the answers as soon as none is a fault, or at the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            answers = ask()
        except ClusterError:  # it is starting
            if time.monotonic() > deadline:
                raise
        else:
            if not any(probe.judge(answer, known) for answer in answers) or time.monotonic() > deadline:
                return answers
        time.sleep(10)


def check(answers: list[Answer], known: Settings) -> None:
    """Assert that no query fails, or is empty without a documented reason; print the slow ones."""
    for answer in answers:
        if answer.seconds > probe.SLOW:
            print(f"slow: {answer.query.where}: {answer.seconds:.2f} s: {answer.query.expr}")
    seconds = sum(answer.seconds for answer in answers)
    print(f"{len(answers)} queries, {sum(a.series for a in answers)} series, {seconds:.1f} s in total")
    faults = [fault for answer in answers if (fault := probe.judge(answer, known))]
    assert faults == [], "\n".join(faults)


def test_every_query_of_every_dashboard_has_data_or_a_documented_reason(
    prometheus: Prometheus, known: Settings
) -> None:
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
        # A rare condition has no series while nothing is wrong; the metrics that it reads must exist then.
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
