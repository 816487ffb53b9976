"""What the API takes and says about bookings."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from restaurant.deposits.models import DepositState
from restaurant.http.paging import PageQuery, PageView
from restaurant.menu.models import Allergen
from restaurant.payments.models import AttemptState
from restaurant.reservations.guests import Record
from restaurant.reservations.models import Booking, BookingStatus, Guest, WaitStatus
from restaurant.types import Day, Key, Name, Printable, Text, Why

Covers = Annotated[int, Field(ge=1, le=20)]
Contact = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=5, max_length=120, pattern=r"^[^\x00-\x1f]*$"),
    Printable,
]
Start = Annotated[
    AwareDatetime, Field(ge=datetime.fromisoformat("2020-01-01T00:00Z"), le=datetime.fromisoformat("2100-01-01T00:00Z"))
]


class AvailabilityQuery(BaseModel):
    """A day and the size of the party."""

    model_config = ConfigDict(extra="forbid")

    day: Day
    covers: Covers


class AvailabilityView(BaseModel):
    """The times at which a table is available now."""

    slots: list[datetime]


class NewBooking(BaseModel):
    """A table for guests; `contact` is a telephone number or an e-mail address."""

    model_config = ConfigDict(extra="forbid")

    starts_at: Start
    covers: Covers
    guest: Name
    contact: Contact
    note: Text = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []


class DeskBooking(BaseModel):
    """A booking as the staff takes or changes it.

    Without `tables` those that fit are chosen. A reason in `override` sets aside the opening hours, the number of
    guests at a time and the seats of a table; a booking for which no table is left then has none.
    """

    model_config = ConfigDict(extra="forbid")

    starts_at: Start
    covers: Covers
    guest: Name
    contact: Contact | Literal[""] = ""
    note: Text = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []
    tables: Annotated[list[Key], Field(max_length=20)] = []
    override: Annotated[Text, Field(max_length=200)] = ""


class DepositView(BaseModel):
    """The deposit of a booking, in cents: of what was paid, what was deducted from a bill, given back and kept.

    If it is not paid until `due_at`, the booking is released. A cancellation until `refundable_until` gives it back.
    """

    model_config = ConfigDict(from_attributes=True)

    reference: uuid.UUID
    state: DepositState
    amount: int
    paid: int
    used: int
    refunded: int
    kept: int
    due_at: datetime | None
    refundable_until: datetime


class DepositPaymentView(BaseModel):
    """How far the payment of a deposit is, and the `page` on which the guest pays once the provider has made it."""

    attempt: uuid.UUID
    state: AttemptState
    amount: int
    page: str | None


class DepositRefund(BaseModel):
    """Why what is left of a deposit is given back, with a manager's approval where one is needed."""

    model_config = ConfigDict(extra="forbid")

    reason: Why
    approval: Annotated[str, Field(max_length=100)] | None = None


class BookingView(BaseModel):
    """A booking and the names of the tables held for it."""

    reference: uuid.UUID
    guest: str
    covers: int
    starts_at: datetime
    ends_at: datetime
    status: BookingStatus
    note: str
    allergies: list[Allergen]
    tables: list[str]
    deposit: DepositView | None
    version: int

    @classmethod
    def of(cls, booking: Booking) -> BookingView:
        """The view of a booking."""
        plain = {name: getattr(booking, name) for name in cls.model_fields if name not in {"tables", "deposit"}}
        deposit = DepositView.model_validate(booking.deposit) if booking.deposit is not None else None
        return cls(**plain, deposit=deposit, tables=[table.name for table in booking.tables])


class BookingsView(PageView):
    """A page of the bookings of a day, by time."""

    items: list[BookingView]


class DayQuery(PageQuery):
    """A day."""

    day: Day


class BookingMove(BaseModel):
    """Where a booking goes; `arrived` seats the guests at its tables, with one order."""

    model_config = ConfigDict(extra="forbid")

    status: Literal[BookingStatus.ARRIVED, BookingStatus.COMPLETED, BookingStatus.CANCELLED, BookingStatus.NO_SHOW]


class GuestsQuery(PageQuery):
    """A part of a name or contact to look for."""

    search: Annotated[str, Field(max_length=80)] = ""


class GuestView(BaseModel):
    """What the restaurant knows about a guest, and how they kept to what they booked."""

    id: int
    name: str
    contact: str
    allergies: list[Allergen]
    note: str
    blocked: bool
    visits: int
    no_shows: int
    cancelled: int
    version: int

    @classmethod
    def of(cls, guest: Guest, record: Record) -> GuestView:
        """The view of a guest's file."""
        counts = {"visits", "no_shows", "cancelled"}
        plain = {name: getattr(record if name in counts else guest, name) for name in cls.model_fields}
        return cls(**plain)


class GuestsView(PageView):
    """A page of the guest file, by name."""

    items: list[GuestView]


class GuestChange(BaseModel):
    """What is known about a guest; one that is `blocked` books by telephone only."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    contact: Contact
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []
    note: Text = ""
    blocked: bool = False


class NewWait(BaseModel):
    """A guest for the waiting list, with the wait they were quoted."""

    model_config = ConfigDict(extra="forbid")

    guest: Name
    contact: Annotated[Text, Field(max_length=120)] = ""
    covers: Covers
    quoted_minutes: Annotated[int, Field(ge=0, le=240)]


class WaitView(BaseModel):
    """Somebody on the waiting list."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    guest: str
    contact: str
    covers: int
    quoted_minutes: int
    status: WaitStatus
    created_at: datetime


class WaitsView(PageView):
    """A page of the waiting list, longest waiting first."""

    items: list[WaitView]


class WaitMove(BaseModel):
    """Call a guest, or remove them from the list."""

    model_config = ConfigDict(extra="forbid")

    status: Literal[WaitStatus.CALLED, WaitStatus.PLACED, WaitStatus.LEFT]


class WaitQuery(BaseModel):
    """The size of a party."""

    model_config = ConfigDict(extra="forbid")

    covers: Covers


class ExpectedWait(BaseModel):
    """Minutes until a table that fits is expected to be free; null when it cannot be predicted."""

    minutes: int | None
