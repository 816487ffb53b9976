from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support import promql

from maas import paths
from maas.codegen import rules
from maas.dashboards import probe
from maas.dashboards.probe import Answer, Expected, Prometheus, Query, Settings
from maas.errors import ClusterError

EMPTY: dict[str, Any] = {"resultType": "vector", "result": []}


@pytest.mark.parametrize(
    ("expr", "parts"),
    [
        ("sum(rate(x[5m]))", ["sum(rate(x[5m]))"]),
        ("x > 5", ["x"]),
        ("x / y > bool 5", ["x / y > bool 5"]),
        ("rate(x[5m]) > 0.1 and y == 1", ["rate(x[5m])", "y"]),
        ("count(up{job='a'} == 0) or vector(0)", ['up{job="a"}']),
        ("absent(up == 1)", ["up"]),
        ("x{code='500'} or 0 * x", ['x{code="500"} or 0 * x']),
        ("max_over_time((x > 1)[5m:1m])", ["x"]),
        ("time() - x > 5", ["time() - x"]),
        ("(x unless y) * 2", ["x", "y"]),
        ("vector(1)", []),
    ],
)
def test_expressions_that_may_be_empty_are_split_into_their_parts(expr: str, parts: list[str]) -> None:
    assert [re.sub(r"\{\}|\s+(?=\()", "", part) for part in promql.operands(expr)] == parts


def test_metrics_are_found_anywhere_in_an_expression() -> None:
    expr = 'histogram_quantile(0.9, sum by (le) (rate(a:b_bucket{c="d"}[5m]))) / on (x) group_left () (-y offset 1d) > max_over_time(z[1h:])'
    assert promql.metrics(expr) == {"a:b_bucket", "y", "z"}


def test_the_metrics_of_an_expression_are_queried_without_their_matchers() -> None:
    expr = 'sum(rate(x{job="a", reason="Crash", node!=""}[5m])) unless y{code=~"5..",metrics_path="/m"} > z'
    assert promql.sources(expr) == {'x{job="a",reason=~".+"}', 'y{code=~".+",metrics_path="/m"}', "z{}"}


@pytest.mark.parametrize(
    ("expr", "parts"),
    [
        ("min_over_time(x[1h]) - on (pod) y", ["min_over_time(x[1h])"]),
        ("x - on (pod) (2 * rate(y[5m]))", ["(2 * rate(y[5m]))"]),
        ("min by (pod) (min_over_time(x[1h])) - on (pod) y", []),
        ("rate(x[5m]) * on (pod) group_left () y", []),
        ("x * on (pod) group_left () rate(y[5m])", ["rate(y[5m])"]),
        ("rate(x[5m]) * on (pod) group_right () y", ["rate(x[5m])"]),
        ("rate(x[5m]) / on (pod, instance) y", []),
        ("rate(x[5m]) / ignoring (code) y", []),
        ("rate(x[5m]) / ignoring (instance) y", ["rate(x[5m])"]),
        ("rate(x[5m]) / rate(y[5m])", []),
        ("rate(x[5m]) and on (pod) y", []),
    ],
)
def test_expressions_that_an_exporter_replacement_duplicates_are_found(expr: str, parts: list[str]) -> None:
    assert [" ".join(part.split()) for part in promql.ambiguous(expr)] == parts


def test_invalid_promql_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql.metrics("sum(x")


def test_variables_are_replaced_in_each_notation_of_grafana() -> None:
    expr = 'rate(x{a=~"$a", b="${b}", c="${c:regex}"}[$__rate_interval])'
    assert probe.interpolate(expr, {"a": ".*", "b": "1", "c": "d"}) == 'rate(x{a=~".*", b="1", c="d"}[2m])'


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        probe.interpolate("x{a='$nobody'}", {})


@pytest.mark.parametrize(
    ("entry", "query", "matches"),
    [
        (Expected("why", metric="etcd_.*"), Query("a / b", "rate(etcd_x_total[5m])"), True),
        (Expected("why", metric="x|y"), Query("a / b", "sum(y{z='1'})"), True),
        (Expected("why", metric="x"), Query("a / b", "sum(xx) + namespace:x:sum"), False),
        (Expected("why", where=r".+ / \$cluster"), Query("maas-pod / $cluster", "up"), True),
        (Expected("why", where="maas-pod"), Query("maas-pod / CPU", "up"), False),
    ],
)
def test_a_reason_matches_whole_names_and_places(entry: Expected, query: Query, *, matches: bool) -> None:
    assert entry.matches(query) is matches


