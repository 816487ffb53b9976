"""Panels and rows that several dashboards share."""

from __future__ import annotations

from maas.dashboards.panels import (
    ANY_IS_BAD,
    ERRORS,
    NONE_IS_BAD,
    UTILIZATION,
    Panel,
    Query,
    Row,
    Steps,
    latency,
    lines,
    number,
)
from maas.dashboards.promql import quantile, rate


def up(job: str, *, what: str, title: str = "Up") -> Panel:
    """Return the number of instances that Prometheus scrapes successfully."""
    return number(
        title,
        f"Instances of {what} that Prometheus scrapes successfully.",
        "short",
        Query(f'sum(up{{cluster=~"$cluster", job="{job}"}})'),
        steps=NONE_IS_BAD,
    )


def down(job: str, *, what: str) -> Panel:
    """Return the number of instances that Prometheus cannot scrape."""
    return number(
        "Down",
        f"Instances of {what} that Prometheus cannot scrape.",
        "short",
        Query(f'count(up{{cluster=~"$cluster", job="{job}"}} == 0) or vector(0)'),
        steps=ANY_IS_BAD,
    )


def up_and_down(job: str, *, what: str) -> tuple[Panel, Panel]:
    """Return the numbers of instances that Prometheus can and cannot scrape."""
    return up(job, what=what), down(job, what=what)


def share(
    title: str,
    description: str,
    expr: str,
    *,
    steps: Steps = UTILIZATION,
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """Return a number that is a share of a whole; the default thresholds are those of used resources."""
    return number(title, description, "percentunit", Query(expr), steps=steps, decimals=decimals, width=width)


def rates(
    title: str,
    description: str,
    counter: str,
    selector: str,
    by: str,
    *,
    unit: str,
    steps: Steps | None = None,
    stack: bool = False,
    width: int | None = None,
) -> Panel:
    """Return the lines of a counter's increase per second, one for each value of some labels; see `promql.rate`."""
    query = Query(rate(counter, selector, by), _legend(by))
    return lines(title, description, unit, query, steps=steps, stack=stack, width=width)


def percentile(
    title: str,
    description: str,
    buckets: str,
    selector: str,
    by: str,
    *,
    unit: str = "s",
    steps: Steps | None = None,
    width: int | None = None,
) -> Panel:
    """Return the lines of a histogram's 99th percentile, one for each value of some labels; see `promql.quantile`."""
    query = Query(quantile(0.99, buckets, selector, by), _legend(by))
    return lines(f"{title}, 99th percentile", description, unit, query, steps=steps, width=width)


def _legend(labels: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels.split(", "))


def percentiles(buckets: str, selector: str) -> tuple[Query, ...]:
    """Return the median, the 95th and the 99th percentile of a histogram; the selector has no braces."""
    shares = ((0.5, "median"), (0.95, "95th percentile"), (0.99, "99th percentile"))
    return tuple(Query(quantile(share, buckets, selector), title) for share, title in shares)


def process(selector: str) -> tuple[Row | Panel, ...]:
    """Return the row of a component's processes; the selector has no braces."""
    inside = f'cluster=~"$cluster", {selector}'
    return (
        Row("Process", width=8),
        lines(
            "CPU",
            "CPU usage of each process, in cores.",
            "short",
            Query(f"rate(process_cpu_seconds_total{{{inside}}}[$__rate_interval])", "{{instance}}"),
        ),
        lines(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            Query(f"process_resident_memory_bytes{{{inside}}}", "{{instance}}"),
        ),
        lines(
            "Goroutines",
            "Goroutines of each process; a steady increase is a leak.",
            "short",
            Query(f"go_goroutines{{{inside}}}", "{{instance}}"),
        ),
    )


def client(selector: str) -> tuple[Row | Panel, ...]:
    """Return the row of a component's requests to the API server; the selector has no braces."""
    inside = f'cluster=~"$cluster", {selector}'
    failed = rate("rest_client_requests_total", f'{inside}, code=~"5..|<error>"')
    return (
        Row("Requests to the API server", width=8),
        rates(
            "Requests by code",
            "Requests per second, by HTTP status code.",
            "rest_client_requests_total",
            inside,
            "code",
            unit="reqps",
            stack=True,
        ),
        lines(
            "Failed requests",
            "Share of requests without a response or with a server error.",
            "percentunit",
            Query(
                f"({failed} or vector(0)) / {rate('rest_client_requests_total', inside)}",
                "failed",
            ),
            steps=ERRORS,
        ),
        percentile(
            "Request duration",
            "Request duration in seconds, by verb.",
            "rest_client_request_duration_seconds_bucket",
            inside,
            "verb",
            steps=latency(1, 5),
        ),
    )


def queues(selector: str) -> tuple[Row | Panel, ...]:
    """Return the row of a component's work queues; the selector has no braces."""
    inside = f'cluster=~"$cluster", {selector}'
    return (
        Row("Work queues", width=8),
        lines(
            "Additions",
            "Objects added per second, by queue.",
            "ops",
            Query(f"{rate('workqueue_adds_total', inside, 'name')} > 0", "{{name}}"),
        ),
        lines(
            "Depth",
            "Objects in each queue; if a queue keeps growing, its controller cannot keep up.",
            "short",
            Query(f"sum by (name) (workqueue_depth{{{inside}}})", "{{name}}"),
        ),
        percentile(
            "Queue duration",
            "Seconds that objects wait in the queue before they are processed.",
            "workqueue_queue_duration_seconds_bucket",
            inside,
            "name",
        ),
    )
