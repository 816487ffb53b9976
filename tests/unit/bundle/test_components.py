"""The component lockfile is valid, and agrees with the build modules and with kubeadm."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from maas import components, paths, process
from maas.bundle import golang, restaurant_image, tools
from maas.components import Image, Packages
from maas.errors import MaasError, UsageError
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

MODULES = paths.content() / "hack" / "build"
PSEUDO_VERSIONS = {"v0.0.0-20251021213802-b1f3c43f8437": "v3.31.0", "v0.316.0": "v3.16.0"}
"""Releases by their version on the Go module proxy."""


def packages_of(component: components.Component) -> set[str]:
    """Return the Go packages of a component's programs."""
    builds = [item.build for item in component.items if not isinstance(item, Packages) and item.build]
    found: set[str] = set()
    for build in builds:
        found |= {*build.programs.values()} if isinstance(build, components.ImageBuild) else {build.package}
    return found


LOCKS = [components.for_minor(minor) for minor in (*components.load().earlier, None)]
BUILT = {component.module: component for lock in LOCKS for component in lock.components.values() if component.go}


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = (paths.content() / "schemas" / "components.schema.json").read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def test_the_lockfile_is_valid_against_its_schema(schema: jsonschema.Draft202012Validator) -> None:
    schema.validate(YAML(typ="safe").load(MODULES / "components.yaml"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("components", "helm", "color"), "red"),
        (("components", "Helm"), {}),
        (("components", "helm", "home"), "http://helm.sh"),
        (("components", "helm", "items"), []),
        (("components", "helm", "items", 0), {"name": "helm", "kind": "tool"}),
        (("components", "coredns", "items", 0, "on"), "everywhere"),
        (("components", "coredns", "items", 0, "build", "programs"), {"coredns": "github.com/coredns/coredns"}),
        (("components", "coredns", "items", 0, "reference"), "coredns"),
        (("components", "coredns", "items", 0, "tolerates"), "everything"),
        (("bases", "python", "users"), [{"name": "root", "id": -1, "home": "/root"}]),
        (("earlier", "36"), {"kubernetes": "v1.36.3", "etcd": "v3.6.8", "coredns": "v1.14.2"}),
    ],
    ids=str,
)
def test_the_schema_and_the_tool_refuse_the_same_mistakes(
    schema: jsonschema.Draft202012Validator, tmp_path: Path, path: tuple[str | int, ...], value: Any
) -> None:
    content = YAML(typ="safe").load(MODULES / "components.yaml")
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert not schema.is_valid(content)
    file = tmp_path / "components.yaml"
    YAML(typ="safe").dump(content, file)
    with pytest.raises(MaasError, match="is not valid"):
        components.load(file)


def test_a_switch_is_a_value_of_the_chart_that_enables_by_default() -> None:
    # With `when`, the switch also enables the image, which by default is not installed.
    switches = [image.switch for image in components.load().images() if image.switch and image.when is None]
    assert switches
    for switch in switches:
        chart, _, path = switch.value.partition(".")
        found = YAML(typ="safe").load(paths.content() / "charts" / chart / "values.yaml")
        for key in path.split("."):
            found = found[key]
        assert found == switch.enabled, switch.value
        assert switch.disabled != switch.enabled


@pytest.mark.parametrize("component", BUILT.values(), ids=lambda component: component.module)
def test_a_build_module_requires_the_version_in_the_lockfile(component: components.Component) -> None:
    module = (MODULES / component.module / "go.mod").read_text()
    required = dict(re.findall(r"^(?:require )?\s*([\w./-]+\.[\w./-]+) (v\S+)", module, re.MULTILINE))
    for package in packages_of(component) - {"maas.dev/build/pause", "maas.dev/build/perses-viewer"}:
        above = [module for module in required if package == module or package.startswith(f"{module}/")]
        version = required[max(above, key=len)]
        assert PSEUDO_VERSIONS.get(version, version) == component.version, package


