"""What the kitchen has to do: tickets by station with the voids it has not seen, and the all-day count."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.errors import Conflict, NotFound
from restaurant.i18n import gettext as _
from restaurant.kitchen import outbox
from restaurant.kitchen.models import Notice
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
    notices: Sequence[Notice]
    since: datetime
    minutes: int
    urgency: Urgency

    @property
    def to_cook(self) -> bool:
        """Whether something of it is not ready yet."""
        return any(line.status in TO_COOK for line in self.lines)

    @property
    def ready(self) -> int:
        """How many of its lines are ready."""
        return sum(line.status is LineStatus.READY for line in self.lines)


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
    notices = _notices(session, list(by_order), station=station)
    tickets = [
        _ticket(entries, notices.get(key, ()), at=at, thresholds=thresholds) for key, entries in by_order.items()
    ]
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


def finish_ticket(
    session: Session, reference: uuid.UUID, *, station: Station | None, seen: Collection[int] | None = None
) -> Order:
    """Mark all that a station, or the kitchen, still prepares of an order as ready.

    With `seen`, only those lines: others were ordered after the cook looked.

    Raises `NotFound`, or `Conflict` when there is nothing.
    """
    order = orders.lock_order(session, reference)
    waiting = [
        line
        for line in order.lines
        if line.status in TO_COOK and station in {None, line.station} and (seen is None or line.id in seen)
    ]
    if not waiting:
        raise Conflict(_("Nothing of this order is being prepared."), code="nothing-to-cook")
    for line in waiting:
        orders.move_line(session, order, line, LineStatus.READY)
    return order


def recall_ticket(session: Session, reference: uuid.UUID, *, station: Station | None) -> Order:
    """Mark the ready dishes of an order, of a station or of all, as being prepared again.

    Raises `NotFound`, or `Conflict` when none is ready.
    """
    order = orders.lock_order(session, reference)
    ready = [line for line in order.lines if line.status is LineStatus.READY and station in {None, line.station}]
    if not ready:
        raise Conflict(_("Nothing of this order is ready."), code="nothing-ready")
    for line in ready:
        orders.move_line(session, order, line, LineStatus.PREPARING)
    return order


def acknowledge_notices(
    session: Session, reference: uuid.UUID, *, station: Station | None, until: int | None = None
) -> Order:
    """Take the announced changes of an order off the board of a station, or of all. Raises `NotFound`.

    With `until`, the key of the last change that the cook saw, those after it stay.
    """
    order = orders.lock_order(session, reference)
    seen = update(Notice).where(Notice.order_id == order.id, Notice.acknowledged_at.is_(None))
    if until is not None:
        seen = seen.where(Notice.id <= until)
    if station is not None:
        seen = seen.where(Notice.station == station)
    if session.scalars(seen.values(acknowledged_at=now()).returning(Notice.id)).all():
        outbox.record(session, order.id)
    return order


def _notices(session: Session, keys: Sequence[int], *, station: Station | None) -> dict[int, list[Notice]]:
    """The changes of these orders to acknowledge; once each, however many stations have yet to see them."""
    query = select(Notice).where(Notice.order_id.in_(keys), Notice.acknowledged_at.is_(None)).order_by(Notice.id)
    if station is not None:
        query = query.where(Notice.station == station)
    found: dict[int, dict[tuple[str, str], Notice]] = {}
    for notice in session.scalars(query):
        found.setdefault(notice.order_id, {})[notice.change, notice.text] = notice
    return {key: list(entries.values()) for key, entries in found.items()}


def _ticket(
    lines: Sequence[OrderLine], notices: Sequence[Notice], *, at: datetime, thresholds: KitchenThresholds
) -> Ticket:
    since = min(line.fired_at for line in lines if line.fired_at is not None)
    waited = at - since if any(line.status in TO_COOK for line in lines) else timedelta()
    urgency = (
        Urgency.LATE if waited >= thresholds.late else Urgency.SOON if waited >= thresholds.warning else Urgency.FRESH
    )
    return Ticket(
        order=lines[0].order,
        lines=lines,
        notices=notices,
        since=since,
        minutes=max(0, int((at - since).total_seconds() // 60)),
        urgency=urgency,
    )
