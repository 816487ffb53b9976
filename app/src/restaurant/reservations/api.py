"""Bookings over REST: `guests` is public, `desk` is for those who take bookings."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app, request, url_for
from sqlalchemy.orm import Session

from restaurant.database import on_commit
from restaurant.deposits import service as deposits
from restaurant.errors import Conflict
from restaurant.http.api import Api, Versions, require_version
from restaurant.http.guard import current_user, signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import Attempt, Channel
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for
from restaurant.reservations import guests as files
from restaurant.reservations import service
from restaurant.reservations.models import BookingStatus, Guest
from restaurant.reservations.schemas import (
    AvailabilityQuery,
    AvailabilityView,
    BookingMove,
    BookingsView,
    BookingView,
    DayQuery,
    DepositPaymentView,
    DepositRefund,
    DeskBooking,
    ExpectedWait,
    GuestChange,
    GuestsQuery,
    GuestsView,
    GuestView,
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


def who_books() -> service.Host | service.Online:
    """The member of the staff who sends this request, else the guest at its address."""
    user = current_user()
    if user is not None and user.may(Permission.BOOK):
        return service.Host(user)
    settings: Settings = current_app.extensions["settings"]
    return service.Online(address=request.remote_addr or "", key=settings.signing_keys[0])


@guests.operation("GET", "/availability", query=AvailabilityQuery, reply=AvailabilityView)
def read_availability(session: Session, *, query: AvailabilityQuery) -> AvailabilityView:
    """List the available times of a day."""
    settings: Settings = current_app.extensions["settings"]
    slots = service.availability(session, day=query.day, covers=query.covers, opening=settings.opening)
    return AvailabilityView(slots=slots)


@guests.operation(
    "POST", "/bookings", body=NewBooking, reply=BookingView, status=HTTPStatus.CREATED, idempotent=True,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
)  # fmt: skip
def book(session: Session, *, body: NewBooking) -> BookingView:
    """Book a table."""
    settings: Settings = current_app.extensions["settings"]
    booking = service.book(
        session, starts_at=body.starts_at, covers=body.covers, guest=body.guest, contact=body.contact,
        note=body.note, allergies=body.allergies, opening=settings.opening, by=who_books(),
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
    service.cancel_by_guest(
        session, booking, at=now(), cutoff=settings.cancellation, business_day=settings.business_day
    )
    return BookingView.of(booking)


@guests.operation(
    "POST", "/bookings/<uuid:reference>/deposit", reply=DepositPaymentView, status=HTTPStatus.ACCEPTED,
    refusals=_CONFLICT,
)  # fmt: skip
def pay_deposit(session: Session, *, reference: uuid.UUID) -> DepositPaymentView:
    """Begin to pay the deposit of a booking, or follow the payment that is under way."""
    attempt = begin_payment(session, reference)
    return DepositPaymentView(
        attempt=attempt.reference, state=attempt.state, amount=attempt.amount, page=attempt.page
    )  # fmt: skip


@desk.operation("POST", "/bookings/<uuid:reference>/deposit/waive", reply=BookingView, refusals=_CONFLICT)
def waive_deposit(session: Session, *, reference: uuid.UUID) -> BookingView:
    """Do without the deposit of a booking."""
    booking = service.lock_booking(session, reference)
    deposits.waive(session, booking)
    return BookingView.of(service.read_booking(session, reference))


@desk.operation("POST", "/bookings/<uuid:reference>/deposit/refund", body=DepositRefund, reply=BookingView,
                refusals=_CONFLICT)  # fmt: skip
def refund_deposit(session: Session, *, reference: uuid.UUID, body: DepositRefund) -> BookingView:
    """Give back what is left of a deposit, with a reason and a manager's approval."""
    refund(session, reference, body)
    return BookingView.of(service.read_booking(session, reference))


@desk.operation("GET", "/bookings", query=DayQuery, reply=BookingsView)
def list_bookings(session: Session, *, query: DayQuery) -> BookingsView:
    """List the bookings of a day."""
    settings: Settings = current_app.extensions["settings"]
    found, following = service.list_bookings(session, query, day=query.day, business_day=settings.business_day)
    return BookingsView(items=[BookingView.of(booking) for booking in found], next=following)


@desk.operation("POST", "/bookings/<uuid:reference>/move", body=BookingMove, reply=BookingView, refusals=_CONFLICT)
def move_booking(session: Session, *, reference: uuid.UUID, body: BookingMove) -> BookingView:
    """Seat the guests of a booking, complete or cancel it, or mark it as a no-show."""
    settings: Settings = current_app.extensions["settings"]
    booking = service.lock_booking(session, reference)
    if body.status is BookingStatus.ARRIVED:
        service.arrive(session, booking, server=signed_in(), business_day=settings.business_day)
    else:
        host = service.Host(signed_in())
        service.move(session, booking, body.status, by=host, business_day=settings.business_day)
    return BookingView.of(booking)


