"""Pages: booking for guests, and the day's bookings with the waiting list for the staff."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.billing.web import approval
from restaurant.database import Database
from restaurant.deposits import service as deposits
from restaurant.errors import Invalid, NotFound
from restaurant.floor.service import read_rooms
from restaurant.forms import first_time, read_form, read_version, typed
from restaurant.http import idempotency
from restaurant.http.api import require_version, stale
from restaurant.http.guard import signed_in
from restaurant.http.paging import WHOLE, PageQuery
from restaurant.i18n import gettext as _
from restaurant.i18n import local
from restaurant.menu.models import Allergen
from restaurant.messages import service as messages
from restaurant.messages.models import Message
from restaurant.opening.hours import Purpose
from restaurant.opening.service import read_calendar
from restaurant.payments.models import Attempt
from restaurant.people import service as people
from restaurant.people.permissions import Permission
from restaurant.reservations import guests as files
from restaurant.reservations import service
from restaurant.reservations.api import begin_payment, refund, who_books
from restaurant.reservations.models import Booking, BookingStatus, WaitStatus
from restaurant.reservations.schemas import (
    AvailabilityQuery,
    DepositRefund,
    DeskBooking,
    GuestChange,
    GuestsQuery,
    NewBooking,
    NewWait,
)  # fmt: skip
from restaurant.settings import Settings
from restaurant.types import now

guests = Blueprint("booking", __name__)
desk = Blueprint("bookings", __name__, url_prefix="/reservations")


@guests.get("/reserver")
def booking_page() -> str:
    """Choose a day, a number of guests and one of the free times."""
    settings: Settings = current_app.extensions["settings"]
    today = local(now()).date()
    try:
        query = AvailabilityQuery.model_validate(
            {"day": request.args.get("jour") or today.isoformat(), "covers": request.args.get("couverts") or "2"}
        )
    except ValidationError as error:
        raise Invalid(_("Choose a day, and 1 to 20 guests.")) from error
    with _database().reading() as session:
        free = service.availability(session, day=query.day, covers=query.covers, opening=settings.opening)
        calendar = read_calendar(session, settings.opening)
    return render_template(
        "reservations/book.html",
        query=query,
        slots=free,
        first=today,
        last=today + service.AHEAD,
        closed=not calendar.hours(Purpose.BOOKINGS, query.day),
        special=calendar.exception(query.day),
        allergens=list(Allergen),
        key=uuid.uuid4().hex,
    )


@guests.post("/reserver")
def book() -> Response:
    """Book; sent twice, the form books once."""
    form = request.form
    settings: Settings = current_app.extensions["settings"]
    try:
        wanted = NewBooking.model_validate(
            typed("starts_at", "covers", "guest", "contact", "note") | {"allergies": form.getlist("allergies")}
        )
    except ValidationError as error:
        raise Invalid(_("Please enter a time, a name, and a telephone number or e-mail address.")) from error
    with _database().writing() as session:
        claimed = idempotency.claim(
            session,
            scope="web:booking",
            key=form.get("key", "")[:100] or uuid.uuid4().hex,
            content=wanted.model_dump_json().encode(),
        )
        if claimed.replay is not None:
            reference = claimed.replay[1]
        else:
            booking = service.book(session, **dict(wanted), opening=settings.opening, by=who_books())
            reference = str(booking.reference)
            idempotency.keep(session, claimed, status=303, body=reference)
    return redirect(url_for("booking.confirmation", reference=reference), code=303)


@guests.get("/reserver/<uuid:reference>")
def confirmation(reference: uuid.UUID) -> str:
    """The booking as its guest sees it."""
    with _database().reading() as session:
        booking = service.read_booking(session, reference)
        deposit = booking.deposit
        attempts = deposits.attempts_of(session, deposit) if deposit is not None else []
    settings: Settings = current_app.extensions["settings"]
    last, moment = booking.starts_at - settings.cancellation, now()
    return render_template(
        "reservations/confirmation.html", booking=booking, last=last, in_time=moment <= last, deposit=deposit,
        refunded=deposit is not None and moment <= deposit.refundable_until,
        under_way=next((attempt for attempt in attempts if attempt.unresolved), None),
    )  # fmt: skip


@guests.post("/reserver/<uuid:reference>/acompte")
def pay_deposit(reference: uuid.UUID) -> Response:
    """Begin to pay the deposit; sent twice, one payment is begun."""
    with _database().writing() as session:
        begin_payment(session, reference)
    return redirect(url_for("booking.confirmation", reference=reference), code=303)


@guests.post("/reserver/<uuid:reference>/annulation")
def cancel(reference: uuid.UUID) -> Response:
    """Cancel by the guest."""
    settings: Settings = current_app.extensions["settings"]
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        service.cancel_by_guest(
            session, booking, at=now(), cutoff=settings.cancellation, business_day=settings.business_day
        )
    return redirect(url_for("booking.confirmation", reference=reference), code=303)


@desk.get("")
def day_page() -> str:
    """The bookings of a day and the waiting list."""
    settings: Settings = current_app.extensions["settings"]
    moment = now()
    today = settings.business_day.of(moment)
    try:
        day = date.fromisoformat(request.args.get("jour") or today.isoformat())
        neighbors = (day - timedelta(days=1), day + timedelta(days=1))
        settings.business_day.begin(neighbors[1]).timestamp()
    except (ValueError, OverflowError) as error:
        raise NotFound(_("This day does not exist.")) from error
    with _database().reading() as session:
        bookings, _next = service.list_bookings(session, WHOLE, day=day, business_day=settings.business_day)
        records = files.records(session, {entry.guest_id for entry in bookings if entry.guest_id is not None})
        undoable = {booking.id: service.can_undo(booking) for booking in bookings}
        calendar = read_calendar(session, settings.opening)
        waiting, _next = service.waiting_list(session, WHOLE)
        expected = {
            covers: service.expected_wait(session, covers=covers, at=moment, opening=settings.opening)
            for covers in (2, 4, 6)
        }
    return render_template(
        "reservations/day.html", day=day, neighbors=neighbors, bookings=bookings, waiting=waiting,
        BookingStatus=BookingStatus, now=moment, today=today, expected=expected, key=uuid.uuid4().hex,
        records=records, undoable=undoable,
        allergies={booking.id: service.allergies_of(booking) for booking in bookings},
        special=calendar.exception(day), closed=not calendar.hours(Purpose.BOOKINGS, day),
    )  # fmt: skip


@desk.post("/<uuid:reference>")
def move(reference: uuid.UUID) -> Response:
    """Seat the guests of a booking, or take it off."""
    settings: Settings = current_app.extensions["settings"]
    wanted = request.form.get("status", "")
    if wanted not in {status.value for status in BookingStatus}:
        raise Invalid(_("Some values are missing or invalid."))
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        target = _day_of(booking)
        if wanted == BookingStatus.ARRIVED.value:
            order = service.arrive(session, booking, server=signed_in(), business_day=settings.business_day)
            target = url_for("service.order_page", reference=order.reference)
        else:
            host = service.Host(signed_in())
            service.move(session, booking, BookingStatus(wanted), by=host, business_day=settings.business_day)
    return redirect(target, code=303)


@desk.post("/<uuid:reference>/retour")
def undo(reference: uuid.UUID) -> Response:
    """Undo the last step of a booking."""
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        if request.form.get("status") != booking.status.value:
            raise stale()
        service.undo(session, booking, by=service.Host(signed_in()))
        target = _day_of(booking)
    return redirect(target, code=303)


@desk.get("/nouvelle")
def new_page() -> str:
    """The form for a booking that the staff takes."""
    settings: Settings = current_app.extensions["settings"]
    try:
        day = date.fromisoformat(request.args.get("jour") or settings.business_day.of(now()).isoformat())
    except ValueError as error:
        raise NotFound(_("This day does not exist.")) from error
    return _edit_page(None, day=day)


@desk.post("/nouvelle")
def take() -> Response:
    """Take a booking; sent twice, the form takes one."""
    settings: Settings = current_app.extensions["settings"]
    wanted = _read_booking()
    with _database().writing() as session:
        if first_time(session, scope="web:desk-booking", content=wanted):
            values = dict(wanted)
            host = service.Host(signed_in(), override=values.pop("override"))
            service.book(session, **values, opening=settings.opening, by=host)
    return redirect(url_for("bookings.day_page", jour=local(wanted.starts_at).date().isoformat()), code=303)


@desk.get("/<uuid:reference>")
def change_page(reference: uuid.UUID) -> str:
    """A booking with what was done to it, and the form to change it."""
    with _database().reading() as session:
        booking = service.read_booking(session, reference)
        sent = messages.messages_of(session, booking)
        deposit = booking.deposit
        charges = deposits.attempts_of(session, deposit) if deposit is not None else []
        refundable = deposit is not None and deposits.refundable(session, deposit)
    day = local(booking.starts_at).date()
    return _edit_page(booking, day=day, sent=sent, charges=charges, refundable=refundable)


@desk.post("/<uuid:reference>/fiche")
def change(reference: uuid.UUID) -> Response:
    """Change a booking."""
    settings: Settings = current_app.extensions["settings"]
    wanted = dict(_read_booking())
    host = service.Host(signed_in(), override=wanted.pop("override"))
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        require_version(booking, read_version(request.form))
        service.change(session, booking, **wanted, opening=settings.opening, by=host)
        target = _day_of(booking)
    return redirect(target, code=303)


@desk.post("/<uuid:reference>/acompte/dispense")
def waive_deposit(reference: uuid.UUID) -> Response:
    """Do without the deposit of a booking."""
    with _database().writing() as session:
        deposits.waive(session, service.lock_booking(session, reference))
    return redirect(url_for("bookings.change_page", reference=reference), code=303)


@desk.post("/<uuid:reference>/acompte/remboursement")
def refund_deposit(reference: uuid.UUID) -> Response:
    """Give back what is left of a deposit, approved by a manager."""
    wanted = read_form(DepositRefund, typed("reason"))
    approved = approval(Permission.REFUND)
    with _database().writing() as session:
        if first_time(session, content=wanted):
            refund(session, reference, wanted.model_copy(update={"approval": approved}))
    return redirect(url_for("bookings.change_page", reference=reference), code=303)


@desk.get("/clients")
def guests_page() -> str:
    """The guest file, by name."""
    query = read_form(GuestsQuery, {"after": request.args.get("suite"), "search": request.args.get("q", "")})
    with _database().reading() as session:
        found, following = files.list_guests(session, query, search=query.search.strip())
        records = files.records(session, [guest.id for guest in found])
    return render_template(
        "reservations/guests.html", guests=found, records=records, search=query.search, page=query,
        following=following,
    )  # fmt: skip


@desk.get("/clients/<key:guest>")
def guest_page(guest: int) -> str:
    """A guest's file with their bookings."""
    with _database().reading() as session:
        found = files.read_guest(session, guest)
        record = files.records(session, [guest])[guest]
        bookings, _next = files.bookings_of(session, found, PageQuery())
    return render_template(
        "reservations/guest.html", guest=found, record=record, bookings=bookings, allergens=list(Allergen)
    )


