"""The values of the charts, from each chart's values.schema.yaml and from schemas/values.yaml, which they share.

docs/contributing/values.md describes the format. values.yaml with its comments, values.schema.json and the tables of
values are derived from the same tree, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from maas.codegen import rules, values_schema
from maas.codegen.values_schema import REFERENCE
from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "values.schema.yaml"
SHARED_SOURCE = "schemas/values.yaml"

Node = Mapping[str, Any]
"""A node of a source: a JSON Schema with a few additional keywords."""

_TYPE_WORDS = frozenset({"$ref", "type", "enum", "const", "anyOf"})
_MISSING = object()


@dataclass(frozen=True)
class Leaf:
    """A value that is written as a whole.

    Attributes:
        path: Its keys from the chart's root.
        description: Its meaning, in sentences.
        default: Its default.
        example: Another possible value; None for none.
        umbrella: Whether only the umbrella chart sets it.
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
        path: Its keys from the chart's root; empty for the chart itself.
        description: Its meaning, in sentences.
        children: Its values, in the order of the source.
        brief: Whether values.yaml has no comments for its keys, because they are self-explanatory.
        subchart: Whether these are the values of a subchart.
        link: A page that explains them; empty for none.
    """

    path: tuple[str, ...]
    description: str
    children: tuple[Leaf | Branch, ...]
    brief: bool = False
    subchart: bool = False
    link: str = ""

    def leaves(self) -> Iterator[Leaf]:
        """Yield all values of the group, in order."""
        for child in self.children:
            if isinstance(child, Leaf):
                yield child
            else:
                yield from child.leaves()


@dataclass(frozen=True)
class Chart:
    """The values of a chart.

    Attributes:
        directory: The directory of the chart.
        tree: All values with their meanings and defaults.
        schema: The closed JSON Schema.
        overrides: For the umbrella chart, its defaults for the values of each subchart.
    """

    directory: Path
    tree: Branch
    schema: dict[str, Any]
    overrides: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The name of the chart."""
        return "maas" if self.directory == render.umbrella() else self.directory.name


def charts() -> list[Chart]:
    """Read the values of the umbrella chart and of each subchart.

    Raises:
        ChartError: A source is missing or not valid.
    """
    return [chart(directory) for directory in (render.umbrella(), *render.subcharts())]


def chart(directory: Path) -> Chart:
    """Read the values of one chart.

    Raises:
        ChartError: Its source is missing or not valid.
    """
    shared = _read(render.umbrella() / SHARED_SOURCE)
    source = Source(directory, shared)
    tree = source.tree()
    schema = values_schema.schema(source)
    # Only for a rendering, in which Helm adds these keys: a values file alone, in an editor or `helm lint`, is incomplete.
    schema |= {"if": {"required": ["common"]}, "then": _required(tree)}
    for child in tree.children:
        if isinstance(child, Branch) and child.subchart:
            # Helm adds the defaults of a subchart only if it is enabled.
            enabled = {"required": ["global"], "properties": {"enabled": {"const": True}}}
            schema["properties"][child.path[0]] |= {"if": enabled, "then": _required(child)}
    return Chart(directory=directory, tree=tree, schema=schema, overrides=source.overrides())


def _required(branch: Branch) -> dict[str, Any]:
    """Return a schema that requires every value: Helm removes the default of one that is null, and templates need all."""
    children = [
        child for child in branch.children if isinstance(child, Branch) or branch.subchart or not child.umbrella
    ]
    branches = [child for child in children if isinstance(child, Branch) and not child.subchart]
    found: dict[str, Any] = {"required": [child.path[-1] for child in children]}
    return found | ({"properties": {child.path[-1]: _required(child) for child in branches}} if branches else {})


