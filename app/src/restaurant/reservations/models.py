"""Bookings, the tables they hold, how many guests start at a time, and the waiting list."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.deposits.models import Deposit
from restaurant.floor.models import Table
from restaurant.orders.models import Order
from restaurant.types import Labelled, Moment, choice, natural, now


class BookingStatus(Labelled):
    """Where a booking stands."""

    CONFIRMED = "confirmed"
    ARRIVED = "arrived"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


class WaitStatus(Labelled):
    """The state of an entry of the waiting list."""

    WAITING = "waiting"
    CALLED = "called"
    PLACED = "placed"
    LEFT = "left"


class ChangeKind(Labelled):
    """What was done to a booking."""

    BOOKED = "booked"
    CHANGED = "changed"
    ARRIVED = "arrived"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    UNDONE = "undone"


class Guest(Base):
    """What the restaurant knows about a guest, who is found by telephone number or e-mail address."""

    __tablename__ = "guest"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_key: Mapped[str] = mapped_column(String(120), unique=True)
    name: Mapped[str] = mapped_column(String(80), index=True)
    contact: Mapped[str] = mapped_column(String(120))
    allergies: Mapped[list[str]] = mapped_column(JSON, default=list)
    note: Mapped[str] = mapped_column(String(500), default="")
    blocked: Mapped[bool] = mapped_column(default=False)
    """Whether this guest books by telephone only."""
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class Booking(Base):
    """Guests who are expected. Known outside by `reference`, which cannot be guessed."""

    __tablename__ = "booking"
    __table_args__ = (CheckConstraint("covers > 0 AND ends_at > starts_at", name="sensible"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    guest: Mapped[str] = mapped_column(String(80))
    contact: Mapped[str] = mapped_column(String(120))
    covers: Mapped[int] = mapped_column()
    starts_at: Mapped[datetime] = mapped_column(Moment, index=True)
    ends_at: Mapped[datetime] = mapped_column(Moment)
    status: Mapped[BookingStatus] = mapped_column(choice(BookingStatus))
    note: Mapped[str] = mapped_column(String(500), default="")
    allergies: Mapped[list[str]] = mapped_column(JSON, default=list)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    guest_id: Mapped[int | None] = mapped_column(ForeignKey("guest.id"), index=True)
    override_reason: Mapped[str | None] = mapped_column(String(200))
    """Why a rule was set aside for this booking, such as the opening hours or the number of guests at a time."""
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    version: Mapped[int] = mapped_column()

    deposit: Mapped[Deposit | None] = relationship(viewonly=True)
    places: Mapped[list[BookedTable]] = relationship(
        back_populates="booking", cascade="all, delete-orphan", order_by="BookedTable.table_id"
    )
    order: Mapped[Order | None] = relationship()
    file: Mapped[Guest | None] = relationship()
    changes: Mapped[list[BookingChange]] = relationship(order_by="BookingChange.id", passive_deletes="all")

    @property
    def tables(self) -> list[Table]:
        """The tables held for it, in the order of their names."""
        return sorted((place.table for place in self.places), key=lambda table: natural(table.name))

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class BookingChange(Base):
    """What was done to a booking, when and by whom; nobody for the guest."""

    __tablename__ = "booking_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    booking_id: Mapped[int] = mapped_column(ForeignKey("booking.id", ondelete="CASCADE"), index=True)
    kind: Mapped[ChangeKind] = mapped_column(choice(ChangeKind))
    by: Mapped[str] = mapped_column(String(40), default="")
    detail: Mapped[str] = mapped_column(String(300), default="")
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class BookingAddress(Base):
    """How many bookings an address made since an instant, or how many orders it or a table sent.

    Only a keyed hash is kept.
    """

    __tablename__ = "booking_address"

    address_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[datetime] = mapped_column(Moment)
    bookings: Mapped[int] = mapped_column()


class BookedTable(Base):
    """A table held for a booking. That no two active ones overlap is refused by the database.

    On PostgreSQL by the exclusion constraint `ex_booked_table_overlap`, on SQLite by triggers of that name; both are
    made by the migration, for neither can be said in a model that serves both engines.
    """

    __tablename__ = "booked_table"

    id: Mapped[int] = mapped_column(primary_key=True)
    booking_id: Mapped[int] = mapped_column(ForeignKey("booking.id", ondelete="CASCADE"), index=True)
    table_id: Mapped[int] = mapped_column(ForeignKey("dining_table.id"), index=True)
    starts_at: Mapped[datetime] = mapped_column(Moment)
    ends_at: Mapped[datetime] = mapped_column(Moment)
    active: Mapped[bool] = mapped_column(default=True)

    booking: Mapped[Booking] = relationship(back_populates="places")
    table: Mapped[Table] = relationship()


_ITS_TABLES = select(BookedTable.table_id).where(BookedTable.booking_id == Booking.id).correlate(Booking)

#: The tables that a party which has arrived sits at beside its own, each with the key of the party's order: as long as
#: that order is open and the party was not moved elsewhere.
BESIDE = (
    select(BookedTable.table_id, Booking.order_id)
    .join(BookedTable.booking)
    .join(Booking.order)
    .where(
        BookedTable.active,
        Booking.status == BookingStatus.ARRIVED,
        Order.closed_at.is_(None),
        BookedTable.table_id != Order.table_id,
        Order.table_id.in_(_ITS_TABLES),
    )
)


class SlotLoad(Base):
    """How many guests are booked to start at an instant; the kitchen can only begin with so many at once."""

    __tablename__ = "slot_load"
    __table_args__ = (CheckConstraint("covers >= 0", name="covers_not_negative"),)

    starts_at: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    covers: Mapped[int] = mapped_column()


class WaitEntry(Base):
    """Somebody who waits for a table without a booking."""

    __tablename__ = "wait_entry"
    __table_args__ = (CheckConstraint("covers > 0", name="covers_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    guest: Mapped[str] = mapped_column(String(80))
    contact: Mapped[str] = mapped_column(String(120), default="")
    covers: Mapped[int] = mapped_column()
    quoted_minutes: Mapped[int] = mapped_column()
    status: Mapped[WaitStatus] = mapped_column(choice(WaitStatus), default=WaitStatus.WAITING)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
