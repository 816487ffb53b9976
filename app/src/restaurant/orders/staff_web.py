"""The staff's page of one order, with every action on it."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import AbstractContextManager

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from restaurant.billing import service as billing
from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.floor.models import TableState
from restaurant.floor.service import read_floor, read_table
from restaurant.forms import first_time, read_form, typed
from restaurant.http import idempotency
from restaurant.http.api import Stale
from restaurant.http.guard import signed_in
from restaurant.i18n import gettext as _
from restaurant.menu import service as menu
from restaurant.menu.models import Allergen, Course
from restaurant.menu.web import dishes_block
from restaurant.orders import service
from restaurant.orders.models import LineStatus, Order
from restaurant.orders.schemas import Assignment, Firing, Guests, LinesPlacement, Reason, Voiding
from restaurant.orders.state_machine import SETTLED
from restaurant.orders.web import read_lines
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for, give_approval, list_servers, read_person
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("service", __name__, url_prefix="/service")


@pages.get("/<uuid:reference>")
def order_page(reference: uuid.UUID) -> str:
    """The order with its lines, the menu to add from, and the tables to move to."""
    database: Database = current_app.extensions["database"]
    settings: Settings = current_app.extensions["settings"]
    with database.reading() as session:
        order = service.read_order(session, reference)
        floor = read_floor(session, at=now(), late=settings.kitchen_thresholds.late)
        seats = [seat for _room, seats in floor for seat in seats]
        dishes = dishes_block(menu.read_menu(session))
        return render_template(
            "orders/service.html",
            order=order,
            settled=order.status in SETTLED,
            free=[seat.table for seat in seats if seat.state in {TableState.FREE, TableState.RESERVED_SOON}],
            others=[seat for seat in seats if seat.order is not None and seat.order.id != order.id],
            held={line.course for line in order.lines if line.status is LineStatus.HELD},
            ready=[line for line in order.lines if line.status is LineStatus.READY],
            unsent=not service.needs_approval(order.lines),
            servers=list_servers(session),
            dishes=dishes,
            allergens=list(Allergen),
            courses=list(Course),
            Status=LineStatus,
            key=uuid.uuid4().hex,
            seen=_known_of_guests(order),
        )


@pages.post("/<uuid:reference>/lignes")
def add_lines(reference: uuid.UUID) -> Response:
    """Add lines from the menu's form, sent to the kitchen at once or held."""
    settings: Settings = current_app.extensions["settings"]
    lines, seat = read_lines(request.form), request.form.get("seat") or None
    try:
        placement = LinesPlacement.model_validate(
            {"lines": [{**line, "seat": seat} for line in lines], "hold": "hold" in request.form}
        )
    except ValidationError as error:
        raise Invalid(_("Enter a quantity of 1 to 50 for each dish.")) from error
    with _writing() as session:
        claimed = idempotency.claim(
            session,
            scope=f"web:lines:{reference}",
            key=request.form.get("key", "")[:100] or uuid.uuid4().hex,
            content=placement.model_dump_json().encode(),
        )
        if claimed.replay is None:
            order = service.lock_order(session, reference)
            service.add_lines(
                session, order, placement.lines, at=now(), zone=settings.zone, fire=not placement.hold, by=signed_in()
            )
            idempotency.keep(session, claimed, status=303, body="")
    return _back(reference)


@pages.post("/<uuid:reference>/envoi")
def fire(reference: uuid.UUID) -> Response:
    """Send a held course to the kitchen."""
    firing = read_form(Firing, {"course": request.form.get("course") or None})
    with _writing() as session:
        service.fire(session, service.lock_order(session, reference), course=firing.course)
    return _back(reference)


@pages.post("/<uuid:reference>/lignes/<key:line>/servie")
def serve(reference: uuid.UUID, line: int) -> Response:
    """Mark a line as brought to the table."""
    with _writing() as session:
        order = service.lock_order(session, reference)
        service.move_line(session, order, service.find_line(order, line), LineStatus.SERVED)
    return _back(reference)


@pages.post("/<uuid:reference>/service")
def serve_ready(reference: uuid.UUID) -> Response:
    """Mark every ready line as brought to the table."""
    with _writing() as session:
        service.serve_ready(session, service.lock_order(session, reference))
    return _back(reference)


