from __future__ import annotations

import ast

from ruamel.yaml import YAML

from maas import components, paths
from maas.bundle import restaurant_image


def test_the_image_that_is_built_is_the_one_that_the_chart_deploys() -> None:
    values = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "values.yaml")["image"]
    chart = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "Chart.yaml")
    tag = values["tag"] or chart["appVersion"]
    assert restaurant_image.reference() == f"{values['registry']}/{values['repository']}:{tag}"


def test_the_application_has_the_version_that_its_chart_deploys() -> None:
    module = ast.parse((paths.content() / "app" / "src" / "restaurant" / "__init__.py").read_text(encoding="utf-8"))
    versions = [
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]
    ]
    chart = YAML(typ="safe").load(paths.content() / "charts" / "restaurant" / "Chart.yaml")
    assert versions == [chart["appVersion"]]


def test_the_image_of_the_smoke_tests_and_the_base_images_are_in_the_lockfile() -> None:
    assert components.load().image("busybox").reference.startswith("docker.io/library/busybox:")
    assert {"python", "python-build"} <= set(components.load().bases)
