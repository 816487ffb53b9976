"""Pages: booking for guests, and the day's bookings with the waiting list for the staff."""

from __future__ import annotations

import uuid
from datetime import date, timedelta

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid, NotFound
from restaurant.forms import first_time, typed
from restaurant.http import idempotency
from restaurant.http.guard import signed_in
from restaurant.http.paging import WHOLE
from restaurant.i18n import gettext as _
from restaurant.i18n import local
from restaurant.menu.models import Allergen
from restaurant.reservations import service
from restaurant.reservations.models import BookingStatus, WaitStatus
from restaurant.reservations.schemas import AvailabilityQuery, NewBooking, NewWait
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
    return render_template(
        "reservations/book.html",
        query=query,
        slots=free,
        first=today,
        last=today + service.AHEAD,
        closed=query.day.weekday() in settings.opening.closed,
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
            booking = service.book(session, **dict(wanted), opening=settings.opening)
            reference = str(booking.reference)
            idempotency.keep(session, claimed, status=303, body=reference)
    return redirect(url_for("booking.confirmation", reference=reference), code=303)


@guests.get("/reserver/<uuid:reference>")
def confirmation(reference: uuid.UUID) -> str:
    """The booking as its guest sees it."""
    with _database().reading() as session:
        booking = service.read_booking(session, reference)
    settings: Settings = current_app.extensions["settings"]
    last = booking.starts_at - settings.cancellation
    return render_template("reservations/confirmation.html", booking=booking, last=last, in_time=now() <= last)


@guests.post("/reserver/<uuid:reference>/annulation")
def cancel(reference: uuid.UUID) -> Response:
    """Cancel by the guest."""
    settings: Settings = current_app.extensions["settings"]
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        service.cancel_by_guest(session, booking, at=now(), cutoff=settings.cancellation)
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
        waiting, _next = service.waiting_list(session, WHOLE)
        expected = {
            covers: service.expected_wait(session, covers=covers, at=moment, opening=settings.opening)
            for covers in (2, 4, 6)
        }
    return render_template(
        "reservations/day.html", day=day, neighbors=neighbors, bookings=bookings, waiting=waiting,
        BookingStatus=BookingStatus, now=moment, expected=expected, key=uuid.uuid4().hex,
    )  # fmt: skip


@desk.post("/<uuid:reference>")
def move(reference: uuid.UUID) -> Response:
    """Seat the guests of a booking, or take it off."""
    wanted = request.form.get("status", "")
    if wanted not in {status.value for status in BookingStatus}:
        raise Invalid(_("Some values are missing or invalid."))
    with _database().writing() as session:
        booking = service.lock_booking(session, reference)
        day = local(booking.starts_at).date()
        if wanted == BookingStatus.ARRIVED.value:
            order = service.arrive(session, booking, server=signed_in())
            target = url_for("service.order_page", reference=order.reference)
        else:
            service.move(session, booking, BookingStatus(wanted))
            target = url_for("bookings.day_page", jour=day.isoformat())
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


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
