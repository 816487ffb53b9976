"""Programs outside of the cluster that Prometheus scrapes: the rendered objects, and values that are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.charts import of_profile, one

from maas.errors import ChartError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from tests.support.charts import Object

CHART = render.umbrella() / "charts" / "kube-prometheus"


def spec(name: str) -> Object:
    found: Object = one(of_profile("probes"), "ScrapeConfig", f"target-{name}")["spec"]
    return found


def test_there_are_none_by_default() -> None:
    names = {entry["metadata"]["name"] for entry in of_profile("default") if entry["kind"] == "ScrapeConfig"}
    assert not {name for name in names if name.startswith("target-")}


def test_a_target_has_its_labels_and_the_job_of_its_name() -> None:
    found = spec("nas")
    targets = ["192.0.2.10:9100", "[2001:db8::10]:9100"]
    assert found["staticConfigs"] == [{"targets": targets, "labels": {"site": "paris"}}]
    assert found["relabelings"] == [{"targetLabel": "job", "replacement": "nas"}]
    assert (found["scheme"], found["metricsPath"], found["sampleLimit"]) == ("HTTP", "/metrics", 10_000)


def test_credentials_and_certificates_are_those_of_secrets() -> None:
    found = spec("router")
    assert (found["scheme"], found["metricsPath"], found["scrapeInterval"]) == ("HTTPS", "/api/metrics", "2m")
    assert found["authorization"] == {"credentials": {"name": "router", "key": "token"}}
    assert found["tlsConfig"] == {
        "serverName": "router.example.org",
        "ca": {"secret": {"name": "router-ca", "key": "ca.crt"}},
    }
    basic = {part: {"name": "shop", "key": part} for part in ("username", "password")}
    assert spec("shop")["basicAuth"] == basic


@pytest.mark.parametrize(
    ("name", "target", "complaint"),
    [
        ("a", {}, "targets"),
        ("a", {"targets": []}, "targets"),
        ("a", {"targets": ["http://a.example.org:80/metrics"]}, "targets"),
        ("a", {"targets": ["a.example.org"]}, "targets"),
        ("a", {"targets": ["a:1", "a:1"]}, "targets"),
        ("a", {"targets": ["a:1"], "path": "metrics"}, "path"),
        ("a", {"targets": ["a:1"], "scheme": "ftp"}, "scheme"),
        ("a", {"targets": ["a:1"], "interval": 30}, "interval"),
        ("a", {"targets": ["a:1"], "labels": {"a-b": "c"}}, "a-b"),
        ("a", {"targets": ["a:1"], "token": "secret"}, "token"),
        ("A_b", {"targets": ["a:1"]}, "A_b"),
        ("a", {"targets": ["a:1"], "tls": {"insecure": True}}, "scrapeTargets.a.scheme: https"),
        ("a", {"targets": ["a:1"], "authentication": "basic"}, "scrapeTargets.a.existingSecret: NAME"),
        ("kubelet", {"targets": ["a:1"]}, "the job kubelet is a component of the cluster"),
    ],
)
def test_a_target_that_cannot_work_is_refused_by_name(name: str, target: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ChartError) as refused:
        render.render(Request(CHART, settings=(("scrapeTargets", json.dumps({name: target})),)))
    assert complaint in "\n".join([str(refused.value), *refused.value.context])


def test_a_target_can_have_the_job_of_other_ones_so_that_their_alerts_include_it() -> None:
    found = spec("hub-paris")
    assert found["relabelings"] == [{"targetLabel": "job", "replacement": "node-exporter"}]
    assert found["jobName"] == "hub-paris"
