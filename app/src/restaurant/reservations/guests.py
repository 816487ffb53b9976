"""The guest file: who books, what they must not eat, and how often they did not come."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen
from restaurant.messages.models import Message
from restaurant.reservations.models import BookedTable, Booking, BookingStatus, Guest
from restaurant.types import now

#: A telephone number of France with its international prefix is the same as without.
_FRANCE = re.compile(r"^(?:\+|00)33(?=[1-9]\d{8}$)")


@dataclass(frozen=True)
class Record:
    """How a guest kept to what they booked."""

    visits: int
    no_shows: int
    cancelled: int


def contact_key(contact: str) -> str:
    """What tells contacts apart: ``06 12 34 56 78`` and ``+33 (0)6 12.34.56.78`` are one."""
    text = contact.strip().casefold()
    if "@" in text:
        return text
    digits = re.sub(r"[^\d+]", "", text.replace("(0)", ""))
    return _FRANCE.sub("0", digits) if len(digits) > 4 else text


def file_of(session: Session, *, name: str, contact: str, allergies: Sequence[Allergen]) -> Guest:
    """The file of the guest with this contact, made when there is none, and locked until the unit of work ends.

    Allergies are added to those that are known: nobody takes one off by leaving it out.
    """
    key = contact_key(contact)
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(
        insert(Guest)
        .values(
            contact_key=key, name=name, contact=contact, allergies=[], note="", blocked=False, created_at=now(),
            version=1,
        )
        # This locks a file that exists, which would otherwise be deleted before it is read.
        .on_conflict_do_update(index_elements=[Guest.contact_key], set_={"contact_key": key})
    )  # fmt: skip
    guest = session.scalars(
        select(Guest).where(Guest.contact_key == key).execution_options(populate_existing=True)
    ).one()
    added = [allergen.value for allergen in allergies if allergen.value not in guest.allergies]
    if added:
        guest.allergies = [*guest.allergies, *added]
    return guest


def read_guest(session: Session, key: int) -> Guest:
    """One file. Raises `NotFound`."""
    guest = session.get(Guest, key)
    if guest is None:
        raise NotFound(_("This guest has no file."))
    return guest


def list_guests(session: Session, page: PageQuery, *, search: str) -> tuple[Sequence[Guest], str | None]:
    """A page of the guests whose name or contact has `search` in it, by name, and where the following page begins."""
    query = select(Guest)
    if search:
        escaped = re.sub(r"([\\%_])", r"\\\1", search)
        named = [Guest.name.ilike(f"%{escaped}%", escape="\\"), Guest.contact.ilike(f"%{escaped}%", escape="\\")]
        query = query.where(or_(*named, Guest.contact_key == contact_key(search)))
    return read_page(session, query, page, by=[Sort(Guest.name), Sort(Guest.id)])


def records(session: Session, guests: Collection[int]) -> dict[int, Record]:
    """How each of these guests kept to what they booked."""
    counted: dict[int, dict[BookingStatus, int]] = {}
    rows = session.execute(
        select(Booking.guest_id, Booking.status, func.count())
        .where(Booking.guest_id.in_(guests))
        .group_by(Booking.guest_id, Booking.status)
    )
    for key, status, count in rows:
        if key is not None:
            counted.setdefault(key, {})[status] = count
    return {key: _record(counted.get(key, {})) for key in guests}


def _record(by_status: dict[BookingStatus, int]) -> Record:
    came = by_status.get(BookingStatus.ARRIVED, 0) + by_status.get(BookingStatus.COMPLETED, 0)
    return Record(
        visits=came,
        no_shows=by_status.get(BookingStatus.NO_SHOW, 0),
        cancelled=by_status.get(BookingStatus.CANCELLED, 0),
    )


def bookings_of(session: Session, guest: Guest, page: PageQuery) -> tuple[Sequence[Booking], str | None]:
    """A page of a guest's bookings, newest first, and where the following page begins."""
    query = (
        select(Booking)
        .where(Booking.guest_id == guest.id)
        .options(selectinload(Booking.places).joinedload(BookedTable.table))
    )
    newest_first = [Sort(Booking.starts_at, descending=True), Sort(Booking.id, descending=True)]
    return read_page(session, query, page, by=newest_first)


def ahead(guest: Guest, *, since: datetime) -> Select[Booking]:
    """The bookings of a guest that are still to come."""
    return select(Booking).where(
        Booking.guest_id == guest.id, Booking.status == BookingStatus.CONFIRMED, Booking.ends_at > since
    )


def change_guest(
    session: Session, guest: Guest, *, name: str, contact: str, allergies: Sequence[Allergen], note: str, blocked: bool
) -> Guest:
    """Change a file. Raises `Conflict` when another guest has the contact."""
    guest.name, guest.contact, guest.contact_key = name, contact, contact_key(contact)
    guest.allergies = [allergen.value for allergen in allergies]
    guest.note, guest.blocked = note, blocked
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(_("Another guest has this telephone number or e-mail address."), code="contact-taken") from error
    return guest


def forget_guest(session: Session, guest: Guest) -> None:
    """Delete a file and what names the guest in past bookings, which still count.

    Raises `Conflict` while a booking is ahead.
    """
    if session.scalar(ahead(guest, since=now()).with_only_columns(Booking.id).limit(1)) is not None:
        raise Conflict(_("This guest has a booking ahead. Cancel it first."), code="booking-ahead")
    for booking in session.scalars(select(Booking).where(Booking.guest_id == guest.id)):
        booking.guest, booking.contact, booking.note, booking.allergies, booking.guest_id = "—", "—", "", [], None
        for change in booking.changes:
            change.detail = ""
        session.execute(delete(Message).where(Message.booking_id == booking.id))
    session.flush()
    session.delete(guest)
    session.flush()
