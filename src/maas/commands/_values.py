"""Values files as every command takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maas.codegen import rules
from maas.helm import values_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def load(files: Sequence[Path]) -> dict[str, Any]:
    """Read and merge values files, and check the alerting rules in them.

    Raises:
        UsageError: A file cannot be read, or is not a YAML mapping.
        ChartError: A rule cannot be evaluated.
    """
    values = values_files.read(files)
    rules.refuse_broken(values)
    return values
