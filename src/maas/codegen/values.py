"""The charts' values, from one source: each chart's values.schema.yaml and what they share in schemas/values.yaml.

docs/contributing/values.md describes the format. From it come values.yaml with its comments, values.schema.json and the tables
of values, so that none of them can say anything that the others do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from maas.codegen import rules
from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "values.schema.yaml"

Node = Mapping[str, Any]
"""A piece of a source: a JSON Schema with a few words of our own."""

_OWN_WORDS = frozenset({"include", "subchart", "example", "brief", "umbrella", "link"})
"""What the sources say beyond JSON Schema."""

_TYPE_WORDS = frozenset({"$ref", "type", "enum", "const", "anyOf"})
_REFERENCE = "#/$defs/"
_MISSING = object()

_LIBRARY: Node = {
    "$comment": "Helm itself adds this key, for the library chart",
    "type": "object",
    "properties": {"global": {"$ref": f"{_REFERENCE}global"}},
}
"""What Helm puts below the name of the library chart, before it checks the values."""


@dataclass(frozen=True)
class Leaf:
    """A value that is set as a whole.

    Attributes:
        path: Its keys from the chart's root.
        description: What it means, in sentences.
        default: What it is when nobody says otherwise.
        example: Something else that it could be, None for none.
        umbrella: Whether only the umbrella gives it a value.
        link: A page that explains it; empty for none.
    """

    path: tuple[str, ...]
    description: str
    default: Any
    example: Any = None
    umbrella: bool = False
    link: str = ""


@dataclass(frozen=True)
class Branch:
    """A group of values.

    Attributes:
        path: Its keys from the chart's root; none for the chart itself.
        description: What it is about, in sentences.
        children: What it holds, in the order of the source.
        brief: Whether its keys explain themselves to a reader of values.yaml.
        subchart: Whether it holds the values of another chart.
        link: A page that explains them; empty for none.
    """

    path: tuple[str, ...]
    description: str
    children: tuple[Leaf | Branch, ...]
    brief: bool = False
    subchart: bool = False
    link: str = ""

    def leaves(self) -> Iterator[Leaf]:
        """All values below, in order."""
        for child in self.children:
            if isinstance(child, Leaf):
                yield child
            else:
                yield from child.leaves()


@dataclass(frozen=True)
class Chart:
    """A chart's values.

    Attributes:
        directory: Where the chart lies.
        tree: Every value with its meaning and default.
        schema: The closed JSON Schema.
        overrides: For the umbrella, what it says of each subchart's values; the subchart's own file says the rest.
    """

    directory: Path
    tree: Branch
    schema: dict[str, Any]
    overrides: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The chart's name, which is its directory's except for the umbrella."""
        return "maas" if self.directory == render.umbrella() else self.directory.name


def charts() -> list[Chart]:
    """The umbrella's values and those of each subchart.

    Raises:
        ChartError: A source is missing or says something that cannot be.
    """
    return [chart(directory) for directory in (render.umbrella(), *render.subcharts())]


def chart(directory: Path) -> Chart:
    """The values of one chart.

    Raises:
        ChartError: Its source is missing or says something that cannot be.
    """
    shared = _read(render.umbrella() / "schemas" / "values.yaml")
    source = _Source(directory, shared)
    return Chart(directory=directory, tree=source.tree(), schema=source.schema(), overrides=source.overrides())


