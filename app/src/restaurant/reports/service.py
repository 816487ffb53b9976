"""What a span of days brought: sales by day, hour, dish, server, payment and VAT rate, guests, and turn time.

Everything is taken from receipts (money) and from the orders they settle (dishes, guests), in the restaurant's own
time zone. A span is short enough to be added up here, the same way on both engines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.billing.models import Payment, Receipt
from restaurant.business_day import BusinessDay
from restaurant.orders.models import Order, OrderKind

#: The longest span of one report.
LONGEST = timedelta(days=92)


@dataclass(frozen=True)
class Row:
    """A line of a report: how many, and what they brought in cents."""

    label: str
    count: int
    total: int


@dataclass
class _Sums:
    counts: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, label: str, total: int, *, count: int = 1) -> None:
        self.counts[label] += count
        self.totals[label] += total

    def by_label(self) -> list[Row]:
        return [Row(label, self.counts[label], self.totals[label]) for label in sorted(self.totals)]

    def by_total(self) -> list[Row]:
        return sorted(self.by_label(), key=lambda row: (-row.total, row.label))


@dataclass(frozen=True)
class Report:
    """A span's figures; amounts are cents, `turn_minutes` is the mean from seating to paying."""

    total: int
    tips: int
    orders: int
    covers: int
    turn_minutes: int
    by_day: list[Row]
    by_hour: list[Row]
    by_dish: list[Row]
    by_server: list[Row]
    by_method: list[Row]
    by_rate: list[Row]

    @property
    def per_cover(self) -> int:
        """Cents per guest at a table."""
        return self.total // self.covers if self.covers else 0

    def parts(self) -> Iterator[tuple[str, list[Row]]]:
        """The tables with the names they have in addresses."""
        for name in ("day", "hour", "dish", "server", "method", "rate"):
            yield name, getattr(self, f"by_{name}")


def read_report(session: Session, *, since: date, until: date, business_day: BusinessDay) -> Report:
    """The figures of the days from `since` to `until`, both included."""
    start, end = business_day.begin(since), business_day.begin(until + timedelta(days=1))
    days, hours, dishes, servers, methods, rates = (_Sums() for _ in range(6))
    receipts = session.scalars(
        select(Receipt)
        .where(Receipt.issued_at >= start, Receipt.issued_at < end)
        .options(joinedload(Receipt.payment).joinedload(Payment.order).joinedload(Order.server))
    ).all()
    for receipt in receipts:
        days.add(business_day.of(receipt.issued_at).isoformat(), receipt.amount)
        hours.add(f"{receipt.issued_at.astimezone(business_day.zone):%H}", receipt.amount)
        methods.add(receipt.payment.method.value, receipt.amount)
        server = receipt.payment.order.server
        servers.add(server.name if server is not None else "", receipt.amount)
        for share in receipt.shares:
            rates.add(str(share["rate"]), share["total"])
    orders = session.scalars(
        select(Order).where(Order.paid_at >= start, Order.paid_at < end).options(selectinload(Order.lines))
    ).all()
    turns = []
    for order in orders:
        for line in order.lines:
            if line.total:
                dishes.add(line.name, line.total, count=line.quantity)
        if order.kind is OrderKind.DINE_IN and order.paid_at is not None:
            turns.append((order.paid_at - order.opened_at).total_seconds() / 60)
    return Report(
        total=sum(receipt.amount for receipt in receipts),
        tips=sum(receipt.tip for receipt in receipts),
        orders=len(orders),
        covers=sum(order.covers for order in orders),
        turn_minutes=round(sum(turns) / len(turns)) if turns else 0,
        by_day=days.by_label(),
        by_hour=sorted(hours.by_label(), key=lambda row: business_day.hours().index(int(row.label))),
        by_dish=dishes.by_total(),
        by_server=servers.by_total(),
        by_method=methods.by_total(),
        by_rate=rates.by_label(),
    )