@pages.post("/<uuid:reference>/serveur")
def assign(reference: uuid.UUID) -> Response:
    """Hand the order over to another server."""
    wanted = read_form(Assignment, typed("server"))
    with _writing() as session:
        service.assign(session, service.lock_order(session, reference), read_person(session, wanted.server))
    return _back(reference)


@pages.post("/<uuid:reference>/lignes/<key:line>/annulation")
def void(reference: uuid.UUID, line: int) -> Response:
    """Void a line or a part of it; what was sent to the kitchen needs a reason and a manager."""
    approval = _approval()
    with _writing() as session:
        order = service.lock_order(session, reference)
        found = service.find_line(order, line)
        if service.needs_approval([found]):
            wanted = read_form(Voiding, typed("reason") | {"quantity": request.form.get("quantity") or None})
            # Sent twice, the form voids its portions once.
            if first_time(session, scope=f"web:void:{line}", content=wanted):
                by = answer_for(session, actor=signed_in(), permission=Permission.VOID_LINES, approval=approval)
                service.void_line(session, order, found, reason=wanted.reason, by=by, quantity=wanted.quantity)
        else:
            service.void_line(session, order, found, reason="", by=signed_in())
    return _back(reference)


@pages.post("/<uuid:reference>/annulation")
def cancel(reference: uuid.UUID) -> Response:
    """Cancel the order; once something of it was sent to the kitchen, that needs a reason and a manager."""
    approval = _approval()
    with _writing() as session:
        order = service.lock_order(session, reference)
        if service.needs_approval(order.lines):
            reason = read_form(Reason, typed("reason")).reason
            by = answer_for(session, actor=signed_in(), permission=Permission.VOID_LINES, approval=approval)
            service.cancel(session, order, reason=reason, by=by)
        else:
            service.cancel(session, order, reason="", by=signed_in())
    return redirect(url_for("floor.floor_page"), code=303)


@pages.post("/<uuid:reference>/convives")
def describe_guests(reference: uuid.UUID) -> Response:
    """Change what is known about the guests."""
    guests = read_form(
        Guests,
        typed("covers", "guest", "note") | {"allergies": request.form.getlist("allergies")},
    )
    with _writing() as session:
        order = service.lock_order(session, reference)
        # The order's version would count every dish that the kitchen moves meanwhile.
        if request.form.get("seen", "") != _known_of_guests(order):
            raise Stale(_("Someone else has changed this in the meantime. Reload the page and make your change again."))
        service.describe_guests(
            session, order, covers=guests.covers, guest=guests.guest, note=guests.note, allergies=guests.allergies
        )
    return _back(reference)


@pages.post("/<uuid:reference>/transfert")
def transfer(reference: uuid.UUID) -> Response:
    """Move the order to another table."""
    key = request.form.get("table", "", str)
    with _writing() as session:
        order = service.lock_order(session, reference)
        service.transfer(session, order, read_table(session, int(key) if key.isdecimal() and len(key) < 9 else 0))
    return _back(reference)


@pages.post("/<uuid:reference>/fusion")
def merge(reference: uuid.UUID) -> Response:
    """Put this order on another table's."""
    try:
        into = uuid.UUID(request.form.get("into", ""))
    except ValueError as error:
        raise Invalid(_("This order does not exist.")) from error
    with _writing() as session:
        order, target = service.lock_pair(session, reference, into)
        billing.merge(session, order, target, by=signed_in())
    return _back(into)


def _known_of_guests(order: Order) -> str:
    """A digest of what is known about the guests, for a form that must not overwrite someone else's change."""
    known = (order.covers, order.guest, order.note, sorted(order.allergies))
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _writing() -> AbstractContextManager[Session]:
    database: Database = current_app.extensions["database"]
    return database.writing()


def _back(reference: uuid.UUID) -> Response:
    return redirect(url_for("service.order_page", reference=reference), code=303)


def _approval() -> str | None:
    """The confirmation of the manager whose name and password came with the form, if they did."""
    username = request.form.get("manager", "")[:40]
    if not username:
        return None
    return give_approval(
        current_app.extensions["database"],
        permission=Permission.VOID_LINES,
        username=username,
        password=request.form.get("password", "")[:200],
        address=request.remote_addr or "",
    )
