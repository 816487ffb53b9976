"""Booking tables.

A booking first takes its guests out of what the slot can bear (a conditional update), then holds tables: the smallest
that fits, else several of one room. Availability is only advice; when two guests want the last table at once, the
database lets one have it and the other is offered what else there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from itertools import chain
from math import ceil

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.orm.attributes import flag_modified

from restaurant.business_day import BusinessDay
from restaurant.database import BOOKING_LOCK, on_commit, violated
from restaurant.deposits import service as deposits
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.floor.models import Condition, Table
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import format_day, in_french, label, local
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen
from restaurant.messages import service as messages
from restaurant.metrics import BOOKED, BOOKINGS_REFUSED
from restaurant.opening.hours import Purpose, show_hours
from restaurant.opening.service import read_calendar
from restaurant.orders import service as orders
from restaurant.orders.models import Order, OrderStatus
from restaurant.people.models import User
from restaurant.reservations import guests, limits
from restaurant.reservations.models import (
    BESIDE,
    BookedTable,
    Booking,
    BookingChange,
    BookingStatus,
    ChangeKind,
    SlotLoad,
    WaitEntry,
    WaitStatus,
)  # fmt: skip
from restaurant.settings import Opening
from restaurant.types import now

SLOT = timedelta(minutes=15)
LEAD = timedelta(minutes=30)
AHEAD = timedelta(days=60)
#: A table booked to start within this time is shown as reserved soon.
SOON = timedelta(minutes=60)
#: A party may sit at this many tables pushed together at most.
_MOST_TABLES = 4
#: How long a table that is being cleaned is expected to take.
_CLEANING = timedelta(minutes=5)

_MOVES: dict[BookingStatus, frozenset[BookingStatus]] = {
    BookingStatus.CONFIRMED: frozenset({BookingStatus.ARRIVED, BookingStatus.CANCELLED, BookingStatus.NO_SHOW}),
    BookingStatus.ARRIVED: frozenset({BookingStatus.COMPLETED}),
    BookingStatus.COMPLETED: frozenset(),
    BookingStatus.CANCELLED: frozenset(),
    BookingStatus.NO_SHOW: frozenset(),
}
#: What `undo` goes back to.
_BACK: dict[BookingStatus, BookingStatus] = {
    BookingStatus.ARRIVED: BookingStatus.CONFIRMED,
    BookingStatus.COMPLETED: BookingStatus.ARRIVED,
    BookingStatus.CANCELLED: BookingStatus.CONFIRMED,
    BookingStatus.NO_SHOW: BookingStatus.CONFIRMED,
}
_RELEASING = {BookingStatus.COMPLETED, BookingStatus.CANCELLED, BookingStatus.NO_SHOW}
#: Guests of these do not come, so others may start at their time.
_ABSENT = {BookingStatus.CANCELLED, BookingStatus.NO_SHOW}


@dataclass(frozen=True)
class Host:
    """A member of the staff who books or changes a booking: no limit against robots applies.

    With a reason, `override` sets aside opening hours, the number of guests at a time and the seats of a table. A table
    is still never held twice: when none is left, the booking has none until the host gives it one.
    """

    user: User
    override: str = ""


@dataclass(frozen=True)
class Online:
    """A guest who books by themselves: from which address, and the key with which its hash is made."""

    address: str
    key: str


def availability(session: Session, *, day: date, covers: int, opening: Opening) -> list[datetime]:
    """The slots of `day` at which a party of `covers` could still be taken, as far as can be seen now."""
    earliest = now() + LEAD
    wanted = [slot for slot in read_calendar(session, opening).starts(day) if slot >= earliest]
    if not wanted:
        return []
    duration = opening.stay(covers)
    tables = _usable_tables(session)
    held = session.scalars(
        select(BookedTable).where(
            BookedTable.active,
            BookedTable.starts_at < wanted[-1] + duration,
            BookedTable.ends_at > wanted[0],
        )
    ).all()
    loads = {
        load.starts_at: load.covers
        for load in session.scalars(
            select(SlotLoad).where(SlotLoad.starts_at >= wanted[0], SlotLoad.starts_at <= wanted[-1])
        )
    }
    free = []
    for slot in wanted:
        taken = {place.table_id for place in held if place.starts_at < slot + duration and place.ends_at > slot}
        fits = next(_choices([table for table in tables if table.id not in taken], covers), None)
        if fits is not None and loads.get(slot, 0) + covers <= opening.covers:
            free.append(slot)
    return free


def book(
    session: Session,
    *,
    starts_at: datetime,
    covers: int,
    guest: str,
    contact: str,
    note: str,
    allergies: Sequence[Allergen],
    opening: Opening,
    by: Host | Online,
    tables: Sequence[int] = (),
) -> Booking:
    """Book, at the named tables or at those that fit best.

    Raises `Invalid` for a time that is no slot, `Conflict` when slot or tables are full or the guest has a booking at
    that time, `TooManyBookings`, and `NotFound` for an unknown table.
    """
    forced = isinstance(by, Host) and bool(by.override)
    if not forced:
        _check_start(session, starts_at, opening=opening, by=by)
    booking = Booking(
        guest=guest,
        contact=contact,
        covers=covers,
        starts_at=starts_at,
        ends_at=starts_at + opening.stay(covers),
        status=BookingStatus.CONFIRMED,
        note=note,
        allergies=[allergen.value for allergen in allergies],
        override_reason=by.override or None if isinstance(by, Host) else None,
    )
    if contact:
        file = guests.file_of(session, name=guest, contact=contact, allergies=allergies)
        if isinstance(by, Online):
            limits.check_guest(session, file, at=now(), most=opening.per_contact)
        if not forced:
            limits.check_contact(session, file, starts_at=starts_at, ends_at=booking.ends_at)
        booking.guest_id = file.id
    if isinstance(by, Online):
        limits.count_address(session, by.address, key=by.key, at=now(), most=opening.per_address)
    session.add(booking)
    session.flush()
    _take(session, booking, opening=opening, tables=tables, forced=forced)
    if not forced:
        deposits.ask(session, booking, online=isinstance(by, Online))
    _log(session, booking, ChangeKind.BOOKED, by=by, detail=booking.override_reason or "")
    messages.confirm(session, booking)
    on_commit(session, lambda: BOOKED.inc(covers))
    return booking


def change(
    session: Session,
    booking: Booking,
    *,
    starts_at: datetime,
    covers: int,
    guest: str,
    contact: str,
    note: str,
    allergies: Sequence[Allergen],
    opening: Opening,
    by: Host,
    tables: Sequence[int] = (),
) -> None:
    """Change a booking that is ahead: its time, size and tables too. Raises as `book` does.

    When no other tables are named, it keeps those it has where they still fit and are free.
    """
    if booking.status is not BookingStatus.CONFIRMED:
        raise Conflict(_("This booking can no longer be changed."), code="wrong-step")
    before, told = _summary(booking), (booking.starts_at, booking.covers, booking.contact)
    forced = bool(by.override)
    if starts_at != booking.starts_at and not forced:
        _check_start(session, starts_at, opening=opening, by=by)
    ends_at = starts_at + opening.stay(covers)
    booking.guest, booking.contact, booking.note = guest, contact, note
    booking.allergies = [allergen.value for allergen in allergies]
    if contact:
        file = guests.file_of(session, name=guest, contact=contact, allergies=allergies)
        if not forced:
            limits.check_contact(session, file, starts_at=starts_at, ends_at=ends_at, except_for=booking.id)
        booking.guest_id = file.id
    else:
        booking.guest_id = None
    if by.override:
        booking.override_reason = by.override
    held = [place.table_id for place in booking.places]
    named = tables if set(tables) != set(held) else ()
    if (starts_at, covers) != (booking.starts_at, booking.covers) or named or not held:
        _lock_slots(session, booking.starts_at, starts_at)
        _leave_slot(session, booking)
        booking.places.clear()
        booking.starts_at, booking.ends_at, booking.covers = starts_at, ends_at, covers
        session.flush()
        _take(session, booking, opening=opening, tables=named, forced=forced, before=held)
    # A change of the tables alone is one of the booking too, for others who have its page open.
    flag_modified(booking, "covers")
    session.flush()
    if not forced:
        deposits.adjust(session, booking)
    after = _summary(booking)
    if told != (starts_at, covers, contact):
        messages.tell_change(session, booking)
    detail = f"{before} → {after}" if before != after else after
    _log(session, booking, ChangeKind.CHANGED, by=by, detail=f"{detail} ({by.override})" if by.override else detail)


def can_undo(booking: Booking) -> bool:
    """Whether the last step of a booking can be undone, unless others have its table in the meantime."""
    match booking.status:
        case BookingStatus.ARRIVED:
            return booking.order is None or not _has_guests(booking.order)
        case BookingStatus.COMPLETED:
            return booking.order is not None and booking.order.closed_at is None
        case _:
            return booking.status in _BACK


def undo(session: Session, booking: Booking, *, by: Host) -> None:
    """Undo the last step of a booking. Raises `Conflict` when others have its tables, or guests have ordered."""
    before = booking.status
    if before not in _BACK:
        raise Conflict(_("There is nothing to undo."), code="wrong-step")
    if before is BookingStatus.ARRIVED:
        _leave_tables(session, booking, by=by.user)
    elif before is BookingStatus.COMPLETED and (booking.order is None or booking.order.closed_at is not None):
        raise Conflict(_("The order of this booking is closed."), code="wrong-step")
    elif not _reactivate(session, booking):
        if before is BookingStatus.COMPLETED:
            raise Conflict(_("Others have the table in the meantime."), code="fully-booked")
        booking.places.clear()
        session.flush()
        _take_tables(session, booking, tables=(), forced=False, before=())
    if before in _ABSENT:
        # These guests were counted before: undoing a mistake is never refused because of others at that time.
        _take_slot(session, booking.starts_at, booking.covers, most=None)
    booking.status = _BACK[before]
    session.flush()
    if before is not BookingStatus.COMPLETED:
        deposits.expected_again(session, booking, by=by.user)
    _log(session, booking, ChangeKind.UNDONE, by=by, detail=before.value)
    if before is BookingStatus.CANCELLED:
        messages.tell_change(session, booking)


def read_booking(session: Session, reference: uuid.UUID) -> Booking:
    """One booking. Raises `NotFound`."""
    booking = session.scalar(
        select(Booking)
        .where(Booking.reference == reference)
        .options(
            selectinload(Booking.places).joinedload(BookedTable.table),
            joinedload(Booking.order),
            joinedload(Booking.file),
            joinedload(Booking.deposit),
            selectinload(Booking.changes),
        )
        .execution_options(populate_existing=True)
    )
    if booking is None:
        raise NotFound(_("This booking does not exist."))
    return booking


def lock_booking(session: Session, reference: uuid.UUID) -> Booking:
    """As `read_booking`, and lock it until this unit of work ends."""
    session.execute(select(Booking.id).where(Booking.reference == reference).with_for_update())
    return read_booking(session, reference)


def list_bookings(
    session: Session, page: PageQuery, *, day: date, business_day: BusinessDay
) -> tuple[Sequence[Booking], str | None]:
    """A page of the bookings of a day, by time, and where the following page begins."""
    start, end = business_day.begin(day), business_day.begin(day + timedelta(days=1))
    return read_page(
        session,
        select(Booking)
        .where(Booking.starts_at >= start, Booking.starts_at < end)
        .options(
            selectinload(Booking.places).joinedload(BookedTable.table),
            joinedload(Booking.order).selectinload(Order.lines),
            joinedload(Booking.file),
            joinedload(Booking.deposit),
        ),
        page,
        by=[Sort(Booking.starts_at), Sort(Booking.id)],
    )


def move(
    session: Session, booking: Booking, status: BookingStatus, *, by: Host | None, business_day: BusinessDay
) -> None:
    """Cancel, complete or mark as not come; its tables are free again. Raises `Conflict` for a wrong step.

    Without a host it is the guest who does so.
    """
    _check_step(booking, status)
    if status is BookingStatus.NO_SHOW:
        _check_day(booking, business_day)
    _take_off(session, booking, status, by=by)


def release(session: Session, reference: uuid.UUID, *, at: datetime) -> bool:
    """Cancel a booking whose deposit was not paid until `at`; False when it was paid or changed meanwhile."""
    booking = lock_booking(session, reference)
    deposit = deposits.lock(session, booking)
    ahead = booking.status is BookingStatus.CONFIRMED
    if not ahead or deposit is None or not deposit.outstanding or deposit.due_at is None or deposit.due_at >= at:
        return False
    with in_french():
        # Nobody asked for a page, so it is in the language of the house.
        detail = _("deposit not paid")
    _take_off(session, booking, BookingStatus.CANCELLED, by=None, detail=detail)
    return True


def _take_off(session: Session, booking: Booking, status: BookingStatus, *, by: Host | None, detail: str = "") -> None:
    """Do what follows when guests have left or do not come."""
    booking.status = status
    if status in _RELEASING:
        for place in booking.places:
            place.active = False
    if status in _ABSENT:
        _leave_slot(session, booking)
    session.flush()
    user = by.user if by is not None else None
    if status is BookingStatus.CANCELLED:
        deposits.cancelled(session, booking, at=now(), by=user)
    elif status is BookingStatus.NO_SHOW:
        deposits.not_come(session, booking, by=user)
    _log(session, booking, ChangeKind(status.value), by=by, detail=detail)
    if status is BookingStatus.CANCELLED:
        messages.tell_cancellation(session, booking)
    else:
        messages.drop_waiting(session, booking)


def cancel_by_guest(
    session: Session, booking: Booking, *, at: datetime, cutoff: timedelta, business_day: BusinessDay
) -> None:
    """Cancel, which guests may until `cutoff` before the booking begins. Raises `Conflict` afterwards."""
    if booking.status is BookingStatus.CONFIRMED and at > booking.starts_at - cutoff:
        raise Conflict(
            _("It is too late to cancel online. Please call us so that we can offer the table to someone else."),
            code="too-late-to-cancel",
        )
    move(session, booking, BookingStatus.CANCELLED, by=None, business_day=business_day)


def arrive(session: Session, booking: Booking, *, server: User, business_day: BusinessDay) -> Order:
    """Seat the guests of a booking at its tables; the first one has their order.

    Raises `Conflict` on another day, without a table, and when guests sit at one of them or it cannot be used.
    """
    _check_step(booking, BookingStatus.ARRIVED)
    _check_day(booking, business_day)
    if not booking.places:
        raise Conflict(_("This booking has no table yet. Choose one first."), code="no-table")
    for place in booking.places:
        orders.keep_free(session, place.table)
    order = orders.open_table(
        session,
        booking.places[0].table,
        covers=booking.covers,
        guest=booking.guest,
        allergies=allergies_of(booking),
        server=server,
    )
    booking.status, booking.order_id = BookingStatus.ARRIVED, order.id
    session.flush()
    deposits.seated(session, booking, order)
    _log(session, booking, ChangeKind.ARRIVED, by=Host(server))
    messages.drop_waiting(session, booking)
    return order


def allergies_of(booking: Booking) -> list[Allergen]:
    """What the guests of a booking must not eat, by what they said and by the guest's file."""
    known = booking.file.allergies if booking.file is not None else []
    return [allergen for allergen in Allergen if allergen.value in {*booking.allergies, *known}]


