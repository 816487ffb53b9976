from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from maas.dashboards import probe

if TYPE_CHECKING:
    from tests.support.charts import Object, Rendered

LAST_APPLIED_BYTES = 262_144
"""The limit for all annotations of an object together; `kubectl apply` writes the whole object into one."""


def configmaps(objects: tuple[Object, ...]) -> dict[str, Object]:
    """Return the ConfigMaps of dashboards by their folder in Grafana."""
    return {
        entry["metadata"]["annotations"]["grafana_folder"]: entry
        for entry in objects
        if entry["kind"] == "ConfigMap" and "grafana_folder" in entry["metadata"].get("annotations", {})
    }


def test_every_dashboard_is_unchanged_in_the_configmap_of_its_folder(rendered: Rendered) -> None:
    optional = {f"{part}__enabled": "true" for part in ("probes", "slos", "snmp")}
    found = configmaps(rendered("kube-prometheus", **optional))
    assert set(found) == {"Kubernetes", "Resources", "Nodes", "Network", "Platform", "Restaurant"}
    texts = [text for entry in found.values() for text in entry["data"].values()]
    by_uid = {document["uid"]: document for document in map(json.loads, texts)}
    assert by_uid == {document["uid"]: document for document in probe.dashboards()}


@pytest.mark.parametrize("part", ["probes", "slos", "snmp"])
def test_parts_that_are_not_installed_have_none(rendered: Rendered, part: str) -> None:
    assert f"{part}.json" not in configmaps(rendered("kube-prometheus"))["Platform"]["data"]
    installed = rendered("kube-prometheus", **{f"{part}__enabled": "true"})
    assert f"{part}.json" in configmaps(installed)["Platform"]["data"]


def test_kubectl_can_apply_each_of_them(rendered: Rendered) -> None:
    for entry in configmaps(rendered("kube-prometheus")).values():
        assert len(json.dumps(entry).encode()) < LAST_APPLIED_BYTES, entry["metadata"]["name"]


def test_they_have_the_label_that_sidecars_look_for(rendered: Rendered) -> None:
    for entry in configmaps(rendered("kube-prometheus")).values():
        assert entry["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_they_can_be_disabled(rendered: Rendered) -> None:
    assert configmaps(rendered("kube-prometheus", dashboards__enabled="false")) == {}
