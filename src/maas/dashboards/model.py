"""Dashboards: variables, layout, and the JSON that Grafana reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from maas.dashboards.panels import COLUMNS, DATASOURCE, Panel, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDERS = {
    "kubernetes": "Kubernetes",
    "resources": "Resources",
    "nodes": "Nodes",
    "network": "Network",
    "platform": "Platform",
    "restaurant": "Restaurant",
}
"""By directory of the files, the title of the folder in Grafana. Each is one ConfigMap."""

PREFIX = "maas-"
"""The prefix of every uid, which keeps them apart from those of other projects."""

_DEFAULTS: dict[str, Any] = {
    "allowCustomValue": True,
    "auto": False,
    "auto_count": 30,
    "auto_min": "10s",
    "fiscalYearStartMonth": 0,
    "includeAll": False,
    "multi": False,
    "repeatDirection": "h",
    "skipUrlSync": False,
    "transparent": False,
}
"""Fields with Grafana's default value, left out because every byte counts for the size limit of Helm's release Secret."""


@dataclass(frozen=True)
class Variable:
    """A variable of a dashboard.

    Attributes:
        name: Its name in queries.
        label: Its name on the page.
        query: The query for its values, such as `label_values(metric, label)`.
        several: Whether users can select several values; the default is all. Queries then match with `=~`.
    """

    name: str
    label: str
    query: str
    several: bool = False


def instances(job: str) -> Variable:
    """Return the variable for the instances of a scrape job."""
    query = f'label_values(up{{cluster=~"$cluster", job="{job}"}}, instance)'
    return Variable("instance", "Instance", query, several=True)


def namespaces(metric: str) -> Variable:
    """Return the variable for the namespaces that a metric has."""
    return Variable("namespace", "Namespace", f'label_values({metric}{{cluster=~"$cluster"}}, namespace)', several=True)


CLUSTER = Variable("cluster", "Cluster", 'label_values(up{job="kubelet"}, cluster)', several=True)
NODE = Variable("node", "Node", 'label_values(kube_node_info{cluster=~"$cluster"}, node)', several=True)
NAMESPACE = Variable(
    "namespace", "Namespace", 'label_values(kube_namespace_status_phase{cluster=~"$cluster"}, namespace)'
)


@dataclass(frozen=True)
class Dashboard:
    """A dashboard.

    Attributes:
        folder: A key of `FOLDERS`.
        name: The name of its file, and the part of its uid after the prefix.
        title: Its title.
        description: The question that it answers.
        content: Rows and panels, in reading order.
        variables: The variables in addition to data source and cluster.
        since: The start of the default time range.
    """

    folder: str
    name: str
    title: str
    description: str
    content: Sequence[Row | Panel]
    variables: tuple[Variable, ...] = ()
    since: str = "now-1h"

    @property
    def path(self) -> str:
        """The path of its file below files/dashboards."""
        return f"{self.folder}/{self.name}.json"

    @property
    def uid(self) -> str:
        """Its uid; users' bookmarks and links of other dashboards depend on it."""
        return PREFIX + self.name

    def text(self) -> str:
        """Return the JSON that Grafana reads."""
        built = self._built()
        document = json.loads(json.dumps(built, cls=JSONEncoder))
        return json.dumps(_lean(document), separators=(",", ":"), ensure_ascii=False) + "\n"

    def _built(self) -> models.Dashboard:
        builder = (
            dashboards.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["maas", self.folder])
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time(self.since, "now")
            .refresh("30s")
            .variables(
                [
                    dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"),
                    *(_variable(variable) for variable in (CLUSTER, *self.variables)),
                ]
            )
        )
        for folder, title in FOLDERS.items():
            builder.link(
                dashboards.DashboardLink(title)
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags(["maas", folder])
                .as_dropdown(as_dropdown=True)
                .include_vars(include_vars=True)
                .keep_time(keep_time=True)
            )
        built = builder.build()
        built.panels = _placed(self.content)
        return built


def _variable(variable: Variable) -> dashboards.QueryVariable:
    built = (
        dashboards.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": variable.query, "refId": "variable"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
    )
    if variable.several:
        # `.*` also matches series without the label: a single cluster has no label `cluster`.
        built.multi(multi=True).include_all(include_all=True).all_value(".*")
        built.current(models.VariableOption(text="All", value="$__all"))
    return built


def _placed(content: Sequence[Row | Panel]) -> list[models.Panel | models.RowPanel]:
    """Place rows and panels in the grid: from left to right, then below the tallest panel."""
    placed: list[models.Panel | models.RowPanel] = []
    x = y = below = 0
    default = Row("").width
    for number, entry in enumerate(content, start=1):
        if isinstance(entry, Row):
            place = models.GridPos(h=1, w=COLUMNS, x=0, y=below)
            placed.append(models.RowPanel(title=entry.title, grid_pos=place, id_val=number))
            x, y = 0, below + 1
            below, default = y, entry.width
            continue
        width = entry.width or default
        if x + width > COLUMNS:
            x, y = 0, below
        panel = entry.built
        panel.id_val, panel.grid_pos = number, models.GridPos(h=entry.height, w=width, x=x, y=y)
        placed.append(panel)
        x, below = x + width, max(below, y + entry.height)
    return placed


def _lean(node: Any) -> Any:
    if isinstance(node, list):
        return [_lean(entry) for entry in node]
    if isinstance(node, dict):
        return {
            key: _lean(value)
            for key, value in node.items()
            if not (key in _DEFAULTS and value == _DEFAULTS[key] and type(value) is type(_DEFAULTS[key]))
        }
    return node
