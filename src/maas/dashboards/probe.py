"""Runs every query of the dashboards and rules against a cluster's Prometheus: what is empty, broken or slow?"""

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

from maas import console, paths
from maas.cluster import tunnel
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from maas.cluster.client import Cluster

SLOW = 1.0
"""Seconds above which a query is named."""

_BUILT_IN = {"__rate_interval": "2m", "__interval": "30s", "__range": "30m"}
"""What Grafana would put for its own variables: four times the interval of scrapes, the step, the time range."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_SPAN, _STEP = 1800, 30
"""Seconds that lines reach back, and between two of their points."""

_WORKERS = 4
_TIMEOUT = 30
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
"""How Prometheus answers what it does not understand, or cannot work out."""


@dataclass(frozen=True)
class Query:
    """A query and where it stands.

    Attributes:
        where: Its place, such as `maas-etcd / Database`.
        expr: The expression, without variables.
        lines: Whether it is asked for a range of time, or for now.
    """

    where: str
    expr: str
    lines: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        query: What was asked.
        series: How many series there were.
        seconds: How long it took, the way to the cluster included.
        error: What Prometheus refused it with.
    """

    query: Query
    series: int
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Expected:
    """What may be empty, and why; a line of `queries.yaml`.

    Attributes:
        reason: Why.
        where: The place of queries, as a regular expression for all of it.
        metric: The name of metrics that a query reads, as a regular expression for all of it.
    """

    reason: str
    where: str = ""
    metric: str = ""

    def matches(self, query: Query) -> bool:
        """Whether a query may be empty for this reason."""
        if self.where:
            return re.fullmatch(self.where, query.where) is not None
        return re.search(rf"(?<![\w:])({self.metric})(?![\w:])", query.expr) is not None


@dataclass(frozen=True)
class Settings:
    """What is known about clusters that have no data for a query; the file `queries.yaml`.

    Attributes:
        choices: Regular expressions of the values that variables take instead of the first, where a cluster has them.
        empty: What may be empty.
    """

    choices: Mapping[str, str]
    empty: tuple[Expected, ...]

    def reason(self, query: Query) -> str:
        """Why a query may be empty; nothing when it may not."""
        return next((entry.reason for entry in self.empty if entry.matches(query)), "")


def settings() -> Settings:
    """The settings that come with the charts."""
    document = yaml.safe_load(Path(__file__).with_name("queries.yaml").read_text(encoding="utf-8"))
    return Settings(document["choices"], tuple(Expected(**entry) for entry in document["empty"]))


def dashboards() -> list[Mapping[str, Any]]:
    """The dashboards of the monitoring chart, as Grafana reads them."""
    directory = paths.content() / "charts" / "kube-prometheus" / "files" / "dashboards"
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.rglob("*.json"))]


def interpolate(expr: str, values: Mapping[str, str]) -> str:
    """An expression with values in the place of its variables.

    Raises:
        KeyError: A variable has no value.
    """
    everything = {**_BUILT_IN, **values}
    return _VARIABLE.sub(lambda match: everything[match[1] or match[2]], expr)


