"""The gauges of the restaurant's state, and saturation."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from flask.testing import FlaskClient

from restaurant.database import Database
from restaurant.gauges import GaugeCollector, Gauges, read_gauges
from restaurant.metrics import Busy
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, add, post, seat

LATE = timedelta(minutes=20)


def test_the_gauges_count_guests_tickets_and_what_is_late(
    sign_in: Callable[[Role], FlaskClient], database: Database
) -> None:
    server, manager = sign_in(Role.SERVER), sign_in(Role.MANAGER)
    post(manager, "/ingredients", {"name": "Œufs", "unit": "piece", "quantity": 3, "low_at": 3})
    order = seat(server)["reference"]
    line = add(server, order, EGGS)["lines"][0]["id"]
    with database.reading() as session:
        assert read_gauges(session, late=LATE) == Gauges(
            tickets_open=1,
            tickets_late=0,
            orders_open=1,
            guests_present=2,
            stock_low=1,
            print_jobs_waiting=0,
            printers_failing=0,
            payments_unresolved=0,
        )
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=21)):
            assert read_gauges(session, late=LATE).tickets_late == 1
    post(server, f"/orders/{order}/lines/{line}/move", {"status": "ready"})
    with database.reading() as session:
        assert read_gauges(session, late=LATE).tickets_open == 0


def test_the_gauges_are_absent_while_the_database_does_not_answer(settings: Settings) -> None:
    database = Database(settings)
    collector = GaugeCollector(database, late=LATE)
    collector.read()
    assert {metric.name for metric in collector.collect()} >= {"restaurant_tickets_late", "restaurant_orders_open"}
    broken: Any = Database(settings.model_copy(update={"database_url": "postgresql://nobody@/nothing?host=/nowhere"}))
    collector._database = broken
    collector.read()
    assert list(collector.collect()) == []
    database.engine.dispose()


def test_saturation_is_a_mean_that_follows_the_load() -> None:
    busy = Busy()
    busy.add(1)
    busy.add(1)
    busy._at -= 60.0  # a minute with two requests
    assert busy.now() == 2
    assert 1.9 < busy.mean() <= 2
    busy.add(-1)
    busy.add(-1)
    time.sleep(0.05)
    assert 1.9 < busy.mean() < 2
    busy._at -= 60.0
    assert busy.mean() < 0.1
