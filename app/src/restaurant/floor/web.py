"""Pages of the floor: the plan with what each table is doing, seating guests, and moving tables about."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.floor import service
from restaurant.floor.models import Condition, Shape
from restaurant.floor.schemas import NewTable, RoomName, TableChange, TableJoin
from restaurant.forms import read_form, read_version, typed
from restaurant.http.api import require_version
from restaurant.http.guard import signed_in
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen
from restaurant.orders import service as orders
from restaurant.orders.models import OrderStatus
from restaurant.orders.schemas import Seating
from restaurant.orders.state_machine import status_of
from restaurant.settings import Settings
from restaurant.table_orders import service as table_orders
from restaurant.types import now

floor = Blueprint("floor", __name__)
plan = Blueprint("plan", __name__)


@floor.get("/salle")
def floor_page() -> str:
    """All rooms; a table leads to its order or to seating guests."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        rooms = service.read_floor(session, at=now(), late=_late())
        waiting = [order for order in orders.open_orders(session) if order.table_id is None]
        requests = table_orders.waiting(session, at=now())
    return render_template("floor/floor.html", rooms=rooms, waiting=waiting, requests=requests, editing=False)


@floor.get("/retraits")
def pickup_page() -> str:
    """A screen for guests who wait: whose take-away order is being prepared, and whose is ready."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        waiting = [
            (order.guest, status_of(line.status for line in order.lines))
            for order in orders.open_orders(session)
            if order.table_id is None
        ]
    return render_template(
        "floor/pickup.html",
        ready=[guest for guest, status in waiting if status is OrderStatus.READY],
        preparing=[guest for guest, status in waiting if status in {OrderStatus.SENT, OrderStatus.IN_PREPARATION}],
    )


@floor.get("/salle/tables/<key:table>")
def table_page(table: int) -> Response:
    """The order of an occupied table, or the form that seats guests at a free one."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        found = service.read_table(session, table)
        seat = next(seat for _room, seats in service.read_floor(session, at=now(), late=_late()) for seat in seats
                    if seat.table.id == found.id)  # fmt: skip
        if seat.order is not None:
            return redirect(url_for("service.order_page", reference=seat.order.reference), code=303)
        others = [room_table for room in service.read_rooms(session) for room_table in room.tables
                  if room_table.room_id == found.room_id and room_table.id != found.id
                  and room_table.merged_into_id is None]  # fmt: skip
        page = render_template(
            "floor/table.html", seat=seat, others=others, allergens=list(Allergen), Condition=Condition
        )
    return Response(page, mimetype="text/html")


@floor.post("/salle/tables/<key:table>")
def seat_guests(table: int) -> Response:
    """Seat guests at a table."""
    try:
        seating = Seating.model_validate(
            {
                "table": table,
                "covers": request.form.get("covers", ""),
                "guest": request.form.get("guest", ""),
                "allergies": request.form.getlist("allergies"),
            }
        )
    except ValidationError as error:
        raise Invalid(_("Enter the number of guests (1 to 60).")) from error
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        order = orders.open_table(
            session,
            service.read_table(session, table),
            covers=seating.covers,
            guest=seating.guest,
            allergies=seating.allergies,
            server=signed_in(),
        )
    return redirect(url_for("service.order_page", reference=order.reference), code=303)


@floor.post("/salle/tables/<key:table>/etat")
def set_condition(table: int) -> Response:
    """Mark a table as being cleaned, out of service or usable again."""
    wanted = request.form.get("condition", "")
    if wanted not in {condition.value for condition in Condition}:
        raise Invalid(_("This condition does not exist."))
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        service.change_table(session, service.read_table(session, table), condition=Condition(wanted))
    return redirect(url_for("floor.floor_page"), code=303)


@floor.post("/salle/tables/<key:table>/reunion")
def join(table: int) -> Response:
    """Push a table to another one, or apart again."""
    wanted = read_form(TableJoin, {"into": request.form.get("into") or None})
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        found = service.read_table(session, table)
        into = service.read_table(session, wanted.into) if wanted.into is not None else None
        service.join_tables(session, found, into)
    return redirect(url_for("floor.floor_page"), code=303)


@plan.get("/salle/plan")
def plan_page() -> str:
    """The plan to drag tables about on, each drop saved through the API, and forms for all that cannot be dragged."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        rooms = service.read_floor(session, at=now(), late=_late())
    return render_template("floor/floor.html", rooms=rooms, waiting=[], editing=True, shapes=list(Shape))


@plan.post("/salle/plan/pieces")
def add_room() -> Response:
    """Add a room."""
    new = read_form(RoomName, typed("name"))
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        service.add_room(session, name=new.name)
    return _back_to_plan()


@plan.post("/salle/plan/pieces/<key:room>")
def change_room(room: int) -> Response:
    """Give a room another name, or take it away when it is empty."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        found = service.read_room(session, room)
        require_version(found, read_version(request.form))
        if "remove" in request.form:
            service.remove_room(session, found)
        else:
            named = read_form(RoomName, typed("name"))
            service.rename_room(session, found, name=named.name)
    return _back_to_plan()


@plan.post("/salle/plan/tables")
def add_table() -> Response:
    """Put a table into a room."""
    new = read_form(NewTable, request.form.to_dict())
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        service.add_table(session, **new.model_dump())
    return _back_to_plan()


@plan.post("/salle/plan/tables/<key:table>")
def change_table(table: int) -> Response:
    """Change a table's name, seats, size or room, or take it away."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        found = service.read_table(session, table)
        require_version(found, read_version(request.form))
        if "remove" in request.form:
            service.remove_table(session, found)
        else:
            change = read_form(TableChange, typed("room", "name", "shape", "seats_min", "seats_max", "width", "height"))
            service.change_table(session, found, **change.model_dump(exclude_none=True))
    return _back_to_plan()


def _back_to_plan() -> Response:
    return redirect(url_for("plan.plan_page"), code=303)


def _late() -> timedelta:
    settings: Settings = current_app.extensions["settings"]
    return settings.kitchen_thresholds.late
