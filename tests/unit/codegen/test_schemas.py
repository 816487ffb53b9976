from __future__ import annotations

import json
from typing import TYPE_CHECKING

from maas.codegen import schemas
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path


def test_schemas_for_kubeconform_stand_alone(tmp_path: Path) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Pod"},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"},
        {"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy"},
        {"apiVersion": "example.org/v1", "kind": "Unknown"},
    ]
    schemas.write(tmp_path, kubernetes=render.KUBERNETES[-1], objects=objects)
    names = {file.name for file in tmp_path.glob("*.json")}
    assert names == {"pod-v1.json", "networkpolicy-networking-v1.json", "networkpolicy-crd-v1.json"}
    pod = json.loads((tmp_path / "pod-v1.json").read_text(encoding="utf-8"))
    references = set(_references(pod))
    assert references
    assert {reference.removeprefix("#/definitions/") for reference in references} == pod["definitions"].keys()


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [entry for value in node.values() for entry in _references(value)]
    if isinstance(node, list):
        return [entry for value in node for entry in _references(value)]
    return []
