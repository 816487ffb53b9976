from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.unit.hosts.conftest import facts_of, inventory_of

from maas import bootstrap, components, paths
from maas.bundle import Bundle, Manifest, restaurant_image
from maas.errors import PreflightError, UsageError


def test_values_files_are_merged_in_their_order(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    first.write_text("restaurant: {replicas: 1, seed: bistro}\n")
    second.write_text("restaurant: {replicas: 2}\n")
    empty.write_text("# nothing\n")
    assert bootstrap.read_values([first, empty, second]) == {"restaurant": {"replicas": 2, "seed": "bistro"}}


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n", b"words", b"\xff\xfe\x00", b"a: 1\na: 2\n"])
def test_a_values_file_that_is_none_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "values.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"values\.yaml"):
        bootstrap.read_values([file])


def test_a_values_file_that_is_missing_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        bootstrap.read_values([tmp_path / "none.yaml"])


def test_the_image_that_is_built_is_the_one_that_the_chart_deploys() -> None:
    values = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "values.yaml")["image"]
    chart = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "Chart.yaml")
    tag = values["tag"] or chart["appVersion"]
    assert restaurant_image.reference() == f"{values['registry']}/{values['repository']}:{tag}"


def test_the_application_says_the_version_that_its_chart_deploys() -> None:
    module = ast.parse((paths.content() / "app" / "src" / "restaurant" / "__init__.py").read_text(encoding="utf-8"))
    versions = [
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]
    ]
    chart = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "Chart.yaml")
    assert versions == [chart["appVersion"]]


def test_the_proofs_and_the_bases_of_the_image_are_in_the_lock() -> None:
    assert components.load().image("busybox").reference.startswith("docker.io/library/busybox:")
    assert {"python", "python-build"} <= set(components.load().bases)


def lacking(*names: str) -> Bundle:
    gone = [{"name": name, "version": "1.0", "reason": "no registry can be reached"} for name in names]
    return Bundle(Path("/bundle"), Manifest.model_validate({"schema": 1, "unavailable": gone}), "0" * 64)


def test_a_component_without_an_image_is_switched_off_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = tmp_path / "charts" / "kube-prometheus"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text("grafana: {enabled: true}\n")
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    assert bootstrap.switched_off(lacking("grafana", "curl")) == {"kube-prometheus": {"grafana": {"enabled": False}}}
    said = " ".join(capsys.readouterr().err.split())
    assert "grafana 1.0 is left out: no registry can be reached (kube-prometheus.grafana.enabled: true" in said
    assert "curl" not in said


def test_without_the_dashboards_image_its_roles_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = tmp_path / "charts" / "dashboard"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text("engine: headlamp\n")
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    assert bootstrap.switched_off(lacking("headlamp", "kubernetes-dashboard")) == {"dashboard": {"engine": "none"}}
    said = " ".join(capsys.readouterr().err.split())
    assert "dashboard.engine: headlamp brings it back" in said


def test_a_switch_that_the_chart_does_not_have_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = tmp_path / "charts" / "kube-prometheus"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text("metricsServer: {}\n")
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    assert bootstrap.switched_off(lacking("grafana", "headlamp")) == {}


def test_a_worker_that_is_down_is_planned_as_it_was_last_seen(tmp_path: Path) -> None:
    inventory = inventory_of("node1", "node2")
    (tmp_path / "facts.json").write_text(json.dumps({"node2": facts_of(kernel="6.1").model_dump(mode="json")}))
    assert bootstrap._left_out(inventory, tmp_path, ["node2"]) == {"node2": facts_of(kernel="6.1")}


@pytest.mark.parametrize(
    ("name", "why"),
    [("master", "no worker of the inventory"), ("node9", "no worker of the inventory"), ("node1", "never seen")],
)
def test_only_a_worker_that_was_seen_can_be_left_out(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"master": {}}))
    with pytest.raises(PreflightError) as caught:
        bootstrap._left_out(inventory_of("node1"), tmp_path, [name])
    assert caught.value.context == (f"{name} is {why}" if "no" in why.split() else f"{name} was {why}",)
