"""Read a YAML file and remember the line and column of every key and value."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from maas.errors import FileProblem

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[str | int, ...]
"""The keys and indexes that lead from the top of a document to a value."""

_MAX_DEPTH = 20
_SCALARS: dict[tuple[type, ...], type] = {(bool, ScalarBoolean): bool, (int,): int, (float,): float}
# The parser's messages, by a regular expression, and what to do about them.
_EXPLANATIONS = {
    r"but found another document": "the file contains more than one YAML document; keep one, without lines `---` and `...`",
    r'found duplicate key "(.*?)"(?: with value.*)?': "the key {0} occurs twice in the same mapping; keep one of them",
    r"found character '\\t' that.*": "YAML does not allow tabs for indentation; use spaces",
    r"found character '(.)' that.*": "a value cannot start with {0}; write it in quotes",
    r"mapping values are not allowed here": "the colon is not allowed here; check the indentation and the line before, "
    "and write text that contains a colon in quotes",
    r"could not find expected ':'": "the line before is neither `key: value` nor an item of a list",
    r"found undefined alias '(.*)'": "the alias *{0} has no anchor &{0} before it",
    r"expected '?,'? or '(.)', but got .*": "a comma or the closing {0} is missing",
    r"expected <block end>, but found '<scalar>'": "there is text after the end of a value; write the whole value in quotes",
    r"expected '<document start>', but found .*": "there is text after the end of the content; check brackets and indentation",
    r"expected chomping or indentation indicators, but found .*": "text after | or > starts on the next line",
    r"expected <block end>, but found .*": "the indentation does not match that of the lines before",
    r"found unexpected end of stream": "the closing quote is missing",
    r"found unknown escape character '(.)'": "the escape \\{0} does not exist; use single quotes for text with backslashes",
    r"expected the node content, but found '(.*)'": "a value is expected here, not {0}",
    r"expected a mapping or list of mappings for merging.*": "only a mapping can be merged with <<; write <<: *NAME",
}
# ruamel.yaml raises these itself for some malformed directives, tags and escapes.
_PARSER_ERRORS = (YAMLError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass
class Document:
    """A YAML file: its data, and the problems found in it.

    Attributes:
        file: The name of the file in messages.
        data: The content as dict, list and scalars; None if the file is not YAML.
        problems: The problems found so far. The checks of the content add theirs.
        text: The content as text; empty if it cannot be read.
    """

    file: str
    data: Any = None
    problems: list[FileProblem] = field(default_factory=list)
    text: str = ""
    _loaded: Any = None
    _seen: set[tuple[int, int, str]] = field(default_factory=set)

    def add(self, place: Place, message: str, *, key: bool = False) -> None:
        """Record a problem of a value or of its key; if there is no such value, at the nearest one around it."""
        line, column = self._position(place, key=key)
        if (line, column, message) in self._seen:
            return  # a value that several places share by an alias or a merge key
        self._seen.add((line, column, message))
        shown = describe(place)
        self._add(line, column, f"{shown}: {message}" if shown else message)

    def read(self, path: Path) -> None:
        """Read the file into `data`. Records problems and raises nothing."""
        content = b""
        try:
            content = path.read_bytes()
            self.text = content.decode("utf-8-sig")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a reused anchor is valid YAML
                self._loaded = YAML().load(self.text)
            self.data = self._plain(self._loaded, ())
        except OSError as error:
            self._add(0, 0, f"cannot read the file: {error.strerror}")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start)
            self._add(line, error.start - content.rfind(b"\n", 0, error.start) - 1, "the file is not UTF-8 text")
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = str(error.problem or error.context or "syntax error").splitlines()[0]
            self._add(mark.line if mark else 0, mark.column if mark else 0, f"invalid YAML: {_explained(what)}")
        except ReaderError as error:
            before = self.text[: error.position]
            column = len(before) - before.rfind("\n") - 1
            self._add(
                before.count("\n"),
                column,
                f"invalid YAML: the control character #x{error.character:02x} is not allowed",
            )
        except RecursionError:
            self._add(0, 0, "invalid inventory: nested too deeply")
        except _PARSER_ERRORS as error:
            self._add(0, 0, f"invalid YAML: {str(error) or type(error).__name__}".splitlines()[0])

    def anchored(self, place: Place) -> bool:
        """Whether the value at the top of the file has an anchor."""
        value = self._loaded[place[0]]
        return getattr(getattr(value, "anchor", None), "value", None) is not None

    def _add(self, line: int, column: int, message: str) -> None:
        self.problems.append(FileProblem(self.file, line + 1, column + 1, message))

    def _position(self, place: Place, *, key: bool) -> tuple[int, int]:
        """Return line and column, counted from 0."""
        node, found = self._loaded, (0, 0)
        for depth, part in enumerate(place, start=1):
            node = _defining(node, part)
            positions = getattr(node, "lc", None)
            if positions is None or part not in (positions.data or ()):
                break
            entry = positions.data[part]  # of a key: its line and column, then those of its value
            node = node[part]
            wants_key = len(entry) > 2 and (node is None or (key and depth == len(place)))  # noqa: PLR2004
            found = (entry[0], entry[1]) if wants_key else (entry[-2], entry[-1])
        return found

    def _plain(self, node: Any, place: Place) -> Any:
        if len(place) > _MAX_DEPTH:
            raise RecursionError
        match node:
            case CommentedMap():
                for key in [key for key in node if not isinstance(key, str)]:
                    line, column = node.lc.key(key)
                    self._add(line, column, "a key must be text")
                return {key: self._plain(node[key], (*place, key)) for key in node if isinstance(key, str)}
            case CommentedSeq():
                return [self._plain(item, (*place, index)) for index, item in enumerate(node)]
            case _:
                return self._scalar(node, place)

    def _scalar(self, node: Any, place: Place) -> Any:
        if isinstance(node, str) and not node.isprintable():
            self.add(place, "the text contains a line break or another control character")
        elif getattr(getattr(node, "tag", None), "value", None):
            self.add(place, f"the tag {node.tag.value} is not supported")
        # The parser's types remember how a value was written. Dates become text.
        for kinds, plain in _SCALARS.items():
            if isinstance(node, kinds):
                return plain(node)
        return None if node is None else str(node)


def _defining(node: Any, key: str | int) -> Any:
    """Return the mapping that contains a key itself: the node, or one that is merged into it with <<."""
    if isinstance(node, CommentedMap) and key in node and key not in (node.lc.data or ()):
        for source in getattr(node, "merge", None) or ():
            if key in source:
                return _defining(source, key)
    return node


def _explained(problem: str) -> str:
    """Return a parser's message as what to do, or unchanged if it is not known."""
    for pattern, text in _EXPLANATIONS.items():
        if found := re.fullmatch(pattern, problem):
            return text.format(*found.groups())
    return problem


def describe(place: Place) -> str:
    """Return a place as text, as in ``hosts[0].name``; empty for the top."""
    words = [
        f"[{part}]" if isinstance(part, int) else f".{part if part.isprintable() else repr(part)}" for part in place
    ]
    return "".join(words).removeprefix(".")