def panels(dashboard: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[Query]:
    """The queries of a dashboard's panels."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            where = f"{dashboard['uid']} / {panel['title']}"
            yield Query(where, interpolate(target["expr"], values), lines=not target.get("instant", False))


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus of a cluster, through the API server.

    Attributes:
        cluster: The cluster.
        path: Where the API server passes its API on.
    """

    cluster: Cluster
    path: str

    @classmethod
    def of(cls, cluster: Cluster) -> Prometheus:
        """Find the Prometheus of a cluster.

        Raises:
            ClusterError: There is none of ours.
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
        """The data of an answer of Prometheus' API.

        Raises:
            ClusterError: It refused the question, or does not answer.
        """
        status, body = self.cluster.raw(f"{self.path}/{path}", timeout=_TIMEOUT, **parameters)
        if status != HTTPStatus.OK:
            said = [body.decode(errors="replace")[:300]]
            if status in _REFUSED:
                raise ClusterError("Prometheus refuses a query", context=said)
            raise ClusterError(f"Prometheus does not answer (status {status})", context=said, hint="is it ready?")
        return json.loads(body)["data"]

    def ask(self, query: Query) -> Answer:
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

    def ask_all(self, queries: Iterable[Query]) -> list[Answer]:
        """Run queries, some at once, and give their answers in the same order."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(self.ask, queries))

    def rules(self) -> list[Mapping[str, Any]]:
        """All rules that Prometheus evaluates, with their state."""
        return [rule | {"group": group["name"]} for group in self.get("rules")["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        """The names of all metrics that there are."""
        return set(self.get("label/__name__/values"))

    def dashboard(self, dashboard: Mapping[str, Any], preferred: Mapping[str, str]) -> list[Answer]:
        """Run the queries of a dashboard: its variables, then its panels as a reader would find them first.

        Args:
            dashboard: The dashboard.
            preferred: Regular expressions of values to take instead of the first, where they are among the choices.
        """
        values, answers = self.choose(dashboard, preferred)
        return answers + self.ask_all(panels(dashboard, values))

    def choose(self, dashboard: Mapping[str, Any], preferred: Mapping[str, str]) -> tuple[dict[str, str], list[Answer]]:
        """The values of a dashboard's variables as a reader would find them first, and what the variables offered."""
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
                liked = (choice for choice in choices if name in preferred and re.fullmatch(preferred[name], choice))
                values[name] = next(liked, next(iter(choices), ""))
        return values, answers

    def choices(self, query: str) -> list[str]:
        """What a variable offers now: the values of its query, `label_values(selector, label)`."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        # Not by Prometheus' list of values, which names what is gone, too.
        found = self.get("query", query=f"group by ({label}) ({selector})")["result"]
        return sorted(entry["metric"][label] for entry in found if label in entry["metric"])


def _nothing(series: Mapping[str, Any]) -> bool:
    """Whether a series has no number in it, such as a share of nothing."""
    samples = series["values"] if "values" in series else [series["value"]]
    return all(value == "NaN" for _, value in samples)


def report(name: str) -> None:
    """Run every query of the dashboards on a cluster, and show which are empty, broken or slow.

    Args:
        name: The cluster's name.

    Raises:
        UsageError: There is no cluster of that name.
        ClusterError: It has no Prometheus, or queries are broken or empty without a known reason.
    """
    prometheus, known = Prometheus.of(tunnel.connect(name)), settings()
    rows, faults, slow = [], [], []
    with console.phase("Queries") as step:
        everything = dashboards()
        for number, dashboard in enumerate(everything, start=1):
            step.progress(number, len(everything), dashboard["title"])
            answers = prometheus.dashboard(dashboard, known.choices)
            empty = [answer for answer in answers if not answer.series]
            faults += [fault for answer in empty if (fault := judge(answer, known))]
            slow += [f"{a.query.where}: {a.seconds:.1f} s" for a in answers if a.seconds > SLOW]
            reasons = {known.reason(answer.query) for answer in empty} - {""}
            seconds = sum(answer.seconds for answer in answers)
            rows.append((dashboard["title"], len(answers), len(empty), f"{seconds:.1f}", "; ".join(sorted(reasons))))
    console.table("", ("dashboard", "queries", "empty", "seconds", "why"), rows)
    for line in slow:
        console.warn(f"slow: {line}")
    if faults:
        raise ClusterError(f"{len(faults)} queries give nothing", context=faults)


def judge(answer: Answer, known: Settings) -> str:
    """What is wrong with an answer: it is an error, or empty without a known reason."""
    if answer.error:
        return f"{answer.query.where}: {answer.error}: {answer.query.expr}"
    if answer.series or known.reason(answer.query):
        return ""
    return f"{answer.query.where}: empty: {answer.query.expr}"
