"""`maas render`, `maas lint` and `maas generate`: the charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from ruamel.yaml import YAML

from maas import components, console
from maas.codegen import lint as checks
from maas.codegen import outputs, rules, terminology
from maas.errors import ChartError, UsageError
from maas.helm import render as rendering
from maas.helm.client import Major
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def render(values: Sequence[Path], *, kubernetes: str | None, helm: str) -> None:
    """Print the manifests of the umbrella chart.

    Raises:
        UsageError: A file is missing, or the version of Helm is not supported.
        ChartError: The chart rejects the values, or a rule in them cannot be evaluated.
    """
    if helm not in get_args(Major):
        raise UsageError(f"Helm {helm} is not supported", hint="use --helm 3 or --helm 4")
    if missing := [str(file) for file in values if not file.is_file()]:
        raise UsageError("no such file", context=missing, code="FileNotFound")
    version = kubernetes or components.load().find("kubelet")[0].version
    request = Request(rendering.umbrella(), values=tuple(values), kubernetes=version, helm=cast("Major", helm))
    text = rendering.render_anew(request)
    for file in values:
        rules.refuse_broken(YAML(typ="safe").load(file) or {})
    console.data(text)


def lint(texts: Sequence[str] = ()) -> None:
    """Run every check of the charts and texts, or list the findings of terms and spelling below some paths.

    Raises:
        ChartError: A check found a problem.
    """
    if texts:
        findings = terminology.findings(terminology.texts(*texts))
        for finding in findings:
            console.line(str(finding))
        new, _ = terminology.split(findings, terminology.pending())
        if new:
            raise ChartError(f"{len(new)} words to replace", hint=f"see {terminology.PAGE}")
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
        console.line(f"  {file.relative_to(rendering.umbrella())}")
