"""Announcing to the kitchen what changes of an order it is cooking."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from restaurant.kitchen.models import Change, Notice
from restaurant.orders.models import LineStatus, Order, OrderLine

_IN_KITCHEN = frozenset({LineStatus.FIRED, LineStatus.PREPARING, LineStatus.READY})


def announce(session: Session, order: Order, change: Change, lines: Iterable[OrderLine], *, text: str = "") -> None:
    """Tell the stations that are cooking any of `lines`; a change of what is not in the kitchen is no news to it."""
    stations = {line.station for line in lines if line.status in _IN_KITCHEN}
    for station in sorted(stations):
        session.add(Notice(order_id=order.id, station=station, change=change, text=text))
