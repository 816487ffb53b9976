"""Dashboards as documents of Perses, for the viewer in hack/build/perses: same panels, queries, units and thresholds.

They are derived from what Grafana reads, so both screens always show the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_UNITS: dict[str, dict[str, Any]] = {
    "short": {"unit": "decimal", "shortValues": True},
    "bool": {"unit": "decimal"},
    "bool_yes_no": {"unit": "decimal"},
    "percentunit": {"unit": "percent-decimal"},
    "bytes": {"unit": "bytes", "shortValues": True},
    "s": {"unit": "seconds"},
    "pps": {"unit": "packets/sec", "shortValues": True},
    "bps": {"unit": "bits/sec", "shortValues": True},
    "Bps": {"unit": "bytes/sec", "shortValues": True},
    "ops": {"unit": "ops/sec", "shortValues": True},
    "iops": {"unit": "ops/sec", "shortValues": True},
    "reqps": {"unit": "requests/sec", "shortValues": True},
    "currencyEUR": {"unit": "eur"},
}
"""By Grafana's unit, that of Perses."""

_COLORS = {"green": "#299c46", "orange": "#ed8128", "red": "#d44a3a", "blue": "#1f60c4"}
"""By Grafana's name of a color, the color of lines and numbers: readable on white and on black."""

_WORDS = {"0": {"text": "no"}, "1": {"text": "yes"}}
"""The texts of a unit that is a truth value."""

_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")
_LINK = re.compile(r"/d/(?P<uid>[\w-]+)\?(?P<query>.*)")
_FIELD = re.compile(r'\$\{__data\.fields\["(.+)"\]\}')
_DURATION = re.compile(r"now-(\w+)")


