"""What lies in the charts and is written by the tool: shared helpers, values and their tables, and the definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from maas import paths
from maas.codegen import alerts, crds, flows, roles, rules, values, values_docs
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

_COPIED = ("templates/_common.tpl", "templates/_flows.tpl")
"""The umbrella's helpers that every subchart has too, because it must also install alone."""


def texts() -> dict[Path, str]:
    """Every generated file that needs nothing but the charts' own sources, with what it ought to hold.

    Raises:
        ChartError: A source of values is missing or says something that cannot be.
    """
    found = {
        chart / file: (render.umbrella() / file).read_text(encoding="utf-8")
        for chart in render.subcharts()
        for file in _COPIED
    }
    charts = values.charts()
    for chart in charts:
        found[chart.directory / "values.yaml"] = values_docs.values_yaml(chart)
        found[chart.directory / "values.schema.json"] = json.dumps(chart.schema, indent=2) + "\n"
        if chart.directory != render.umbrella():
            readme = chart.directory / "README.md"
            found[readme] = values_docs.readme(chart, readme.read_text(encoding="utf-8") if readme.is_file() else None)
    docs = paths.content() / "docs"
    found[docs / "values.md"] = values_docs.reference(charts)
    umbrella = values.chart(render.umbrella())
    namespaces = {name: str(given["namespaceOverride"]) for name, given in umbrella.overrides.items()}
    found[docs / "roles.md"] = roles.document()
    found[docs / "policies.md"] = flows.document(flows.load(), namespaces)
    found[docs / "alerts.md"] = alerts.document(rules.load(render.umbrella() / "charts" / "kube-prometheus"))
    return found


def drift() -> list[Path]:
    """The generated files that are not as they ought to be.

    Raises:
        ChartError: A source of values is missing or says something that cannot be.
    """
    return [file for file, text in texts().items() if not file.is_file() or file.read_text(encoding="utf-8") != text]


def write() -> list[Path]:
    """Write all that is generated, and return the files that changed or went.

    Raises:
        BundleError: controller-gen cannot be had.
        ChartError: A source of values is missing or says something that cannot be.
        ProcessError: The modules with the Go types cannot be fetched or read.
    """
    from maas.dashboards import registry  # noqa: PLC0415 - its library is a tool of development

    changed = drift()
    wanted = texts()
    for file in changed:
        file.write_text(wanted[file], encoding="utf-8")
    for source in crds.SOURCES:
        changed += crds.write(source)
    return changed + registry.write()