def upcoming(session: Session, *, at: datetime) -> dict[int, datetime]:
    """When the next booking begins, by table, for those that begin soon after `at` or should have begun."""
    rows = session.execute(
        select(BookedTable.table_id, func.min(BookedTable.starts_at))
        .join(BookedTable.booking)
        .where(
            BookedTable.active,
            Booking.status == BookingStatus.CONFIRMED,
            BookedTable.starts_at <= at + SOON,
            BookedTable.ends_at > at,
        )
        .group_by(BookedTable.table_id)
    )
    return {table: start for table, start in rows}  # noqa: C416  # a Row is a tuple of any length to the type checker


def sat_beside(session: Session) -> dict[int, int]:
    """Tables at which guests sit whose order is another table's, with the key of that order."""
    return {table: order for table, order in session.execute(BESIDE) if order is not None}


def join_waiting_list(session: Session, *, guest: str, contact: str, covers: int, quoted_minutes: int) -> WaitEntry:
    """Add a guest to the waiting list."""
    entry = WaitEntry(guest=guest, contact=contact, covers=covers, quoted_minutes=quoted_minutes)
    session.add(entry)
    session.flush()
    return entry


def waiting_list(session: Session, page: PageQuery) -> tuple[Sequence[WaitEntry], str | None]:
    """A page of who waits or was called, longest waiting first, and where the following page begins."""
    return read_page(session, _waiting(), page, by=[Sort(WaitEntry.created_at), Sort(WaitEntry.id)])


