"""The documents for the viewer show the same as Grafana's dashboards, with what the plugins of Perses know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from maas.dashboards import perses, probe, registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GRAFANA = probe.dashboards()
DOCUMENTS = {dashboard["uid"]: perses.document(dashboard) for dashboard in GRAFANA}
EVERY = pytest.mark.parametrize("grafana", GRAFANA, ids=lambda dashboard: dashboard["uid"])

KEYS = {
    "StatChart": {"calculation", "format", "mappings", "thresholds"},
    "TimeSeriesChart": {"legend", "thresholds", "visual", "yAxis"},
    "StatusHistoryChart": {"legend", "mappings"},
    "ResourceTable": {"columns", "labels"},
}
"""By plugin, the options of its model that documents use. The types of the packages are in their *-model.d.ts."""

UNITS = {
    *("bits/sec", "bytes", "bytes/sec", "decimal", "eur", "ops/sec", "packets/sec", "percent-decimal"),
    *("requests/sec", "seconds"),
}
"""The units of @perses-dev/core that documents use."""


def panels(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document["spec"]["panels"]
    return found


def formats(node: Any) -> Iterator[str]:
    """Yield every unit in a document."""
    if isinstance(node, dict):
        if "format" in node:
            yield node["format"]["unit"]
        for value in node.values():
            yield from formats(value)
    elif isinstance(node, list):
        for value in node:
            yield from formats(value)


@EVERY
def test_a_document_has_every_panel_of_the_dashboard_with_its_queries(grafana: Mapping[str, Any]) -> None:
    document = DOCUMENTS[grafana["uid"]]
    wanted = {
        f"p{panel['id']}": (panel["title"], panel["description"], [target["expr"] for target in panel["targets"]])
        for panel in grafana["panels"]
        if panel["type"] != "row"
    }
    found = {
        name: (
            panel["spec"]["display"]["name"],
            panel["spec"]["display"]["description"],
            [query["spec"]["plugin"]["spec"]["query"] for query in panel["spec"]["queries"]],
        )
        for name, panel in panels(document).items()
    }
    assert found == wanted
    assert document["spec"]["display"]["name"] == grafana["title"]


@EVERY
def test_every_panel_has_one_place_and_none_overlap(grafana: Mapping[str, Any]) -> None:
    document = DOCUMENTS[grafana["uid"]]
    named = [
        item["content"]["$ref"].removeprefix("#/spec/panels/")
        for layout in document["spec"]["layouts"]
        for item in layout["spec"]["items"]
    ]
    assert sorted(named) == sorted(panels(document))
    for layout in document["spec"]["layouts"]:
        assert layout["spec"]["items"], "a heading without panels"
        cells = [
            (x, y)
            for item in layout["spec"]["items"]
            for x in range(item["x"], item["x"] + item["width"])
            for y in range(item["y"], item["y"] + item["height"])
        ]
        assert len(cells) == len(set(cells))
        assert {x for x, _ in cells} <= {*range(24)}
        assert min(y for _, y in cells) == 0


@EVERY
def test_plugins_options_and_units_are_those_that_the_packages_have(grafana: Mapping[str, Any]) -> None:
    document = DOCUMENTS[grafana["uid"]]
    for panel in panels(document).values():
        plugin = panel["spec"]["plugin"]
        assert plugin["spec"].keys() <= KEYS[plugin["kind"]]
    assert {*formats(document)} <= UNITS


@EVERY
def test_variables_keep_their_names_values_and_dependencies(grafana: Mapping[str, Any]) -> None:
    queries = [one for one in grafana["templating"]["list"] if one["type"] == "query"]
    for variable, query in zip(DOCUMENTS[grafana["uid"]]["spec"]["variables"], queries, strict=True):
        spec = variable["spec"]
        own = spec["plugin"]["spec"]
        assert spec["name"] == query["name"]
        assert f"label_values({own['matchers'][0]}, {own['labelName']})" == query["query"]["query"]
        assert spec["allowAllValue"] == spec["allowMultiple"] == query.get("multi", False)
        # Without an own value for all, the label would have to have one of the listed values.
        assert spec.get("customAllValue") == query.get("allValue")


def test_links_lead_to_dashboards_with_these_variables_and_take_them_from_columns_or_variables() -> None:
    links = 0
    for document in DOCUMENTS.values():
        own = {variable["spec"]["name"] for variable in document["spec"]["variables"]}
        for panel in panels(document).values():
            for label in panel["spec"]["plugin"]["spec"].get("labels", []):
                if link := label.get("link"):
                    target = DOCUMENTS[link["dashboard"]]
                    titles = {column["title"] for column in panel["spec"]["plugin"]["spec"]["labels"]}
                    there = {variable["spec"]["name"] for variable in target["spec"]["variables"]}
                    assert link["variables"].keys() <= there
                    for source in link["variables"].values():
                        assert source.get("column") in titles or source.get("variable") in own
                    links += 1
    assert links > 10


def test_thresholds_words_and_columns_are_kept() -> None:
    overview = DOCUMENTS["maas-overview"]
    (down,) = [one for one in panels(overview).values() if one["spec"]["display"]["name"] == "Targets down"]
    assert down["spec"]["plugin"]["spec"]["thresholds"] == {
        "defaultColor": "#299c46",
        "steps": [{"value": 1, "color": "#d44a3a"}],
    }
    states = [
        panel["spec"]["plugin"]["spec"]["mappings"]
        for panel in panels(DOCUMENTS["maas-node-loss"]).values()
        if panel["spec"]["plugin"]["kind"] == "StatusHistoryChart"
    ]
    assert {"kind": "Value", "spec": {"value": "0", "result": {"value": "not ready", "color": "#d44a3a"}}} in states[0]


def test_the_files_of_the_viewer_are_those_of_the_chart() -> None:
    files = {file.relative_to(registry.directory()) for file in registry.directory().rglob("*.json")}
    built = {file.relative_to(registry.documents()) for file in registry.documents().rglob("*/*.json")}
    assert built == files
    for name in files:
        text = (registry.directory() / name).read_text(encoding="utf-8")
        assert (registry.documents() / name).read_text(encoding="utf-8") == perses.text(json.loads(text))
