"""Service level objectives: what the chart renders of them, and values that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.charts import of_profile, one

from maas.codegen import rules
from maas.errors import ChartError
from maas.helm import alerting_rules, render
from maas.helm.render import Request

CHART = render.umbrella() / "charts" / "kube-prometheus"
SHOP = {"objective": 99.5, "good": 'requests_total{code!~"5.."}', "all": "requests_total"}


def request(slo: dict[str, Any], *more: tuple[str, str]) -> Request:
    return Request(CHART, settings=(("slos.enabled", "true"), ("slos.objectives", json.dumps({"shop": slo})), *more))


def test_they_are_disabled_by_default() -> None:
    assert not {"objectives", "slos"} & rules.rendered(of_profile("default")).keys()


def test_each_objective_has_groups_of_its_own() -> None:
    groups = one(of_profile("production"), "PrometheusRule", "objectives")["spec"]["groups"]
    assert {group["name"] for group in groups} == {"slo-api", "slo-api-long", "slo-orders", "slo-orders-long"}
    for group in groups:
        assert {rule["labels"]["slo"] for rule in group["rules"]} == {group["name"].split("-")[1]}


def test_the_window_is_that_of_the_objective() -> None:
    groups = one(of_profile("production"), "PrometheusRule", "objectives")["spec"]["groups"]
    found = {
        rule["labels"]["slo"]: rule["expr"]
        for group in groups
        for rule in group["rules"]
        if rule["record"] == "slo:error_ratio:window"
    }
    assert 'slo:all_events:rate5m{slo="api"}[7d]' in found["api"]
    assert 'slo:all_events:rate5m{slo="orders"}[14d]' in found["orders"]


def test_promtool_accepts_the_recordings() -> None:
    found = rules.rendered(render.objects(request(SHOP)))
    assert list(alerting_rules.broken({"objectives": {"groups": found["objectives"]}})) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"objective": 0.995}, "objective"),
        ({"objective": 100}, "objective"),
        ({"objective": "99.5%"}, "objective"),
        ({"good": "rate(requests_total[5m])"}, "good"),
        ({"all": ""}, "all"),
        ({"all": None}, "all"),
        ({"window": "30m"}, "window"),
        ({"window": "6d"}, "window"),
        ({"windows": "14d"}, "windows"),
        (
            {"window": "30d"},
            "slos.objectives.shop has a window of 30d, but Prometheus keeps samples for 15d.",
        ),
    ],
)
def test_a_wrong_objective_is_refused_by_name(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ChartError) as refused:
        render.render(request(SHOP | change))
    said = "\n".join(refused.value.context)
    assert complaint in said
    assert "shop" in said


@pytest.mark.parametrize("retention", ["30d", "720h", "5w", "1y"])
def test_a_window_may_be_as_long_as_samples_are_kept(retention: str) -> None:
    render.render(request(SHOP | {"window": "30d"}, ("prometheus.retention", json.dumps(retention))))


def test_a_selector_that_prometheus_rejects_is_refused_before_anything_is_installed() -> None:
    slo = SHOP | {"good": 'requests_total{code!~"5.."'}
    values = {"kube-prometheus": {"slos": {"objectives": {"shop": slo | {"good": 'requests_total{code!"5.."}'}}}}}
    with pytest.raises(ChartError) as refused:
        alerting_rules.refuse_broken(values)
    (complaint,) = refused.value.context
    assert complaint.startswith("shop.good: ")
    assert "kube-prometheus.slos.objectives" in (refused.value.hint or "")


def test_the_status_page_is_published_by_the_viewer_only_if_requested() -> None:
    pod = one(of_profile("perses"), "Deployment", "perses")["spec"]["template"]["spec"]
    assert "-status" in pod["containers"][0]["args"]
    viewer = (("dashboards.engine", '"perses"'),)
    pod = one(render.objects(request(SHOP, *viewer)), "Deployment", "perses")["spec"]["template"]["spec"]
    assert "-status" not in pod["containers"][0]["args"]


def test_a_status_page_without_the_viewer_is_refused() -> None:
    with pytest.raises(ChartError) as refused:
        render.render(request(SHOP, ("slos.statusPage", "true")))
    assert "dashboards.engine: perses" in "\n".join(refused.value.context)