def expected_wait(session: Session, *, covers: int, at: datetime, opening: Opening) -> int | None:
    """Minutes until a table for `covers` is expected to be free, None when it cannot be predicted.

    A table is free when its guests have stayed as long as a party of their size does, and is not if a booking takes it
    before this party could have eaten. Parties that wait already and want a table of the same kind come first.
    """
    tables = [table for table in _usable_tables(session) if table.seats_min <= covers <= table.seats_max]
    seated = {
        order.table_id: max(at, order.opened_at + opening.stay(order.covers))
        for order in session.scalars(select(Order).where(Order.closed_at.is_(None), Order.table_id.is_not(None)))
    }
    held: dict[int, list[BookedTable]] = {}
    for place in session.scalars(
        select(BookedTable)
        .join(BookedTable.booking)
        .where(BookedTable.active, BookedTable.ends_at > at, Booking.status == BookingStatus.CONFIRMED)
        .order_by(BookedTable.starts_at)
    ):
        held.setdefault(place.table_id, []).append(place)
    duration = opening.stay(covers)
    # When each table could take a party, the soonest on top; a party that goes before takes it for its stay.
    free: list[tuple[datetime, int]] = []
    for table in tables:
        start = at if table.condition is Condition.USABLE else at + _CLEANING
        heappush(free, (_free_from(max(start, seated.get(table.id, at)), held.get(table.id, []), duration), table.id))
    for entry in session.scalars(_waiting()):
        if free and any(table.seats_min <= entry.covers <= table.seats_max for table in tables):
            since, key = heappop(free)
            after = since + opening.stay(entry.covers)
            heappush(free, (_free_from(after, held.get(key, []), duration), key))
    return ceil((free[0][0] - at).total_seconds() / 60) if free else None


