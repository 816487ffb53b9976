"""The picture of the architecture, and the layers that it shows."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from maas import paths
from maas.codegen import architecture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = paths.content() / "src" / "maas"
MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or not file.stem.startswith("__"))
LAYERS = {name: number for number, names in enumerate(architecture.layers()) for name in names}


def unit(module: str) -> str:
    return module.split(".")[1]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported at run time: the packages and modules of maas, each by its name in the layers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "maas":
            yield from (alias.name for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("maas."):
            yield unit(node.module)
        else:
            yield from imported(node)


def test_every_package_and_module_has_one_layer() -> None:
    names = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in MODULES}
    assert sorted(LAYERS) == sorted(names)
    assert len(LAYERS) == sum(len(names) for names in architecture.layers())


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_layer_and_from_those_below(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    found = set(imported(ast.parse(file.read_text(encoding="utf-8"))))
    upward = {name for name in found if LAYERS[name] < LAYERS[own]}
    assert upward == set()
    beside = {name for name in found if LAYERS[name] == LAYERS[own]} - {own}
    assert beside == set(), "packages of one layer are independent"


def test_the_picture_is_valid_and_shows_every_box_and_layer() -> None:
    root = ET.fromstring(architecture.svg())  # noqa: S314 - our own text
    shown = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"bundle", "Ansible", "Helm", "kube-prometheus", *LAYERS} <= shown
