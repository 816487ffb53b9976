"""Booking tables.

A booking first takes its guests out of what the slot can bear (a conditional update), then holds tables: the smallest
that fits, else several of one room. Availability is only advice; when two guests want the last table at once, the
database lets one have it and the other is offered what else there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from math import ceil

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.business_day import BusinessDay
from restaurant.database import on_commit, violated
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.floor.models import Condition, Table
from restaurant.http.paging import PageQuery, read_page
from restaurant.i18n import gettext as _
from restaurant.i18n import label
from restaurant.menu.models import Allergen
from restaurant.metrics import BOOKED, BOOKINGS_REFUSED
from restaurant.orders import service as orders
from restaurant.orders.models import Order
from restaurant.people.models import User
from restaurant.reservations.models import (
    BESIDE,
    BookedTable,
    Booking,
    BookingStatus,
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
_RELEASING = {BookingStatus.COMPLETED, BookingStatus.CANCELLED, BookingStatus.NO_SHOW}


def slots(day: date, *, opening: Opening) -> list[datetime]:
    """The instants at which a booking may begin on `day`."""
    found: list[datetime] = []
    if day.weekday() in opening.closed:
        return found
    for first, last in opening.services:
        start, end = (datetime.combine(day, clock, opening.zone) for clock in (first, last))
        while start <= end:
            found.append(start)
            start += SLOT
    return found


def availability(session: Session, *, day: date, covers: int, opening: Opening) -> list[datetime]:
    """The slots of `day` at which a party of `covers` could still be taken, as far as can be seen now."""
    earliest = now() + LEAD
    wanted = [slot for slot in slots(day, opening=opening) if slot >= earliest]
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
) -> Booking:
    """Book. Raises `Invalid` for a time that is no slot, `Conflict` when slot or tables are full."""
    moment = now()
    local = starts_at.astimezone(opening.zone)
    if local.weekday() in opening.closed:
        detail = _("We are closed on this day.")
        raise Invalid(detail, code="closed", fields={"/starts_at": detail})
    if local not in slots(local.date(), opening=opening):
        detail = _("We take bookings every 15 minutes: {times}.", times=opening)
        raise Invalid(detail, code="no-slot", fields={"/starts_at": detail})
    if not moment + LEAD <= starts_at <= moment + AHEAD:
        detail = _("Please book at least 30 minutes and at most 60 days ahead.")
        raise Invalid(detail, code="too-early-or-late", fields={"/starts_at": detail})
    _take_slot(session, starts_at, covers, most=opening.covers)
    ends_at = starts_at + opening.stay(covers)
    booking = Booking(
        guest=guest,
        contact=contact,
        covers=covers,
        starts_at=starts_at,
        ends_at=ends_at,
        status=BookingStatus.CONFIRMED,
        note=note,
        allergies=[allergen.value for allergen in allergies],
    )
    session.add(booking)
    session.flush()
    taken = set(
        session.scalars(
            select(BookedTable.table_id).where(
                BookedTable.active, BookedTable.starts_at < ends_at, BookedTable.ends_at > starts_at
            )
        )
    )
    for choice in _choices([table for table in _usable_tables(session) if table.id not in taken], covers):
        if _hold(session, booking, choice):
            return booking
    raise _full()


def read_booking(session: Session, reference: uuid.UUID) -> Booking:
    """One booking. Raises `NotFound`."""
    booking = session.scalar(
        select(Booking)
        .where(Booking.reference == reference)
        .options(selectinload(Booking.places).joinedload(BookedTable.table), joinedload(Booking.order))
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
) -> tuple[Sequence[Booking], int | None]:
    """A page of the bookings of a day, by time, and the number of the following page."""
    start, end = business_day.begin(day), business_day.begin(day + timedelta(days=1))
    return read_page(
        session,
        select(Booking)
        .where(Booking.starts_at >= start, Booking.starts_at < end)
        .options(selectinload(Booking.places).joinedload(BookedTable.table), joinedload(Booking.order))
        .order_by(Booking.starts_at, Booking.id),
        page,
    )


def move(session: Session, booking: Booking, status: BookingStatus) -> None:
    """Cancel, complete or mark as not come; its tables are free again. Raises `Conflict` for a wrong step."""
    _check_step(booking, status)
    booking.status = status
    if status in _RELEASING:
        for place in booking.places:
            place.active = False
    if status in {BookingStatus.CANCELLED, BookingStatus.NO_SHOW}:
        session.execute(
            update(SlotLoad)
            .where(SlotLoad.starts_at == booking.starts_at)
            .values(covers=SlotLoad.covers - booking.covers)
            .execution_options(synchronize_session=False)
        )
    session.flush()


def cancel_by_guest(session: Session, booking: Booking, *, at: datetime, cutoff: timedelta) -> None:
    """Cancel, which guests may until `cutoff` before the booking begins. Raises `Conflict` afterwards."""
    if booking.status is BookingStatus.CONFIRMED and at > booking.starts_at - cutoff:
        raise Conflict(
            _("It is too late to cancel online. Please call us so that we can offer the table to someone else."),
            code="too-late-to-cancel",
        )
    move(session, booking, BookingStatus.CANCELLED)


def arrive(session: Session, booking: Booking, *, server: User) -> Order:
    """Seat the guests of a booking at its tables; the first one has their order.

    Raises `Conflict` when guests sit at one of them or it cannot be used.
    """
    _check_step(booking, BookingStatus.ARRIVED)
    for place in booking.places:
        orders.keep_free(session, place.table)
    order = orders.open_table(
        session,
        booking.places[0].table,
        covers=booking.covers,
        guest=booking.guest,
        allergies=[Allergen(name) for name in booking.allergies],
        server=server,
    )
    booking.status, booking.order_id = BookingStatus.ARRIVED, order.id
    session.flush()
    return order


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


def waiting_list(session: Session, page: PageQuery) -> tuple[Sequence[WaitEntry], int | None]:
    """A page of who waits or was called, longest waiting first, and the number of the following page."""
    return read_page(session, _waiting().order_by(WaitEntry.created_at, WaitEntry.id), page)


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


def _take_slot(session: Session, starts_at: datetime, covers: int, *, most: int) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(SlotLoad).values(starts_at=starts_at, covers=0).on_conflict_do_nothing())
    taken = session.execute(
        update(SlotLoad)
        .where(SlotLoad.starts_at == starts_at, SlotLoad.covers + covers <= most)
        .values(covers=SlotLoad.covers + covers)
        .returning(SlotLoad.covers)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        raise _full()


def _full() -> Conflict:
    BOOKINGS_REFUSED.inc()
    return Conflict(_("No table is available at this time. Please choose another time."), code="fully-booked")


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
    covers = booking.covers
    on_commit(session, lambda: BOOKED.inc(covers))
    return True
