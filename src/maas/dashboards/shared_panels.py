"""Groups of panels that several dashboards show in the same way."""

from __future__ import annotations

from maas.dashboards.panels import ANY_IS_BAD, ERRORS, NONE_IS_BAD, Panel, Query, Row, latency, lines, number


def up(job: str, *, what: str, title: str = "Up") -> Panel:
    """How many instances of a component answer."""
    return number(
        title,
        f"Instances of {what} that answer Prometheus.",
        "short",
        Query(f'sum(up{{cluster=~"$cluster", job="{job}"}})'),
        steps=NONE_IS_BAD,
    )


def down(job: str, *, what: str) -> Panel:
    """How many instances of a component do not answer."""
    return number(
        "Down",
        f"Instances of {what} that Prometheus knows and cannot reach.",
        "short",
        Query(f'count(up{{cluster=~"$cluster", job="{job}"}} == 0) or vector(0)'),
        steps=ANY_IS_BAD,
    )


def process(selector: str) -> tuple[Row | Panel, ...]:
    """What the processes of a component themselves take; the selector is the inside of the braces."""
    inside = f'cluster=~"$cluster", {selector}'
    return (
        Row("Process"),
        lines(
            "CPU",
            "Cores that each process uses.",
            "short",
            Query(f"rate(process_cpu_seconds_total{{{inside}}}[$__rate_interval])", "{{instance}}"),
            width=8,
        ),
        lines(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            Query(f"process_resident_memory_bytes{{{inside}}}", "{{instance}}"),
            width=8,
        ),
        lines(
            "Goroutines",
            "Goroutines of each process; a steady climb is a leak.",
            "short",
            Query(f"go_goroutines{{{inside}}}", "{{instance}}"),
            width=8,
        ),
    )


def client(selector: str) -> tuple[Row | Panel, ...]:
    """How a component's requests to the API server fare; the selector is the inside of the braces."""
    inside = f'cluster=~"$cluster", {selector}'
    return (
        Row("Requests to the API server"),
        lines(
            "Requests by code",
            "Requests per second that the component sends, by the answer's HTTP code.",
            "reqps",
            Query(f"sum by (code) (rate(rest_client_requests_total{{{inside}}}[$__rate_interval]))", "{{code}}"),
            stack=True,
            width=8,
        ),
        lines(
            "Failed requests",
            "Share of its requests that got no answer or a server error.",
            "percentunit",
            Query(
                f'(sum(rate(rest_client_requests_total{{{inside}, code=~"5..|<error>"}}[$__rate_interval])) or vector(0))'
                f" / sum(rate(rest_client_requests_total{{{inside}}}[$__rate_interval]))",
                "failed",
            ),
            steps=ERRORS,
            width=8,
        ),
        lines(
            "Time to answer, 99th percentile",
            "Seconds within which 99 of 100 of its requests are answered, by verb.",
            "s",
            Query(
                "histogram_quantile(0.99, sum by (verb, le) "
                f"(rate(rest_client_request_duration_seconds_bucket{{{inside}}}[$__rate_interval])))",
                "{{verb}}",
            ),
            steps=latency(1, 5),
            width=8,
        ),
    )


def queues(selector: str) -> tuple[Row | Panel, ...]:
    """The work queues of a component's controllers; the selector is the inside of the braces."""
    inside = f'cluster=~"$cluster", {selector}'
    return (
        Row("Work queues"),
        lines(
            "Additions",
            "Objects per second that are put into each queue.",
            "ops",
            Query(f"sum by (name) (rate(workqueue_adds_total{{{inside}}}[$__rate_interval])) > 0", "{{name}}"),
            width=8,
        ),
        lines(
            "Waiting",
            "Objects that wait in each queue; a queue that only grows has a controller that cannot keep up.",
            "short",
            Query(f"sum by (name) (workqueue_depth{{{inside}}})", "{{name}}"),
            width=8,
        ),
        lines(
            "Time in the queue, 99th percentile",
            "Seconds that 99 of 100 objects wait at most before their controller takes them.",
            "s",
            Query(
                "histogram_quantile(0.99, sum by (name, le) "
                f"(rate(workqueue_queue_duration_seconds_bucket{{{inside}}}[$__rate_interval])))",
                "{{name}}",
            ),
            width=8,
        ),
    )
