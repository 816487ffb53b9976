"""Two clusters in one Prometheus do not mix: each case holds for its cluster while another one is in the state of the next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.rule_tests import CHART, parsed, run_text

from maas.codegen import rules
from maas.codegen.series import Series

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(1800)  # promtool has much to do in some files, also on a slow machine

# Without nodes, absent() says that these are down; the cases of their own files have two clusters.
WITHOUT_CLUSTER = ("Watchdog", "KubeAPIDown", "KubeSchedulerDown", "KubeControllerManagerDown")
_RECORDED = re.compile(r"(?P<before>(?:round\()?)(?P<name>[\w:]+)(?:\{(?P<labels>[^}]*)\})?(?P<after>(?:, [\d.]+\))?)")


def labeled(series: str, cluster: str) -> str:
    """Return a series as one of a cluster has it."""
    name, brace, labels = series.partition("{")
    rest = labels.rstrip("}").strip() if brace else ""
    return f'{name}{{cluster="{cluster}"{", " if rest else ""}{rest}}}'


def inputs(test: dict[str, Any], cluster: str) -> list[dict[str, str]]:
    return [{**one, "series": labeled(one["series"], cluster)} for one in test["input_series"]]


def fired(question: dict[str, Any]) -> dict[str, Any]:
    """Return the query for the alerts that fire in the first cluster, with what is expected."""
    name = question["alertname"]
    expected = []
    for alert in question.get("exp_alerts", []):
        labels = {"alertname": name, "alertstate": "firing", **alert["exp_labels"]}
        written = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        expected.append({"labels": f'ALERTS{{cluster="one", {written}}}', "value": 1})
    query = f'ALERTS{{alertname="{name}", alertstate="firing", cluster="one"}}'
    return {"expr": query, "eval_time": question["eval_time"], "exp_samples": expected}


def recorded(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the query for a recorded series of the first cluster; none for other expressions."""
    match = _RECORDED.fullmatch(question["expr"])
    if match is None:
        return []
    expected = [{**one, "labels": labeled(one["labels"], "one")} for one in question["exp_samples"]]
    labels = ", ".join(filter(None, (match["labels"], 'cluster="one"')))
    expr = f"{match['before']}{match['name']}{{{labels}}}{match['after']}"
    return [{**question, "expr": expr, "exp_samples": expected}]


def test_the_next_case_in_another_cluster_changes_nothing(file: Path, tmp_path: Path) -> None:
    tested = parsed(file)
    # promtool reads `0x20` as twenty zeros, a YAML parser as 32.
    written = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)["tests"]  # noqa: S506 - it makes only strings
    tests = [
        {**test, "input_series": text["input_series"]}
        for test, text in zip(tested["tests"], written, strict=True)
        if test["input_series"] and "cluster=" not in str(test["input_series"])
    ]
    doubled = []
    for number, test in enumerate(tests):
        # Another state of the same interval, or the same state once more where there is none.
        after = tests[number + 1 :] + tests[: number + 1]
        other = next(one for one in after if one["interval"] == test["interval"])
        alerts = [one for one in test.get("alert_rule_test", []) if one["alertname"] not in WITHOUT_CLUSTER]
        records = [query for one in test.get("promql_expr_test", []) for query in recorded(one)]
        doubled.append(
            {
                "name": test.get("name", ""),
                "interval": test["interval"],
                "input_series": inputs(test, "one") + inputs(other, "two"),
                "promql_expr_test": [fired(one) for one in alerts] + records,
            }
        )
    said = run_text(yaml.safe_dump({**tested, "tests": doubled}), tested["rule_files"], tmp_path)
    assert not said, said


def test_every_rule_but_the_watchdog_keeps_the_cluster() -> None:
    series = Series.of(rules.load(CHART))
    lost = {getattr(rule, "alert", "record") for rule, _ in series.rules if "cluster" not in series.labels(rule)}
    assert lost == {"Watchdog"}


def test_no_alert_on_objects_has_the_labels_of_the_exporter() -> None:
    """Such an alert would start again, and its `for`, whenever kube-state-metrics moves."""
    series = Series.of(rules.load(CHART))
    found = {
        rule.alert
        for rule, _ in series.rules
        if isinstance(rule, rules.Alert)
        and series.jobs(rule) == {"kube-state-metrics"}
        and "instance" in series.labels(rule)
    }
    assert found == set()
