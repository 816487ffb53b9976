"""Limits against robots that fill the book, or send orders: per address, contact and table. The staff has none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import Table, bindparam, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from restaurant.errors import Conflict, Problem
from restaurant.i18n import gettext as _
from restaurant.reservations.guests import ahead
from restaurant.reservations.models import Booking, BookingAddress, Guest
from restaurant.types import Moment

WINDOW = timedelta(hours=1)


class TooMany(Problem):
    """Something is done too often."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class TooManyBookings(TooMany):
    """One address books too often, or one contact too much."""

    code = "too-many-bookings"


class TooManyOrders(TooMany):
    """One address orders too often."""

    code = "too-many-orders"


_TABLE: Table = BookingAddress.__table__  # type: ignore[assignment]  # a declarative table is a Table


def _counting(insert: Callable[[Table], sqlite.Insert | postgresql.Insert]) -> ReturningInsert[Any]:
    """Count one more of a subject, from the start again once its hour is over."""
    over = _TABLE.c.since <= bindparam("before", type_=Moment)
    return (
        insert(_TABLE)
        .values(address_hash=bindparam("address_hash"), since=bindparam("since"), bookings=1)
        .on_conflict_do_update(
            index_elements=[_TABLE.c.address_hash],
            set_={
                "since": case((over, bindparam("since", type_=Moment)), else_=_TABLE.c.since),
                "bookings": case((over, 1), else_=_TABLE.c.bookings + 1),
            },
        )
        .returning(_TABLE.c.bookings, _TABLE.c.since)
    )


_COUNT = {"sqlite": _counting(sqlite.insert), "postgresql": _counting(postgresql.insert)}


def check_contact(
    session: Session, guest: Guest, *, starts_at: datetime, ends_at: datetime, except_for: int | None = None
) -> None:
    """Raise `Conflict` when the guest, whose file is locked, has another booking at the same time."""
    query = ahead(guest, since=starts_at).where(Booking.starts_at < ends_at)
    if except_for is not None:
        query = query.where(Booking.id != except_for)
    if session.scalars(query.limit(1)).first() is not None:
        raise Conflict(
            _("There already is a booking at this time with this telephone number or e-mail address."),
            code="already-booked",
        )


def check_guest(session: Session, guest: Guest, *, at: datetime, most: int) -> None:
    """Raise `TooManyBookings` when the guest, whose file is locked, has `most` bookings ahead.

    Raises `Conflict` when the guest may not book online.
    """
    if guest.blocked:
        raise Conflict(_("Please call us to book a table."), code="call-us")
    count = session.scalar(select(func.count()).select_from(ahead(guest, since=at).subquery())) or 0
    if most and count >= most:
        raise TooManyBookings(
            _("There are several bookings with this telephone number or e-mail address already. Please call us.")
        )


def count_address(session: Session, address: str, *, key: str, at: datetime, most: int) -> None:
    """Count a booking of this address. Raises `TooManyBookings` beyond `most` in an hour."""
    refused = TooManyBookings(_("Too many bookings were made from this connection. Please call us, or try later."))
    count(session, digest(network(address), key=key), at=at, most=most, refused=refused)


def count(session: Session, subject: str, *, at: datetime, most: int, refused: TooMany) -> None:
    """Count what a subject, of which `subject` is the digest, does; its row stays locked.

    Raises `refused` beyond `most` in an hour; 0 is no limit.
    """
    if not most:
        return
    values = {"address_hash": subject, "since": at, "before": at - WINDOW}
    times, since = session.connection().execute(_COUNT[session.get_bind().dialect.name], values).one()
    check(times, since=since, at=at, most=most, refused=refused)


def digest(subject: str, *, key: str) -> str:
    """What is kept of a subject that is counted."""
    return hashlib.blake2b(subject.encode(), key=key.encode()[:64], digest_size=32).hexdigest()


def check(times: int, *, since: datetime, at: datetime, most: int, refused: TooMany) -> None:
    """Raise `refused` when something was done `times` since then, and `most` are allowed within an hour."""
    if times > most:
        refused.headers["Retry-After"] = str(max(1, int((since + WINDOW - at).total_seconds())))
        raise refused


def too_many_orders() -> TooMany:
    """The refusal of an address that orders too often."""
    return TooManyOrders(_("Too many orders were sent from this connection. Please call us, or try later."))


def purge(session: Session, *, at: datetime) -> None:
    """Forget addresses that are no longer counted."""
    session.execute(delete(BookingAddress).where(BookingAddress.since <= at - WINDOW))


def network(address: str) -> str:
    """The address as it is counted; of IPv6 its network, as a household has a whole one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else str(parsed)
