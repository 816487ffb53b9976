"""Values files: reading them, and merging values as Helm does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from maas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def merge(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as Helm merges several files: maps key by key; anything else is replaced, and null removes."""
    merged: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            known = merged.get(key)
            merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def read(files: Sequence[Path]) -> dict[str, Any]:
    """Read values files and merge them in their order.

    Raises:
        UsageError: A file cannot be read, or is not a YAML mapping.
    """
    return merge(*(_read(file) for file in files))


def _read(file: Path) -> dict[str, Any]:
    try:
        values = YAML(typ="safe").load(file)
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the values file {file}", context=str(error).splitlines()[:6], code="InvalidValuesFile"
        ) from error
    if not isinstance(values, dict | None):
        raise UsageError(f"the values file {file} is not a YAML mapping", code="InvalidValuesFile")
    return values or {}