class _Source:
    """One chart's source, with the shared definitions at hand."""

    def __init__(self, directory: Path, shared: Node) -> None:
        self._directory = directory
        self._shared = shared
        self._text = _read(directory / SOURCE)
        self._definitions: dict[str, Any] = dict(shared["$defs"])
        for name, definition in self._text.get("$defs", {}).items():
            if name in self._definitions:
                raise self._fault((), f"defines {name}, which is the name of a shared definition")
            self._definitions[name] = definition
        groups = ["chart"] if directory != render.umbrella() else []
        own = dict(self._text.get("properties", {}))
        if "rules" in own:
            # What the rules can be changed by is declared in their own files.
            own["rules"] = {
                **own["rules"],
                "properties": own["rules"]["properties"] | rules.value_properties(directory),
            }
        if directory == render.umbrella():
            own = {"global": {"$ref": f"{_REFERENCE}global"}, **own}
        root = {"include": [*groups, *self._text.get("include", [])], "properties": own, "type": "object"}
        self._root = self._expanded(root, ())
        if groups:  # The groups come last elsewhere, but what every chart has is said first.
            first = self._shared["groups"]["chart"]["properties"]
            properties = self._root["properties"]
            self._root["properties"] = {name: properties[name] for name in first} | properties

    def _fault(self, path: tuple[str, ...], what: str) -> ChartError:
        file = (self._directory / SOURCE).relative_to(render.umbrella())
        return ChartError(
            f"{file}: {'.'.join(path) or 'the root'} {what}", hint="docs/contributing/values.md describes the format"
        )

    # -- reading

    def _definition(self, reference: str, path: tuple[str, ...]) -> Node:
        name = reference.removeprefix(_REFERENCE)
        if name not in self._definitions:
            raise self._fault(path, f"refers to {reference}, which nothing defines")
        found: Node = self._definitions[name]
        return found

    def _expanded(self, node: Node, path: tuple[str, ...]) -> dict[str, Any]:
        """A node with the properties of the groups that it includes, and of a definition that it adds to."""
        result = dict(node)
        includes = result.pop("include", [])
        properties = dict(result.get("properties", {}))
        if "$ref" in result and (properties or includes):
            base = self._expanded(self._definition(result.pop("$ref"), path), path)
            properties = _laid_over(base.get("properties", {}), properties)
            result = {**base, **result}
        for name in includes:
            if name not in self._shared["groups"]:
                raise self._fault(path, f"includes {name}, which is no group")
            group = self._expanded(self._shared["groups"][name], path)
            properties = _added(properties, group["properties"])
        if properties:
            result["properties"] = properties
        return result

    def _resolved(self, node: Node, path: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
        """A node with what its references say, and whether it is a branch."""
        result = self._expanded(node, path)
        is_branch = "properties" in result and "default" not in result
        while "$ref" in result:
            target = self._expanded(self._definition(result.pop("$ref"), path), path)
            is_branch = is_branch or ("properties" in target and "default" not in target)
            result = {**target, **result}
        return result, is_branch

    def overrides(self) -> dict[str, Mapping[str, Any]]:
        return {
            name: node.get("default", {})
            for name, node in self._text.get("properties", {}).items()
            if isinstance(node, Mapping) and "subchart" in node
        }

    def tree(self) -> Branch:
        children = tuple(self._node(child, (name,), _MISSING) for name, child in self._root["properties"].items())
        return Branch((), str(self._text["description"]).strip(), children)

    def _node(self, node: Node, path: tuple[str, ...], default: Any) -> Leaf | Branch:
        if name := node.get("subchart"):
            return self._subchart(node, name, path)
        resolved, is_branch = self._resolved(node, path)
        description = str(resolved.get("description", "")).strip()
        if not description.endswith(".") and not _is_listing(description):
            raise self._fault(path, f"needs a description that ends with a full stop, not {description!r}")
        if default is _MISSING:
            default = resolved.get("default", _MISSING)
        if not is_branch:
            if default is _MISSING and not resolved.get("umbrella"):
                raise self._fault(path, "needs a default")
            return Leaf(
                path,
                description,
                None if default is _MISSING else default,
                example=resolved.get("example"),
                umbrella=bool(resolved.get("umbrella")),
                link=str(resolved.get("link", "")),
            )
        given = {} if default is _MISSING else default
        if unknown := given.keys() - resolved["properties"].keys():
            raise self._fault(path, f"has a default for {', '.join(sorted(unknown))}, which is not among its keys")
        return Branch(
            path,
            description,
            tuple(
                self._node(child, (*path, key), given.get(key, _MISSING))
                for key, child in resolved["properties"].items()
            ),
            brief=bool(resolved.get("brief")),
            link=str(resolved.get("link", "")),
        )

    def _subchart(self, node: Node, name: str, path: tuple[str, ...]) -> Branch:
        inner = _Source(render.umbrella() / "charts" / name, self._shared)
        given = node.get("default", {})
        children = [
            inner._node(child, (*path, key), given.get(key, _MISSING))
            for key, child in inner._root["properties"].items()
            if key != "global"
        ]
        if unknown := given.keys() - inner._root["properties"].keys():
            raise self._fault(path, f"has a default for {', '.join(sorted(unknown))}, which {name} has not")
        return Branch(path, str(node["description"]).strip(), tuple(children), subchart=True)

    # -- JSON Schema

    def schema(self) -> dict[str, Any]:
        """The closed JSON Schema, with those definitions that it uses."""
        used: dict[str, Any] = {}
        root = self._closed_root(used, prefix="")
        name = "maas" if self._directory == render.umbrella() else self._directory.name
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$comment": "generated by `maas generate` from values.schema.yaml; do not edit",
            "title": f"Values of the chart {name}",
            **root,
            "$defs": {key: used[key] for key in sorted(used)},
        }

    def _closed_root(self, used: dict[str, Any], *, prefix: str) -> dict[str, Any]:
        properties = self._root["properties"] | {"common": _LIBRARY}
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: self._closed(node, (name,), used, prefix) for name, node in properties.items()},
        }

    def _closed(self, node: Any, path: tuple[str, ...], used: dict[str, Any], prefix: str) -> Any:
        """A node as JSON Schema proper: without our own words, closed, its definitions noted as used."""
        if isinstance(node, list):
            return [self._closed(entry, path, used, prefix) for entry in node]
        if not isinstance(node, Mapping):
            return node
        if "subchart" in node:
            inner = _Source(render.umbrella() / "charts" / node["subchart"], self._shared)
            inside = inner._closed_root(used, prefix=f"{node['subchart']}.")
            return {"description": " ".join(node["description"].split()), **inside}
        # In the umbrella's schema, which every release carries along, subcharts are there to refuse and not to explain.
        dropped = _OWN_WORDS | {"description", "default"} if prefix else _OWN_WORDS
        words = {key: value for key, value in self._expanded(node, path).items() if key not in dropped}
        result = {key: self._word(key, value, path, used, prefix) for key, value in words.items()}
        if "properties" in result:
            result.setdefault("type", "object")
            result.setdefault("additionalProperties", False)
        return result

    def _word(self, key: str, value: Any, path: tuple[str, ...], used: dict[str, Any], prefix: str) -> Any:
        """What a keyword of JSON Schema says, as it belongs into the schema proper."""
        if key == "$ref":
            return self._noted(value, path, used, prefix)
        if key in ("$comment", "default", "enum", "const", "required"):
            return value
        if key == "description":
            return " ".join(str(value).split())
        if key == "properties":
            return {name: self._closed(child, (*path, name), used, prefix) for name, child in value.items()}
        return self._closed(value, path, used, prefix)

    def _noted(self, reference: str, path: tuple[str, ...], used: dict[str, Any], prefix: str) -> str:
        name = reference.removeprefix(_REFERENCE)
        definition = self._definition(reference, path)
        shown = name if name in self._shared["$defs"] else f"{prefix}{name}"
        if shown not in used:
            used[shown] = None  # taken before its own references are followed
            used[shown] = self._closed(definition, path, used, prefix)
        return f"{_REFERENCE}{shown}"


