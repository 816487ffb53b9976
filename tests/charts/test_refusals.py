"""What the schemas refuse: formats that the API server would refuse, null, and each mistake in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.charts import HELMS, Rendered, one, refusal, workloads

from maas.codegen import values
from maas.codegen.values import Branch
from maas.helm import render, values_files
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.helm.client import Major

VALIDATOR = Draft202012Validator(
    json.loads((render.umbrella() / "values.schema.json").read_text(encoding="utf-8")),
)
DEFAULTS = values_files.merge(
    # As Helm merges them before it validates.
    {"common": {}},
    {chart.name: {"global": {}} | values_files.read([chart / "values.yaml"]) for chart in render.subcharts()},
    values_files.read([render.umbrella() / "values.yaml"]),
)


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def problems(path: str, value: Any) -> list[str]:
    """Return the schema's problems with a value, each by its path and the keyword that refuses it."""
    given = values_files.merge(DEFAULTS, nested(path, value))
    return [f"{'.'.join(map(str, error.absolute_path))} {error.validator}" for error in VALIDATOR.iter_errors(given)]


def lines(message: str) -> list[str]:
    return [line for line in message.splitlines() if "- at '" in line]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"global__imagePullSecrets": "a"}, "- at '/global/imagePullSecrets': got string, want array"),
        ({"restaurant__replica": 3}, "- at '/restaurant': additional properties 'replica' not allowed"),
        ({"kube-prometheus__grafana": None}, "- at '/kube-prometheus': missing property 'grafana'"),
        ({"restaurant__settings__name": None}, "- at '/restaurant/settings': missing property 'name'"),
        ({"global__imageRegistry": None}, "- at '/global': missing property 'imageRegistry'"),
        ({"namespaces": None}, "- at '': missing property 'namespaces'"),
        ({"global__imageRegistry": "a/"}, "- at '/global/imageRegistry': 'a/' does not match pattern"),
        (
            {"restaurant__podDisruptionBudget__maxUnavailable": "x"},
            "- at '/restaurant/podDisruptionBudget/maxUnavailable'",
        ),
        ({"calico__mtu": 100}, "- at '/calico/mtu': minimum: got 100, want 1,280"),
        ({"dashboard__service__port": 70000}, "- at '/dashboard/service/port': maximum"),
    ],
)
def test_one_mistake_is_one_line(settings: dict[str, Any], line: str, helm: Major) -> None:
    (found,) = lines(refusal(helm, **settings))
    assert found.startswith(line)


def keys(branch: Branch) -> Iterator[tuple[str, ...]]:
    for child in branch.children:
        yield child.path
        if isinstance(child, Branch):
            yield from keys(child)


