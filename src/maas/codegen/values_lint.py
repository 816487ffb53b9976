"""Check that templates use every value, and that every value they use exists.

Templates are read as text: paths after `.Values`, and what a variable, a `with` or a helper reaches from there. The tables
files/components.yaml and files/flows.yaml refer to values too. A chart's values.exceptions lists what this cannot see, one
path per line (`*` matches many) with the reason after a `#`.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase as fnmatch
from typing import TYPE_CHECKING

from maas.codegen import flows
from maas.codegen.values import Branch, Leaf
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.codegen.values import Chart

EXCEPTIONS = "values.exceptions"

_ABSOLUTE = re.compile(r"(?:\$|\.context|\.root|\$root)?\.Values((?:\.[A-Za-z]\w*)*)")
_KEY = re.compile(r'\.([A-Za-z]\w*)|"([A-Za-z][\w.]*)"')
_ACTION = re.compile(r"\{\{(?!-? ?/\*).*?\}\}", re.DOTALL)


def unused(chart: Chart) -> Iterator[str]:
    """Yield the paths of values that neither a template nor a table of the chart uses, without the exceptions."""
    actions = _actions(chart.directory) + _actions(render.library())
    roots, keys = _roots(actions) | _in_tables(chart), _keys(actions)
    excepted = exceptions(chart.directory)
    for leaf in _leaves(chart.tree):
        path = ".".join(leaf.path)
        if not _is_used(leaf.path, roots, keys) and not any(fnmatch(path, pattern) for pattern in excepted):
            yield path


def unknown(chart: Chart) -> Iterator[str]:
    """Yield the paths that templates or tables of the chart use and that are not values."""
    nodes = {()} | {leaf.path[:length] for leaf in chart.tree.leaves() for length in range(1, len(leaf.path) + 1)}
    leaves = {leaf.path for leaf in chart.tree.leaves()}
    for path in sorted(_roots(_actions(chart.directory)) | _in_tables(chart)):
        inside = any(path[:length] in leaves for length in range(1, len(path)))
        if path not in nodes and not inside:
            yield ".".join(path)


def exceptions(directory: Path) -> dict[str, str]:
    """Return the exceptions of a chart: by path, the reason."""
    file = directory / EXCEPTIONS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.partition("#") for line in lines if line.strip() and not line.startswith("#"))
    return {path.strip(): reason.strip() for path, _, reason in pairs}


def _is_used(path: tuple[str, ...], roots: set[tuple[str, ...]], keys: set[str]) -> bool:
    """Return whether templates use a value, or use a map around it and, anywhere, each further key."""
    return any(
        path == root[: len(path)] or (path[: len(root)] == root and all(key in keys for key in path[len(root) :]))
        for root in roots
    )


def _actions(directory: Path) -> list[str]:
    """Return the text of all actions, between double braces, in a chart's templates."""
    files = sorted(file for file in (directory / "templates").rglob("*") if file.is_file())
    return [action for file in files for action in _ACTION.findall(file.read_text(encoding="utf-8"))]


def _in_tables(chart: Chart) -> set[tuple[str, ...]]:
    return {tuple(path.split(".")) for path in flows.value_paths(chart.directory)}


def _roots(actions: list[str]) -> set[tuple[str, ...]]:
    found = {tuple(match[1].split(".")[1:]) for action in actions for match in _ABSOLUTE.finditer(action)}
    return found | {(name,) for action in actions for name in re.findall(r'index [$]?\.Values "([\w-]+)"', action)}


def _keys(actions: list[str]) -> set[str]:
    return {part for action in actions for match in _KEY.finditer(action) for part in (match[1] or match[2]).split(".")}


def _leaves(tree: Branch) -> Iterator[Leaf]:
    """Yield the values of the chart itself; those of a subchart are checked with the subchart."""
    for child in tree.children:
        if isinstance(child, Leaf):
            if not child.umbrella:
                yield child
        elif not child.subchart:
            yield from _leaves(child)