def test_optional_images_are_built_only_if_the_values_enable_them() -> None:
    costly = {
        "blackbox-exporter",
        "keda",
        "keda-metrics-apiserver",
        "perses-viewer",
        "postgresql-patroni",
        "snmp-exporter",
    }
    everything = {item.name for _, item in components.load().items()}
    assert {*restaurant_image.wanted({})} == everything - costly
    chosen: dict[str, Any] = {name: {"enabled": True} for name in ("keda", "probes", "snmp")}
    chosen["dashboards"] = {"engine": "perses"}
    values = {"kube-prometheus": chosen, "restaurant": {"database": {"postgresql": {"replicas": 3}}}}
    assert {*restaurant_image.wanted(values)} == everything - {"grafana"}
    without: list[Any] = [{"keda": {"enabled": False}}, {"keda": {}}, {"dashboards": {"engine": "grafana"}}, {}, None]
    for monitoring in without:
        assert not costly & {*restaurant_image.wanted({"kube-prometheus": monitoring})}


def test_images_that_the_values_disable_are_left_out() -> None:
    none = {"dashboard": {"engine": "none"}, "kube-prometheus": {"dashboards": {"engine": "none"}}}
    assert not {"grafana", "headlamp", "perses-viewer"} & {*restaurant_image.wanted(none)}


def test_a_condition_of_an_image_is_a_value_of_the_chart_that_does_not_enable_it_by_default() -> None:
    for item in components.load().images():
        if item.when:
            chart, _, path = item.when.partition(".")
            found = YAML(typ="safe").load(paths.content() / "charts" / chart / "values.yaml")
            for key in path.split("."):
                found = found[key]
            assert found in ({False} if item.switch is None else {"grafana", 1}), item.when


def test_no_module_repeats_the_kubernetes_version() -> None:
    version = components.kubernetes_version()
    minor = re.compile(rf"\b{re.escape(version.rpartition('.')[0])}\b")
    package = paths.content() / "src" / "maas"
    assert [str(file) for file in package.rglob("*.py") if minor.search(file.read_text(encoding="utf-8"))] == []


def test_the_charts_support_every_minor_version_up_to_the_installed_one() -> None:
    assert render.KUBERNETES[-1] == components.kubernetes_version()
    minors = [int(version.split(".")[1]) for version in render.KUBERNETES]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert f">=1.{minors[0]}." in (paths.content() / "Chart.yaml").read_text()


def test_every_build_module_belongs_to_a_component() -> None:
    assert {path.parent.name for path in MODULES.glob("*/go.mod")} == BUILT.keys()


def test_the_images_of_kubeadm_are_in_the_lockfile() -> None:
    version = components.load().find("kubeadm")[0].version
    listed = process.run([tools.tool("kubeadm"), "config", "images", "list", f"--kubernetes-version={version}"])
    wanted = {*listed.stdout.split()}
    references = {item.reference for _, item in components.load().items() if isinstance(item, Image)}
    assert wanted <= references


@pytest.mark.parametrize(
    "argv",
    [
        ["helm", "version", "--short"],
        ["helm3", "version", "--short"],
        ["kubectl", "version", "--client"],
        ["kubeconform", "-v"],
        ["controller-gen", "--version"],
        ["crane", "version"],
        ["ct", "version"],
        ["kube-score", "version"],
        ["containerd", "--version"],
        ["crictl", "--version"],
    ],
    ids=lambda argv: argv[0],
)
def test_a_tool_reports_the_version_of_the_lockfile(argv: list[str]) -> None:
    component, _ = components.load().find(argv[0])
    assert component.version.removeprefix("v") in process.run([tools.tool(argv[0]), *argv[1:]]).stdout


