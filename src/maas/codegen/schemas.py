"""JSON Schemas of the rendered objects, without a network.

Those of Kubernetes are in the package kubernetes-validate; those of custom resources come from the charts' CRDs.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHARED = re.compile(r"(?:/api/_definitions\.json)?#/\$defs/(.+)")
"""A reference to a shared definition, from another file or from the same one."""


@lru_cache
def custom() -> Mapping[tuple[str, str], dict[str, Any]]:
    """Return the closed schema of every custom resource of the charts, by API version and kind."""
    found = {}
    for file in render.umbrella().glob("charts/*/crds/*.yaml"):
        (content,) = render.parse(file.read_text(encoding="utf-8"))
        definition = content["spec"]
        for version in definition["versions"]:
            api = f"{definition['group']}/{version['name']}"
            found[api, definition["names"]["kind"]] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(schema: Any) -> Any:
    """Return a schema in which unknown fields are errors; the API server would drop them silently.

    `metadata` stays open: CRDs leave it to the API server.
    """
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result


def write(directory: Path, *, kubernetes: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write the schema of each kind among some objects, with the file names that kubeconform expects.

    Kinds without a schema are left out.
    """
    ours = custom()
    for api, kind in sorted({(entry["apiVersion"], entry["kind"]) for entry in objects}):
        group, _, version = api.rpartition("/")
        name = "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
        schema = ours.get((api, kind)) or _standalone(kubernetes, name)
        if schema is not None:
            (directory / f"{name}.json").write_text(json.dumps(schema), encoding="utf-8")


def _standalone(kubernetes: str, name: str) -> dict[str, Any] | None:
    """Return a schema of Kubernetes together with the shared definitions that it refers to."""
    file = _packaged(kubernetes) / f"{name}.json"
    if not file.is_file():
        return None
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    shared, needed = _shared(kubernetes), dict[str, Any]()
    schema = _with_local_references(schema, shared, needed)
    return {**schema, "definitions": needed}


def _with_local_references(node: Any, shared: Mapping[str, Any], needed: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_with_local_references(entry, shared, needed) for entry in node]
    if not isinstance(node, dict):
        return node
    target = node.get("$ref")
    if isinstance(target, str) and (reference := _SHARED.fullmatch(target)):
        name = reference[1]
        if name not in needed:
            needed[name] = None  # reserved before its own references are followed, because some are circular
            needed[name] = _with_local_references(shared[name], shared, needed)
        return {"$ref": f"#/definitions/{name}"}
    return {key: _with_local_references(value, shared, needed) for key, value in node.items()}


@lru_cache
def _shared(kubernetes: str) -> dict[str, Any]:
    definitions: dict[str, Any] = json.loads((_packaged(kubernetes) / "_definitions.json").read_text(encoding="utf-8"))
    return definitions["$defs"]  # type: ignore[no-any-return]


def _packaged(kubernetes: str) -> Path:
    import kubernetes_validate  # noqa: PLC0415 - needed for development only

    # The API is the same for all patch releases of a minor version, and the package has one of them.
    minor = kubernetes.rpartition(".")[0]
    directory = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    return next(directory.glob(f"v{minor}.*-local-strict"))
