"""The floor plan and what each table is doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from restaurant.database import flush
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.floor.models import Condition, Room, Shape, Table, TableState
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderStatus
from restaurant.reservations.service import sat_beside, upcoming
from restaurant.types import natural


@dataclass(frozen=True)
class Seat:
    """A table with what it is doing now; `since` is when its guests sat down."""

    table: Table
    state: TableState
    order: Order | None
    since: datetime | None
    booking: datetime | None


def state_of(
    table: Table, order: Order | None, booking: datetime | None, *, at: datetime, late: timedelta
) -> TableState:
    """What `table` is doing at the instant `at`, given its open order and when its next booking begins.

    It is late when a dish has been in the kitchen for `late`.
    """
    if order is None:
        if table.condition is not Condition.USABLE:
            return TableState(table.condition.value)
        return TableState.RESERVED_SOON if booking is not None else TableState.FREE
    if any(
        line.status in {LineStatus.FIRED, LineStatus.PREPARING}
        and line.fired_at is not None
        and at - line.fired_at >= late
        for line in order.lines
    ):
        return TableState.LATE
    if order.status is OrderStatus.DRAFT:
        return TableState.SEATED
    if order.status in {OrderStatus.SERVED, OrderStatus.BILLED, OrderStatus.PAID}:
        return TableState.TO_BILL
    return TableState.ORDERED


def read_rooms(session: Session) -> Sequence[Room]:
    """All rooms with their tables, in the order of their names: 1, 2, 10."""
    rooms = session.scalars(select(Room).options(selectinload(Room.tables)).order_by(Room.position, Room.id)).all()
    for room in rooms:
        set_committed_value(room, "tables", sorted(room.tables, key=lambda table: natural(table.name)))
    return rooms


def read_floor(session: Session, *, at: datetime, late: timedelta) -> list[tuple[Room, list[Seat]]]:
    """All rooms, and what each of their tables is doing at the instant `at`."""
    open_orders = {order.id: order for order in orders.open_orders(session)}
    by_table = {order.table_id: order for order in open_orders.values() if order.table_id is not None}
    for key, number in sat_beside(session).items():
        if (order := open_orders.get(number)) is not None:
            by_table.setdefault(key, order)
    bookings = upcoming(session, at=at)
    plan = []
    for room in read_rooms(session):
        seats = []
        for table in room.tables:
            order = by_table.get(table.merged_into_id or table.id)
            booking = bookings.get(table.id)
            state = state_of(table, order, booking, at=at, late=late)
            since = order.opened_at if order is not None else None
            seats.append(Seat(table=table, state=state, order=order, since=since, booking=booking))
        plan.append((room, seats))
    return plan


def read_table(session: Session, key: int) -> Table:
    """One table. Raises `NotFound`."""
    table = session.get(Table, key)
    if table is None:
        raise NotFound(_("This table does not exist."))
    return table


def read_room(session: Session, key: int) -> Room:
    """One room. Raises `NotFound`."""
    room = session.get(Room, key)
    if room is None:
        raise NotFound(_("This room does not exist."))
    return room


def add_room(session: Session, *, name: str) -> Room:
    """Add a room after the others. Raises `Conflict` when its name is taken."""
    last = session.scalar(select(func.max(Room.position)))
    room = Room(name=name, position=0 if last is None else last + 1)
    session.add(room)
    _flush_name(session)
    return room


def rename_room(session: Session, room: Room, *, name: str) -> Room:
    """Rename a room. Raises `Conflict` when it is taken."""
    room.name = name
    _flush_name(session)
    return room


def remove_room(session: Session, room: Room) -> None:
    """Delete an empty room. Raises `Conflict` when it has tables."""
    session.delete(room)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(_("This room still has tables."), code="room-not-empty") from error


def remove_table(session: Session, table: Table) -> None:
    """Delete a table. Raises `Conflict` when orders, bookings or joined tables refer to it."""
    session.delete(table)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            _("This table is used by orders, bookings or other tables. Mark it as out of service instead."),
            code="table-in-use",
        ) from error


def add_table(
    session: Session, *, room: int, name: str, shape: Shape, seats_min: int, seats_max: int, x: int, y: int,
    width: int, height: int,
) -> Table:  # fmt: skip
    """Put a table into a room. Raises `NotFound` for the room, `Conflict` when the name is taken."""
    table = Table(
        room_id=read_room(session, room).id, name=name, shape=shape, seats_min=seats_min, seats_max=seats_max, x=x, y=y,
        width=width, height=height,
    )  # fmt: skip
    session.add(table)
    _flush_name(session)
    return table


def change_table(session: Session, table: Table, **changes: object) -> Table:
    """Set attributes of a table.

    Raises `Conflict` for a name that is taken, `Invalid` when the maximum of seats is below the minimum, `NotFound` for
    an unknown room.
    """
    if "room" in changes:
        table.room_id = read_room(session, int(str(changes.pop("room")))).id
    for name, value in changes.items():
        setattr(table, name, value)
    if table.seats_min > table.seats_max:
        detail = _("The maximum number of seats must not be less than the minimum.")
        raise Invalid(detail, code="seats", fields={"/seats_max": detail})
    _flush_name(session)
    return table


def join_tables(session: Session, table: Table, into: Table | None) -> Table:
    """Join a table to another one, whose order it then shares, or separate it again.

    Raises `Conflict` when the table has an open order or tables joined to it, or the other is itself joined to one.
    """
    # Locked in the order of their keys, as everywhere, so that two transactions cannot wait for each other.
    for entry in sorted([table] if into is None else {table, into}, key=lambda entry: entry.id):
        session.refresh(entry, with_for_update=True)
    if into is not None:
        taken = session.scalar(select(Order.id).where(Order.table_id == table.id, Order.closed_at.is_(None)))
        joined = session.scalar(select(Table.id).where(Table.merged_into_id == table.id).limit(1))
        if taken or joined or into.merged_into_id is not None or into.id == table.id:
            raise Conflict(_("These tables cannot be joined."), code="not-joinable")
    table.merged_into_id = into.id if into is not None else None
    session.flush()
    return table


def seed_floor(session: Session) -> int:
    """Add an example floor to an empty database, and return how many tables were added."""
    if session.scalar(select(func.count()).select_from(Room)):
        return 0
    dining, terrace = Room(name="Salle", position=0), Room(name="Terrasse", position=1)
    session.add_all((dining, terrace))
    session.flush()
    plan = [
        *((dining, f"{n}", Shape.ROUND, 1, 2, 60 + 170 * (n - 1), 60, 90, 90) for n in range(1, 6)),
        *((dining, f"{n + 5}", Shape.SQUARE, 2, 4, 60 + 210 * (n - 1), 230, 120, 100) for n in range(1, 5)),
        *((dining, f"{n + 9}", Shape.SQUARE, 4, 6, 60 + 280 * (n - 1), 410, 200, 110) for n in range(1, 4)),
        *((terrace, f"T{n}", Shape.ROUND, 1, 4, 60 + 190 * (n - 1), 90, 110, 110) for n in range(1, 5)),
    ]
    session.add_all(
        Table(
            room_id=room.id, name=name, shape=shape, seats_min=least, seats_max=most, x=x, y=y,
            width=width, height=height,
        )
        for room, name, shape, least, most, x, y, width, height in plan
    )  # fmt: skip
    session.flush()
    return len(plan)


def _flush_name(session: Session) -> None:
    flush(
        session,
        conflicts={
            ("uq_dining_table_name", "dining_table.name"): lambda: Conflict(
                _("Another table already has this name."), code="name-taken"
            ),
            ("uq_room_name", "room.name"): lambda: Conflict(
                _("Another room already has this name."), code="name-taken"
            ),
        },
    )
