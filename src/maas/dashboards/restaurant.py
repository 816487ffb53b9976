"""The application: what guests and the kitchen see, how it scales, and its database."""

from __future__ import annotations

from maas.dashboards import shared_panels
from maas.dashboards.model import Dashboard, Variable
from maas.dashboards.panels import (
    ANY_IS_BAD,
    ERRORS,
    UTILIZATION,
    Column,
    Panel,
    Query,
    Row,
    Steps,
    latency,
    lines,
    number,
    table,
)
from maas.dashboards.promql import quantile, rate

_NAMESPACE = Variable("namespace", "Namespace", 'label_values(restaurant_http_threads{cluster=~"$cluster"}, namespace)')
_APP = 'cluster=~"$cluster", job="restaurant", namespace="$namespace"'
_SERVER_ERRORS = ', status=~"5.."'
"""Errors that are not the guest's."""

_FAILED = 'namespace:restaurant_http_requests_failed:ratio_rate{window}{{cluster=~"$cluster", namespace="$namespace"}}'
_SLOW = 'namespace:restaurant_http_requests_slow:ratio_rate{window}{{cluster=~"$cluster", namespace="$namespace"}}'
_ERROR_BUDGET, _LATENCY_BUDGET = f"{_FAILED} / 0.005", f"{_SLOW} / 0.01"
"""The used share of what the service level objectives allow: 99.5 % without an error, 99 % within a second."""


def _rate(metric: str, by: str = "", more: str = "") -> str:
    return rate(metric, f"{_APP}{more}", by)


def _of_restaurant(metric: str) -> str:
    # Every pod reads the same number from the database.
    return f"max({metric}{{{_APP}}})"


def _response_time(share: float) -> str:
    return quantile(share, "restaurant_http_request_duration_seconds_bucket", _APP)


def _budget_left(name: str, allowed: str, used: str) -> Panel:
    return shared_panels.share(
        f"{name} budget left today",
        f"Share of one day's {name.lower()} budget that is left: {allowed}.",
        f"1 - {used.format(window='1d')}",
        steps=Steps("red", ((0, "orange"), (0.5, "green"))),
        decimals=0,
        width=6,
    )


def _share_now(name: str, requests: str, share: str, steps: Steps) -> Panel:
    query = Query(share.format(window="5m"))
    return number(f"{name}, 5 minutes", f"Share of {requests}.", "percentunit", query, steps=steps, decimals=2, width=6)


def _budget_burn(name: str, used: str, windows: tuple[str, ...]) -> Panel:
    return lines(
        f"{name} budget burn rate",
        f"How many times faster than allowed the {name.lower()} budget is used up, by window.",
        "short",
        *(Query(used.format(window=window), window) for window in windows),
        steps=Steps("green", ((1, "orange"), (14.4, "red"))),
    )


_PAGE_REQUESTS = rate("restaurant_http_requests_total", _APP, "method, route", window="1h")
_PAGE_ERRORS = rate("restaurant_http_requests_total", f"{_APP}{_SERVER_ERRORS}", "method, route", window="1h")

