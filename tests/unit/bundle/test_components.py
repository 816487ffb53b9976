"""The lock that is shipped: valid, and one with the modules and with what Kubernetes itself asks for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from maas import components, paths, process
from maas.bundle import restaurant_image, tools
from maas.components import Image, Packages
from maas.errors import MaasError

if TYPE_CHECKING:
    from pathlib import Path

MODULES = paths.content() / "hack" / "build"
PSEUDO_VERSIONS = {"v0.0.0-20251021213802-b1f3c43f8437": "v3.31.0", "v0.316.0": "v3.16.0"}
"""Versions that the Go module proxy knows a release under."""


def packages_of(component: components.Component) -> set[str]:
    """The Go packages whose programs a component's items need."""
    builds = [item.build for item in component.items if not isinstance(item, Packages) and item.build]
    found: set[str] = set()
    for build in builds:
        found |= {*build.programs.values()} if isinstance(build, components.ImageBuild) else {build.package}
    return found


BUILT = [component for component in components.load().components if component.go]


def test_the_lock_is_valid_against_its_schema() -> None:
    schema = json.loads((paths.content() / "schemas" / "components.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(YAML(typ="safe").load(MODULES / "components.yaml"), schema)


@pytest.mark.parametrize("component", BUILT, ids=lambda component: component.name)
def test_a_build_module_requires_the_version_that_the_lock_names(component: components.Component) -> None:
    module = (MODULES / component.name / "go.mod").read_text()
    required = dict(re.findall(r"^(?:require )?\s*([\w./-]+\.[\w./-]+) (v\S+)", module, re.MULTILINE))
    for package in packages_of(component) - {"maas.dev/build/pause"}:
        above = [module for module in required if package == module or package.startswith(f"{module}/")]
        version = required[max(above, key=len)]
        assert PSEUDO_VERSIONS.get(version, version) == component.version, package


def test_what_only_few_want_is_made_for_those_who_switch_it_on_alone() -> None:
    costly = {"keda", "keda-metrics-apiserver"}
    everything = {item.name for _, item in components.load().items()}
    assert {*restaurant_image.wanted({})} == everything - costly
    assert {*restaurant_image.wanted({"kube-prometheus": {"keda": {"enabled": True}}})} == everything
    without: list[Any] = [{"keda": {"enabled": False}}, {"keda": {}}, {}, None]
    for monitoring in without:
        assert not costly & {*restaurant_image.wanted({"kube-prometheus": monitoring})}


def test_a_condition_of_an_image_is_a_value_of_the_chart_that_is_off_by_default() -> None:
    every = [item for component in components.load().components for item in component.items]
    for item in every:
        if isinstance(item, Image) and item.when:
            chart, _, path = item.when.partition(".")
            found = YAML(typ="safe").load(paths.content() / "charts" / chart / "values.yaml")
            for key in path.split("."):
                found = found[key]
            assert found is False, item.when


def test_every_build_module_belongs_to_a_component() -> None:
    assert {path.parent.name for path in MODULES.glob("*/go.mod")} == {component.name for component in BUILT}


def test_the_images_that_kubeadm_asks_for_are_the_lock_s() -> None:
    version = components.load().find("kubeadm")[0].version
    listed = process.run([tools.tool("kubeadm"), "config", "images", "list", f"--kubernetes-version={version}"])
    wanted = {*listed.stdout.split()}
    references = {item.reference for _, item in components.load().items() if isinstance(item, Image)}
    assert wanted <= references


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["helm", "version", "--short"], "v4.3.1"),
        (["helm3", "version", "--short"], "v3.22.0"),
        (["kubectl", "version", "--client"], "v1.37.2"),
        (["kubeconform", "-v"], "v0.7.0"),
        (["controller-gen", "--version"], "v0.19.0"),
        (["crane", "version"], "0.22.1"),
        (["ct", "version"], "v3.14.0"),
        (["kube-score", "version"], "1.20.0"),
        (["containerd", "--version"], "v2.4.2"),
        (["crictl", "--version"], "v1.36.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_tool_reports_the_version_of_the_lock(argv: list[str], expected: str) -> None:
    assert expected in process.run([tools.tool(argv[0]), *argv[1:]]).stdout


def test_helm_3_knows_the_kubernetes_version_that_it_was_linked_with(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: probe\nversion: 1.0.0\nkubeVersion: '>=1.37.0-0'\n")
    (tmp_path / "templates" / "probe.yaml").write_text("version: {{ .Capabilities.KubeVersion }}\n")
    assert "version: v1.37" in process.run([tools.tool("helm3"), "template", tmp_path]).stdout


def test_an_image_is_no_tool_and_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(MaasError, match="of the kind image"):
        tools.tool("etcd")
    with pytest.raises(MaasError, match="no component item is named") as caught:
        tools.tool("helmet")
    assert "kubeconform" in (caught.value.hint or "")


def test_a_lock_that_is_not_understood_is_refused_with_the_places(tmp_path: Path) -> None:
    item: dict[str, Any] = {"name": "probe", "kind": "image", "on": "node", "reference": "example.org/probe:v1"}
    component = {"version": "v1", "licence": "MIT", "home": "https://example.org"}
    faults = {
        "items named twice: probe": {"probe": {**component, "items": [item, item]}},
        "no such base: absent": {"probe": {**component, "items": [{**item, "build": {"base": "absent"}}]}},
        "components.0.items.0.image.colour": {"probe": {**component, "items": [{**item, "colour": "red"}]}},
    }
    for expected, entries in faults.items():
        path = tmp_path / f"{len([*tmp_path.iterdir()])}.yaml"
        YAML(typ="safe").dump({"schema": 1, "bases": {}, "components": entries}, path)
        with pytest.raises(MaasError, match="cannot be used") as caught:
            components.load(path)
        assert any(expected in line for line in caught.value.context)
