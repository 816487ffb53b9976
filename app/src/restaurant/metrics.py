"""Prometheus metrics: requests by route template, saturation of the threads, and the database pool.

One process per pod, so the default registry holds the whole truth and no multiprocess mode is needed.
"""

from __future__ import annotations

import math
import threading
import time
from functools import cache

from flask import Flask, Response, g, request
from prometheus_client import Counter, Gauge, Histogram, Info

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("restaurant_http_requests_total", "Requests answered.", ("method", "route", "status"))
DURATION = Histogram(
    "restaurant_http_request_duration_seconds", "Time to answer.", ("method", "route"), buckets=_BUCKETS
)
IN_FLIGHT = Gauge("restaurant_http_requests_in_flight", "Requests being answered, open streams included.")
THREADS = Gauge("restaurant_http_threads", "Requests that can be answered at the same time.")
SATURATION = Gauge(
    "restaurant_http_saturation_ratio",
    "Requests being answered over those that can be, 1 is full; the mean of the last seconds. For autoscaling.",
)
POOL_SIZE = Gauge("restaurant_database_pool_size", "Database connections this process may hold.")
POOL_USED = Gauge("restaurant_database_connections_in_use", "Database connections in use.")
POOL_WAIT = Histogram(
    "restaurant_database_checkout_seconds",
    "Time a thread waited for a database connection.",
    buckets=_BUCKETS,
)
REPEATED = Counter(
    "restaurant_http_requests_repeated_total",
    "Requests that lost their database connection and were executed again, by whether that gave a response in time.",
    ["result"],
)
PRIMARY_CHANGES = Counter(
    "restaurant_database_primary_changes_total",
    "Connections that found another database server to accept writes than the connection before.",
)
STREAMS = Gauge("restaurant_streams", "Kitchen screens connected to this process.")
STREAMS_CAPACITY = Gauge("restaurant_streams_capacity", "Kitchen screens that this process takes.")
STREAMS_REFUSED = Counter("restaurant_streams_refused_total", "Kitchen screens sent to polling for want of a place.")
BUILD = Info("restaurant_build", "The version that runs.")
BOOKED = Counter("restaurant_booked_covers_total", "Guests booked.")
BOOKINGS_REFUSED = Counter("restaurant_bookings_refused_total", "Bookings refused because there was no room.")
COVERS = Counter("restaurant_covers_seated_total", "Guests seated.")
STOCK_OUTS = Counter("restaurant_stock_outs_total", "Dishes refused because an ingredient had run out.")
ORDERS = Counter("restaurant_orders_total", "Orders placed.", ("kind",))
ORDER_VALUE = Counter("restaurant_order_value_cents_total", "Value of the orders placed.", ("kind",))
PRINT_ATTEMPTS = Counter("restaurant_print_attempts_total", "Attempts to print a job.", ("result",))
MESSAGES = Counter("restaurant_messages_total", "Attempts to send a message to a guest.", ("channel", "result"))
PAYMENTS = Counter("restaurant_payments_total", "Payments taken.", ("method",))
PAYMENT_VALUE = Counter("restaurant_payment_value_cents_total", "Value of the payments taken.", ("method",))
ATTEMPTS = Counter(
    "restaurant_payment_attempts", "Charges and refunds at payment providers, by the state they came to.",
    ["channel", "state"],
)  # fmt: skip

#: What a request of long ago weighs in the mean of how busy the threads are halves about every ten seconds.
_MEAN_SECONDS = 15.0


class Busy:
    """How many requests are being answered, now and in the mean of the last seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._mean = 0.0
        self._at = self._changed_at = time.monotonic()

    def add(self, change: int) -> None:
        """Count a request that begins (1) or ends (-1)."""
        with self._lock:
            self._settle()
            self._count += change
            self._changed_at = self._at

    def now(self) -> int:
        """Requests being answered."""
        return self._count

    def mean(self) -> float:
        """The mean of the last seconds: a scrape's own moment says little about short requests."""
        with self._lock:
            self._settle()
            return self._mean

    def unchanged(self) -> float:
        """Seconds since a request began or ended."""
        return time.monotonic() - self._changed_at

    def _settle(self) -> None:
        at = time.monotonic()
        self._mean += (self._count - self._mean) * -math.expm1((self._at - at) / _MEAN_SECONDS)
        self._at = at


BUSY = Busy()
IN_FLIGHT.set_function(BUSY.now)


def count_order(*, kind: str, value: int) -> None:
    """Count a placed order and its value in cents."""
    ORDERS.labels(kind).inc()
    ORDER_VALUE.labels(kind).inc(value)


def count_payment(*, method: str, value: int) -> None:
    """Count a payment and its value in cents."""
    PAYMENTS.labels(method).inc()
    PAYMENT_VALUE.labels(method).inc(value)


def count_attempt(*, channel: str, state: str) -> None:
    """Count an attempt at a payment provider that has come to a state."""
    ATTEMPTS.labels(channel, state).inc()


def route_template() -> str:
    """The matched route such as ``/commandes/<uuid:order>``, never the path: its values are unbounded."""
    rule = request.url_rule
    return rule.rule if rule is not None else "unmatched"


@cache
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """What counts the requests of a kind; as many kinds as the metrics themselves have."""
    return REQUESTS.labels(method, route, str(status)), DURATION.labels(method, route)


def register(app: Flask) -> None:
    """Measure every request of `app`."""

    @app.before_request
    def begin() -> None:
        BUSY.add(1)
        g.started = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        requests, duration = _of(request.method, route_template(), response.status_code)
        requests.inc()
        duration.observe(time.perf_counter() - g.started)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("started", None) is not None:
            BUSY.add(-1)
