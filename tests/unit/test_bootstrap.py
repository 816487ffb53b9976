from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from maas import bootstrap, components, images, paths
from maas.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


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
    assert images.reference() == f"{values['registry']}/{values['repository']}:{tag}"


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
