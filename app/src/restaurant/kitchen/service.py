"""What the kitchen has to do: tickets by station with the voids it has not seen, and the all-day count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.errors import Conflict, NotFound
from restaurant.i18n import gettext as _
from restaurant.kitchen import outbox
from restaurant.menu.models import Station
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderLine
from restaurant.settings import KitchenThresholds
from restaurant.types import now

TO_COOK = (LineStatus.FIRED, LineStatus.PREPARING)
SHOWN = (*TO_COOK, LineStatus.READY)


class Urgency(StrEnum):
    """How long a ticket has waited."""

    FRESH = "fresh"
    SOON = "soon"
    LATE = "late"


@dataclass(frozen=True)
class Ticket:
    """What one order wants from a station."""

    order: Order
    lines: Sequence[OrderLine]
    since: datetime
    minutes: int
    urgency: Urgency


@dataclass(frozen=True)
class Board:
    """A station's tickets, longest waiting first, and its all-day count."""

    tickets: Sequence[Ticket]
    all_day: Sequence[tuple[str, int]]


def read_board(session: Session, *, station: Station | None, at: datetime, thresholds: KitchenThresholds) -> Board:
    """The board of one station, or of all, at the instant `at`."""
    voided = and_(OrderLine.status == LineStatus.VOIDED, OrderLine.void_acknowledged_at.is_(None))
    wanted = [or_(OrderLine.status.in_(SHOWN), voided)]
    if station is not None:
        wanted.append(OrderLine.station == station)
    lines = session.scalars(
        select(OrderLine)
        .join(OrderLine.order)
        .where(*wanted)
        .options(joinedload(OrderLine.order).options(joinedload(Order.table), selectinload(Order.lines)))
        .order_by(OrderLine.fired_at, OrderLine.id)
    ).all()
    by_order: dict[int, list[OrderLine]] = {}
    for line in lines:
        by_order.setdefault(line.order_id, []).append(line)
    tickets = [_ticket(entries, at=at, thresholds=thresholds) for entries in by_order.values()]
    count: Counter[str] = Counter()
    for line in lines:
        if line.status in TO_COOK:
            count[line.name] += line.quantity
    return Board(tickets=sorted(tickets, key=lambda ticket: ticket.since), all_day=count.most_common())


def move_line(session: Session, key: int, status: LineStatus) -> Order:
    """Move a line of any order. Raises `NotFound`, or `Conflict` for a wrong step."""
    line = session.get(OrderLine, key, options=[joinedload(OrderLine.order)])
    if line is None:
        raise NotFound(_("This line does not exist."))
    order = orders.lock_order(session, line.order.reference)
    orders.move_line(session, order, orders.find_line(order, key), status)
    return order


def acknowledge_void(session: Session, key: int) -> Order:
    """Take a voided line off the board, once the kitchen has seen it. Raises `NotFound`, or `Conflict` for another."""
    line = session.get(OrderLine, key, options=[joinedload(OrderLine.order)])
    if line is None:
        raise NotFound(_("This line does not exist."))
    order = orders.lock_order(session, line.order.reference)
    found = orders.find_line(order, key)
    if found.status is not LineStatus.VOIDED:
        raise Conflict(_("This line is not voided."), code="wrong-step")
    if found.void_acknowledged_at is None:
        found.void_acknowledged_at = now()
        outbox.record(session, order.id)
    return order


def _ticket(lines: Sequence[OrderLine], *, at: datetime, thresholds: KitchenThresholds) -> Ticket:
    since = min(line.fired_at for line in lines if line.fired_at is not None)
    waited = at - since if any(line.status in TO_COOK for line in lines) else timedelta()
    urgency = (
        Urgency.LATE if waited >= thresholds.late else Urgency.SOON if waited >= thresholds.warning else Urgency.FRESH
    )
    return Ticket(
        order=lines[0].order,
        lines=lines,
        since=since,
        minutes=max(0, int((at - since).total_seconds() // 60)),
        urgency=urgency,
    )