def document(grafana: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a dashboard.

    Args:
        grafana: The dashboard as Grafana reads it.
    """
    panels: dict[str, Any] = {}
    groups: list[dict[str, Any]] = []
    for panel in grafana["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            groups.append({"title": panel["title"], "top": place["y"] + 1, "items": []})
            continue
        if not groups:
            groups.append({"title": "", "top": 0, "items": []})
        name = f"p{panel['id']}"
        panels[name] = _panel(panel)
        item = {"x": place["x"], "y": place["y"] - groups[-1]["top"], "width": place["w"], "height": place["h"]}
        groups[-1]["items"].append(item | {"content": {"$ref": f"#/spec/panels/{name}"}})
    duration = _DURATION.fullmatch(grafana["time"]["from"])
    return {
        "kind": "Dashboard",
        "metadata": {"name": grafana["uid"], "project": "maas"},
        "spec": {
            "display": {"name": grafana["title"], "description": grafana["description"]},
            "duration": duration[1] if duration else "1h",
            "refreshInterval": grafana["refresh"],
            "variables": [_variable(one) for one in grafana["templating"]["list"] if one["type"] == "query"],
            "panels": panels,
            "layouts": [_layout(group) for group in groups],
        },
    }


def text(grafana: Mapping[str, Any]) -> str:
    """Return the content of a document's file."""
    return json.dumps(document(grafana), separators=(",", ":"), ensure_ascii=False) + "\n"


def _layout(group: Mapping[str, Any]) -> dict[str, Any]:
    display = {"display": {"title": group["title"], "collapse": {"open": True}}} if group["title"] else {}
    return {"kind": "Grid", "spec": {**display, "items": group["items"]}}


def _variable(variable: Mapping[str, Any]) -> dict[str, Any]:
    query = _LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert query is not None  # noqa: S101 - the only form that `model` has
    several = variable.get("multi", False)
    return {
        "kind": "ListVariable",
        "spec": {
            "name": variable["name"],
            "display": {"name": variable["label"]},
            "allowMultiple": several,
            "allowAllValue": several,
            **({"customAllValue": variable["allValue"], "defaultValue": "$__all"} if several else {}),
            "sort": "alphabetical-asc",
            "plugin": {
                "kind": "PrometheusLabelValuesVariable",
                "spec": {"labelName": query["label"], "matchers": [query["selector"]]},
            },
        },
    }


def _panel(panel: Mapping[str, Any]) -> dict[str, Any]:
    kind, spec = _PLUGINS[panel["type"]](panel)
    return {
        "kind": "Panel",
        "spec": {
            "display": {"name": panel["title"], "description": panel["description"]},
            "plugin": {"kind": kind, "spec": spec},
            "queries": [_query(target) for target in panel["targets"]],
        },
    }


def _query(target: Mapping[str, Any]) -> dict[str, Any]:
    spec = {"query": target["expr"]}
    if legend := target.get("legendFormat"):
        spec["seriesNameFormat"] = legend
    return {"kind": "TimeSeriesQuery", "spec": {"plugin": {"kind": "PrometheusTimeSeriesQuery", "spec": spec}}}


def _number(panel: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    defaults = panel["fieldConfig"]["defaults"]
    words = _words(defaults) or (_WORDS if defaults["unit"].startswith("bool") else {})
    return "StatChart", {
        "calculation": "last-number",
        "format": _format(defaults["unit"], defaults.get("decimals")),
        "thresholds": _thresholds(defaults["thresholds"]),
        **({"mappings": _mappings(words)} if words else {}),
    }


def _lines(panel: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    limits = {key: defaults[key] for key in ("min", "max") if key in defaults}
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    return "TimeSeriesChart", {
        "legend": {"position": "bottom", "mode": "list", "size": "small"},
        "yAxis": {"format": _format(defaults["unit"]), **limits},
        "visual": {
            "areaOpacity": custom["fillOpacity"] / 100,
            "lineWidth": 1.25,
            **({"stack": "all"} if stacked else {}),
        },
        **({"thresholds": _thresholds(defaults["thresholds"])} if "thresholds" in defaults else {}),
    }


def _states(panel: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "StatusHistoryChart", {
        "legend": {"position": "bottom", "mode": "list", "size": "small"},
        "mappings": _mappings(_words(panel["fieldConfig"]["defaults"])),
    }


def _table(panel: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a table of the viewer itself: that of Perses has no links, and colors all columns alike."""
    properties: dict[str, dict[str, Any]] = {}
    for override in panel["fieldConfig"]["overrides"]:
        own = properties.setdefault(override["matcher"]["options"], {})
        own |= {entry["id"]: entry["value"] for entry in override["properties"]}
    titles = panel["transformations"][-1]["options"]["renameByName"]
    labels, columns = [], []
    for field, title in titles.items():
        own = properties.get(title, {})
        column: dict[str, Any] = {"title": title}
        if "links" in own:
            column["link"] = _link(own["links"][0]["url"])
        if not field.startswith("Value"):
            labels.append({"name": field, **column})
            continue
        column["format"] = _format(own["unit"])
        if "thresholds" in own:
            column["thresholds"] = _thresholds(own["thresholds"])
        if own["unit"].startswith("bool"):
            column["words"] = {value: word["text"] for value, word in _WORDS.items()}
        columns.append(column)
    return "ResourceTable", {"labels": labels, "columns": columns}


def _link(url: str) -> dict[str, Any]:
    """Return the target of a link: a dashboard, and its variables from columns of the row or from those of this one."""
    link = _LINK.fullmatch(url)
    assert link is not None  # noqa: S101 - the only form that `panels.Link` writes
    variables = {}
    for pair in link["query"].split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("var-"):
            field = _FIELD.fullmatch(value)
            variables[name.removeprefix("var-")] = {"column": field[1]} if field else {"variable": value.lstrip("$")}
    return {"dashboard": link["uid"], "variables": variables}


_PLUGINS = {"stat": _number, "timeseries": _lines, "state-timeline": _states, "table": _table}


def _format(unit: str, decimals: int | None = None) -> dict[str, Any]:
    return {**_UNITS[unit], **({} if decimals is None else {"decimalPlaces": decimals})}


def _thresholds(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    base, *rising = thresholds["steps"]
    steps = [{"value": step["value"], "color": _COLORS[step["color"]]} for step in rising]
    return {"defaultColor": _COLORS[base["color"]], "steps": steps}


def _words(defaults: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    mappings: Sequence[Mapping[str, Any]] = defaults.get("mappings", ())
    return {value: word for mapping in mappings for value, word in mapping["options"].items()}


def _mappings(words: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    return list(_each_mapping(words))


def _each_mapping(words: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    for value, word in words.items():
        color = {"color": _COLORS[word["color"]]} if "color" in word else {}
        yield {"kind": "Value", "spec": {"value": value, "result": {"value": word["text"], **color}}}
