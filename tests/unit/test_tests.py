"""What holds for every module of tests."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from maas import paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = paths.content()
FILES = sorted((ROOT / "tests").rglob("*.py"))
APP = sorted((ROOT / "app" / "tests").glob("*.py"))
SUPPORT = ("tests", "support")


def module(file: Path) -> tuple[str, ...]:
    """Return the name of a file as a module, by parts."""
    return file.relative_to(ROOT).with_suffix("").parts


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield every module of the tests that a file imports, by parts."""
    package = module(file)[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = (*base, *filter(None, (node.module or "").split(".")))
            # `from tests.support import labs` imports a module, `from tests.support.labs import maas` a name of it.
            yield from ((*name, alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)


def of_tests(name: tuple[str, ...]) -> Path | None:
    """Return the file of the tests that an imported name is, or is in."""
    for parts in (name, name[:-1]):
        file = ROOT.joinpath(*parts).with_suffix(".py")
        if file in FILES:
            return file
    return None


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(module(file)))
def test_a_module_of_tests_imports_support_and_its_own_conftest_alone(file: Path) -> None:
    found = [other for name in imported(file) if (other := of_tests(name))]
    wrong = [other for other in found if module(other)[:2] != SUPPORT and other != file.parent / "conftest.py"]
    assert wrong == [], "share it through tests/support, or a conftest.py of this directory"


@pytest.mark.parametrize("file", APP, ids=lambda file: "/".join(module(file)))
def test_no_module_of_the_apps_tests_imports_another_test(file: Path) -> None:
    assert [name for name in imported(file) if any(part.startswith("test_") for part in name)] == []


def test_the_directories_of_unit_tests_are_packages_of_the_tool() -> None:
    # hosts run what is in ansible/, which is beside the package.
    directories = {file.parent.name for file in FILES if file.parent.parent.name == "unit"}
    packages = {file.parent.name for file in (ROOT / "src" / "maas").glob("*/__init__.py")}
    assert directories - {"ansible"} <= packages
