"""Bookings over REST: `guests` is public, `desk` is for those who take bookings."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.http.api import Api
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.reservations import service
from restaurant.reservations.models import BookingStatus
from restaurant.reservations.schemas import (
    AvailabilityQuery,
    AvailabilityView,
    BookingMove,
    BookingsView,
    BookingView,
    DayQuery,
    ExpectedWait,
    NewBooking,
    NewWait,
    WaitMove,
    WaitQuery,
    WaitsView,
    WaitView,
)  # fmt: skip
from restaurant.settings import Settings
from restaurant.types import now

guests = Api("bookings")
desk = Api("booking_desk")
_CONFLICT = (HTTPStatus.CONFLICT,)


@guests.operation("GET", "/availability", query=AvailabilityQuery, reply=AvailabilityView)
def read_availability(session: Session, *, query: AvailabilityQuery) -> AvailabilityView:
    """List the available times of a day."""
    settings: Settings = current_app.extensions["settings"]
    slots = service.availability(session, day=query.day, covers=query.covers, opening=settings.opening)
    return AvailabilityView(slots=slots)


@guests.operation(
    "POST", "/bookings", body=NewBooking, reply=BookingView, status=HTTPStatus.CREATED, idempotent=True,
    refusals=_CONFLICT,
)  # fmt: skip
def book(session: Session, *, body: NewBooking) -> BookingView:
    """Book a table."""
    settings: Settings = current_app.extensions["settings"]
    booking = service.book(
        session, starts_at=body.starts_at, covers=body.covers, guest=body.guest, contact=body.contact,
        note=body.note, allergies=body.allergies, opening=settings.opening,
    )  # fmt: skip
    return BookingView.of(booking)


@guests.operation("GET", "/bookings/<uuid:reference>", reply=BookingView)
def read_booking(session: Session, *, reference: uuid.UUID) -> BookingView:
    """Read a booking by its reference."""
    return BookingView.of(service.read_booking(session, reference))


@guests.operation("POST", "/bookings/<uuid:reference>/cancel", reply=BookingView, refusals=_CONFLICT)
def cancel_booking(session: Session, *, reference: uuid.UUID) -> BookingView:
    """Cancel a booking; knowing its reference is enough."""
    settings: Settings = current_app.extensions["settings"]
    booking = service.lock_booking(session, reference)
    service.cancel_by_guest(session, booking, at=now(), cutoff=settings.cancellation)
    return BookingView.of(booking)


@desk.operation("GET", "/bookings", query=DayQuery, reply=BookingsView)
def list_bookings(session: Session, *, query: DayQuery) -> BookingsView:
    """List the bookings of a day."""
    settings: Settings = current_app.extensions["settings"]
    found, following = service.list_bookings(session, query, day=query.day, business_day=settings.business_day)
    return BookingsView(items=[BookingView.of(booking) for booking in found], next=following)


@desk.operation("POST", "/bookings/<uuid:reference>/move", body=BookingMove, reply=BookingView, refusals=_CONFLICT)
def move_booking(session: Session, *, reference: uuid.UUID, body: BookingMove) -> BookingView:
    """Seat the guests of a booking, complete or cancel it, or mark it as a no-show."""
    booking = service.lock_booking(session, reference)
    if body.status is BookingStatus.ARRIVED:
        service.arrive(session, booking, server=signed_in())
    else:
        service.move(session, booking, body.status)
    return BookingView.of(booking)


@desk.operation("GET", "/waiting-list", query=PageQuery, reply=WaitsView)
def read_waiting_list(session: Session, *, query: PageQuery) -> WaitsView:
    """Read who waits for a table."""
    found, following = service.waiting_list(session, query)
    return WaitsView(items=[WaitView.model_validate(entry) for entry in found], next=following)


@desk.operation("GET", "/waiting-list/expected", query=WaitQuery, reply=ExpectedWait)
def read_expected_wait(session: Session, *, query: WaitQuery) -> ExpectedWait:
    """Read how long a party would wait for a table, going by the tables as they are now."""
    settings: Settings = current_app.extensions["settings"]
    minutes = service.expected_wait(session, covers=query.covers, at=now(), opening=settings.opening)
    return ExpectedWait(minutes=minutes)


@desk.operation("POST", "/waiting-list", body=NewWait, reply=WaitView, status=HTTPStatus.CREATED, idempotent=True)
def join_waiting_list(session: Session, *, body: NewWait) -> WaitView:
    """Add a guest to the waiting list."""
    return WaitView.model_validate(service.join_waiting_list(session, **body.model_dump()))


@desk.operation("POST", "/waiting-list/<key:entry>/move", body=WaitMove, reply=WaitView, refusals=_CONFLICT)
def move_waiting(session: Session, *, entry: int, body: WaitMove) -> WaitView:
    """Call a guest, or remove them from the list."""
    return WaitView.model_validate(service.move_waiting(session, entry, body.status))
