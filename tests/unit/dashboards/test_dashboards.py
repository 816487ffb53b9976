"""Every dashboard, as Grafana would read it from the committed file."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import units
from tests.support import promql, rule_tests

from maas import process
from maas.bundle import tools
from maas.dashboards import model, probe, registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Document = Mapping[str, Any]

DOCUMENTS = {
    str(file.relative_to(registry.directory())): json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(registry.directory().rglob("*.json"))
}
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
VARIABLE = re.compile(r"\$\{?(\w+)")
SUBJECTS = {
    "kubernetes": {
        *("api-server", "controller-manager", "scheduler", "kubelet", "proxy", "persistent-volumes", "etcd"),
    },
    "resources": {
        *("multi-cluster", "cluster", "namespace-pods", "namespace-workloads", "workload", "pod"),
        *("node-pods", "nodes-overview"),
    },
    "nodes": {"node", "use-node", "use-cluster"},
    "network": {
        *("network-cluster", "network-namespace-pods", "network-namespace-workloads", "network-workload"),
        *("network-pod", "coredns", "calico", "openvpn"),
    },
    "platform": {
        *("overview", "autoscalers", "capacity", "node-loss"),
        *("prometheus", "prometheus-remote-write", "alertmanager", "grafana", "probes", "slos", "snmp"),
    },
    "restaurant": {"restaurant", "restaurant-scaling", "postgresql"},
}


@pytest.fixture(params=sorted(DOCUMENTS))
def dashboard(request: pytest.FixtureRequest) -> Document:
    document: Document = DOCUMENTS[request.param]
    return document


def panels(dashboard: Document) -> list[Document]:
    """The panels with data: all but the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for entry in node:
            yield from strings(entry)


def names(dashboard: Document) -> list[str]:
    return [variable["name"] for variable in dashboard["templating"]["list"]]


def expressions(dashboard: Document) -> Iterator[str]:
    for panel in panels(dashboard):
        yield from (target["expr"] for target in panel["targets"])


def test_every_subject_has_a_dashboard() -> None:
    found: dict[str, set[str]] = {folder: set() for folder in SUBJECTS}
    for path in DOCUMENTS:
        folder, _, name = path.partition("/")
        found[folder].add(name.removesuffix(".json"))
    assert found == SUBJECTS


def test_committed_files_are_as_generated() -> None:
    assert registry.drift() == []


def test_changed_missing_and_surplus_files_are_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "directory", lambda: tmp_path)
    assert len(registry.write()) == len(registry.DASHBOARDS)
    assert registry.drift() == []
    changed, missing, foreign = (
        tmp_path / "kubernetes" / "etcd.json",
        tmp_path / "nodes" / "node.json",
        tmp_path / "nodes" / "another.json",
    )
    changed.write_text("{}")
    missing.unlink()
    foreign.write_text("{}")
    assert set(registry.drift()) == {changed, missing, foreign}
    registry.write()
    assert not foreign.exists()
    assert registry.drift() == []


def test_the_types_of_the_sdk_read_a_dashboard_and_write_the_same(dashboard: Document) -> None:
    read = models.Dashboard.from_json(dict(dashboard))
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    for key in ("uid", "title", "tags", "links"):
        assert written[key] == dashboard[key]
    assert len(written["panels"]) == len(dashboard["panels"])
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert prometheus_models.Dataquery.from_json(target).expr == target["expr"]


def test_uids_and_titles_are_unique() -> None:
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in DOCUMENTS.values()]
        assert len(values) == len(set(values))
    assert all(re.fullmatch(r"maas-[a-z-]{1,35}", dashboard["uid"]) for dashboard in DOCUMENTS.values())


def test_ids_of_panels_are_unique(dashboard: Document) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_are_inside_the_grid_and_do_not_overlap(dashboard: Document) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, f"{one} and {other}"


def test_every_row_of_graphs_fills_the_width(dashboard: Document) -> None:
    """A row of numbers may be shorter; in a row of graphs a gap looks like a missing panel."""
    rows: dict[int, int] = {}
    for panel in panels(dashboard):
        if panel["type"] != "stat":
            rows[panel["gridPos"]["y"]] = rows.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    short = [y for y, width in rows.items() if width < 24]
    stats = {panel["gridPos"]["y"] for panel in panels(dashboard) if panel["type"] == "stat"}
    assert [y for y in short if y not in stats] == []


def test_every_panel_has_a_description_and_a_unit(dashboard: Document) -> None:
    for panel in panels(dashboard):
        assert re.fullmatch(r"\w.+[.]", panel["description"], re.DOTALL), panel["title"]
        units_of = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            units_of += [entry["value"] for entry in override["properties"] if entry["id"] == "unit"]
        assert set(units_of) <= UNITS, f"{panel['title']}: {units_of}"
    assert dashboard["description"]


def test_titles_of_panels_are_unique_within_a_row(dashboard: Document) -> None:
    under: dict[str, set[str]] = {}
    heading = ""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            heading = panel["title"]
            assert heading not in under, f"{heading} is there twice"
            under[heading] = set()
            continue
        assert panel["title"] not in under.setdefault(heading, set()), panel["title"]
        under[heading].add(panel["title"])


def test_thresholds_are_in_ascending_order(dashboard: Document) -> None:
    for panel in panels(dashboard):
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        if panel["type"] == "stat":
            assert steps, panel["title"]
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(set(values)), panel["title"]
        assert not steps or steps[0]["value"] is None, panel["title"]


