"""The staff's page of one order, with every action on it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection
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
from restaurant.http.api import Stale
from restaurant.http.guard import signed_in
from restaurant.i18n import gettext as _
from restaurant.menu import service as menu
from restaurant.menu.models import Allergen, Course, Dish
from restaurant.menu.web import dishes_to_pick
from restaurant.orders import service
from restaurant.orders.models import LineStatus, Order, OrderLine
from restaurant.orders.schemas import (
    Assignment,
    CourseChange,
    Firing,
    Guests,
    LinesPlacement,
    LinesTransfer,
    Reason,
    Voiding,
    dishes_of,
)
from restaurant.orders.state_machine import SETTLED
from restaurant.orders.web import left_out, read_wanted
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for, give_approval, list_approvers, list_servers, read_person
from restaurant.settings import Settings
from restaurant.stock.service import leaving_out
from restaurant.table_orders import service as table_orders
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
        dishes = dishes_to_pick(session)
        asked = table_orders.waiting(session, at=now(), table=order.table) if order.table is not None else ()
        return render_template(
            "orders/service.html",
            order=order,
            requests=[(found, table_orders.entries(session, found)) for found in asked],
            settled=order.status in SETTLED,
            free=[seat.table for seat in seats if seat.state in {TableState.FREE, TableState.RESERVED_SOON}],
            others=[
                seat
                for seat in seats
                if seat.order is not None and seat.order.id != order.id and seat.order.status not in SETTLED
            ],
            held={line.course for line in order.lines if line.status is LineStatus.HELD},
            round=service.last_round(order),
            absent=left_out(session),
            ready=[line for line in order.lines if line.status is LineStatus.READY],
            unsent=not service.needs_approval(order.lines),
            servers=list_servers(session),
            approvers=[] if signed_in().may(Permission.VOID_LINES) else list_approvers(session),
            dishes=dishes,
            favorites='id="c0"' in dishes,
            categories=menu.read_menu(session).categories,
            set_menus='id="menus"' in dishes,
            allergens=list(Allergen),
            courses=list(Course),
            Status=LineStatus,
            key=uuid.uuid4().hex,
            seen=_known_of_guests(order),
        )


@pages.post("/<uuid:reference>/lignes")
def add_lines(reference: uuid.UUID) -> Response:
    """Add lines from the menu's form, sent to the kitchen at once or held. What is sold out is left out and named."""
    wanted, seat, course = (
        read_wanted(request.form),
        request.form.get("seat") or None,
        request.form.get("course") or None,
    )
    try:
        placement = LinesPlacement.model_validate(
            {
                "lines": [{**line, "seat": seat, "course": course} for line in wanted["lines"]],
                "menus": [{**menu, "seat": seat} for menu in wanted["menus"]],
                "hold": "hold" in request.form,
            }
        )
    except ValidationError as error:
        raise Invalid(_("Enter a quantity of 1 to 50 for each dish.")) from error
    return _back(reference, leaving_out(lambda absent: _add(reference, placement, absent)))


def _add(reference: uuid.UUID, placement: LinesPlacement, absent: Collection[int]) -> set[int]:
    """Add the lines whose dish is not `absent`; returns the dishes that were left out."""
    settings: Settings = current_app.extensions["settings"]
    with _writing() as session:
        if not first_time(session, scope=f"web:lines:{reference}", content=placement):
            return set()
        order = service.lock_order(session, reference)
        wanted = [entry for entry in placement.wanted if dishes_of(entry).isdisjoint(absent)] or placement.wanted
        offered, missing = service.available(session, wanted, at=now(), zone=settings.zone)
        service.add_lines(
            session, order, offered or wanted, at=now(), business_day=settings.business_day, fire=not placement.hold,
            by=signed_in(),
        )  # fmt: skip
        return {*absent, *(dish.id for dish in missing)}


