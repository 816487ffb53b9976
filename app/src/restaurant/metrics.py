"""Prometheus metrics: requests by route template, saturation of the threads, and the database pool.

One process per pod, so the default registry holds the whole truth and no multiprocess mode is needed.
"""

from __future__ import annotations

import time

from flask import Flask, Response, g, request
from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("restaurant_http_requests_total", "Requests answered.", ("method", "route", "status"))
DURATION = Histogram(
    "restaurant_http_request_duration_seconds", "Time to answer.", ("method", "route"), buckets=_BUCKETS
)
IN_FLIGHT = Gauge("restaurant_http_requests_in_flight", "Requests being answered, open streams included.")
THREADS = Gauge("restaurant_http_threads", "Requests that can be answered at the same time.")
POOL_WAIT = Histogram(
    "restaurant_database_checkout_seconds",
    "Time a thread waited for a database connection.",
    buckets=_BUCKETS,
)
STREAMS = Gauge("restaurant_streams", "Kitchen screens connected to this process.")
BOOKED = Counter("restaurant_booked_covers_total", "Guests booked.")
BOOKINGS_REFUSED = Counter("restaurant_bookings_refused_total", "Bookings refused because there was no room.")
COVERS = Counter("restaurant_covers_seated_total", "Guests seated.")
STOCK_OUTS = Counter("restaurant_stock_outs_total", "Dishes refused because an ingredient had run out.")
ORDERS = Counter("restaurant_orders_total", "Orders placed.", ("kind",))
ORDER_VALUE = Counter("restaurant_order_value_cents_total", "Value of the orders placed.", ("kind",))


def count_order(*, kind: str, value: int) -> None:
    """Count a placed order and its value in cents."""
    ORDERS.labels(kind).inc()
    ORDER_VALUE.labels(kind).inc(value)


def route_template() -> str:
    """The matched route such as ``/commandes/<uuid:order>``, never the path: its values are unbounded."""
    return request.url_rule.rule if request.url_rule is not None else "unmatched"


def register(app: Flask) -> None:
    """Measure every request of `app`."""

    @app.before_request
    def begin() -> None:
        IN_FLIGHT.inc()
        g.started = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        route = route_template()
        REQUESTS.labels(request.method, route, str(response.status_code)).inc()
        DURATION.labels(request.method, route).observe(time.perf_counter() - g.started)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("started", None) is not None:
            IN_FLIGHT.dec()
