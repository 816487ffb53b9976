"""Devices that speak SNMP: the exporter's configuration, where its logins come from, and values that are refused."""

from __future__ import annotations

import json
import re
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
LOGIN = {"version": 2, "existingSecret": "public"}


def modules() -> dict[str, Any]:
    data = one(of_profile(WITH_IT), "ConfigMap", "snmp-exporter")["data"]
    found: dict[str, Any] = yaml.safe_load(data["snmp.yml"])
    return found


def deployment() -> Object:
    return one(of_profile(WITH_IT), "Deployment", "snmp-exporter")


def scrape() -> Object:
    spec: Object = one(of_profile(WITH_IT), "ScrapeConfig", "snmp")["spec"]
    return spec


def test_it_is_disabled_by_default() -> None:
    names = {entry["metadata"]["name"] for entry in of_profile("default")}
    assert not names & {"snmp-exporter", "snmp"}


def test_nothing_runs_without_a_device() -> None:
    found = render.objects(Request(CHART, settings=(("snmp.enabled", "true"),)))
    assert "snmp-exporter" not in {entry["metadata"]["name"] for entry in found}


def test_each_module_exists_once_for_each_login_that_uses_it() -> None:
    assert set(modules()) == {"switches.if_mib", "switches.host_resources", "power-rack.ups_mib"}
    assert modules()["switches.if_mib"]["version"] == 3
    assert modules()["power-rack.ups_mib"]["auth"] == {"community": "$(SNMP_POWER_RACK_COMMUNITY)"}
    auth = modules()["switches.if_mib"]["auth"]
    assert (auth["security_level"], auth["auth_protocol"], auth["priv_protocol"]) == ("authPriv", "SHA256", "AES")


def test_every_login_is_read_from_its_secret_by_the_init_container_alone() -> None:
    spec = pod_spec(deployment())
    (init,) = spec["initContainers"]
    read = {
        entry["name"]: (entry["valueFrom"]["secretKeyRef"]["name"], entry["valueFrom"]["secretKeyRef"]["key"])
        for entry in init["env"]
    }
    assert read == {
        "SNMP_POWER_RACK_COMMUNITY": ("snmp-power", "community"),
        "SNMP_SWITCHES_USERNAME": ("snmp-switches", "username"),
        "SNMP_SWITCHES_PASSWORD": ("snmp-switches", "password"),
        "SNMP_SWITCHES_PRIV_PASSWORD": ("snmp-switches", "privacyPassword"),
    }
    used = set(re.findall(r"\$\((\w+)\)", json.dumps(modules())))
    assert used == set(read), "the config-reloader fails for a variable that is not set"
    assert "env" not in spec["containers"][0]
    memory = next(volume for volume in spec["volumes"] if volume["name"] == "run")
    assert memory["emptyDir"]["medium"] == "Memory", "the configuration with the logins is on no disk"


def test_prometheus_requests_each_module_of_each_device_from_the_exporter() -> None:
    static = scrape()["staticConfigs"]
    found = {(one["labels"]["device"], one["labels"]["module"]): one for one in static}
    assert found.keys() == {("core", "if_mib"), ("core", "host_resources"), ("edge", "if_mib"), ("ups", "ups_mib")}
    assert {one["labels"]["__param_module"] for one in static} == modules().keys()
    assert found["edge", "if_mib"]["targets"] == ["edge.example.org:1161"]
    assert found["core", "if_mib"]["labels"]["site"] == "paris"
    assert scrape()["relabelings"][-1] == {"targetLabel": "__address__", "replacement": "snmp-exporter.monitoring:9116"}


def test_every_object_that_is_read_has_a_metric_or_names_one() -> None:
    for name, module in yaml.safe_load((CHART / "files" / "snmp-modules.yaml").read_text()).items():
        walked = set(module["walk"])
        for metric in module["metrics"]:
            assert metric["help"].endswith("."), metric["name"]
            needed = {metric["oid"], *(lookup["oid"] for lookup in metric.get("lookups", []))}
            if "indexes" in metric:
                assert needed <= walked, (name, metric["name"])
            else:
                assert f"{metric['oid']}.0" in module["get"], (name, metric["name"])
        known = {metric["oid"] for metric in module["metrics"]}
        known |= {lookup["oid"] for metric in module["metrics"] for lookup in metric.get("lookups", [])}
        assert walked | {oid.removesuffix(".0") for oid in module["get"]} == known, name


def test_a_changed_device_restarts_the_exporter() -> None:
    def checksum(login: dict[str, Any]) -> Any:
        settings = (
            ("snmp.enabled", "true"),
            ("snmp.logins", json.dumps({"a": login})),
            ("snmp.targets", json.dumps({"b": {"target": "192.0.2.1", "login": "a"}})),
        )
        found = one(render.objects(Request(CHART, settings=settings)), "Deployment", "snmp-exporter")
        return found["spec"]["template"]["metadata"]["annotations"]["checksum/modules"]

    assert checksum(LOGIN) != checksum({"version": 3, "existingSecret": "public"})


@pytest.mark.parametrize(
    ("login", "device", "told"),
    [
        (
            LOGIN,
            {"target": "192.0.2.1", "login": "a", "modules": ["if_mib", "cisco"]},
            "snmp.targets.b.modules has cisco, which is no module. Use host_resources, if_mib, ups_mib.",
        ),
        (LOGIN, {"target": "192.0.2.1", "login": "c"}, "snmp.targets.b.login is c, which is not in snmp.logins"),
        (LOGIN, {"target": "http://192.0.2.1", "login": "a"}, "target"),
        (LOGIN, {"login": "a"}, "target"),
        ({"version": 2}, {"target": "192.0.2.1", "login": "a"}, "existingSecret"),
        ({"version": 1, "existingSecret": "public"}, {"target": "192.0.2.1", "login": "a"}, "version"),
        (
            LOGIN | {"authProtocol": "SHA"},
            {"target": "192.0.2.1", "login": "a"},
            "snmp.logins.a.authProtocol has no effect: this login uses version 2 of SNMP",
        ),
        (
            {"version": 3, "existingSecret": "s", "securityLevel": "authNoPriv", "privacyProtocol": "AES"},
            {"target": "192.0.2.1", "login": "a"},
            "snmp.logins.a.privacyProtocol has no effect: this login uses the security level authNoPriv",
        ),
    ],
)
def test_a_device_that_cannot_be_read_is_refused_by_name(
    login: dict[str, Any], device: dict[str, Any], told: str
) -> None:
    settings = (
        ("snmp.enabled", "true"),
        ("snmp.logins", json.dumps({"a": login})),
        ("snmp.targets", json.dumps({"b": device})),
    )
    with pytest.raises(ChartError) as refused:
        render.render(Request(CHART, settings=settings))
    assert told in "\n".join([str(refused.value), *refused.value.context])
