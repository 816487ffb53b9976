"""The alerting rules that users write in values, checked by promtool."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maas import process
from maas.bundle import tools
from maas.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def broken(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the errors of each invalid file of rules, as promtool reports them.

    Args:
        files: The contents of the files (maps with `groups`), by name.

    Raises:
        BundleError: promtool is not available.
    """
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / f"{number}.yaml" for number, name in enumerate(files)}
        for name, path in paths.items():
            path.write_text(yaml.safe_dump(files[name]), encoding="utf-8")
        if not paths or not _errors(*paths.values()):
            return
        for name, path in paths.items():
            if said := _errors(path):
                yield name, "; ".join(said).replace(f"{path}: ", "")


def refuse_broken(values: Mapping[str, Any]) -> None:
    """Reject invalid rules in the user's values, if promtool is locally available.

    Otherwise the operator rejects them in the cluster, and the alert PrometheusOperatorRejectedResources fires.

    Args:
        values: The values of the umbrella chart.

    Raises:
        ChartError: promtool reports errors.
    """
    for path, groups in (("rules.additional", lambda found: found), ("slos.objectives", _selectors)):
        found: Any = values
        for key in ("kube-prometheus", *path.split(".")):
            found = found.get(key) if isinstance(found, dict) else None
        # The schema rejects other types.
        if not isinstance(found, dict) or not found or tools.cached("promtool") is None:
            continue
        if faults := [f"{name}: {complaint}" for name, complaint in broken(groups(found))]:
            raise ChartError(
                "the values contain rules that cannot be evaluated",
                context=faults,
                hint=f"correct the expressions in kube-prometheus.{path}",
            )


def _selectors(objectives: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file of rules for each selector of service level objectives, in which promtool finds its errors."""
    return {
        f"{name}.{key}": {
            "groups": [{"name": name, "rules": [{"record": "slo:rate", "expr": f"rate({slo[key]}[5m])"}]}]
        }
        for name, slo in objectives.items()
        if isinstance(slo, dict)
        for key in ("good", "all")
        if key in slo
    }


def _errors(*files: Path) -> list[str]:
    argv: list[str | Path] = [tools.tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *files]
    done = process.run(argv, check=False, timeout=60)
    if done.returncode == 0:
        return []
    said = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    return [line for line in said if line and not line.startswith(("Checking ", "FAILED", "SUCCESS"))] or [
        "promtool rejects it"
    ]
