"""Checks of the dashboards' queries against the Prometheus of a cluster: which are empty, fail or are slow."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maas import paths
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from maas.cluster.client import Cluster

SLOW = 1.0
"""Seconds above which a query is slow."""

_BUILT_IN = {"__rate_interval": "2m", "__interval": "30s", "__range": "30m"}
"""Values for the variables of Grafana itself: four times the scrape interval, the step, the time range."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_SPAN, _STEP = 1800, 30
"""Time range and step of range queries, in seconds."""

_WORKERS = 4
_TIMEOUT = 30
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
"""The statuses of the Prometheus API for queries that cannot be parsed or evaluated."""


@dataclass(frozen=True)
class Query:
    """A query of a dashboard.

    Attributes:
        where: Its place, such as `maas-etcd / Database`.
        expr: The expression, without variables.
        lines: Whether it is a range query; otherwise an instant query.
    """

    where: str
    expr: str
    lines: bool = False


@dataclass(frozen=True)
class Answer:
    """The result of a query.

    Attributes:
        query: The query.
        series: The number of series in the result.
        seconds: The duration, the connection to the cluster included.
        error: The error message of Prometheus; empty if there is none.
    """

    query: Query
    series: int
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Expected:
    """Queries that may be empty; an entry of `queries.yaml`.

    Attributes:
        reason: Why they may be empty.
        where: A regular expression for the place of the queries.
        metric: A regular expression for the names of metrics that the queries read.
    """

    reason: str
    where: str = ""
    metric: str = ""

    def matches(self, query: Query) -> bool:
        """Return whether a query may be empty for this reason."""
        if self.where:
            return re.fullmatch(self.where, query.where) is not None
        return re.search(rf"(?<![\w:])({self.metric})(?![\w:])", query.expr) is not None


@dataclass(frozen=True)
class Settings:
    """The content of `queries.yaml`.

    Attributes:
        choices: By variable, a regular expression for the value to prefer to the first one.
        empty: Queries that may be empty.
    """

    choices: Mapping[str, str]
    empty: tuple[Expected, ...]

    def reason(self, query: Query) -> str:
        """Return why a query may be empty, or an empty string if it may not."""
        return next((entry.reason for entry in self.empty if entry.matches(query)), "")


def settings() -> Settings:
    """Read `queries.yaml`."""
    document = yaml.safe_load(Path(__file__).with_name("queries.yaml").read_text(encoding="utf-8"))
    return Settings(document["choices"], tuple(Expected(**entry) for entry in document["empty"]))


def dashboards() -> list[Mapping[str, Any]]:
    """Read the generated dashboards of the monitoring chart."""
    directory = paths.content() / "charts" / "kube-prometheus" / "files" / "dashboards"
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.rglob("*.json"))]


def interpolate(expr: str, values: Mapping[str, str]) -> str:
    """Replace the variables of an expression with values.

    Raises:
        KeyError: A variable has no value.
    """
    everything = {**_BUILT_IN, **values}
    return _VARIABLE.sub(lambda match: everything[match[1] or match[2]], expr)