def _laid_over(base: Node, over: Node) -> dict[str, Any]:
    """Properties with others laid over them, in the order of the first."""
    result = dict(base)
    for name, node in over.items():
        result[name] = _over(base[name], node) if name in base else node
    return result


def _added(own: Node, group: Node) -> dict[str, Any]:
    """A component's own properties, then those of a group; of a shared name the own words decide."""
    result = {name: (_over(group[name], node) if name in group else node) for name, node in own.items()}
    return result | {name: node for name, node in group.items() if name not in own}


def _over(base: Node, own: Node) -> dict[str, Any]:
    """A node laid over another; where it says its own type, only the meaning and the default of the other remain."""
    if own.keys() & _TYPE_WORDS:
        base = {key: value for key, value in base.items() if key in ("description", "default", "example", "link")}
    return {**base, **own}


def _is_listing(description: str) -> bool:
    """Whether a description ends with an indented list of its value's meanings, which needs no full stop."""
    return description.splitlines()[-1].startswith("  ") if description else False


@lru_cache
def _parsed(path: Path, text: str) -> Node:
    try:
        (found,) = render.parse(text)
    except yaml.YAMLError as error:
        raise ChartError(
            f"{path.relative_to(render.umbrella())} is no YAML", context=str(error).splitlines()
        ) from error
    return found


def _read(path: Path) -> Node:
    if not path.is_file():
        raise ChartError(
            f"{path.relative_to(render.umbrella())} is missing", hint="docs/contributing/values.md describes the format"
        )
    return _parsed(path, path.read_text(encoding="utf-8"))
