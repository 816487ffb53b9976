"""What the documents say about the tests is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
KINDS = TESTS.parent.parent / "docs/contributing/restaurant.md"


def rows() -> dict[str, list[tuple[str, str]]]:
    """The tests of each kind of fault, as module and name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for number, cell in re.findall(r"^\| (A\d+) \| .+ \| (.+) \|$", KINDS.read_text(encoding="utf-8"), re.MULTILINE):
        assert number not in found, f"{number} is listed twice"
        found[number] = []
        for part in cell.split("; "):
            module, _colon, names = part.partition(": ")
            found[number] += [(module.strip("`"), name) for name in re.findall(r"`(\w+)`", names)]
    return found


def defined(module: str) -> set[str]:
    """The tests that a module defines."""
    path = TESTS / module
    if not path.is_file():
        return set()
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_kind_of_fault_is_listed() -> None:
    assert list(rows()) == [f"A{number}" for number in range(1, 27)]


@pytest.mark.parametrize("number", [f"A{number}" for number in range(1, 27)])
def test_each_kind_of_fault_has_tests_that_exist(number: str) -> None:
    wanted = rows()[number]
    assert wanted
    assert [(module, name) for module, name in wanted if name not in defined(module)] == []
