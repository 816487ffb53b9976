"""Gauges of the restaurant's state: tickets in the kitchen, guests at the tables, ingredients that are low.

They are read from the database, so every pod exports the same values: take the maximum over pods, never the sum. A
thread reads them every few seconds, so a scrape costs no query; while the database does not answer, the gauges are
absent rather than wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector
from sqlalchemy import func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from restaurant.database import Database
from restaurant.kitchen.service import TO_COOK
from restaurant.orders.models import Order, OrderLine
from restaurant.payments.models import UNRESOLVED, Attempt, AttemptState
from restaurant.printing import service as printing
from restaurant.stock.models import Ingredient
from restaurant.types import now

#: Seconds between two reads.
PERIOD = 15.0


@dataclass(frozen=True)
class Gauges:
    """The values at one moment."""

    tickets_open: int
    tickets_late: int
    orders_open: int
    guests_present: int
    stock_low: int
    print_jobs_waiting: int
    printers_failing: int
    payments_unresolved: int


_HELP = {
    "tickets_open": "Orders with dishes to prepare.",
    "tickets_late": "Orders whose oldest unprepared dish is late.",
    "orders_open": "Orders that are not closed.",
    "guests_present": "Guests at the tables.",
    "stock_low": "Ingredients at or below their low-stock threshold.",
    "print_jobs_waiting": "Print jobs that are not printed.",
    "printers_failing": "Printers that do not print although something waits for them.",
    "payments_unresolved": "Charges and refunds at payment providers whose outcome has not been known for two minutes.",
}


def read_gauges(session: Session, *, late: timedelta) -> Gauges:
    """The values now; a dish that has been in the kitchen for `late` is late."""
    waiting = (
        select(func.min(OrderLine.fired_at).label("since"))
        .where(OrderLine.status.in_(TO_COOK))
        .group_by(OrderLine.order_id)
        .subquery()
    )
    late_tickets = func.count().filter(waiting.c.since <= now() - late)
    tickets = session.execute(select(func.count(), late_tickets).select_from(waiting)).one()
    orders = session.execute(
        select(func.count(), func.coalesce(func.sum(Order.covers), 0)).where(Order.closed_at.is_(None))
    ).one()
    low = session.scalar(select(func.count()).where(Ingredient.quantity <= Ingredient.low_at))
    # A guest who pays online may take a quarter of an hour.
    waiting_long = or_(Attempt.state != AttemptState.STARTED, Attempt.created_at <= now() - timedelta(minutes=20))
    unresolved = session.scalar(
        select(func.count()).where(
            Attempt.state.in_(UNRESOLVED), Attempt.created_at <= now() - timedelta(minutes=2), waiting_long
        )
    )
    return Gauges(
        tickets_open=tickets[0],
        tickets_late=tickets[1],
        orders_open=orders[0],
        guests_present=orders[1],
        stock_low=low or 0,
        print_jobs_waiting=sum(printing.waiting_by_printer(session).values()),
        printers_failing=len(printing.failing(session)),
        payments_unresolved=unresolved or 0,
    )


class GaugeCollector(Collector):
    """The values of the last read, for one process."""

    def __init__(self, database: Database, *, late: timedelta) -> None:
        self._database = database
        self._late = late
        self._seen: Gauges | None = None

    def start(self) -> None:
        """Export the gauges, and read them from now on in a thread that does not keep the process alive."""
        REGISTRY.register(self)
        threading.Thread(target=self._watch, name="gauges", daemon=True).start()

    def read(self) -> None:
        """Read the values once."""
        try:
            with self._database.reading() as session:
                self._seen = read_gauges(session, late=self._late)
        except SQLAlchemyError:
            self._seen = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, or none when the last read failed."""
        seen = self._seen
        if seen is not None:
            for name, text in _HELP.items():
                yield GaugeMetricFamily(f"restaurant_{name}", text, value=getattr(seen, name))

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            self.read()
            pause.wait(PERIOD)