RESTAURANT = Dashboard(
    folder="restaurant",
    name="restaurant",
    title="Restaurant",
    description="Are guests served, is the kitchen on time, and are the service level objectives met?",
    variables=(_NAMESPACE,),
    content=(
        Row("Restaurant", width=8),
        number(
            "Orders",
            "Orders in the last hour.",
            "short",
            Query(f"sum(increase(restaurant_orders_total{{{_APP}}}[1h]))"),
            decimals=0,
        ),
        number(
            "Sales",
            "Value of the orders of the last hour.",
            "currencyEUR",
            Query(f"sum(increase(restaurant_order_value_cents_total{{{_APP}}}[1h])) / 100"),
            decimals=0,
        ),
        number("Guests", "Guests at a table.", "short", Query(_of_restaurant("restaurant_guests_present"))),
        number(
            "Tickets open",
            "Orders with something left to cook.",
            "short",
            Query(_of_restaurant("restaurant_tickets_open")),
        ),
        number(
            "Tickets late",
            "Open orders that have waited for 20 minutes or more.",
            "short",
            Query(_of_restaurant("restaurant_tickets_late")),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
        ),
        number(
            "Stock low",
            "Ingredients at or below their reorder threshold.",
            "short",
            Query(_of_restaurant("restaurant_stock_low")),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
        ),
        lines(
            "Orders per minute",
            "Orders per minute, by type: at the table or takeaway.",
            "short",
            Query(f"{_rate('restaurant_orders_total', 'kind')} * 60", "{{kind}}"),
            stack=True,
        ),
        lines(
            "Kitchen",
            "Orders with something left to cook, and the late ones among them.",
            "short",
            Query(_of_restaurant("restaurant_tickets_open"), "open"),
            Query(_of_restaurant("restaurant_tickets_late"), "late"),
            stairs=True,
        ),
        lines(
            "Payments",
            "Payments per minute, by method.",
            "currencyEUR",
            Query(f"{_rate('restaurant_payment_value_cents_total', 'method')} * 60 / 100", "{{method}}"),
            stack=True,
        ),
        lines(
            "Bookings",
            "Guests booked per hour, and bookings refused per hour because no table was free.",
            "short",
            Query(f"{_rate('restaurant_booked_covers_total')} * 3600", "booked"),
            Query(f"{_rate('restaurant_bookings_refused_total')} * 3600", "refused"),
        ),
        lines(
            "Seated",
            "Guests seated per hour.",
            "short",
            Query(f"{_rate('restaurant_covers_seated_total')} * 3600", "seated"),
        ),
        lines(
            "Sold out",
            "Dishes refused per hour because an ingredient was out of stock.",
            "short",
            Query(f"{_rate('restaurant_stock_outs_total')} * 3600", "refused"),
            steps=ANY_IS_BAD,
        ),
        Row("Service level objectives"),
        _budget_left("Error", "0.5 % of its requests may fail", _ERROR_BUDGET),
        _budget_left("Latency", "1 % of its requests may take more than a second", _LATENCY_BUDGET),
        _share_now(
            "Failed",
            "requests in 5 minutes that failed with a server error",
            _FAILED,
            Steps("green", ((0.005, "orange"), (0.05, "red"))),
        ),
        _share_now(
            "Slow",
            "requests in 5 minutes that took more than a second",
            _SLOW,
            Steps("green", ((0.01, "orange"), (0.1, "red"))),
        ),
        _budget_burn("Error", _ERROR_BUDGET, ("5m", "30m", "1h", "6h")),
        _budget_burn("Latency", _LATENCY_BUDGET, ("5m", "1h", "2h")),
        Row("Requests", width=8),
        shared_panels.rates(
            "Requests by code",
            "Requests per second, by HTTP status code.",
            "restaurant_http_requests_total",
            _APP,
            "status",
            unit="reqps",
            stack=True,
        ),
        lines(
            "Request duration",
            "Request duration in seconds, without the open streams of kitchen screens.",
            "s",
            *shared_panels.percentiles("restaurant_http_request_duration_seconds_bucket", _APP),
            steps=latency(0.5, 1),
        ),
        lines(
            "Failed requests",
            "Share of requests that failed with a server error.",
            "percentunit",
            Query(
                f"({_rate('restaurant_http_requests_total', more=_SERVER_ERRORS)} or vector(0)) / {_rate('restaurant_http_requests_total')}",
                "failed",
            ),
            steps=ERRORS,
        ),
        table(
            "Routes",
            "All routes in the last hour: requests, duration and failures.",
            {"route": "Route", "method": "Method"},
            Column("Requests", _PAGE_REQUESTS, "reqps"),
            Column(
                "95th percentile",
                quantile(0.95, "restaurant_http_request_duration_seconds_bucket", _APP, "method, route", window="1h"),
                "s",
                latency(0.5, 1),
            ),
            Column(
                "Failed",
                f"({_PAGE_ERRORS} or 0 * {_PAGE_REQUESTS}) / {_PAGE_REQUESTS}",
                "percentunit",
                ERRORS,
            ),
        ),
        Row("Pods", width=8),
        lines(
            "Threads in use",
            "Share of each pod's worker threads that are busy; at 100 % requests wait.",
            "percentunit",
            Query(f"max by (pod) (restaurant_http_saturation_ratio{{{_APP}}})", "{{pod}}"),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Database connections",
            "Share of each pod's pool of database connections that is in use.",
            "percentunit",
            Query(
                f"max by (pod) (restaurant_database_connections_in_use{{{_APP}}} / restaurant_database_pool_size{{{_APP}}})",
                "{{pod}}",
            ),
            steps=UTILIZATION,
        ),
        lines(
            "Connection wait, 95th percentile",
            "Seconds that requests wait for a connection to the database.",
            "s",
            Query(quantile(0.95, "restaurant_database_checkout_seconds_bucket", _APP), "95 %"),
            steps=latency(0.1, 0.5),
        ),
        lines(
            "Kitchen screens",
            "Connected kitchen screens, and the maximum number.",
            "short",
            Query(f"sum(restaurant_streams{{{_APP}}})", "connected"),
            Query(f"sum(restaurant_streams_capacity{{{_APP}}})", "maximum"),
            stairs=True,
        ),
        shared_panels.rates(
            "CPU",
            "CPU usage of each pod, in cores.",
            "process_cpu_seconds_total",
            _APP,
            "pod",
            unit="short",
            stack=True,
        ),
        lines(
            "Memory",
            "Resident memory of each pod.",
            "bytes",
            Query(f"max by (pod) (process_resident_memory_bytes{{{_APP}}})", "{{pod}}"),
        ),
    ),
)

