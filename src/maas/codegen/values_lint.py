"""Whether every value is used in the templates, and every used value is one.

Templates are read as text: a path after `.Values`, and what is reached from it by a variable, a `with` or a helper. What
this cannot see is in a chart's values.exceptions, one path a line (`*` for many) with its reason after a `#`.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase as fnmatch
from typing import TYPE_CHECKING

from maas.codegen.values import Branch, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.codegen.values import Chart

EXCEPTIONS = "values.exceptions"

_ABSOLUTE = re.compile(r"(?:\$|\.context|\.root|\$root)?\.Values((?:\.[A-Za-z]\w*)*)")
_KEY = re.compile(r'\.([A-Za-z]\w*)|"([A-Za-z][\w.]*)"')
_ACTION = re.compile(r"\{\{(?!-? ?/\*).*?\}\}", re.DOTALL)


def unused(chart: Chart) -> Iterator[str]:
    """The paths of values that no template of the chart mentions, but for the excepted ones."""
    actions = _actions(chart.directory)
    roots, keys = _roots(actions), _keys(actions)
    excepted = exceptions(chart.directory)
    for leaf in _leaves(chart.tree):
        path = ".".join(leaf.path)
        if not _is_used(leaf.path, roots, keys) and not any(fnmatch(path, pattern) for pattern in excepted):
            yield path


def unknown(chart: Chart) -> Iterator[str]:
    """The paths that templates ask of the values and that are none."""
    nodes = {()} | {leaf.path[:length] for leaf in chart.tree.leaves() for length in range(1, len(leaf.path) + 1)}
    leaves = {leaf.path for leaf in chart.tree.leaves()}
    for path in sorted(_roots(_actions(chart.directory, shared=False))):
        inside = any(path[:length] in leaves for length in range(1, len(path)))
        if path not in nodes and not inside:
            yield ".".join(path)


def exceptions(directory: Path) -> dict[str, str]:
    """The excepted paths of a chart with their reasons."""
    file = directory / EXCEPTIONS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.partition("#") for line in lines if line.strip() and not line.startswith("#"))
    return {path.strip(): reason.strip() for path, _, reason in pairs}


def _is_used(path: tuple[str, ...], roots: set[tuple[str, ...]], keys: set[str]) -> bool:
    """Whether templates ask for a value, or for what holds it and, somewhere, for each further key."""
    return any(
        path == root[: len(path)] or (path[: len(root)] == root and all(key in keys for key in path[len(root) :]))
        for root in roots
    )


def _actions(directory: Path, *, shared: bool = True) -> list[str]:
    """What stands between double braces in a chart's templates; `shared` for the helpers that all charts have too."""
    copied = {"_common.tpl", "_flows.tpl"}
    files = sorted((directory / "templates").rglob("*"))
    texts = [
        file.read_text(encoding="utf-8") for file in files if file.is_file() and (shared or file.name not in copied)
    ]
    # The table of flows names values too, as text.
    table = [text for file, text in zip(files, texts, strict=False) if file.name == "_flows.tpl"]
    return [action for text in texts for action in _ACTION.findall(text)] + table


def _roots(actions: list[str]) -> set[tuple[str, ...]]:
    found = {tuple(match[1].split(".")[1:]) for action in actions for match in _ABSOLUTE.finditer(action)}
    return found | {(name,) for action in actions for name in re.findall(r'index [$]?\.Values "([\w-]+)"', action)}


def _keys(actions: list[str]) -> set[str]:
    return {part for action in actions for match in _KEY.finditer(action) for part in (match[1] or match[2]).split(".")}


def _leaves(tree: Branch) -> Iterator[Leaf]:
    """The chart's own values; a subchart's are looked for in the subchart."""
    for child in tree.children:
        if isinstance(child, Leaf):
            if not child.umbrella:
                yield child
        elif not child.subchart:
            yield from _leaves(child)
