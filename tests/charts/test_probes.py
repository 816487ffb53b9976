"""Probes of what is outside: their configuration, and values that are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.charts import of_profile, one, pod_spec

from maas.errors import ChartError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from tests.support.charts import Object

CHART = render.umbrella() / "charts" / "kube-prometheus"
WITH_IT = "probes"


def modules() -> dict[str, Any]:
    data = one(of_profile(WITH_IT), "ConfigMap", "blackbox-exporter")["data"]
    found: dict[str, Any] = yaml.safe_load(data["blackbox.yml"])["modules"]
    return found


def scrape() -> Object:
    spec: Object = one(of_profile(WITH_IT), "ScrapeConfig", "probes")["spec"]
    return spec


def test_they_are_disabled_by_default() -> None:
    names = {entry["metadata"]["name"] for entry in of_profile("default")}
    assert not names & {"blackbox-exporter", "probes"}


def test_each_probe_has_a_module_of_its_type() -> None:
    assert {name: module["prober"] for name, module in modules().items()} == {
        "shop": "http",
        "api": "http",
        "mail": "tcp",
        "names": "dns",
        "router": "icmp",
    }
    assert modules()["shop"]["http"]["fail_if_body_not_matches_regexp"] == ["Menu"]
    assert modules()["api"]["http"]["valid_status_codes"] == [200, 204]
    assert modules()["mail"]["tcp"]["tls"] is True
    assert modules()["names"]["dns"]["query_name"] == "www.example.org"
    assert modules()["names"]["dns"]["query_type"] == "A"


def test_prometheus_requests_each_target_with_its_module_from_the_exporter() -> None:
    assert scrape()["jobName"] == "probe"
    targets = {one["labels"]["probe"]: (one["targets"], one["labels"]["type"]) for one in scrape()["staticConfigs"]}
    assert targets.keys() == modules().keys()
    assert targets["mail"] == (["mail.example.org:465"], "tcp")
    assert targets["shop"] == (["https://shop.example.org/"], "http")
    assert scrape()["relabelings"][-1] == {
        "targetLabel": "__address__",
        "replacement": "blackbox-exporter.monitoring:9115",
    }


def test_a_ping_needs_no_capability() -> None:
    spec = pod_spec(one(of_profile(WITH_IT), "Deployment", "blackbox-exporter"))
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}]
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_changed_probe_restarts_the_exporter() -> None:
    def checksum(**probe: Any) -> Any:
        settings = (("probes.enabled", "true"), ("probes.targets", json.dumps({"a": probe})))
        deployment = one(render.objects(Request(CHART, settings=settings)), "Deployment", "blackbox-exporter")
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/modules"]

    assert checksum(target="http://a.example.org/") != checksum(target="http://a.example.org/", content="b")


@pytest.mark.parametrize(
    ("probe", "told"),
    [
        ({"content": "Menu"}, "target"),
        ({"target": ""}, "target"),
        ({"target": "https://a b/"}, "target"),
        ({"type": "smtp", "target": "mail.example.org"}, "type"),
        ({"target": "https://a/", "state": [200]}, "state"),
        ({"target": "https://a/", "status": [20]}, "status"),
        ({"target": "shop.example.org"}, "needs a URL such as"),
        ({"type": "tcp", "target": "mail.example.org"}, "needs a host and port such as"),
        ({"type": "dns", "target": "https://a/", "query": "a"}, "needs a name server such as"),
        ({"type": "dns", "target": "192.0.2.53"}, "probes.targets.a.query: www.example.org"),
        ({"type": "ping", "target": "http://a/"}, "needs a host such as"),
        ({"type": "ping", "target": "a", "content": "b"}, "is for probes of type http"),
    ],
)
def test_a_probe_that_cannot_work_is_refused_by_name(probe: dict[str, Any], told: str) -> None:
    settings = (("probes.enabled", "true"), ("probes.targets", json.dumps({"a": probe})))
    with pytest.raises(ChartError) as refused:
        render.render(Request(CHART, settings=settings))
    message = "\n".join([str(refused.value), *refused.value.context])
    assert told in message
    assert "targets" in message