def test_shares_and_counts_of_faults_have_thresholds(dashboard: Document) -> None:
    """A number that says how full or how broken something is must look so."""
    for panel in panels(dashboard):
        if panel["type"] == "stat" and panel["fieldConfig"]["defaults"]["unit"] == "percentunit":
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert len(steps) > 1 or panel["title"] == "From the cache", panel["title"]


def test_panels_use_the_selected_data_source(dashboard: Document) -> None:
    for panel in panels(dashboard):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all("datasource" not in target for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    sources = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert [source["query"] for source in sources] == ["prometheus"]
    assert "current" not in sources[0], "Grafana's default is the reader's"


def test_the_variable_cluster_matches_a_single_cluster_without_that_label(dashboard: Document) -> None:
    cluster = next(v for v in dashboard["templating"]["list"] if v["name"] == "cluster")
    assert cluster["allValue"] == ".*"
    assert cluster["current"]["value"] == "$__all"


def test_every_variable_is_defined_before_it_is_used(dashboard: Document) -> None:
    known: list[str] = []
    for variable in dashboard["templating"]["list"]:
        text = variable["query"]["query"] if variable["type"] == "query" else ""
        assert set(VARIABLE.findall(text)) <= set(known), variable["name"]
        known.append(variable["name"])
    built_in = {"__rate_interval", "__url_time_range", "__data"}
    used = {name for panel in panels(dashboard) for text in strings(panel) for name in VARIABLE.findall(text)}
    assert used <= {*known, *built_in}


def test_every_variable_is_used(dashboard: Document) -> None:
    text = " ".join([*expressions(dashboard), *(v["query"]["query"] for v in dashboard["templating"]["list"][1:])])
    used = set(VARIABLE.findall(text))
    # Clusters are told apart by the dashboard of all clusters, not chosen.
    spared = {"datasource", "cluster"} if dashboard["uid"] == "maas-multi-cluster" else {"datasource"}
    assert set(names(dashboard)) - used <= spared


def test_variables_with_several_values_are_matched_as_regular_expressions(dashboard: Document) -> None:
    several = {v["name"] for v in dashboard["templating"]["list"] if v.get("multi")}
    for expr in expressions(dashboard):
        for operator, name in re.findall(r'(=~|!~|!=|=)\s*"\$(\w+)"', expr):
            assert (operator == "=~") == (name in several), expr


def test_every_metric_is_selected_by_cluster(dashboard: Document) -> None:
    """Without it a reader of one cluster would see the sum of all."""
    if dashboard["uid"] == "maas-multi-cluster":
        return
    for expr in expressions(dashboard):
        for selector in re.findall(r"\{([^{}]*)\}", expr):
            assert 'cluster=~"$cluster"' in selector, expr
        bare = [name for name in promql.metrics(filled(expr)) if not re.search(rf"{re.escape(name)}\s*\{{", expr)]
        assert bare == [], expr


def test_no_query_fails_while_an_exporter_is_replaced(dashboard: Document) -> None:
    assert [part for expr in expressions(dashboard) for part in promql.ambiguous(filled(expr))] == []


def filled(expr: str) -> str:
    """An expression with some value in the place of each variable."""
    return probe.interpolate(expr, dict.fromkeys(VARIABLE.findall(expr), "x") | {"__rate_interval": "5m"})


def test_links_lead_to_dashboards_that_have_the_variables(dashboard: Document) -> None:
    by_uid = {other["uid"]: other for other in DOCUMENTS.values()}
    for panel in panels(dashboard):
        for override in panel["fieldConfig"]["overrides"]:
            for entry in override["properties"]:
                for link in entry["value"] if entry["id"] == "links" else []:
                    match = re.fullmatch(r"/d/([\w-]+)\?(.+)", link["url"])
                    assert match, link["url"]
                    target = by_uid[match[1]]
                    assert set(re.findall(r"var-(\w+)=", match[2])) <= set(names(target)), link["url"]
                    assert {"${datasource:queryparam}", "${__url_time_range}"} <= set(match[2].split("&"))
                    headings = panel["transformations"][-1]["options"]["renameByName"].values()
                    assert set(re.findall(r'__data\.fields\["(.+?)"\]', link["url"])) <= set(headings)


def test_every_dashboard_links_to_all_folders(dashboard: Document) -> None:
    assert [link["tags"] for link in dashboard["links"]] == [["maas", folder] for folder in model.FOLDERS]
    assert all(link["keepTime"] and link["includeVars"] for link in dashboard["links"])


def test_the_chart_and_the_code_have_the_same_folders() -> None:
    file = registry.directory() / "folders.yaml"
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == model.FOLDERS


def test_each_folder_fits_into_a_configmap_for_kubectl_apply() -> None:
    """`kubectl apply` keeps a copy of the object, with every quote escaped, in an annotation of at most 256 KiB."""
    sizes = dict.fromkeys(model.FOLDERS, 0)
    for path in DOCUMENTS:
        text = json.dumps((registry.directory() / path).read_text(encoding="utf-8"))
        sizes[path.partition("/")[0]] += len(text.encode())
    assert max(sizes.values()) < 250_000, sizes


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": "a:query", "expr": filled(expr), "labels": {"at": f"{path} {number}"}}
        for path, dashboard in DOCUMENTS.items()
        for number, expr in enumerate(expressions(dashboard))
    ]
    assert len(rules) > 500
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = process.run([tools.tool("promtool"), "check", "rules", "--lint=none", file], check=False)
    assert done.returncode == 0, done.stderr


def test_recorded_series_have_a_recording_rule_in_the_chart() -> None:
    rules = [rule for groups in rule_tests.groups().values() for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    read = {name for d in DOCUMENTS.values() for expr in expressions(d) for name in promql.metrics(filled(expr))}
    assert {name for name in read if ":" in name} <= recorded