def _waiting() -> Select[WaitEntry]:
    return select(WaitEntry).where(WaitEntry.status.in_((WaitStatus.WAITING, WaitStatus.CALLED)))


def _free_from(start: datetime, held: Sequence[BookedTable], duration: timedelta) -> datetime:
    """The first moment from `start` on at which a table is free for `duration`, given its bookings in order of time."""
    for place in held:
        if place.starts_at < start + duration and place.ends_at > start:
            start = place.ends_at
    return start


def move_waiting(session: Session, key: int, status: WaitStatus) -> WaitEntry:
    """Call a guest, or remove them from the list. Raises `NotFound`, or `Conflict` when they are no longer on it."""
    entry = session.get(WaitEntry, key, with_for_update=True)
    if entry is None:
        raise NotFound(_("This guest is not on the waiting list."))
    if entry.status in {WaitStatus.PLACED, WaitStatus.LEFT} or status is WaitStatus.WAITING:
        raise Conflict(_("This is no longer possible."), code="wrong-step")
    entry.status = status
    session.flush()
    return entry


def _check_step(booking: Booking, status: BookingStatus) -> None:
    if status not in _MOVES[booking.status]:
        raise Conflict(
            _("A booking that is “{old}” cannot become “{new}”.", old=label(booking.status), new=label(status)),
            code="wrong-step",
        )