@desk.post("/clients/<key:guest>")
def change_guest(guest: int) -> Response:
    """Change a guest's file, or forget the guest."""
    form = request.form
    forget = bool(form.get("forget"))
    values = typed("name", "contact", "note") | {
        "allergies": form.getlist("allergies"), "blocked": form.get("blocked") == "1"
    }  # fmt: skip
    wanted = None if forget else read_form(GuestChange, values)
    with _database().writing() as session:
        found = files.read_guest(session, guest)
        require_version(found, read_version(form))
        if wanted is None:
            files.forget_guest(session, found)
        else:
            files.change_guest(session, found, **dict(wanted))
    target = url_for("bookings.guests_page") if forget else url_for("bookings.guest_page", guest=guest)
    return redirect(target, code=303)


@desk.post("/attente")
def join_waiting_list() -> Response:
    """Add a guest to the waiting list."""
    try:
        wanted = NewWait.model_validate(typed("guest", "contact", "covers", "quoted_minutes"))
    except ValidationError as error:
        raise Invalid(_("Enter a name, 1 to 20 guests and a wait of 0 to 240 minutes.")) from error
    with _database().writing() as session:
        if first_time(session, scope="web:waiting", content=wanted):
            service.join_waiting_list(session, **wanted.model_dump())
    return redirect(url_for("bookings.day_page"), code=303)