@pages.post("/<uuid:reference>/tournee")
def repeat_round(reference: uuid.UUID) -> Response:
    """Order the last round of drinks once more. What is sold out is left out and named."""

    def act(absent: Collection[int]) -> set[int]:
        with _writing() as session:
            if not first_time(session):
                return set()
            order = service.lock_order(session, reference)
            missing = _repeat(session, order, service.last_round(order), absent=absent)
            return {*absent, *(dish.id for dish in missing)}

    return _back(reference, leaving_out(act))


@pages.post("/<uuid:reference>/lignes/<key:line>/encore")
def repeat_line(reference: uuid.UUID, line: int) -> Response:
    """Order one more portion of a line, with its options and note."""
    with _writing() as session:
        if first_time(session):
            order = service.lock_order(session, reference)
            _repeat(session, order, [service.find_line(order, line)], quantity=1)
    return _back(reference)


def _repeat(
    session: Session, order: Order, lines: list[OrderLine], quantity: int | None = None, absent: Collection[int] = ()
) -> list[Dish]:
    settings: Settings = current_app.extensions["settings"]
    return service.repeat(
        session, order, lines, quantity=quantity, at=now(), business_day=settings.business_day, by=signed_in(),
        without=absent,
    )  # fmt: skip


@pages.post("/<uuid:reference>/lignes/<key:line>/suite")
def change_course(reference: uuid.UUID, line: int) -> Response:
    """Serve a held line with another course."""
    wanted = read_form(CourseChange, typed("course"))
    with _writing() as session:
        order = service.lock_order(session, reference)
        service.change_course(session, order, service.find_line(order, line), wanted.course)
    return _back(reference)


@pages.post("/<uuid:reference>/lignes/transfert")
def move_lines(reference: uuid.UUID) -> Response:
    """Move some lines to the order of another table."""
    wanted = read_form(LinesTransfer, typed("into") | {"lines": request.form.getlist("lines")})
    with _writing() as session:
        if first_time(session):
            order, target = service.lock_pair(session, reference, wanted.into)
            billing.move_lines(session, order, target, wanted.lines, by=signed_in())
    return _back(reference)


@pages.post("/<uuid:reference>/envoi")
def fire(reference: uuid.UUID) -> Response:
    """Send a held course to the kitchen. What is sold out stays held and is named."""
    firing = read_form(Firing, {"course": request.form.get("course") or None})

    def act(absent: Collection[int]) -> Collection[int]:
        with _writing() as session:
            if not first_time(session):
                return ()
            service.fire(session, service.lock_order(session, reference), course=firing.course, without=absent)
            return absent

    return _back(reference, leaving_out(act))


@pages.post("/<uuid:reference>/lignes/<key:line>/servie")
def serve(reference: uuid.UUID, line: int) -> Response:
    """Mark a line as brought to the table."""
    with _writing() as session:
        if first_time(session):
            order = service.lock_order(session, reference)
            service.move_line(session, order, service.find_line(order, line), LineStatus.SERVED)
    return _back(reference)


@pages.post("/<uuid:reference>/service")
def serve_ready(reference: uuid.UUID) -> Response:
    """Mark every ready line as brought to the table."""
    with _writing() as session:
        if first_time(session):
            service.serve_ready(session, service.lock_order(session, reference))
    return _back(reference)


@pages.post("/<uuid:reference>/serveur")
def assign(reference: uuid.UUID) -> Response:
    """Hand the order over to another server."""
    wanted = read_form(Assignment, typed("server"))
    with _writing() as session:
        order = service.lock_order(session, reference)
        service.assign(session, order, read_person(session, wanted.server), by=signed_in())
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
        elif first_time(session):
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


def _back(reference: uuid.UUID, absent: Collection[int] = ()) -> Response:
    """To the order's page, which names the dishes that were left out."""
    names = ",".join(map(str, sorted(absent))) or None
    return redirect(url_for("service.order_page", reference=reference, absent=names), code=303)


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
        actor=signed_in(),
    )