def test_a_result_without_data_needs_a_known_reason() -> None:
    known = Settings({}, (Expected("there is none", metric="x"),))
    assert probe.judge(Answer(Query("a", "x"), 0, 0.1), known) == ""
    assert probe.judge(Answer(Query("a", "y"), 3, 0.1), known) == ""
    assert "no data" in probe.judge(Answer(Query("a", "y"), 0, 0.1), known)
    assert "refused" in probe.judge(Answer(Query("a", "x"), 0, 0.1, "refused"), known)


def test_a_dashboard_is_queried_with_its_default_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def get(_self: Prometheus, path: str, **parameters: str) -> Any:
        asked.append((path, parameters))
        if parameters["query"].startswith("group by (cluster)"):
            return {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}
        if parameters["query"].startswith("group by (namespace)"):
            found = [{"metric": {"namespace": name}, "value": [1, "1"]} for name in ("restaurant", "b")]
            return {"resultType": "vector", "result": found}
        if "NaN" in parameters["query"]:
            return {"resultType": "vector", "result": [{"value": [1, "NaN"]}]}
        return {"resultType": "vector", "result": [{"value": [1, "2"]}]}

    monkeypatch.setattr(Prometheus, "get", get)
    dashboard = {
        "uid": "maas-x",
        "templating": {
            "list": [
                {"type": "datasource", "name": "datasource"},
                {
                    "type": "query",
                    "name": "cluster",
                    "query": {"query": "label_values(up, cluster)"},
                    "includeAll": True,
                    "allValue": ".*",
                },
                {
                    "type": "query",
                    "name": "namespace",
                    "query": {"query": 'label_values(a{cluster=~"$cluster"}, namespace)'},
                },
            ]
        },
        "panels": [
            {"type": "row", "title": "Now"},
            {"title": "One", "targets": [{"expr": 'x{n="$namespace"}', "instant": True}]},
            {"title": "Two", "targets": [{"expr": "y", "range": True}, {"expr": "NaN", "instant": True}]},
        ],
    }
    answers = Prometheus(None, "").dashboard(dashboard, {"namespace": "restaurant"})  # type: ignore[arg-type]
    assert [(a.query.where, a.series) for a in answers] == [
        ("maas-x / $cluster", 0),
        ("maas-x / $namespace", 2),
        ("maas-x / One", 1),
        ("maas-x / Two", 1),
        ("maas-x / Two", 0),
    ]
    assert asked[1] == ("query", {"query": 'group by (namespace) (a{cluster=~".*"})'})
    assert ("query", {"query": 'x{n="restaurant"}'}) in asked
    assert {"query_range", "query"} <= {path for path, _ in asked}


def test_every_reason_matches_an_existing_query() -> None:
    """A stale entry would hide the next failure."""
    known = probe.settings()
    everything: list[Query] = []
    for dashboard in probe.dashboards():
        values = dict.fromkeys((v["name"] for v in dashboard["templating"]["list"]), "x")
        everything += probe.panels(dashboard, values)
        everything += [Query(f"{dashboard['uid']} / ${name}", "") for name in values]
    groups = [group for file in rules.load(paths.content() / "charts" / "kube-prometheus") for group in file.groups]
    for group in groups:
        everything += [Query(f"{group.name} / {alert.alert}", alert.expr) for alert in group.alerts]
        everything += [Query(f"{group.name} / {record.record}", record.expr) for record in group.records]
    assert [entry for entry in known.empty if not any(entry.matches(query) for query in everything)] == []
    assert all(entry.reason for entry in known.empty)


@pytest.mark.parametrize(("status", "message"), [(422, "rejects a query"), (503, "not available")])
def test_a_rejected_query_and_an_unavailable_prometheus_are_distinguished(status: int, message: str) -> None:
    cluster = SimpleNamespace(raw=lambda *_, **__: (status, b"why"))
    prometheus = Prometheus(cluster, "/proxy")  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match=message) as failure:
        prometheus.get("query", query="x")
    assert failure.value.context == ("why",)
