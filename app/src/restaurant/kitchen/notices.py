"""Announcing to the kitchen what changes of an order it is cooking."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.orm import Session

from restaurant.i18n import gettext as _
from restaurant.kitchen.models import Change, Notice
from restaurant.orders.models import LineStatus, Order, OrderLine

#: A change of what is not in the kitchen is no news to it.
IN_KITCHEN = frozenset({LineStatus.FIRED, LineStatus.PREPARING, LineStatus.READY})


def announce(session: Session, order: Order, change: Change, lines: Iterable[OrderLine], *, text: str = "") -> None:
    """Tell the stations that are cooking `lines`."""
    for station in sorted({line.station for line in lines}):
        session.add(Notice(order_id=order.id, station=station, change=change, text=text))


def pass_on(session: Session, order: Order, target: Order) -> None:
    """What was not seen yet of an order is news of the order that takes its lines over."""
    waiting = update(Notice).where(Notice.order_id == order.id, Notice.acknowledged_at.is_(None))
    session.execute(waiting.values(order_id=target.id))


def words(change: Change, text: str) -> str:
    """What the kitchen reads of a change, in the language of the page or of the paper."""
    match change:
        case Change.TABLE:
            return _("Moved here from table {table}", table=text)
        case Change.MERGE:
            return _("Joined by table {table}", table=text)
        case Change.LINE:
            return _("Moved here: {line}", line=text)
        case Change.GUEST:
            return _("The name was {name} before", name=text)
        case Change.ALLERGIES:
            return _("The allergies have changed")
        case Change.NOTE:
            return _("The note has changed")
