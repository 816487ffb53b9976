"""Every string of the values lands in the manifests as it is, also where YAML would read it as something else."""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from maas.codegen import values
from maas.helm import render, values_files
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STRINGS = [
    *("-", "yes", "no", "null", "~", "1e3", "0x1f", "007", "1_000", "12:30:45", "2026-11-28", ".5"),
    *(
        "'",
        "a'b\"c",
        "{{ .Values }}",
        "{a: b}",
        "[a]",
        "a: b",
        "- a",
        "a #b",
        "&a",
        "*a",
        "!a",
        "| a",
        "%a",
        "@a",
        "`a`",
    ),
    *("a\\nb", "a\\", " a ", "a\nb", "a\n\n  b\n", "a\tb", "é€😀", "a=b;c", '"""a', "${a}"),
]
"""Strings that mean something in YAML, in templates or in INI files."""

INGRESS = {"enabled": True, "hosts": ["a.example.org"]}
URL = "https://a.example.org"
OIDC = {"enabled": True, "clientId": "a", "existingSecret": "a", "authUrl": URL, "tokenUrl": URL}
EVERYTHING: dict[str, Any] = {
    "calico": {"enabled": True, "apiServer": {"host": "a.example.org"}},
    "dashboard": {"ingress": INGRESS, "headlamp": {"serviceMonitor": {"enabled": True}}},
    "kube-prometheus": {
        "keda": {"enabled": True},
        "perses": {"ingress": INGRESS},
        "prometheus": {"ingress": INGRESS},
        "alertmanager": {"ingress": INGRESS, "storage": {"enabled": True}},
        "grafana": {"ingress": INGRESS, "storage": {"enabled": True}, "oidc": OIDC},
        "nodeExporter": {"systemd": {"enabled": True}},
        # Large, and tested by themselves.
        "dashboards": {"enabled": False},
        "rules": {"enabled": False},
    },
    "restaurant": {
        "ingress": INGRESS,
        "serviceMonitor": {"enabled": True},
        "database": {"postgresql": {"metrics": {"enabled": True}}},
    },
}
"""Values that render as much as possible."""

ENGINES = [{"kube-prometheus": {"dashboards": {"engine": engine}}} for engine in ("grafana", "perses")]
"""The programs for dashboards, of which a release has one."""

SELECTING = re.compile(
    r"rules\.|\.(existingNetwork|version|namespaceOverride|fullnameOverride|retentionSize|cidr|userKey|tag)$|^global"
    r"|alertmanager\.existingSecret$"
)
"""Paths of values that select or compute something, or share a name with others."""

WRAPS: dict[type, Callable[[str], Any]] = {str: str, list: lambda text: [text], dict: lambda text: {"zq": text}}


@lru_cache
def accepting(text: str) -> dict[tuple[str, ...], Callable[[str], Any]]:
    """Return how to put a text into each value whose schema accepts it."""
    chart = values.chart(render.umbrella())
    wraps = {leaf.path: WRAPS[type(leaf.default)] for leaf in chart.tree.leaves() if type(leaf.default) in WRAPS}
    given = values_files.merge(*(nested(path, wrap(text)) for path, wrap in wraps.items()))
    errors = Draft202012Validator(chart.schema).iter_errors(given)
    refused = {tuple(error.absolute_path) for error in errors if error.validator != "required"}
    return {
        path: wrap
        for path, wrap in wraps.items()
        if not SELECTING.search(".".join(path)) and not any(place[: len(path)] == path for place in refused)
    }


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def comparable(entry: Any, tokens: Mapping[str, str]) -> Any:
    """Return an object in which each token is replaced by its text, without digests."""
    if isinstance(entry, dict):
        pairs = entry.items()
        return {comparable(key, tokens): comparable(value, tokens) for key, value in pairs if "checksum/" not in key}
    if isinstance(entry, list | tuple):
        return [comparable(value, tokens) for value in entry]
    if isinstance(entry, str):
        return re.sub(r"zq\d+zq", lambda match: tokens[match[0]], re.sub("-seed-[0-9a-f]{8}$", "", entry))
    return entry


def with_files(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with the files in its data read, and without generated data."""
    data = entry.get("data", {})
    if entry["kind"] == "Secret":
        data = {key: base64.b64decode(text).decode() for key, text in data.items() if key == "alertmanager.yaml"}
    return (
        {**entry, "data": {name: content(name, text) for name, text in data.items()}} if data else {**entry, "data": {}}
    )


def content(name: str, text: str) -> Any:
    if name.endswith(".yaml"):
        return yaml.safe_load(text)
    return [ini(line) for line in text.splitlines()] if name.endswith(".ini") else text


def ini(line: str) -> tuple[str, str]:
    """Return key and value of a line as Grafana reads it."""
    key, _, value = line.partition(" = ")
    quoted = re.fullmatch(r'"{3}(.*)"{3}', value)
    return key, quoted[1] if quoted else re.sub(r"\s*[#;].*", "", value).strip("'\"`")


def rendered(directory: Path, given: Mapping[str, Any], tokens: Mapping[str, str]) -> list[Any]:
    file = directory / "values.json"
    file.write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
    text = render.render_uncached(Request(render.umbrella(), values=(file,)))
    return [comparable(with_files(entry), tokens) for entry in render.parse(text)]


@pytest.fixture(scope="module")
def puts() -> dict[tuple[str, ...], tuple[Callable[[str], Any], list[str]]]:
    """Return how to put a text into each value, and the texts that its schema accepts."""
    accepted = {text: accepting(text) for text in STRINGS}
    found = {
        path: (wrap, [text for text in STRINGS if path in accepted[text]]) for path, wrap in accepting("zq0zq").items()
    }
    return {path: (wrap, texts) for path, (wrap, texts) in found.items() if texts}


@pytest.mark.parametrize("turn", range(8))
def test_a_string_is_the_same_in_the_manifests(puts: Any, turn: int, tmp_path: Path) -> None:
    assert len(puts) > 150
    tokens, harmless, given = {}, [], []
    for number, (path, (wrap, texts)) in enumerate(puts.items()):
        token = f"zq{number}zq"
        tokens[token] = texts[(number + 5 * turn) % len(texts)]
        harmless.append(nested(path, wrap(token)))
        given.append(nested(path, wrap(tokens[token])))
    everything = values_files.merge(EVERYTHING, ENGINES[turn % len(ENGINES)])
    expected = rendered(tmp_path, values_files.merge(everything, *harmless), tokens)
    for found, wanted in zip(rendered(tmp_path, values_files.merge(everything, *given), {}), expected, strict=True):
        assert found == wanted