def test_helm_3_has_the_kubernetes_version_of_the_lockfile(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    minor = components.kubernetes_version().rpartition(".")[0]
    chart = f"apiVersion: v2\nname: probe\nversion: 1.0.0\nkubeVersion: '>={minor}.0-0'\n"
    (tmp_path / "Chart.yaml").write_text(chart)
    (tmp_path / "templates" / "probe.yaml").write_text("version: {{ .Capabilities.KubeVersion }}\n")
    assert f"version: v{minor}" in process.run([tools.tool("helm3"), "template", tmp_path]).stdout


def test_an_earlier_minor_version_has_the_etcd_and_the_coredns_that_its_kubeadm_requires() -> None:
    assert LOCKS[:-1]
    for lock in LOCKS:
        component, _ = lock.find("kubeadm")
        source = golang.module_directory(component, "k8s.io/kubernetes") / "cmd/kubeadm/app/constants/constants.go"
        wanted = dict(re.findall(r'\b(\w+Version) += "(v?[\d.-]+)"', source.read_text()))
        assert lock.image("etcd").reference.endswith(f":{wanted['DefaultEtcdVersion']}")
        assert lock.components["coredns"].version == wanted["CoreDNSVersion"]
        assert lock.components["pause"].version == wanted["PauseVersion"]


def test_components_of_an_earlier_minor_version_have_its_reference_its_settings_and_their_own_build_module() -> None:
    minor = next(iter(components.load().earlier))
    lock = components.for_minor(minor)
    assert lock.minor == minor
    kubelet, _ = lock.find("kubelet")
    assert kubelet.module == f"kubernetes-{minor}"
    assert kubelet.go is not None
    assert kubelet.go.link["k8s.io/component-base/version.gitMinor"] == minor.removeprefix("1.")
    assert lock.image("kube-apiserver").reference.endswith(f":v{lock.kubernetes}")
    differ = {name for name, one in lock.components.items() if one != components.load().components[name]}
    assert differ == {"kubernetes", "etcd", "coredns"}


def test_a_minor_version_without_components_is_refused_with_those_that_there_are() -> None:
    newest = components.load()
    assert components.for_minor(newest.minor) is newest
    with pytest.raises(UsageError, match=r"no components for Kubernetes 1\.12") as caught:
        components.for_minor("1.12")
    assert newest.minor in (caught.value.hint or "")


def test_an_image_is_not_a_tool_and_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(MaasError, match="of kind image"):
        tools.tool("etcd")
    with pytest.raises(MaasError, match="has no item helmet") as caught:
        tools.tool("helmet")
    assert "kubeconform" in (caught.value.hint or "")


def test_a_lockfile_that_is_not_valid_is_refused_with_the_places(tmp_path: Path) -> None:
    item: dict[str, Any] = {"name": "probe", "kind": "image", "on": "node", "reference": "example.org/probe:v1"}
    component = {"version": "v1", "license": "MIT", "home": "https://example.org"}
    faults = {
        "duplicate items: probe": {"probe": {**component, "items": [{**item, "pull": {}}, {**item, "pull": {}}]}},
        "unknown bases: absent": {"probe": {**component, "items": [{**item, "build": {"base": "absent"}}]}},
        "unknown fallbacks: absent": {"probe": {**component, "items": [{**item, "pull": {}, "fallback": "absent"}]}},
        "components.probe.items.0.image.color": {"probe": {**component, "items": [{**item, "color": "red"}]}},
        "no source; give pull or build": {"probe": {**component, "items": [item]}},
    }
    for expected, entries in faults.items():
        path = tmp_path / f"{len([*tmp_path.iterdir()])}.yaml"
        YAML(typ="safe").dump({"schema": 1, "bases": {}, "components": entries}, path)
        with pytest.raises(MaasError, match="is not valid") as caught:
            components.load(path)
        assert any(expected in line for line in caught.value.context)


def test_an_earlier_minor_version_without_all_versions_is_refused(tmp_path: Path) -> None:
    content = YAML(typ="safe").load(MODULES / "components.yaml")
    content["earlier"] = {"1.12": {"kubernetes": "v1.12.0", "etcd": "v3.2.24"}}
    YAML(typ="safe").dump(content, tmp_path / "components.yaml")
    with pytest.raises(MaasError, match="is not valid") as caught:
        components.load(tmp_path / "components.yaml")
    assert any("see coredns" in line for line in caught.value.context)


def test_the_viewer_is_the_version_of_its_packages_which_are_pinned_without_a_registry() -> None:
    web = MODULES / "perses" / "web"
    package = json.loads((web / "package.json").read_text())
    every = {**package["dependencies"], **package["devDependencies"]}
    assert {name: version for name, version in every.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
    assert package["dependencies"]["@perses-dev/dashboards"] == components.load().components["perses"].version
    locked = json.loads((web / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == package["dependencies"]
    packages = {name: entry for name, entry in locked.items() if name}
    assert len(packages) > 200
    assert [name for name, entry in packages.items() if "resolved" in entry or "integrity" not in entry] == []
    # Everything may be redistributed in an image.
    accepted = {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BlueOak-1.0.0",
        "CC-BY-4.0",
        "ISC",
        "MIT",
        "OFL-1.1",
    }
    accepted |= {"(MIT OR Apache-2.0)", "Unlicense"}
    # These have a file with the text of their license only: Apache-2.0, and MIT for typed-function.
    silent = {name for name, entry in packages.items() if "license" not in entry}
    assert silent == {"node_modules/typed-function"} | {name for name in silent if "/@perses-dev/" in name}
    assert {entry["license"] for name, entry in packages.items() if name not in silent} <= accepted