@desk.post("/attente/<key:entry>")
def move_waiting(entry: int) -> Response:
    """Call a guest, or remove them from the list."""
    wanted = request.form.get("status", "")
    if wanted not in {status.value for status in WaitStatus}:
        raise Invalid(_("Some values are missing or invalid."))
    with _database().writing() as session:
        service.move_waiting(session, entry, WaitStatus(wanted))
    return redirect(url_for("bookings.day_page"), code=303)


def _read_booking() -> DeskBooking:
    """The booking of the desk's form, whose day and time are the restaurant's."""
    settings: Settings = current_app.extensions["settings"]
    form = request.form
    try:
        starts_at: object = datetime.combine(
            date.fromisoformat(form.get("day", "")), time.fromisoformat(form.get("clock", "")), settings.zone
        )
    except ValueError:
        starts_at = ""
    return read_form(
        DeskBooking,
        typed("covers", "guest", "contact", "note", "override")
        | {"starts_at": starts_at, "allergies": form.getlist("allergies"), "tables": form.getlist("tables")},
    )


def _edit_page(
    booking: Booking | None, *, day: date, sent: Sequence[Message] = (), charges: Sequence[Attempt] = (),
    refundable: bool = False,
) -> str:  # fmt: skip
    with _database().reading() as session:
        rooms = read_rooms(session)
        approvers = [] if signed_in().may(Permission.REFUND) else people.list_approvers(session)
    return render_template(
        "reservations/edit.html", booking=booking, day=day, rooms=rooms, allergens=list(Allergen),
        held={place.table_id for place in booking.places} if booking is not None else set(),
        BookingStatus=BookingStatus, key=uuid.uuid4().hex, sent=sent,
        charges=charges, approvers=approvers, refundable=refundable,
    )  # fmt: skip


def _day_of(booking: Booking) -> str:
    settings: Settings = current_app.extensions["settings"]
    return url_for("bookings.day_page", jour=settings.business_day.of(booking.starts_at).isoformat())


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
