"""Every profile, for every Kubernetes and with both Helms: it renders, and is valid for the API server."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from kubernetes_validate import ValidationError, utils
from tests.support.charts import HELMS, PROFILES, Object, of_profile, without_secrets

from maas.codegen import schemas
from maas.helm import NAMESPACE, render
from maas.helm.render import Request

if TYPE_CHECKING:
    from maas.helm.client import Major

# Kinds of neither Kubernetes nor the charts' CRDs, without a schema here; they are disabled by default.
FOREIGN_KINDS = {"HTTPRoute"}

# It reads the same files for each object, which takes ten times as long as the validation.
utils.schema_contents = lru_cache(utils.schema_contents)


@lru_cache
def custom_schemas() -> dict[tuple[str, str], Draft202012Validator]:
    return {kind: Draft202012Validator(schema) for kind, schema in schemas.custom().items()}


@lru_cache(maxsize=4096)
def problem(text: str, kubernetes: str) -> str | None:
    """Return the first fault of an object given as JSON; most are the same in several profiles and are validated once."""
    entry = json.loads(text)
    custom = custom_schemas().get((entry["apiVersion"], entry["kind"]))
    if custom is not None:
        faults = list(custom.iter_errors({**entry, "metadata": {}}))
        return faults[0].message if faults else None
    if entry["kind"] in FOREIGN_KINDS:
        return None
    try:
        utils.validate(entry, kubernetes, strict=True)
    except ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("kubernetes", render.KUBERNETES)
def test_every_object_is_valid_for_the_api_server(profile: str, kubernetes: str, helm: Major) -> None:
    objects = of_profile(profile, kubernetes=kubernetes, helm=helm)
    assert objects
    for entry in objects:
        fault = problem(json.dumps(entry, sort_keys=True), kubernetes)
        assert fault is None, f"{entry['kind']}/{entry['metadata']['name']}: {fault}"


def test_no_object_is_rendered_twice(objects: tuple[Object, ...]) -> None:
    def when(entry: Object) -> str:
        # A hook exists only at its own time.
        hook: str = entry["metadata"].get("annotations", {}).get("helm.sh/hook", "")
        return hook

    seen = [
        (entry["apiVersion"], entry["kind"], entry["metadata"].get("namespace"), entry["metadata"]["name"], when(entry))
        for entry in objects
    ]
    assert len(seen) == len(set(seen))


def test_both_helms_render_the_same_objects(profile: str) -> None:
    assert without_secrets(of_profile(profile, helm="3")) == without_secrets(of_profile(profile, helm="4"))


@pytest.mark.parametrize("name", ["airgap", "external-database", "gitops", "minimal", "network-only"])
def test_two_renders_with_existing_secrets_are_byte_for_byte_equal(name: str) -> None:
    request = Request(render.umbrella(), values=(PROFILES[name],))
    assert render.render_uncached(request) == render.render_uncached(request)


def test_a_secret_is_random_unless_it_is_given() -> None:
    request = Request(render.umbrella())
    first, second = (
        # Alertmanager's configuration must be a Secret, and contains no secret.
        {e["metadata"]["name"]: e["data"] for e in render.parse(text) if e["kind"] == "Secret" and "data" in e}
        for text in (render.render_uncached(request), render.render_uncached(request))
    )
    assert first.keys() == second.keys() == {"restaurant-key", "restaurant-database", "grafana"}
    assert all(first[name] != second[name] for name in first)


def test_with_everything_disabled_nothing_is_rendered() -> None:
    off = tuple((f"{chart.name}.enabled", "false") for chart in render.subcharts())
    assert render.objects(Request(render.umbrella(), settings=off)) == ()


@pytest.mark.parametrize("chart", render.subcharts(), ids=lambda chart: str(chart.name))
@pytest.mark.parametrize("helm", HELMS)
def test_every_subchart_installs_alone_into_the_namespace_of_its_release(chart: Any, helm: Major) -> None:
    objects = render.objects(Request(chart, helm=helm))
    namespaces = {entry["metadata"].get("namespace") for entry in objects} - {None, "kube-system"}
    assert namespaces == {NAMESPACE}
    for entry in objects:
        assert problem(json.dumps(entry, sort_keys=True), render.KUBERNETES[-1]) is None
