"""JSON Schemas and reference tables of files that pydantic models describe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic_core import core_schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Closed schemas: no key that the models refuse, and no titles that repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def schema(model: type[BaseModel], title: str) -> str:
    """Return the JSON Schema of a file as text.

    Args:
        model: Describes the whole file.
        title: Name of the file.
    """
    made = model.model_json_schema(schema_generator=_Generator)
    return json.dumps({"$schema": _DIALECT, **made, "title": title}, indent=2) + "\n"


def tables(model: type[BaseModel], name: str) -> Iterator[str]:
    """Yield the lines of a Markdown reference: one section for the file, and one for each of its parts.

    Args:
        model: Describes the whole file.
        name: Heading of the file's section.
    """
    made = model.model_json_schema(schema_generator=_Generator)
    parts = {name: made, **made.get("$defs", {})}
    for title, part in parts.items():
        yield from (f"{'##' if part is made else '###'} {title}", "", part["description"], "")
        yield from ("| key | type | default | description |", "|---|---|---|---|")
        for key, value in part["properties"].items():
            default = "required" if key in part.get("required", ()) else _default(value.get("default"))
            yield f"| `{key}` | {_type(value)} | {default} | {' '.join(value['description'].split())} |"
        yield ""


def _default(value: object) -> str:
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


def _type(value: dict[str, Any]) -> str:
    match value:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            text = f"[{name}](#{name.lower()})"
        case {"const": constant}:
            text = f"`{json.dumps(constant)}`"
        case {"enum": entries}:
            text = ", ".join(f"`{entry}`" for entry in entries)
        case {"oneOf": choices} | {"anyOf": choices}:
            text = " or ".join(_type(choice) for choice in choices if choice.get("type") != "null")
        case {"type": "array", "items": entry}:
            text = f"list of {_type(entry)}"
        case {"type": "object", "patternProperties": patterns}:
            text = f"map of {' or '.join(_type(entry) for entry in patterns.values())}"
        case {"type": "object", "additionalProperties": entry}:
            text = f"map of {_type(entry)}"
        case _:
            text = str(value["type"])
    return text