class Source:
    """The source of one chart, with the shared definitions and groups."""

    def __init__(self, directory: Path, shared: Node) -> None:
        self._directory = directory
        self._shared = shared
        self._text = _read(directory / SOURCE)
        self._definitions = self._all_definitions()
        self.properties: dict[str, Any] = self._root_properties()
        """The properties of the chart itself."""

    @property
    def name(self) -> str:
        """The name of the chart."""
        return "maas" if self._directory == render.umbrella() else self._directory.name

    def _all_definitions(self) -> dict[str, Any]:
        """Return the shared definitions and those of the chart."""
        shared, own = self._shared["$defs"], self._text.get("$defs", {})
        if duplicates := sorted(shared.keys() & own.keys()):
            raise self._error((), f"defines {', '.join(duplicates)}, which {SHARED_SOURCE} defines, too")
        return {**shared, **own}

    def _root_properties(self) -> dict[str, Any]:
        """Return the properties of the chart, with those of every chart and those that the files of rules declare."""
        own = dict(self._text.get("properties", {}))
        if "rules" in own:
            declared = rules.value_properties(self._directory)
            own["rules"] = {**own["rules"], "properties": own["rules"]["properties"] | declared}
        includes = self._text.get("include", [])
        if self._directory == render.umbrella():
            # Helm reads `enabled` where a chart has the umbrella as a dependency, and passes it on.
            every = self._shared["groups"]["chart"]["properties"]
            own = {"global": every["global"], "enabled": every["enabled"], **own}
        else:
            includes = ["chart", *includes]
        found: dict[str, Any] = self.with_includes({"include": includes, "properties": own}, ())["properties"]
        # Properties of groups come last, except for those that every chart has.
        first = [name for name in self._shared["groups"]["chart"]["properties"] if "chart" in includes]
        return {name: found[name] for name in first} | found

    def _error(self, path: tuple[str, ...], what: str) -> ChartError:
        file = (self._directory / SOURCE).relative_to(render.umbrella())
        return ChartError(
            f"{file}: {'.'.join(path) or 'the root'} {what}", hint="docs/contributing/values.md describes the format"
        )

    def definition(self, reference: str, path: tuple[str, ...]) -> Node:
        """Return the definition that a node refers to.

        Raises:
            ChartError: There is none.
        """
        name = reference.removeprefix(REFERENCE)
        if name not in self._definitions:
            raise self._error(path, f"refers to {reference}, which is not defined")
        found: Node = self._definitions[name]
        return found

    def is_shared(self, name: str) -> bool:
        """Return whether a definition is one that all charts share."""
        return name in self._shared["$defs"]

    def subchart(self, name: str) -> Source:
        """Return the source of a subchart."""
        return Source(render.umbrella() / "charts" / name, self._shared)

    def with_includes(self, node: Node, path: tuple[str, ...]) -> dict[str, Any]:
        """Merge the properties of the groups that a node includes, and of the definition that it extends, into it."""
        result = dict(node)
        includes = result.pop("include", [])
        properties = dict(result.get("properties", {}))
        if "$ref" in result and (properties or includes):
            base = self.with_includes(self.definition(result.pop("$ref"), path), path)
            properties = _override_properties(base.get("properties", {}), properties)
            result = {**base, **result}
        for name in includes:
            if name not in self._shared["groups"]:
                raise self._error(path, f"includes {name}, which is not a group of {SHARED_SOURCE}")
            group = self.with_includes(self._shared["groups"][name], path)
            properties = _add_group(properties, group["properties"])
        if properties:
            result["properties"] = properties
        return result

    def _dereferenced(self, node: Node, path: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
        """Merge the definitions that a node refers to into it, and return whether it is a branch."""
        result = self.with_includes(node, path)
        is_branch = "properties" in result and "default" not in result
        while "$ref" in result:
            target = self.with_includes(self.definition(result.pop("$ref"), path), path)
            is_branch = is_branch or ("properties" in target and "default" not in target)
            result = {**target, **result}
        return result, is_branch

    def overrides(self) -> dict[str, Mapping[str, Any]]:
        """Return the defaults that the umbrella chart sets for the values of each subchart."""
        return {
            name: node.get("default", {})
            for name, node in self._text.get("properties", {}).items()
            if isinstance(node, Mapping) and "subchart" in node
        }

    def tree(self) -> Branch:
        """Return all values with their meanings and defaults.

        Raises:
            ChartError: The source is not valid.
        """
        children = tuple(self.parse(child, (name,), _MISSING) for name, child in self.properties.items())
        return Branch((), str(self._text["description"]).strip(), children)

    def parse(self, node: Node, path: tuple[str, ...], default: Any) -> Leaf | Branch:
        """Return the value or group of values that a node describes; `default` overrides its default."""
        if name := node.get("subchart"):
            return self._parse_subchart(node, name, path)
        resolved, is_branch = self._dereferenced(node, path)
        description = str(resolved.get("description", "")).strip()
        if not description.endswith(".") and not _ends_with_list(description):
            raise self._error(path, f"needs a description that ends with a period, not {description!r}")
        if default is _MISSING:
            default = resolved.get("default", _MISSING)
        if not is_branch:
            if default is _MISSING and not resolved.get("umbrella"):
                raise self._error(path, "needs a default")
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
            raise self._error(path, f"has a default for {', '.join(sorted(unknown))}, which are not keys of it")
        return Branch(
            path,
            description,
            tuple(
                self.parse(child, (*path, key), given.get(key, _MISSING))
                for key, child in resolved["properties"].items()
            ),
            brief=bool(resolved.get("brief")),
            link=str(resolved.get("link", "")),
        )

    def _parse_subchart(self, node: Node, name: str, path: tuple[str, ...]) -> Branch:
        inner = self.subchart(name)
        given = node.get("default", {})
        children = [
            inner.parse(child, (*path, key), given.get(key, _MISSING))
            for key, child in inner.properties.items()
            if key != "global"
        ]
        if unknown := given.keys() - inner.properties.keys():
            raise self._error(path, f"has a default for {', '.join(sorted(unknown))}, which are not values of {name}")
        return Branch(path, str(node["description"]).strip(), tuple(children), subchart=True)


def _override_properties(base: Node, over: Node) -> dict[str, Any]:
    """Override properties with others, in the order of the first."""
    result = dict(base)
    for name, node in over.items():
        result[name] = _override(base[name], node) if name in base else node
    return result


def _add_group(own: Node, group: Node) -> dict[str, Any]:
    """Return a component's own properties, then those of a group; own properties override those of the group."""
    result = {name: (_override(group[name], node) if name in group else node) for name, node in own.items()}
    return result | {name: node for name, node in group.items() if name not in own}


def _override(base: Node, own: Node) -> dict[str, Any]:
    """Override the keywords of a node. If the new node has a type, only description and default of the base remain."""
    if own.keys() & _TYPE_WORDS:
        base = {key: value for key, value in base.items() if key in ("description", "default", "example", "link")}
    return {**base, **own}


def _ends_with_list(description: str) -> bool:
    """Return whether a description ends with an indented list of the possible values, which needs no period."""
    return description.splitlines()[-1].startswith("  ") if description else False


@lru_cache
def _parsed(path: Path, text: str) -> Node:
    try:
        (found,) = render.parse(text)
    except yaml.YAMLError as error:
        raise ChartError(
            f"{path.relative_to(render.umbrella())} is not valid YAML", context=str(error).splitlines()
        ) from error
    return found


def _read(path: Path) -> Node:
    if not path.is_file():
        raise ChartError(
            f"{path.relative_to(render.umbrella())} is missing", hint="docs/contributing/values.md describes the format"
        )
    return _parsed(path, path.read_text(encoding="utf-8"))
