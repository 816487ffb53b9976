"""What lies in the charts and is written by the tool: the shared helpers of each subchart, and the definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas.charts import definitions, render

if TYPE_CHECKING:
    from pathlib import Path

_COMMON = "templates/_common.tpl"


def common_drift() -> list[Path]:
    """The subcharts' copies of the umbrella's helpers that are not copies."""
    original = (render.umbrella() / _COMMON).read_bytes()
    copies = [chart / _COMMON for chart in render.subcharts()]
    return [copy for copy in copies if not copy.is_file() or copy.read_bytes() != original]


def write() -> list[Path]:
    """Write all that is generated, and return the files that changed or went.

    Raises:
        BundleError: controller-gen cannot be had.
        ProcessError: The modules with the Go types cannot be fetched or read.
    """
    changed = common_drift()
    for copy in changed:
        copy.write_bytes((render.umbrella() / _COMMON).read_bytes())
    for source in definitions.SOURCES:
        changed += definitions.write(source)
    return changed