_HPA = 'cluster=~"$cluster", job="kube-state-metrics", namespace="$namespace", horizontalpodautoscaler="restaurant"'
_CPU = 'node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m{cluster=~"$cluster", namespace="$namespace", container="restaurant"}'
_CPU_NOW = 'sum(rate(container_cpu_usage_seconds_total{cluster=~"$cluster", job="kubelet", metrics_path="/metrics/cadvisor", namespace="$namespace", container="restaurant"}[$__rate_interval]))'
_REQUEST = 'kube_pod_container_resource_requests{cluster=~"$cluster", namespace="$namespace", container="restaurant", resource="cpu"}'


def _replicas(metric: str) -> str:
    return f"max(kube_horizontalpodautoscaler_{metric}{{{_HPA}}})"


SCALING = Dashboard(
    folder="restaurant",
    name="restaurant-scaling",
    title="Restaurant / Scaling",
    description="How fast do pods follow the load, how much load does one pod take, and what is the maximum?",
    variables=(_NAMESPACE,),
    content=(
        Row("Now"),
        number("Pods", "Current pods.", "short", Query(_replicas("status_current_replicas"))),
        number(
            "Desired", "Pods that the autoscaler wants to run.", "short", Query(_replicas("status_desired_replicas"))
        ),
        number("Maximum", "Maximum number of pods of the autoscaler.", "short", Query(_replicas("spec_max_replicas"))),
        shared_panels.share(
            "CPU usage of request",
            "CPU usage as a share of the requests; the autoscaler keeps it at its target.",
            f"{_CPU_NOW} / sum({_REQUEST})",
            steps=Steps("green", ((3, "orange"), (4, "red"))),
            decimals=0,
        ),
        number("Requests", "Requests per second of all pods.", "reqps", Query(_rate("restaurant_http_requests_total"))),
        number(
            "Per pod",
            "Requests per second per pod.",
            "reqps",
            Query(f"{_rate('restaurant_http_requests_total')} / count(up{{{_APP}}} == 1)"),
            decimals=1,
        ),
        Row("Load and pods", width=8),
        lines(
            "Requests",
            "Requests per second of all pods.",
            "reqps",
            Query(_rate("restaurant_http_requests_total"), "requests"),
        ),
        lines(
            "CPU usage and target",
            "CPU usage as a share of the requests, and the autoscaler's target.",
            "percentunit",
            Query(f"{_CPU_NOW} / sum({_REQUEST})", "in use"),
            Query(
                f'max(kube_horizontalpodautoscaler_spec_target_metric{{{_HPA}, metric_target_type="utilization"}}) / 100',
                "target",
            ),
        ),
        lines(
            "Pods",
            "Ready, desired, minimum and maximum pods.",
            "short",
            Query(f"count(up{{{_APP}}} == 1)", "ready"),
            Query(_replicas("status_desired_replicas"), "desired"),
            Query(_replicas("spec_min_replicas"), "minimum"),
            Query(_replicas("spec_max_replicas"), "maximum"),
            stairs=True,
        ),
        lines(
            "Request duration, 95th percentile",
            "Request duration in seconds; it rises until new pods share the load.",
            "s",
            Query(_response_time(0.95), "95 %"),
            steps=latency(0.5, 1),
        ),
        lines(
            "Threads in use",
            "Share of the worker threads of all pods that are busy.",
            "percentunit",
            Query(f"avg(restaurant_http_saturation_ratio{{{_APP}}})", "average"),
            Query(f"max(restaurant_http_saturation_ratio{{{_APP}}})", "fullest pod"),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Pods by node",
            "Ready pods of the restaurant, by node.",
            "short",
            Query(
                'count by (node) (kube_pod_info{cluster=~"$cluster", namespace="$namespace"}'
                f" and on (cluster, namespace, pod) up{{{_APP}}} == 1)",
                "{{node}}",
            ),
            stack=True,
            stairs=True,
        ),
        Row("Load per pod", width=8),
        shared_panels.rates(
            "Requests by pod",
            "Requests per second, by pod; new pods should soon have the same share as old ones.",
            "restaurant_http_requests_total",
            _APP,
            "pod",
            unit="reqps",
        ),
        lines(
            "CPU per request",
            "CPU time of one request in seconds.",
            "s",
            Query(f"{_CPU_NOW} / ({_rate('restaurant_http_requests_total')} > 0)", "CPU"),
        ),
        lines(
            "Maximum load",
            "Current requests per second, and an estimate for the maximum number of pods at the target CPU usage.",
            "reqps",
            Query(_rate("restaurant_http_requests_total"), "current"),
            Query(
                f'{_replicas("spec_max_replicas")} * max(kube_horizontalpodautoscaler_spec_target_metric{{{_HPA}, metric_target_type="utilization"}}) / 100 * max({_REQUEST}) / ({_CPU_NOW} / ({_rate("restaurant_http_requests_total")} > 0))',
                "maximum",
            ),
        ),
        lines(
            "Pod start duration",
            "Seconds from the start of a pod to its readiness.",
            "s",
            Query(
                # A pod that becomes ready again has a later time, hence min_over_time. The outer min is for a move of
                # kube-state-metrics in that hour, which leaves a second series of each pod.
                'min by (cluster, namespace, pod, uid) (min_over_time(kube_pod_status_ready_time{cluster=~"$cluster", namespace="$namespace", pod=~"restaurant-[0-9a-f]+-.+"}[1h]))'
                ' - min by (cluster, namespace, pod, uid) (kube_pod_start_time{cluster=~"$cluster", namespace="$namespace"})',
                "{{pod}}",
            ),
            steps=latency(15, 60),
            width=12,
        ),
        lines(
            "CPU by pod",
            "CPU usage of each pod in cores, averaged over 5 minutes.",
            "short",
            Query(f"sum by (pod) ({_CPU})", "{{pod}}"),
            stack=True,
            width=12,
        ),
    ),
)

