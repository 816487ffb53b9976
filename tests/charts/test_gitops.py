"""The examples for Argo CD and Flux use existing files, and render."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes import client
from tests.support.charts import PROFILES

from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from maas.cluster.client import Cluster

TEXT = (render.umbrella() / "docs" / "installing.md").read_text(encoding="utf-8")


def examples() -> dict[str, dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    return {entry["kind"]: entry for block in blocks for entry in yaml.safe_load_all(block)}


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Application", ("source", "helm", "valueFiles")), ("HelmRelease", ("chart", "spec", "valuesFiles"))],
)
def test_an_example_renders_with_its_values_and_the_same_twice(kind: str, path: tuple[str, ...]) -> None:
    found: Any = examples()[kind]["spec"]
    for key in path:
        found = found[key]
    request = Request(render.umbrella(), values=tuple(render.umbrella() / file for file in found))
    assert render.render_uncached(request) == render.render_uncached(request)


def test_crds_too_large_for_an_annotation_are_applied_server_side() -> None:
    found = examples()
    assert "ServerSideApply=true" in found["Application"]["spec"]["syncPolicy"]["syncOptions"]
    for step in ("install", "upgrade"):
        assert found["HelmRelease"]["spec"][step]["crds"] == "CreateReplace"


def test_argo_cd_compares_with_what_the_api_server_would_make_of_the_manifests() -> None:
    annotations = examples()["Application"]["metadata"]["annotations"]
    assert annotations == {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}


@pytest.mark.xdist_group("api")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_templates_of_claims_are_what_the_api_server_returns(api: Cluster) -> None:
    size = (("restaurant.database.postgresql.storage.size", '"1.5Gi"'),)
    objects = render.objects(Request(render.umbrella(), values=(PROFILES["gitops"],), settings=size))
    (rendered,) = [entry for entry in objects if entry["kind"] == "StatefulSet"]
    body = {**rendered, "metadata": {**rendered["metadata"], "namespace": "default"}}
    apps = client.AppsV1Api(api.client)
    made = apps.create_namespaced_stateful_set("default", body, dry_run="All", _preload_content=False)
    (returned,) = json.loads(made.data)["spec"]["volumeClaimTemplates"]
    returned["metadata"].pop("creationTimestamp", None)
    assert returned == rendered["spec"]["volumeClaimTemplates"][0]


def test_every_profile_of_the_page_exists() -> None:
    assert {
        file for file in re.findall(r"`(ci/[\w-]+\.yaml)`", TEXT) if not (render.umbrella() / file).is_file()
    } == set()
