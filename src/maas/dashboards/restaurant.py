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
    return number(
        f"{name} budget left today",
        f"Share of one day's {name.lower()} budget that is left: {allowed}.",
        "percentunit",
        Query(f"1 - {used.format(window='1d')}"),
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
    description="Are guests served, is the kitchen on time, and is what was promised kept?",
    variables=(_NAMESPACE,),
    content=(
        Row("The house", width=8),
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
        number("Guests", "Guests who sit at a table now.", "short", Query(_of_restaurant("restaurant_guests_present"))),
        number(
            "Tickets open",
            "Orders with something left to cook.",
            "short",
            Query(_of_restaurant("restaurant_tickets_open")),
        ),
        number(
            "Tickets late",
            "Of those, waiting for 20 minutes or more.",
            "short",
            Query(_of_restaurant("restaurant_tickets_late")),
            steps=Steps("green", ((1, "orange"), (5, "red"))),
        ),
        number(
            "Stock low",
            "Ingredients at or below their mark.",
            "short",
            Query(_of_restaurant("restaurant_stock_low")),
            steps=Steps("green", ((1, "orange"), (10, "red"))),
        ),
        lines(
            "Orders per minute",
            "Orders per minute, at the table and to take away.",
            "short",
            Query(f"{_rate('restaurant_orders_total', 'kind')} * 60", "{{kind}}"),
            stack=True,
        ),
        lines(
            "Kitchen",
            "Orders with something left to cook, and those of them that are late.",
            "short",
            Query(_of_restaurant("restaurant_tickets_open"), "open"),
            Query(_of_restaurant("restaurant_tickets_late"), "late"),
            stairs=True,
        ),
        lines(
            "Payments",
            "Money taken per minute, by means.",
            "currencyEUR",
            Query(f"{_rate('restaurant_payment_value_cents_total', 'method')} * 60 / 100", "{{method}}"),
            stack=True,
        ),
        lines(
            "Bookings",
            "Guests booked and bookings refused for want of room, per hour.",
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
            "Dishes per hour that were refused because an ingredient had run out.",
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
            "Requests by answer",
            "Requests per second, by HTTP code.",
            "restaurant_http_requests_total",
            _APP,
            "status",
            unit="reqps",
            stack=True,
        ),
        lines(
            "Time to answer",
            "Seconds within which half, 95 and 99 of 100 requests are answered, without kitchen screens, which stay open.",
            "s",
            *shared_panels.percentiles("restaurant_http_request_duration_seconds_bucket", _APP),
            steps=latency(0.5, 1),
        ),
        lines(
            "Failed requests",
            "Share of requests that ended with an error of ours.",
            "percentunit",
            Query(
                f"({_rate('restaurant_http_requests_total', more=_SERVER_ERRORS)} or vector(0)) / {_rate('restaurant_http_requests_total')}",
                "failed",
            ),
            steps=ERRORS,
        ),
        table(
            "Pages",
            "Every page in the last hour: how often it was asked for, how long it took, how often it failed.",
            {"route": "Page", "method": "Method"},
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
            "Share of each pod's threads that answer a request; at 100 % guests wait.",
            "percentunit",
            Query(f"max by (pod) (restaurant_http_saturation_ratio{{{_APP}}})", "{{pod}}"),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Database connections",
            "Share of each pod's connections to the database that are in use.",
            "percentunit",
            Query(
                f"max by (pod) (restaurant_database_connections_in_use{{{_APP}}} / restaurant_database_pool_size{{{_APP}}})",
                "{{pod}}",
            ),
            steps=UTILIZATION,
        ),
        lines(
            "Wait for a connection, 95th percentile",
            "Seconds that 95 of 100 requests wait at most for a connection to the database.",
            "s",
            Query(quantile(0.95, "restaurant_database_checkout_seconds_bucket", _APP), "95 %"),
            steps=latency(0.1, 0.5),
        ),
        lines(
            "Kitchen screens",
            "Screens that are connected, the most there may be, and those that had to poll.",
            "short",
            Query(f"sum(restaurant_streams{{{_APP}}})", "connected"),
            Query(f"sum(restaurant_streams_capacity{{{_APP}}})", "most"),
            stairs=True,
        ),
        shared_panels.rates(
            "CPU", "Cores that each pod uses.", "process_cpu_seconds_total", _APP, "pod", unit="short", stack=True
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
    description="Guests come: how fast do pods follow, what does a pod carry, and how far could it go?",
    variables=(_NAMESPACE,),
    content=(
        Row("Now"),
        number("Pods", "Pods that there are.", "short", Query(_replicas("status_current_replicas"))),
        number("Wanted", "Pods that the autoscaler wants.", "short", Query(_replicas("status_desired_replicas"))),
        number("Most", "Pods that it may run at most.", "short", Query(_replicas("spec_max_replicas"))),
        number(
            "CPU of request",
            "What pods use as a share of what they asked for; the autoscaler aims at its target.",
            "percentunit",
            Query(f"{_CPU_NOW} / sum({_REQUEST})"),
            steps=Steps("green", ((3, "orange"), (4, "red"))),
            decimals=0,
        ),
        number(
            "Requests", "Requests per second, over all pods.", "reqps", Query(_rate("restaurant_http_requests_total"))
        ),
        number(
            "Per pod",
            "Requests per second that one pod answers.",
            "reqps",
            Query(f"{_rate('restaurant_http_requests_total')} / count(up{{{_APP}}} == 1)"),
            decimals=1,
        ),
        Row("From load to pods", width=8),
        lines(
            "Requests",
            "Requests per second, over all pods.",
            "reqps",
            Query(_rate("restaurant_http_requests_total"), "requests"),
        ),
        lines(
            "CPU against the target",
            "CPU in use as a share of the pods' requests, and the autoscaler's target.",
            "percentunit",
            Query(f"{_CPU_NOW} / sum({_REQUEST})", "in use"),
            Query(
                f'max(kube_horizontalpodautoscaler_spec_target_metric{{{_HPA}, metric_target_type="utilization"}}) / 100',
                "target",
            ),
        ),
        lines(
            "Pods",
            "Pods that are ready, that are wanted, and the bounds.",
            "short",
            Query(f"count(up{{{_APP}}} == 1)", "ready"),
            Query(_replicas("status_desired_replicas"), "wanted"),
            Query(_replicas("spec_min_replicas"), "least"),
            Query(_replicas("spec_max_replicas"), "most"),
            stairs=True,
        ),
        lines(
            "Time to answer, 95th percentile",
            "Seconds within which 95 of 100 requests are answered: it rises until new pods take their share.",
            "s",
            Query(_response_time(0.95), "95 %"),
            steps=latency(0.5, 1),
        ),
        lines(
            "Threads in use",
            "Share of all pods' threads that answer a request.",
            "percentunit",
            Query(f"avg(restaurant_http_saturation_ratio{{{_APP}}})", "average"),
            Query(f"max(restaurant_http_saturation_ratio{{{_APP}}})", "fullest pod"),
            steps=UTILIZATION,
            most=1,
        ),
        lines(
            "Pods by node",
            "Ready pods of the restaurant on each node.",
            "short",
            Query(
                'count by (node) (kube_pod_info{cluster=~"$cluster", namespace="$namespace"}'
                f" and on (cluster, namespace, pod) up{{{_APP}}} == 1)",
                "{{node}}",
            ),
            stack=True,
            stairs=True,
        ),
        Row("What a pod carries", width=8),
        shared_panels.rates(
            "Requests of a pod",
            "Requests per second that each pod answers: new ones should soon carry as much as old ones.",
            "restaurant_http_requests_total",
            _APP,
            "pod",
            unit="reqps",
        ),
        lines(
            "CPU of a request",
            "Milliseconds of CPU that one request costs.",
            "s",
            Query(f"{_CPU_NOW} / ({_rate('restaurant_http_requests_total')} > 0)", "CPU"),
        ),
        lines(
            "As far as it could go",
            "Requests per second now, and what the most pods would carry at the target, at the present cost of a request.",
            "reqps",
            Query(_rate("restaurant_http_requests_total"), "now"),
            Query(
                f'{_replicas("spec_max_replicas")} * max(kube_horizontalpodautoscaler_spec_target_metric{{{_HPA}, metric_target_type="utilization"}}) / 100 * max({_REQUEST}) / ({_CPU_NOW} / ({_rate("restaurant_http_requests_total")} > 0))',
                "most pods",
            ),
        ),
        lines(
            "Start of a pod",
            "Seconds from the start of a pod to its readiness, for every pod.",
            "s",
            Query(
                # A pod that was not ready for a while has a later time afterwards; and in an hour kube-state-metrics may
                # have moved, which leaves a second series of each pod under its new address.
                'min by (cluster, namespace, pod, uid) (min_over_time(kube_pod_status_ready_time{cluster=~"$cluster", namespace="$namespace", pod=~"restaurant-[0-9a-f]+-.+"}[1h]))'
                ' - min by (cluster, namespace, pod, uid) (kube_pod_start_time{cluster=~"$cluster", namespace="$namespace"})',
                "{{pod}}",
            ),
            steps=latency(15, 60),
            width=12,
        ),
        lines(
            "CPU by pod",
            "Cores that each pod uses, over five minutes.",
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
    description="Does the database answer, has it connections left, and does anything block?",
    variables=(Variable("namespace", "Namespace", 'label_values(pg_up{cluster=~"$cluster"}, namespace)'),),
    content=(
        Row("Now"),
        number(
            "Answers",
            "Servers that answer their exporter.",
            "short",
            Query(f"sum(pg_up{{{_PG}}})"),
            steps=Steps("red", ((1, "green"),)),
        ),
        number(
            "Connections",
            "Connections as a share of the most there may be.",
            "percentunit",
            Query(f"sum(pg_stat_activity_count{{{_PG}}}) / sum(pg_settings_max_connections{{{_PG}}})"),
            steps=UTILIZATION,
            decimals=0,
        ),
        number("Size", "Bytes of all databases.", "bytes", Query(f"sum(pg_database_size_bytes{{{_DB}}})")),
        number(
            "From memory",
            "Share of blocks that were found in the server's memory.",
            "percentunit",
            Query(f"{_pg('blks_hit', 'cluster')} / ({_pg('blks_hit', 'cluster')} + {_pg('blks_read', 'cluster')})"),
            steps=Steps("red", ((0.9, "orange"), (0.99, "green"))),
            decimals=2,
        ),
        number(
            "Deadlocks",
            "Times in the last hour that transactions blocked each other and one was ended.",
            "short",
            Query(f"sum(increase(pg_stat_database_deadlocks{{{_DB}}}[1h]))"),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        number(
            "Oldest transaction",
            "Age of the transaction that is open for the longest.",
            "s",
            Query(f"max(pg_stat_activity_max_tx_duration{{{_PG}}})"),
            steps=latency(60, 300),
        ),
        Row("Work", width=8),
        lines(
            "Transactions",
            "Transactions per second that were kept and that were taken back.",
            "ops",
            Query(_pg("xact_commit"), "{{datname}} commit"),
            Query(_pg("xact_rollback"), "{{datname}} rollback"),
        ),
        lines(
            "Rows",
            "Rows per second: given back by queries, written, changed, deleted.",
            "ops",
            *(Query(_pg(f"tup_{what}", ""), what) for what in ("fetched", "inserted", "updated", "deleted")),
        ),
        lines(
            "Connections by state",
            "What the server's connections do; `idle in transaction` holds locks and does nothing.",
            "short",
            Query(f"sum by (state) (pg_stat_activity_count{{{_PG}}})", "{{state}}"),
            stack=True,
        ),
        lines(
            "Locks",
            "Locks that are held or waited for, by mode.",
            "short",
            Query(f"sum by (mode) (pg_locks_count{{{_DB}}})", "{{mode}}"),
        ),
        lines(
            "Blocks read",
            "Blocks per second from disk and from memory.",
            "ops",
            Query(_pg("blks_read"), "{{datname}} disk"),
            Query(_pg("blks_hit"), "{{datname}} memory"),
        ),
        lines(
            "Files for sorting",
            "Bytes per second written to temporary files because a query needs more memory than it may have.",
            "Bps",
            Query(_pg("temp_bytes"), "{{datname}}"),
        ),
        Row("Volume"),
        lines(
            "Size",
            "Bytes of each database.",
            "bytes",
            Query(f"max by (datname) (pg_database_size_bytes{{{_DB}}})", "{{datname}}"),
        ),
        lines(
            "Volume used",
            "Share of the volume's space that is used; without space PostgreSQL stops.",
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