def _check_start(session: Session, starts_at: datetime, *, opening: Opening, by: Host | Online) -> None:
    """Raise `Invalid` unless a booking may begin then; a host may take one for at once."""
    moment = now()
    calendar = read_calendar(session, opening)
    if not calendar.is_open(Purpose.BOOKINGS, starts_at):
        day = starts_at.astimezone(opening.zone).date()
        hours = calendar.hours(Purpose.BOOKINGS, day)
        if hours:
            detail = _("We take bookings every 15 minutes: {times}.", times=show_hours(hours))
            raise Invalid(detail, code="no-slot", fields={"/starts_at": detail})
        special = calendar.exception(day)
        detail = _("We are closed on this day.") if special is None else _(
            "We are closed on this day: {reason}.", reason=special.name
        )  # fmt: skip
        raise Invalid(detail, code="closed", fields={"/starts_at": detail})
    earliest = moment - SLOT if isinstance(by, Host) else moment + LEAD
    if not earliest <= starts_at <= moment + AHEAD:
        detail = _("Please book at least 30 minutes and at most 60 days ahead.")
        raise Invalid(detail, code="too-early-or-late", fields={"/starts_at": detail})


def _check_day(booking: Booking, business_day: BusinessDay) -> None:
    """Raise `Conflict` when the booking is for a later day."""
    if business_day.of(booking.starts_at) > business_day.of(now()):
        raise Conflict(_("This booking is for {day}.", day=format_day(booking.starts_at)), code="another-day")