def panels(dashboard: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[Query]:
    """Yield the queries of a dashboard's panels."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            where = f"{dashboard['uid']} / {panel['title']}"
            yield Query(where, interpolate(target["expr"], values), lines=not target.get("instant", False))


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus of a cluster, through the proxy of the API server.

    Attributes:
        cluster: The cluster.
        path: The proxy's path to the API of Prometheus.
    """

    cluster: Cluster
    path: str

    @classmethod
    def of(cls, cluster: Cluster) -> Prometheus:
        """Find the Prometheus of a cluster.

        Raises:
            ClusterError: The cluster has no Prometheus of MaaS.
        """
        selector = "app.kubernetes.io/part-of=maas,app.kubernetes.io/name=prometheus"
        found = cluster.core.list_service_for_all_namespaces(label_selector=selector).items
        if not found:
            raise ClusterError(
                "this cluster has no Prometheus of MaaS",
                hint="set kube-prometheus.prometheus.enabled to true and install the chart again",
            )
        service = found[0].metadata
        web = next(port for port in found[0].spec.ports if port.name == "web")
        scheme = "https:" if web.app_protocol == "https" else ""
        return cls(cluster, f"/api/v1/namespaces/{service.namespace}/services/{scheme}{service.name}:web/proxy/api/v1")

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of a response of the Prometheus API.

        Raises:
            ClusterError: Prometheus rejects the query or is not available.
        """
        status, body = self.cluster.raw(f"{self.path}/{path}", timeout=_TIMEOUT, **parameters)
        if status != HTTPStatus.OK:
            said = [body.decode(errors="replace")[:300]]
            if status in _REFUSED:
                raise ClusterError("Prometheus rejects a query", context=said)
            raise ClusterError(
                f"Prometheus is not available: HTTP status {status}", context=said, hint="check that its pod is Ready"
            )
        return json.loads(body)["data"]

    def run(self, query: Query) -> Answer:
        """Run one query."""
        began = time.monotonic()
        now = time.time()
        try:
            if query.lines:
                span = {"start": f"{now - _SPAN:.0f}", "end": f"{now:.0f}", "step": str(_STEP)}
                data = self.get("query_range", query=query.expr, **span)
            else:
                data = self.get("query", query=query.expr)
        except ClusterError as error:
            return Answer(query, 0, time.monotonic() - began, "; ".join(error.context) or error.message)
        series = 1 if data["resultType"] == "scalar" else sum(not _nothing(entry) for entry in data["result"])
        return Answer(query, series, time.monotonic() - began)

    def run_all(self, queries: Iterable[Query]) -> list[Answer]:
        """Run queries concurrently and return their results in the same order."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(self.run, queries))

    def rules(self) -> list[Mapping[str, Any]]:
        """Return all rules that Prometheus evaluates, with their state."""
        return [rule | {"group": group["name"]} for group in self.get("rules")["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        """Return the names of all metrics."""
        return set(self.get("label/__name__/values"))

    def dashboard(self, dashboard: Mapping[str, Any], preferred: Mapping[str, str]) -> list[Answer]:
        """Run the queries of a dashboard: those of its variables, then those of its panels with the default choices.

        Args:
            dashboard: The dashboard.
            preferred: By variable, a regular expression for the value to prefer to the first one.
        """
        values, answers = self.choose(dashboard, preferred)
        return answers + self.run_all(panels(dashboard, values))

    def choose(self, dashboard: Mapping[str, Any], preferred: Mapping[str, str]) -> tuple[dict[str, str], list[Answer]]:
        """Return the default values of a dashboard's variables, and the results of the variables' queries."""
        answers: list[Answer] = []
        values: dict[str, str] = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            name = variable["name"]
            query = Query(f"{dashboard['uid']} / ${name}", interpolate(variable["query"]["query"], values))
            began = time.monotonic()
            choices = self.choices(query.expr)
            answers.append(Answer(query, len(choices), time.monotonic() - began))
            if variable.get("includeAll"):
                values[name] = variable["allValue"]
            else:
                matching = (choice for choice in choices if name in preferred and re.fullmatch(preferred[name], choice))
                values[name] = next(matching, next(iter(choices), ""))
        return values, answers

    def choices(self, query: str) -> list[str]:
        """Return the choices of a variable whose query is `label_values(selector, label)`."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        # Not with the API for label values, which also has those of series that ended.
        found = self.get("query", query=f"group by ({label}) ({selector})")["result"]
        return sorted(entry["metric"][label] for entry in found if label in entry["metric"])


def _nothing(series: Mapping[str, Any]) -> bool:
    """Return whether all samples of a series are NaN, as for a division by zero."""
    samples = series["values"] if "values" in series else [series["value"]]
    return all(value == "NaN" for _, value in samples)


def judge(answer: Answer, known: Settings) -> str:
    """Return what is wrong with a result: an error, or no data without a known reason; otherwise an empty string."""
    if answer.error:
        return f"{answer.query.where}: {answer.error}: {answer.query.expr}"
    if answer.series or known.reason(answer.query):
        return ""
    return f"{answer.query.where}: no data: {answer.query.expr}"
