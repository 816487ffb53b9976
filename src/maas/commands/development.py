"""`maas lint` and `maas generate`: checks and generated files of a checkout. Not part of the wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console
from maas.codegen import lint as checks
from maas.codegen import outputs, terminology
from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Sequence


def lint(texts: Sequence[str] = ()) -> None:
    """Run every check of the charts and texts, or list the findings of terms and spelling below some paths.

    Raises:
        ChartError: A check found a problem.
    """
    if texts:
        for finding in terminology.findings(terminology.texts(*texts)):
            console.line(str(finding))
        return
    found: list[str] = []
    for name, check in checks.CHECKS.items():
        with console.phase(name) as step:
            faults = [f"{name}: {fault.where}: {fault.what}" for fault in check()]
            step.note(f"{len(faults)} problems" if faults else "")
        found += faults
    if found:
        raise ChartError(f"the checks found {len(found)} problems", context=found)


def generate() -> None:
    """Regenerate the charts' generated files, and show which have changed."""
    with console.phase("Generate") as step:
        changed = outputs.write()
        step.note(f"{len(changed)} files changed")
    for file in changed:
        console.line(f"  {file.relative_to(render.umbrella())}")