def _log(session: Session, booking: Booking, kind: ChangeKind, *, by: Host | Online | None, detail: str = "") -> None:
    name = by.user.username if isinstance(by, Host) else ""
    session.add(BookingChange(booking_id=booking.id, kind=kind, by=name, detail=detail[:300]))
    session.flush()


def _summary(booking: Booking) -> str:
    tables = " + ".join(table.name for table in booking.tables)
    parts = [f"{local(booking.starts_at):%Y-%m-%d %H:%M}", f"{booking.covers}", *([tables] if tables else [])]
    return ", ".join(parts)


def _lock_slots(session: Session, *starts: datetime) -> None:
    """Lock what is known of these times, always in the same sequence, so that two people cannot wait for each other."""
    session.execute(
        select(SlotLoad.starts_at)
        .where(SlotLoad.starts_at.in_(set(starts)))
        .order_by(SlotLoad.starts_at)
        .with_for_update()
    )


def _leave_slot(session: Session, booking: Booking) -> None:
    session.execute(
        update(SlotLoad)
        .where(SlotLoad.starts_at == booking.starts_at)
        .values(covers=SlotLoad.covers - booking.covers)
        .execution_options(synchronize_session=False)
    )


def _take_slot(session: Session, starts_at: datetime, covers: int, *, most: int | None) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(SlotLoad).values(starts_at=starts_at, covers=0).on_conflict_do_nothing())
    wanted = [SlotLoad.starts_at == starts_at]
    if most is not None:
        wanted.append(SlotLoad.covers + covers <= most)
    taken = session.execute(
        update(SlotLoad)
        .where(*wanted)
        .values(covers=SlotLoad.covers + covers)
        .returning(SlotLoad.covers)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        raise _full()


def _full() -> Conflict:
    BOOKINGS_REFUSED.inc()
    return Conflict(_("No table is available at this time. Please choose another time."), code="fully-booked")


def _take(
    session: Session, booking: Booking, *, opening: Opening, tables: Sequence[int], forced: bool,
    before: Sequence[int] = (),
) -> None:  # fmt: skip
    """Take the guests out of what the slot can bear, and hold tables. Raises `Conflict` when one is full."""
    _take_slot(session, booking.starts_at, booking.covers, most=None if forced else opening.covers)
    _take_tables(session, booking, tables=tables, forced=forced, before=before)


def _take_tables(
    session: Session, booking: Booking, *, tables: Sequence[int], forced: bool, before: Sequence[int]
) -> None:
    """Hold the named tables, else those of `before` where they fit, else those that fit best."""
    _wait_for_others(session)
    covers = booking.covers
    usable = _usable_tables(session)
    if tables:
        named = [table for table in usable if table.id in set(tables)]
        if len(named) < len(set(tables)):
            raise NotFound(_("This table does not exist, or cannot be used."))
        if not forced and sum(table.seats_max for table in named) < covers:
            raise Conflict(_("These tables have fewer seats than guests."), code="too-few-seats")
        if not _hold(session, booking, named):
            raise Conflict(_("Another booking has this table at that time."), code="table-taken")
        return
    taken = set(
        session.scalars(
            select(BookedTable.table_id).where(
                BookedTable.active, BookedTable.starts_at < booking.ends_at, BookedTable.ends_at > booking.starts_at
            )
        )
    )
    free = [table for table in usable if table.id not in taken]
    kept = [table for table in free if table.id in set(before)]
    choices = _choices(free, covers)
    if kept and len(kept) == len(before) and _fits(kept, covers):
        choices = chain([kept], choices)
    if not any(_hold(session, booking, choice) for choice in choices) and not forced:
        raise _full()


def _wait_for_others(session: Session) -> None:
    """Hold tables one transaction at a time: inserts that exclude each other deadlock when there are three of them."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(BOOKING_LOCK)))


def _fits(tables: Sequence[Table], covers: int) -> bool:
    return sum(table.seats_max for table in tables) >= covers and (len(tables) > 1 or tables[0].seats_min <= covers)


def _reactivate(session: Session, booking: Booking) -> bool:
    """Hold the tables again that a booking had; False when it had none or another booking holds one of them."""
    _wait_for_others(session)
    try:
        with session.begin_nested():
            for place in booking.places:
                place.active = True
                session.flush()
    except IntegrityError as error:
        if violated(error, "ex_booked_table_overlap"):
            session.refresh(booking, ["places"])
            return False
        raise
    return bool(booking.places)


def _leave_tables(session: Session, booking: Booking, *, by: User) -> None:
    """Free the tables of guests who were seated by mistake. Raises `Conflict` once they have ordered."""
    if booking.order is not None:
        order = orders.lock_order(session, booking.order.reference)
        if _has_guests(order):
            raise Conflict(_("These guests have ordered already."), code="wrong-step")
        if order.closed_at is None:
            orders.cancel(session, order, reason=_("seated by mistake"), by=by)
    booking.order_id = None


def _has_guests(order: Order) -> bool:
    """Whether guests ordered with it, or sit at another table since; not if it was only opened, or cancelled then."""
    return bool(order.lines) or order.status is OrderStatus.CLOSED or order.cancel_reason == orders.MERGED


def _usable_tables(session: Session) -> Sequence[Table]:
    return session.scalars(
        select(Table)
        .where(Table.condition != Condition.OUT_OF_SERVICE, Table.merged_into_id.is_(None))
        .order_by(Table.seats_max, Table.id)
    ).all()


def _choices(tables: Sequence[Table], covers: int) -> Iterator[list[Table]]:
    """Ways to seat a party: the smallest single tables first, then several of one room, the largest ones first."""
    for table in tables:
        if table.seats_min <= covers <= table.seats_max:
            yield [table]
    for room in sorted({table.room_id for table in tables}):
        together: list[Table] = []
        for table in sorted((t for t in tables if t.room_id == room), key=lambda t: (-t.seats_max, t.id)):
            together.append(table)
            if len(together) > 1 and sum(entry.seats_max for entry in together) >= covers:
                yield together
                break
            if len(together) == _MOST_TABLES:
                break


def _hold(session: Session, booking: Booking, tables: Sequence[Table]) -> bool:
    """Hold tables, always in the order of their keys; False when another booking holds one of them."""
    try:
        with session.begin_nested():
            for table in sorted(tables, key=lambda entry: entry.id):
                session.add(
                    BookedTable(
                        booking_id=booking.id,
                        table_id=table.id,
                        starts_at=booking.starts_at,
                        ends_at=booking.ends_at,
                    )
                )
                session.flush()
    except IntegrityError as error:
        if violated(error, "ex_booked_table_overlap"):
            return False
        raise
    session.refresh(booking, ["places"])
    return True
