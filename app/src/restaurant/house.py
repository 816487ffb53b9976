"""How the house stands, as gauges: what waits in the kitchen, who sits at the tables, what runs low.

It is the database's answer, so every pod shows the same numbers: take the maximum over pods, never the sum. A thread
asks every few seconds, never a scrape; while the database does not answer, the gauges are absent rather than wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from restaurant.database import Database
from restaurant.kitchen.service import TO_COOK
from restaurant.orders.models import Order, OrderLine
from restaurant.stock.models import Ingredient
from restaurant.types import now

#: Seconds between two looks.
PERIOD = 15.0


@dataclass(frozen=True)
class House:
    """The house at one moment."""

    tickets_open: int
    tickets_late: int
    orders_open: int
    guests_present: int
    stock_low: int


_HELP = {
    "tickets_open": "Orders with something to cook.",
    "tickets_late": "Orders whose oldest dish has waited for the kitchen too long.",
    "orders_open": "Orders that are not closed.",
    "guests_present": "Guests at the tables.",
    "stock_low": "Ingredients at or below the mark from which they are to be bought.",
}


def read_house(session: Session, *, late: timedelta) -> House:
    """The house now; what has been in the kitchen for `late` is late."""
    waiting = (
        select(func.min(OrderLine.fired_at).label("since"))
        .where(OrderLine.status.in_(TO_COOK))
        .group_by(OrderLine.order_id)
        .subquery()
    )
    kept_waiting = func.count().filter(waiting.c.since <= now() - late)
    tickets = session.execute(select(func.count(), kept_waiting).select_from(waiting)).one()
    orders = session.execute(
        select(func.count(), func.coalesce(func.sum(Order.covers), 0)).where(Order.closed_at.is_(None))
    ).one()
    low = session.scalar(select(func.count()).where(Ingredient.quantity <= Ingredient.low_at))
    return House(
        tickets_open=tickets[0],
        tickets_late=tickets[1],
        orders_open=orders[0],
        guests_present=orders[1],
        stock_low=low or 0,
    )


class HouseCollector(Collector):
    """The last look at the house, for one process."""

    def __init__(self, database: Database, *, late: timedelta) -> None:
        self._database = database
        self._late = late
        self._seen: House | None = None

    def start(self) -> None:
        """Show the gauges, and look from now on in a thread that does not keep the process alive."""
        REGISTRY.register(self)
        threading.Thread(target=self._watch, name="house", daemon=True).start()

    def look(self) -> None:
        """Look once."""
        try:
            with self._database.reading() as session:
                self._seen = read_house(session, late=self._late)
        except SQLAlchemyError:
            self._seen = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, none when the last look failed."""
        seen = self._seen
        if seen is not None:
            for name, text in _HELP.items():
                yield GaugeMetricFamily(f"restaurant_{name}", text, value=getattr(seen, name))

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            pause.wait(PERIOD)
