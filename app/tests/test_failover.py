"""Two database servers, of which one takes over: no order is lost, none is placed twice."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from postgresql import Pair, Rows, pair
from restaurant.app import connect
from restaurant.database import Database
from restaurant.floor.service import seed_floor
from restaurant.http import failover, idempotency
from restaurant.menu.seeding import seed_menu
from restaurant.metrics import REPEATED
from restaurant.orders.models import Order
from restaurant.settings import Settings
from support import free_port, get, make_settings, order_body, place, serving


@pytest.fixture
def servers() -> Iterator[Pair]:
    with pair() as running:
        yield running


@pytest.fixture
def replicated(servers: Pair) -> Settings:
    """Settings of a seeded database that a replica follows, synchronously."""
    settings = make_settings(servers.url, database_pool_size=2)
    with Database(settings) as database:
        database.migrate()
        with database.writing() as session:
            seed_menu(session, profile="bistro")
            seed_floor(session)
    return settings


class Guests:
    """People who order at the same time, each again and again with the same key until they know the outcome."""

    def __init__(self, port: int, *, people: int) -> None:
        self._port = port
        self.orders: dict[str, str] = {}
        """The reference that was acknowledged, by key."""
        self.unknown: set[str] = set()
        self.gap = 0.0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._order, daemon=True) for _ in range(people)]

    @contextmanager
    def ordering(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        yield
        self._stopped.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads)

    def _order(self) -> None:
        while not self._stopped.is_set():
            key = uuid.uuid4().hex
            for _ in range(60):
                reference = self._send(key)
                if reference is not None:
                    with self._lock:
                        self.orders[key] = reference
                        self.gap = max(self.gap, time.monotonic() - self._last)
                        self._last = time.monotonic()
                    break
                time.sleep(0.5)
            else:
                self.unknown.add(key)
            time.sleep(0.05)

    def _send(self, key: str) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            headers = {"Content-Type": "application/json", "Idempotency-Key": key}
            connection.request("POST", "/api/v1/orders", json.dumps(order_body()), headers)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status == 201:
                return str(json.loads(body)["reference"])
            assert reply.status == 503, body
        except OSError:
            pass
        finally:
            connection.close()
        return None


def test_no_order_is_lost_or_placed_twice_when_another_server_takes_over(
    servers: Pair, replicated: Settings, tmp_path: Path
) -> None:
    with serving(replicated, tmp_path / "log", RESTAURANT_DATABASE_POOL_SIZE="2") as (_process, port, probes):
        guests, ready = Guests(port, people=6), Counter[int]()
        with guests.ordering():
            time.sleep(2)
            servers.kill_primary()
            down = time.monotonic()
            while time.monotonic() - down < 4:
                ready[get(probes, "/readyz")[0]] += 1
                time.sleep(0.5)
            servers.promote()
            time.sleep(4)
        metrics = get(probes, "/metrics")[1].decode()
    assert not guests.unknown
    with psycopg.connect(servers.url_of_replica()) as connection:
        found = [str(reference) for (reference,) in connection.execute("SELECT reference FROM orders")]
    assert Counter(found) == Counter(guests.orders.values())
    assert set(ready) == {200}, "no pod is better than another one while no server accepts writes"
    assert 4 <= guests.gap < 20
    assert "restaurant_database_primary_changes_total 1.0" in metrics
    assert 'restaurant_http_requests_repeated_total{result="answered"}' in metrics


@pytest.fixture
def app(one_app: Flask, postgresql_database: Rows) -> Iterator[Flask]:
    """The application with a single server."""
    with connect(one_app, make_settings(postgresql_database.url, database_pool_size=2)):
        yield one_app
    postgresql_database.bring_back("seeded")


def _orders(app: Flask) -> int:
    with app.extensions["database"].reading() as session:
        return int(session.scalar(select(func.count()).select_from(Order)))


def test_an_unknown_commit_becomes_known(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost after the server has committed and before it has said so."""
    lost: list[int] = []
    keep = idempotency.keep

    def keep_and_lose(session: object, *rest: object, **values: object) -> None:
        keep(session, *rest, **values)  # type: ignore[arg-type]
        if not lost:
            connection = session.connection()  # type: ignore[attr-defined]
            lost.append(connection.scalar(text("SELECT pg_backend_pid()")))
            # What the driver does when the reply to COMMIT does not come.
            driver = connection.connection.dbapi_connection
            commit = driver.commit

            def commit_and_lose() -> None:
                commit()
                driver.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

            driver.commit = commit_and_lose

    monkeypatch.setattr(idempotency, "keep", keep_and_lose)
    before = REPEATED.labels("answered")._value.get()
    reply = place(app.test_client(), order_body(), key="a" * 20)
    assert (reply.status_code, reply.headers.get("Idempotent-Replayed")) == (201, "true")
    assert lost
    assert _orders(app) == 1
    assert REPEATED.labels("answered")._value.get() == before + 1


def test_what_may_be_committed_without_a_key_is_not_executed_again(app: Flask) -> None:
    database: Database = app.extensions["database"]
    calls = []

    def change() -> None:
        calls.append(1)
        with database.writing() as session:
            session.execute(text("UPDATE dish SET price = price + 1"))
            driver = session.connection().connection.dbapi_connection
            assert driver is not None
            driver.commit = driver.close  # type: ignore[method-assign]
        raise OperationalError("", {}, psycopg.OperationalError("server closed the connection unexpectedly"))

    with pytest.raises(OperationalError):
        app.extensions["failover"].execute(change)
    assert len(calls) == 1


def test_a_connection_that_is_lost_before_its_commit_does_no_harm(app: Flask, postgresql_database: Rows) -> None:
    database: Database = app.extensions["database"]
    calls = []

    def change() -> None:
        with database.writing() as session:
            calls.append(1)
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            if len(calls) == 1:
                with psycopg.connect(postgresql_database.url, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [pid])
            session.execute(text("UPDATE dish SET price = price + 1"))

    app.extensions["failover"].execute(change)
    assert len(calls) == 2


def test_a_long_outage_holds_up_no_requests(one_app: Flask) -> None:
    hosts = "&".join(f"host=127.0.0.1:{free_port()}" for _ in range(2))
    with connect(one_app, make_settings(f"postgresql://postgres@/restaurant?{hosts}")):
        waits = one_app.extensions["failover"]
        assert waits.seconds == failover.TAKEOVER_SECONDS == 30
        waits.seconds = 0.5
        start = time.monotonic()
        assert place(one_app.test_client(), order_body(), key="c" * 20).status_code == 503
        assert time.monotonic() - start >= 0.5
        start = time.monotonic()
        reply = place(one_app.test_client(), order_body(), key="d" * 20)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
        assert time.monotonic() - start < 0.5
