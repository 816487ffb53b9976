"""Values: a closed schema, complete documentation, and errors with the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.charts import HELMS, refusal

from maas.codegen import values
from maas.helm import render, values_files
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from maas.codegen.values import Leaf
    from maas.helm.client import Major

CHARTS = [render.umbrella(), *render.subcharts()]


def schema_of(chart: Path) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    return schema


def values_of(chart: Path) -> dict[str, Any]:
    (values,) = render.parse((chart / "values.yaml").read_text(encoding="utf-8"))
    return dict(values)


def written(content: Any, leaf: Leaf) -> Any:
    """Return the content of a values.yaml at the path of a value."""
    for key in leaf.path:
        content = content[key]
    return content


def names(chart: Path) -> str:
    return chart.name if chart.parent.name == "charts" else "maas"


@pytest.mark.parametrize("chart", CHARTS, ids=names)
def test_the_schema_is_valid_and_accepts_the_charts_own_values(chart: Path) -> None:
    schema = schema_of(chart)
    Draft202012Validator.check_schema(schema)
    # Helm adds `global`, and in the umbrella the values of subcharts.
    given = values_files.merge({"global": values_of(render.umbrella())["global"]}, values_of(chart))
    if chart == render.umbrella():
        given = values_files.merge({part.name: values_of(part) for part in render.subcharts()}, given)
    assert not [error.message for error in Draft202012Validator(schema).iter_errors(given)]


@pytest.mark.parametrize("chart", render.subcharts(), ids=names)
def test_every_value_has_a_description_and_its_default_in_values_yaml(chart: Path) -> None:
    leaves = [leaf for leaf in values.chart(chart).tree.leaves() if not leaf.umbrella]
    content = values_of(chart)
    assert [leaf.path for leaf in leaves if written(content, leaf) != leaf.default] == []
    assert [leaf.path for leaf in leaves if not leaf.description] == []
    assert len(leaves) > 10


def test_the_umbrellas_defaults_override_those_of_its_subcharts() -> None:
    for chart in values.charts():
        for name, given in chart.overrides.items():
            overridden = flattened(given)
            for leaf in chart.tree.leaves():
                if leaf.path[0] == name and leaf.path[1:] in overridden:
                    assert overridden[leaf.path[1:]] == leaf.default == written(values_of(chart.directory), leaf)


def flattened(given: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return all values below some values by their path, also the maps."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in given.items():
        found[(*above, key)] = value
        if isinstance(value, dict):
            found |= flattened(value, (*above, key))
    return found


@pytest.mark.parametrize("chart", CHARTS, ids=names)
def test_every_object_of_the_schema_is_closed(chart: Path) -> None:
    root = schema_of(chart)

    def walk(node: Any, name: str) -> Iterator[str]:
        if isinstance(node, dict):
            # `global` belongs to every chart of a release.
            is_open = (
                name != "global" and node.get("type") == "object" and node.get("additionalProperties") is not False
            )
            if is_open and "properties" in node:
                yield name
            for key, entry in node.items():
                yield from walk(entry, key)
        if isinstance(node, list):
            for entry in node:
                yield from walk(entry, name)

    assert list(walk(root, "")) == []


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"restaurnt__enabled": True}, "additional properties 'restaurnt' not allowed"),
        ({"restaurant__replica": 2}, "additional properties 'replica' not allowed"),
        (
            {"restaurant__database__postgresql__storge": "1Gi"},
            "at '/restaurant/database/postgresql': additional properties 'storge'",
        ),
        ({"calico__enabled": "yes"}, "at '/calico/enabled': got string, want boolean"),
        ({"calico__enabled": True, "calico__mtu": 100}, "at '/calico/mtu': minimum: got 100, want 1,280"),
        ({"calico__enabled": True, "calico__ipPool__cidr": "10.0.0.0"}, "at '/calico/ipPool/cidr'"),
        ({"calico__enabled": True, "calico__ipPool__vxlanMode": "Never"}, "at '/calico/ipPool/vxlanMode'"),
        ({"kube-prometheus__metricsServer__enabled": "maybe"}, "at '/kube-prometheus/metricsServer/enabled'"),
        ({"kube-prometheus__metricsServer__resolution": "5s"}, "at '/kube-prometheus/metricsServer/resolution'"),
        ({"restaurant__image__digest": "sha256:12"}, "at '/restaurant/image/digest'"),
        ({"restaurant__autoscaling__maxReplicas": 0}, "at '/restaurant/autoscaling/maxReplicas': minimum"),
        ({"restaurant__settings__timezone": ""}, "at '/restaurant/settings/timezone'"),
        ({"restaurant__resources__requests__cpu": "lots"}, "at '/restaurant/resources/requests/cpu'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(settings: dict[str, Any], message: str, helm: Major) -> None:
    assert message in refusal(helm, **settings)


@pytest.mark.parametrize("chart", render.subcharts(), ids=names)
def test_a_subchart_accepts_the_umbrellas_own_keys_when_it_is_installed_alone(chart: Path) -> None:
    # Without them, a chart with a closed schema cannot be a subchart of any other; helm/helm#10392.
    settings = (("global", '{"imageRegistry": "mirror"}'), ("enabled", "true"))
    assert render.objects(Request(chart, settings=settings))


@pytest.mark.parametrize("helm", HELMS)
def test_calico_is_refused_over_a_given_network(helm: Major) -> None:
    message = refusal(helm, calico__enabled=True, calico__existingNetwork="flannel")
    assert "flannel: the value calico.existingNetwork" in message
    assert "calico:\n      enabled: false" in message


def test_the_errors_of_a_subchart_alone_have_paths_without_a_prefix() -> None:
    message = refusal("4", render.umbrella() / "charts" / "calico", existingNetwork="cilium")
    assert "cilium: the value existingNetwork" in message
    assert "calico:" not in message


@pytest.mark.parametrize("helm", HELMS)
def test_more_connections_than_the_limit_of_the_database_are_refused_with_the_sum(helm: Major) -> None:
    message = refusal(helm, restaurant__database__poolSize=5)
    assert "(40 pods + 10 during an update) x 5 connections + 10 reserved = 260, more than the limit of 120" in message
    assert "restaurant.database.postgresql.maxConnections: 260" in message
    assert "restaurant.database.poolSize: 2" in message


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"autoscaling__maxReplicas": 60}, "(60 pods + 15 during an update) x 2 connections + 10 reserved = 160"),
        ({"updateStrategy__maxSurge": 30}, "(40 pods + 30 during an update) x 2 connections + 10 reserved = 150"),
        ({"updateStrategy__maxSurge": "33%"}, "(40 pods + 14 during an update) x 2 connections + 10 reserved = 118"),
        ({"autoscaling__enabled": False, "replicas": 99}, "(99 pods + 25 during an update) x 2 connections"),
        ({"database__reservedConnections": 21}, "+ 21 reserved = 121, more than the limit of 117"),
    ],
)
def test_the_sum_includes_the_maximum_of_pods(settings: dict[str, Any], total: str) -> None:
    message = refusal(
        "4", render.umbrella() / "charts" / "restaurant", database__postgresql__maxConnections=117, **settings
    )
    assert total in message


def test_a_sum_equal_to_the_limit_is_accepted() -> None:
    settings = (("database.postgresql.maxConnections", "110"),)
    assert render.objects(Request(render.umbrella() / "charts" / "restaurant", settings=settings))


def test_a_limit_that_no_pool_size_can_meet_suggests_fewer_pods() -> None:
    message = refusal("4", render.umbrella() / "charts" / "restaurant", database__postgresql__maxConnections=50)
    assert "or reduce the number of pods" in message


def test_the_limit_of_an_external_database_is_checked_if_it_is_given() -> None:
    external = {"database__type": "external", "database__existingSecret": "x", "database__external__host": "db"}
    restaurant = render.umbrella() / "charts" / "restaurant"
    assert "more than the limit of 100" in refusal("4", restaurant, database__external__maxConnections=100, **external)
    pairs = tuple((path.replace("__", "."), json.dumps(value)) for path, value in external.items())
    assert render.objects(Request(restaurant, settings=pairs))


def test_as_many_kitchen_screens_as_threads_are_refused_with_the_sum() -> None:
    message = refusal("4", restaurant__settings__maxStreams=8)
    assert "8 streams >= 8 threads" in message
    assert "restaurant.settings.maxStreams: 4" in message
    assert "restaurant.settings.threads: 16" in message


def test_the_kitchens_late_threshold_must_be_above_its_warning_threshold() -> None:
    message = refusal("4", restaurant__settings__kitchenWarningMinutes=20)
    assert "(20 minutes) must be greater than its warning threshold (20 minutes)" in message
    assert "restaurant.settings.kitchenLateMinutes: 40" in message


@pytest.mark.parametrize("settings", [{}, {"autoscaling__enabled": False, "replicas": 2}], ids=["autoscaled", "two"])
def test_sqlite_with_several_pods_is_refused(settings: dict[str, Any]) -> None:
    message = refusal("4", render.umbrella() / "charts" / "restaurant", database__type="sqlite", **settings)
    assert "SQLite supports a single pod" in message
    assert "database.type: postgresql" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"database__type": "external"}, "database.external.host: db.example.org"),
        ({"database__type": "external", "database__external__host": "db"}, "database.existingSecret: NAME"),
        ({"ingress__enabled": True}, "ingress.hosts: [restaurant.example.org]"),
        ({"httpRoute__enabled": True}, "httpRoute.parentRefs: "),
        ({"payments__online__url": "https://pay.example.org"}, "payments.online.existingSecret: SECRET"),
        (
            {
                "payments__online__url": "https://api.stripe.com",
                "payments__online__existingSecret": "stripe",
                "payments__online__provider": "stripe",
            },
            "messages.publicUrl: https://restaurant.example.org",
        ),
        ({"settings__depositPerCover": 1000}, "payments.online.url: https://pay.example.org"),
        ({"settings__depositFixed": 1}, "settings.depositFixed: 0"),
        ({"autoscaling__minReplicas": 41}, "autoscaling.minReplicas (41) is greater than autoscaling.maxReplicas (40)"),
    ],
)
def test_a_missing_value_is_an_error_with_an_example(settings: dict[str, Any], message: str) -> None:
    assert message in refusal("4", render.umbrella() / "charts" / "restaurant", **settings)


def test_components_of_different_pod_security_levels_cannot_share_a_namespace() -> None:
    message = refusal("4", calico__enabled=True, calico__namespaceOverride="restaurant")
    assert "calico and restaurant share the namespace restaurant" in message
