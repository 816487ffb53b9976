"""A YAML file as plain data, with the place of every key and value."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from maas.errors import FileProblem

if TYPE_CHECKING:
    from pathlib import Path

    from ruamel.yaml.nodes import Node

Place = tuple[str | int, ...]
"""The keys and indexes that lead from the top of a document to a value."""

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 20
_MAX_NODES = 20_000  # aliases make a few lines stand for millions of values
_TAG = "tag:yaml.org,2002:"


@dataclass
class Document:
    """Plain data (dict, list, str, int, float, bool, None), the places of its parts, and what is wrong with the YAML.

    Attributes:
        file: The name that messages give to the file.
        data: The content, as far as it could be read; None when the YAML itself is broken.
        problems: Faults found so far; the checks of the content append theirs.
    """

    file: str
    data: Any = None
    problems: list[FileProblem] = field(default_factory=list)
    _keys: dict[Place, tuple[int, int]] = field(default_factory=dict)
    _values: dict[Place, tuple[int, int]] = field(default_factory=dict)
    _nodes: int = 0

    def add(self, place: Place, message: str, *, key: bool = False) -> None:
        """Record a fault at a value, or at its key; where the value is absent, at the nearest one around it."""
        line, column = (1, 1)
        if key and place in self._keys:
            line, column = self._keys[place]
        else:
            for length in range(len(place), -1, -1):
                if place[:length] in self._values:
                    line, column = self._values[place[:length]]
                    break
        shown = describe(place)
        self.problems.append(FileProblem(self.file, line, column, f"{shown}: {message}" if shown else message))

    def read(self, path: Path) -> None:
        """Read the file into `data`; every fault goes to `problems`, nothing is raised."""
        try:
            content = path.read_bytes()
        except OSError as error:
            self._broken(0, 0, f"the file cannot be read: {error.strerror}")
            return
        except ValueError:  # a NUL in the path
            self._broken(0, 0, "the file cannot be read: its name is not a path")
            return
        if len(content) > _MAX_BYTES:
            self._broken(0, 0, f"the file has {len(content)} bytes, an inventory has at most {_MAX_BYTES}")
            return
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start]
            column = error.start - (before.rfind(b"\n") + 1)
            self._broken(before.count(b"\n"), column, "the file is not UTF-8 text")
            return
        node = self._compose(text)
        if node is not None:
            self.data = self._convert(node, (), ())
        elif not self.problems:
            self._broken(0, 0, "the file is empty")

    def _broken(self, line: int, column: int, message: str) -> None:
        self.problems.append(FileProblem(self.file, line + 1, column + 1, message))

    def _compose(self, text: str) -> Node | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a reused anchor is legal YAML
                node: Node | None = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = error.problem or error.context or "not valid"
            self._broken(mark.line if mark else 0, mark.column if mark else 0, f"this is not YAML: {what}")
        except ReaderError as error:
            before = text[: error.position]
            column = error.position - (before.rfind("\n") + 1)
            self._broken(before.count("\n"), column, "this is not YAML: a control character")
        except RecursionError:
            self._broken(0, 0, "this is not an inventory: it is nested too deeply")
        except (
            YAMLError,
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            # The parser raises its own programming errors on some malformed directives, tags and escapes.
            self._broken(0, 0, f"this is not YAML: {error or type(error).__name__}".splitlines()[0])
        else:
            return node
        return None

    def _convert(self, node: Node, place: Place, around: tuple[int, ...]) -> Any:
        mark = (node.start_mark.line + 1, node.start_mark.column + 1)
        # An absent value lies wherever the parser gave up looking for it; its key is what a reader looks at.
        self._values[place] = self._keys.get(place, mark) if node.value == "" else mark
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            if self._nodes == _MAX_NODES + 1:
                self.add(place, f"the file stands for more than {_MAX_NODES} values")
            return None
        if id(node) in around:
            self.add(place, "an alias to something that contains it")
            return None
        if len(around) > _MAX_DEPTH:
            self.add(place, "nested too deeply")
            return None
        around = (*around, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, place, around)
        if isinstance(node, SequenceNode):
            return [self._convert(item, (*place, index), around) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        raise TypeError(node)  # the parser has only these three

    def _mapping(self, node: MappingNode, place: Place, around: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self._broken(mark[0] - 1, mark[1] - 1, "a key must be text")
                continue
            inner = (*place, key_node.value)
            if key_node.value in result:
                first = self._keys[inner][0]
                self._broken(mark[0] - 1, mark[1] - 1, f"{describe(inner)}: the key stands in line {first} already")
                continue
            self._keys[inner] = mark
            result[key_node.value] = self._convert(value_node, inner, around)
        return result

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if kind in {"null", "bool"}:
            return None if kind == "null" else text.lower() == "true"
        if kind in {"int", "float"}:
            try:
                return int(text, 10) if kind == "int" else float(text)
            except ValueError:
                return text  # a form that only YAML knows, such as 0o17; no value of an inventory needs one
        if not text.isprintable():
            self.add(place, "the text holds a line break or another control character")
        elif kind not in {"str", "timestamp"}:
            self.add(place, f"the tag {node.tag} has no meaning here")
        else:
            return text
        return None


def describe(place: Place) -> str:
    """The place in the way people write it, as in ``hosts[0].name``; empty for the top."""
    words = [
        f"[{part}]" if isinstance(part, int) else f".{part if part.isprintable() else repr(part)}" for part in place
    ]
    return "".join(words).removeprefix(".")