@desk.operation(
    "POST", "/desk/bookings", body=DeskBooking, reply=BookingView, status=HTTPStatus.CREATED, idempotent=True,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
)  # fmt: skip
def take_booking(session: Session, *, body: DeskBooking) -> BookingView:
    """Take a booking at chosen tables or against a rule, with a reason."""
    settings: Settings = current_app.extensions["settings"]
    wanted = dict(body)
    host = service.Host(signed_in(), override=wanted.pop("override"))
    return BookingView.of(service.book(session, **wanted, opening=settings.opening, by=host))


@desk.operation("PUT", "/bookings/<uuid:reference>", body=DeskBooking, reply=BookingView, if_match=True,
                refusals=_CONFLICT)  # fmt: skip
def change_booking(session: Session, *, reference: uuid.UUID, body: DeskBooking, version: Versions) -> BookingView:
    """Change a booking: its time, size, tables, or what is known about its guests."""
    settings: Settings = current_app.extensions["settings"]
    booking = service.lock_booking(session, reference)
    require_version(booking, version)
    wanted = dict(body)
    host = service.Host(signed_in(), override=wanted.pop("override"))
    service.change(session, booking, **wanted, opening=settings.opening, by=host)
    return BookingView.of(booking)


@desk.operation("POST", "/bookings/<uuid:reference>/undo", reply=BookingView, refusals=_CONFLICT)
def undo_booking(session: Session, *, reference: uuid.UUID) -> BookingView:
    """Undo the last step of a booking, such as seating, a cancellation or a no-show."""
    booking = service.lock_booking(session, reference)
    service.undo(session, booking, by=service.Host(signed_in()))
    return BookingView.of(booking)


@desk.operation("GET", "/guests", query=GuestsQuery, reply=GuestsView)
def list_guests(session: Session, *, query: GuestsQuery) -> GuestsView:
    """List the guest file by name, or those whose name or contact has a text in it."""
    found, following = files.list_guests(session, query, search=query.search.strip())
    records = files.records(session, [guest.id for guest in found])
    return GuestsView(items=[GuestView.of(guest, records[guest.id]) for guest in found], next=following)


@desk.operation("GET", "/guests/<key:guest>", reply=GuestView)
def read_guest(session: Session, *, guest: int) -> GuestView:
    """Read a guest's file."""
    return _guest_view(session, files.read_guest(session, guest))


@desk.operation("PUT", "/guests/<key:guest>", body=GuestChange, reply=GuestView, if_match=True, refusals=_CONFLICT)
def change_guest(session: Session, *, guest: int, body: GuestChange, version: Versions) -> GuestView:
    """Change a guest's file."""
    found = files.read_guest(session, guest)
    require_version(found, version)
    return _guest_view(session, files.change_guest(session, found, **dict(body)))


@desk.operation("DELETE", "/guests/<key:guest>", reply=None, if_match=True, refusals=_CONFLICT)
def forget_guest(session: Session, *, guest: int, version: Versions) -> None:
    """Delete a guest's file, and what names the guest in past bookings."""
    found = files.read_guest(session, guest)
    require_version(found, version)
    files.forget_guest(session, found)


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


def begin_payment(session: Session, reference: uuid.UUID) -> Attempt:
    """Begin to charge the deposit of a booking. Raises `Conflict` without a provider."""
    gateway: Gateway = current_app.extensions["gateway"]
    if Channel.ONLINE not in gateway.providers:
        raise Conflict(_("No provider is set up for this way to pay."), code="no-provider")
    back = url_for("booking.confirmation", reference=reference, _external=True)
    attempt = deposits.begin_payment(session, service.lock_booking(session, reference), back=back)
    on_commit(session, lambda: gateway.wake(attempt.reference))
    return attempt


def refund(session: Session, reference: uuid.UUID, wanted: DepositRefund) -> None:
    """Begin to give back what is left of the deposit of a booking."""
    gateway: Gateway = current_app.extensions["gateway"]
    by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=wanted.approval)
    deposit = deposits.require(session, service.lock_booking(session, reference))
    attempt = deposits.begin_refund(session, deposit, reason=wanted.reason, by=by)
    on_commit(session, lambda: gateway.wake(attempt.reference))


def _guest_view(session: Session, guest: Guest) -> GuestView:
    return GuestView.of(guest, files.records(session, [guest.id])[guest.id])