def without(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Return values without one key, as Helm leaves them for null; the defaults of a subchart return with null for it."""
    first, *rest = path
    changed = dict(tree)
    if rest:
        changed[first] = without(tree[first], tuple(rest))
    else:
        del changed[first]
    return changed


@pytest.mark.parametrize("chart", values.charts(), ids=lambda chart: str(chart.name))
def test_null_for_any_key_is_one_problem_that_names_the_key(chart: values.Chart) -> None:
    validator = Draft202012Validator(chart.schema)
    defaults = DEFAULTS if chart.name == "maas" else values_files.read([chart.directory / "values.yaml"])
    if chart.name == "maas":
        defaults = values_files.merge(defaults, {"calico": {"enabled": True}})
    else:
        defaults = values_files.merge({"global": DEFAULTS["global"], "common": {}}, defaults)
    assert list(validator.iter_errors(defaults)) == []
    checked = 0
    for path in keys(chart.tree):
        if path == ("enabled",) or (chart.name == "maas" and path in {(child.name,) for child in render.subcharts()}):
            continue
        (error,) = validator.iter_errors(without(defaults, path))
        assert (error.validator, tuple(error.absolute_path)) == ("required", path[:-1])
        assert f"'{path[-1]}' is a required property" in error.message
        checked += 1
    assert checked > 30


def test_values_of_a_disabled_chart_may_be_incomplete() -> None:
    off = tuple((f"{chart.name}.enabled", "false") for chart in render.subcharts())
    assert render.objects(Request(render.umbrella(), settings=(*off, ("calico.node.image.tag", '"v3.32.0"')))) == ()


@pytest.mark.parametrize("helm", HELMS)
def test_values_of_other_charts_are_allowed_in_global(helm: Major, rendered: Rendered) -> None:
    objects = rendered(
        "", helm=helm, global__environment='"production"', global__imagePullSecrets='[{"name": "a"}, "b"]'
    )
    assert one(objects, "Deployment", "grafana")["spec"]["template"]["spec"]["imagePullSecrets"] == [
        {"name": "a"},
        {"name": "b"},
    ]


def parent(directory: Path, given: dict[str, Any]) -> Path:
    """Write a chart that has the umbrella as a dependency under a condition."""
    chart = directory / "platform"
    render.copy_with_libraries(render.umbrella(), chart / "charts" / "maas")
    dependency = {"name": "maas", "version": "0.1.0", "condition": "maas.enabled"}
    described = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (chart / "Chart.yaml").write_text(json.dumps(described), encoding="utf-8")
    (chart / "values.yaml").write_text(json.dumps(given), encoding="utf-8")
    return chart


def test_the_umbrella_is_a_dependency_under_a_condition(tmp_path: Path) -> None:
    chart = parent(tmp_path, {"global": {"environment": "production"}, "maas": {"enabled": True}})
    assert render.parse(render.render_uncached(Request(chart)))
    assert render.parse(render.render_uncached(Request(chart, settings=(("maas.enabled", "false"),)))) == []


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("restaurant.database.poolSize", 5, "    maas.restaurant.database.poolSize: 2"),
        ("kube-prometheus.grafana.ingress.enabled", True, "    maas.kube-prometheus.grafana.ingress.hosts: ["),
        ("calico", {"enabled": True, "existingNetwork": "cilium"}, "    maas.calico:\n      enabled: false"),
        ("restaurant.namespaceOverride", "node-exporter", "    maas.restaurant:\n      namespaceOverride: NAMESPACE"),
    ],
)
def test_a_refusal_has_the_path_from_the_outermost_chart(tmp_path: Path, path: str, value: Any, named: str) -> None:
    message = refusal("4", parent(tmp_path, {"maas": nested(path, value)}))
    assert named in message


REGISTRIES = [
    "",
    "quay.io",
    "registry.example.org:5000/mirror",
    "localhost:5000",
    "10.0.0.1:5000/a/b__c/d-e",
    "[2001:db8::1]:5000",
]
NOT_REGISTRIES = [
    "quay.io/",
    "https://quay.io",
    "Quay.io",
    "quay.io/Mirror",
    "quay.io:port",
    "a//b",
    "a b",
    "a/b:1",
    "a/.b",
    "-a",
    "a_/b",
]


@pytest.mark.parametrize("path", ["global.imageRegistry", "restaurant.image.registry", "calico.cni.image.registry"])
def test_registries_match_the_grammar_of_references(path: str) -> None:
    good = [value for value in REGISTRIES if value or path.startswith("global")]
    assert [value for value in good if problems(path, value)] == []
    assert [value for value in NOT_REGISTRIES if problems(path, value) != [f"{path} pattern"]] == []


def test_every_image_matches_the_grammar_of_references() -> None:
    images = [path for path in keys(values.chart(render.umbrella()).tree) if path[-1] == "repository"]
    assert len(images) > 15
    repositories = ["a", "foo--bar/prom", "team__x/prom", "a.b/c_d/e-f"]
    digests = [f"sha256:{'0' * 64}", f"sha512:{'a' * 128}"]
    for path in images:
        place = ".".join(path[:-1])
        for key, good, wrong in (
            ("repository", repositories, ["", "A", "a/", "/a", "a//b", "a___b", "a..b", "a:1", "a b", "-a"]),
            ("tag", ["", "latest", "v1.2.3", "_a", "A.b-c", "a" * 128], ["-a", ".a", "a" * 129, "a b", "a:b", "é"]),
            ("digest", ["", *digests], ["sha256:0", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}", "0" * 64, "md5:0"]),
        ):
            assert [value for value in good if problems(f"{place}.{key}", value)] == []
            assert [value for value in wrong if problems(f"{place}.{key}", value) != [f"{place}.{key} pattern"]] == []


def test_a_mirror_replaces_every_registry(rendered: Rendered) -> None:
    objects = rendered("", global__imageRegistry='"registry.example.org:5000/mirror"')
    found = [
        entry["image"]
        for workload in workloads(objects)
        for entry in workload["spec"].get("template", workload)["spec"]["containers"]
    ]
    assert len(found) > 5
    assert [image for image in found if not image.startswith("registry.example.org:5000/mirror/")] == []


@pytest.mark.parametrize("component", ["prometheusOperator", "prometheus", "alertmanager"])
def test_a_tag_that_is_not_a_version_needs_the_version(component: str, rendered: Rendered) -> None:
    tag = f"kube-prometheus__{component}__image__tag"
    assert f"    kube-prometheus.{component}.version: VERSION" in refusal("4", None, **{tag: "latest"})
    version = {f"kube-prometheus__{component}__version": '"v0.93.1"'}
    objects = rendered("", **{tag: '"latest"'}, **version)
    if component != "prometheusOperator":
        (found,) = [entry for entry in objects if entry["kind"] == component.capitalize()]
        assert found["spec"]["version"] == "v0.93.1"
        assert found["spec"]["image"].endswith(":latest")


@pytest.mark.parametrize(("tag", "version"), [("v3.16.0", "v3.16.0"), ("3.16.0-debian-12-r0", "3.16.0")])
def test_the_version_is_the_one_in_the_tag(tag: str, version: str, rendered: Rendered) -> None:
    objects = rendered("kube-prometheus", prometheus__image__tag=json.dumps(tag))
    (found,) = [entry for entry in objects if entry["kind"] == "Prometheus"]
    assert found["spec"]["version"] == version


@pytest.mark.parametrize("tag", ["main", "sha-12ab", "3.16", "1.2.3x", "15-bookworm"])
def test_other_tags_are_not_versions(tag: str) -> None:
    assert "which is not a version" in refusal("4", None, **{"kube-prometheus__prometheus__image__tag": tag})


URLS = ["https://a.example.org", "http://10.0.0.1:9090/a?b=c", "https://[2001:db8::1]/"]
NOT_URLS = ["a.example.org", "ftp://a.example.org", "https://", "https://a b/", "https://999.1.1.1/", 'https://a/"']
DURATIONS = ["30s", "1m30s", "1h30m", "15d", "250ms"]
NOT_DURATIONS = ["30", "s", "30 s", "1s1h", "-1s", "1.5h", "1H"]
QUANTITIES = ["100m", "1", "1.5", "64Mi", 1, 0.5]
NOT_QUANTITIES = ["lots", "-1", "1 Gi", "1GB", -1, "1mb"]
NAMES = ["a", "shop-1"]
NOT_NAMES = ["-", "A", "a_b", "a-", "a b", "a" * 64]


@pytest.mark.parametrize(
    ("path", "good", "wrong"),
    [
        ("restaurant.ingress.hosts", ["shop.example.org", "*.example.org", "shop"], ["https://a", "A.org", "a.org/", "10.0.0.1", "a..b", "a_b"]),
        ("restaurant.settings.prefix", ["", "/restaurant", "/a/b-1/~c.d"], ["/", "restaurant", "/a/", "//a", "/a//b", "/../a", "/a b", "https://a"]),
        ("restaurant.httpRoute.hostnames", ["shop.example.org", "*.example.org"], ["https://a", "*", "a.*.org", "10.0.0.1"]),
        ("restaurant.ingress.className", ["", "nginx", "nginx.internal"], ["-", "Nginx", "a b", "a..b"]),
        ("restaurant.ingress.tlsSecret", ["", "tls"], ["-", "a_b", "A"]),
        ("restaurant.database.external.host", ["", "db", "db.example.org", "10.0.0.1", "2001:db8::1"], ["https://db", "db:5432", "999.1.1.1", "a b"]),
        ("restaurant.database.postgresql.storage.className", ["", "fast"], ["-", "Fast", "a b"]),
        ("restaurant.database.postgresql.storage.size", ["2Gi", "1.5Gi", "0.5Ti"], ["0Gi", "2", "2GB", "-1Gi", "0.0Gi"]),
        ("restaurant.database.passwordKey", ["password", "a.b"], ["a/b", "a b", ".a", ""]),
        ("restaurant.resources", [{"limits": {"cpu": quantity}} for quantity in QUANTITIES], [{"limits": {"cpu": quantity}} for quantity in NOT_QUANTITIES]),
        ("restaurant.podLabels", [{"a": "b"}, {"example.org/a": ""}], [{"a b": "c"}, {"a": "b c"}, {"a": "b" * 64}]),
        ("restaurant.podAnnotations", [{"example.org/a": "b c"}], [{"a b": "c"}, {"/a": "b"}]),
        ("restaurant.settings.bookingTimes", ["12:00-13:45,19:00-22:00"], ["25:00-26:00", "12:00", "12:00-13:60"]),
        ("restaurant.settings.depositPerCover", [0, 100_000], [-1, 100_001, 12.5, "1000"]),
        ("restaurant.settings.depositFixed", [0, 1_000_000], [-1, 1_000_001]),
        ("restaurant.settings.depositCovers", [1, 60], [0, 61]),
        ("restaurant.settings.depositRefundHours", [0, 720], [-1, 721]),
        ("restaurant.settings.depositPayMinutes", [16, 1440], [15, 1441]),
        ("restaurant.networkPolicy.from", [[{"ipBlock": {"cidr": "10.0.0.0/8"}}]], [[{"ipBlock": {"cidr": "10.0.0.0"}}], [{"ipBlock": {}}]]),
        ("restaurant.priorityClassName", ["", "high"], ["High", "a b"]),
        ("restaurant.tracing.endpoint", ["", *URLS], NOT_URLS),
        ("restaurant.autoscaling.saturation.prometheus", URLS, ["", *NOT_URLS]),
        ("restaurant.serviceMonitor.interval", ["", *DURATIONS], NOT_DURATIONS),
        ("restaurant.namespaceOverride", ["", *NAMES], NOT_NAMES),
        ("calico.ipPool.cidr", ["10.91.0.0/16", "192.168.0.0/24"], ["999.91.0.0/16", "10.91.0.0/40", "10.91.0.0", "010.0.0.0/8", "2001:db8::/64"]),
        ("calico.apiServer.host", ["", "10.0.0.1", "2001:db8::1", "api.example.org"], ["https://a", "10.0.0.1:6443", "10.0.0.256"]),
        ("global.apiServer.addresses", [["10.90.0.1/32"], ["2001:db8::/64"]], [["10.90.0.1"], ["10.90.0.1/33"], ["2001:db8::/129"], ["a/8"]]),
        ("global.imagePullSecrets", [["a"], [{"name": "a"}]], [["A"], [{}]]),
        ("kube-prometheus.prometheus.externalUrl", ["", *URLS], NOT_URLS),
        ("kube-prometheus.prometheus.scrapeInterval", DURATIONS, ["", *NOT_DURATIONS]),
        ("kube-prometheus.prometheus.externalLabels", [{"cluster": "a b"}], [{"a-b": "c"}, {"0": "a"}]),
        ("kube-prometheus.alertmanager.retention", ["120h", "1h30m"], ["5d", "1w", *NOT_DURATIONS[:3]]),
        ("kube-prometheus.alertmanager.groupBy", [["alertname", "..."]], [["a-b"], [""]]),
        ("kube-prometheus.alertmanager.receivers", [[{"name": "a", "type": "slack", "matchers": ['a="b"']}]], [[{"name": "a", "type": "slack", "matchers": ["critical"]}], [{"name": "a", "type": "slack", "key": "a/b"}]]),
        ("kube-prometheus.grafana.oidc.authUrl", ["", *URLS], NOT_URLS),
        ("kube-prometheus.grafana.oidc.name", ["Single sign-on"], ["a\nb"]),
        ("kube-prometheus.rules.thresholds.jobDuration", ["12h", "1d12h"], ["12", "1h1d", ""]),
        ("kube-prometheus.rules.runbookUrl", ["https://a/{alert}"], ["https://a/", "https://a b/{alert}"]),
        ("dashboard.bindings", [[{"role": "viewer", "accounts": ["a/b"]}]], [[{"role": "viewer", "accounts": ["A/b"]}], [{"role": "viewer", "namespaces": ["A"]}]]),
    ],
)  # fmt: skip
def test_formats_are_those_of_the_api(path: str, good: list[Any], wrong: list[Any]) -> None:
    def as_given(value: Any) -> Any:
        return [value] if path.endswith(("hosts", "hostnames")) else value

    assert [value for value in good if problems(path, as_given(value))] == []
    assert [value for value in wrong if len(problems(path, as_given(value))) != 1] == []


@pytest.mark.parametrize("cidr", ["10.91.5.0/16", "10.91.0.65/26", "10.91.0.0/28"])
def test_a_pool_starts_at_its_first_address_and_has_room_for_a_block(cidr: str) -> None:
    assert f"calico.ipPool.cidr is {cidr}" in refusal("4", calico__enabled=True, calico__ipPool__cidr=cidr)


def test_names_have_no_dots_of_the_release() -> None:
    for chart in (render.umbrella(), render.umbrella() / "charts" / "restaurant"):
        manifest = release(chart, "shop.v2")
        named = {(entry["kind"], entry["metadata"]["name"]) for entry in render.parse(manifest)}
        assert [
            name
            for kind, name in named
            if kind in ("Service", "StatefulSet", "Prometheus", "Alertmanager") and "." in name
        ] == []
        assert ("Service", "restaurant" if chart == render.umbrella() else "shop-v2-restaurant") in named


@pytest.mark.parametrize("name", ["123", "1e3", "null"])
def test_any_name_of_a_release_is_a_string(name: str) -> None:
    for entry in render.parse(release(render.umbrella(), name)):
        assert {*map(type, entry["metadata"].get("labels", {}).values())} <= {str}
        assert type(entry["metadata"]["name"]) is str


def release(chart: Path, name: str) -> str:
    """Return the manifests of a release of any name."""
    with render.installable(chart) as complete:
        return Helm.pinned().template(complete, release=name, namespace="a", kubernetes=render.KUBERNETES[-1])