_PG = 'cluster=~"$cluster", job="postgresql", namespace="$namespace"'
_DB = f'{_PG}, datname!~"template.*|"'


def _pg(metric: str, by: str = "datname") -> str:
    return rate(f"pg_stat_database_{metric}", _DB, by)


POSTGRESQL = Dashboard(
    folder="restaurant",
    name="postgresql",
    title="PostgreSQL",
    description="Is the database available, does it have free connections, and are queries blocked?",
    variables=(Variable("namespace", "Namespace", 'label_values(pg_up{cluster=~"$cluster"}, namespace)'),),
    content=(
        Row("Now"),
        number(
            "Up",
            "Database servers that the exporter can connect to.",
            "short",
            Query(f"sum(pg_up{{{_PG}}})"),
            steps=Steps("red", ((1, "green"),)),
        ),
        shared_panels.share(
            "Connections",
            "Connections as a share of the maximum.",
            f"sum(pg_stat_activity_count{{{_PG}}}) / sum(pg_settings_max_connections{{{_PG}}})",
            decimals=0,
        ),
        number("Size", "Size of all databases.", "bytes", Query(f"sum(pg_database_size_bytes{{{_DB}}})")),
        shared_panels.share(
            "Cache hits",
            "Share of blocks that were read from shared buffers.",
            f"{_pg('blks_hit', 'cluster')} / ({_pg('blks_hit', 'cluster')} + {_pg('blks_read', 'cluster')})",
            steps=Steps("red", ((0.9, "orange"), (0.99, "green"))),
            decimals=2,
        ),
        number(
            "Deadlocks",
            "Deadlocks in the last hour.",
            "short",
            Query(f"sum(increase(pg_stat_database_deadlocks{{{_DB}}}[1h]))"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        number(
            "Oldest transaction",
            "Age of the oldest open transaction.",
            "s",
            Query(f"max(pg_stat_activity_max_tx_duration{{{_PG}}})"),
            steps=latency(60, 300),
        ),
        Row("Activity", width=8),
        lines(
            "Transactions",
            "Committed and rolled-back transactions per second.",
            "ops",
            Query(_pg("xact_commit"), "{{datname}} commit"),
            Query(_pg("xact_rollback"), "{{datname}} rollback"),
        ),
        lines(
            "Rows",
            "Rows fetched, inserted, updated and deleted per second.",
            "ops",
            *(Query(_pg(f"tup_{what}", ""), what) for what in ("fetched", "inserted", "updated", "deleted")),
        ),
        lines(
            "Connections by state",
            "Connections by state; `idle in transaction` holds locks without working.",
            "short",
            Query(f"sum by (state) (pg_stat_activity_count{{{_PG}}})", "{{state}}"),
            stack=True,
        ),
        lines(
            "Locks",
            "Held and awaited locks, by mode.",
            "short",
            Query(f"sum by (mode) (pg_locks_count{{{_DB}}})", "{{mode}}"),
        ),
        lines(
            "Blocks read",
            "Blocks read per second from disk and from shared buffers.",
            "ops",
            Query(_pg("blks_read"), "{{datname}} disk"),
            Query(_pg("blks_hit"), "{{datname}} memory"),
        ),
        lines(
            "Temporary files",
            "Bytes written per second to temporary files by queries that exceed work_mem.",
            "Bps",
            Query(_pg("temp_bytes"), "{{datname}}"),
        ),
        Row("Volume"),
        lines(
            "Size",
            "Size of each database.",
            "bytes",
            Query(f"max by (datname) (pg_database_size_bytes{{{_DB}}})", "{{datname}}"),
        ),
        lines(
            "Volume used",
            "Share of the volume's space that is in use; PostgreSQL stops when the volume is full.",
            "percentunit",
            Query(
                'max by (persistentvolumeclaim) (1 - kubelet_volume_stats_available_bytes{cluster=~"$cluster", job="kubelet", namespace="$namespace"} / kubelet_volume_stats_capacity_bytes{cluster=~"$cluster", job="kubelet", namespace="$namespace"})',
                "{{persistentvolumeclaim}}",
            ),
            steps=UTILIZATION,
            most=1,
        ),
        *shared_panels.process('job="postgresql", namespace="$namespace"'),
    ),
)

DASHBOARDS = (RESTAURANT, SCALING, POSTGRESQL)
