"""Pages of orders from tables: the guest's, the staff's, and the codes to print."""

from __future__ import annotations

import uuid
from collections.abc import Collection

import segno
from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from markupsafe import Markup
from pydantic import ValidationError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from restaurant.database import Database
from restaurant.errors import Invalid, NotFound
from restaurant.floor.service import read_rooms, read_table
from restaurant.forms import first_time, read_form, typed
from restaurant.http import idempotency
from restaurant.http.guard import signed_in
from restaurant.i18n import gettext as _
from restaurant.menu import service as menu
from restaurant.menu.models import Allergen
from restaurant.menu.web import dishes_block
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, OrderStatus
from restaurant.orders.state_machine import status_of
from restaurant.orders.web import read_wanted
from restaurant.settings import Settings
from restaurant.stock.service import leaving_out
from restaurant.table_orders import codes, service
from restaurant.table_orders.api import address_of
from restaurant.table_orders.models import TableOrderStatus
from restaurant.table_orders.schemas import Acceptance, NewTableOrder, Refusal
from restaurant.types import now

guests = Blueprint("table", __name__, url_prefix="/table")
desk = Blueprint("table_orders", __name__, url_prefix="/service/demandes")
printed = Blueprint("codes", __name__, url_prefix="/salle/codes")

#: Where a guest's browser keeps which order it sent last, and for how many seconds.
_COOKIE = "followed"
_FOLLOWED = 4 * 3600

_STEPS = (OrderStatus.SENT, OrderStatus.IN_PREPARATION, OrderStatus.READY, OrderStatus.SERVED)


@guests.get("/<code>")
def menu_page(code: str) -> str:
    """The menu to order from at a table."""
    with _database().reading() as session:
        table = service.open_table(session, code, rules=_settings().orders_from_tables())
        card = menu.read_menu(session)
        followed = _followed(session, table.id)
    return render_template(
        "table_orders/menu.html", table=table, code=code, categories=card.categories, dishes=dishes_block(card),
        set_menus=bool(card.set_menus), allergens=list(Allergen), followed=followed,
        direct=_settings().table_orders == "direct", key=uuid.uuid4().hex,
    )  # fmt: skip


@guests.post("/<code>")
def send(code: str) -> AnyResponse:
    """Take the order of the menu's form. Sent twice, the form sends one order."""
    form, settings = request.form, _settings()
    key = form.get("key", "")[:100]
    if not key:
        raise Invalid(_("This form is out of date. Please reload the menu."))
    chosen = read_wanted(form)
    for dish in (*chosen["lines"], *(dish for entry in chosen["menus"] for dish in entry["dishes"])):
        # A guest's note is about the whole order.
        del dish["note"]
    try:
        wanted = NewTableOrder.model_validate(
            typed("guest", "note") | {"code": code, "allergies": form.getlist("allergies"), **chosen}
        )
    except ValidationError as error:
        if any(problem["loc"][0] in {"lines", "menus"} for problem in error.errors()):
            raise Invalid(_("Enter a quantity of 1 to 20 for each dish, and at most 30 dishes.")) from error
        raise Invalid(_("Some values are missing or invalid.")) from error

    def act(absent: Collection[int]) -> str:
        with _database().writing() as session:
            claimed = idempotency.claim(
                session, scope="web:table-order", key=key, content=wanted.model_dump_json().encode()
            )
            if claimed.replay is not None:
                return claimed.replay[1]
            found = service.place(
                session, wanted, at=now(), business_day=settings.business_day, rules=settings.orders_from_tables(),
                address=request.remote_addr or "", without=absent,
            )  # fmt: skip
            idempotency.keep(session, claimed, status=303, body=str(found.reference))
            return str(found.reference)

    reference = leaving_out(act)
    response = redirect(url_for("table.order_page", code=code, reference=reference), code=303)
    response.set_cookie(
        _COOKIE, reference, max_age=_FOLLOWED, path=url_for("table.menu_page", code=code), secure=settings.https,
        httponly=True, samesite="Lax",
    )  # fmt: skip
    return response


@guests.get("/<code>/<uuid:reference>")
def order_page(code: str, reference: uuid.UUID) -> str:
    """An order as the guest who sent it follows it; its code may have been revoked since."""
    with _database().reading() as session:
        found = service.read(session, reference)
        if codes.table_of(code, keys=_settings().signing_keys) != found.table_id:
            raise NotFound(_("This order does not exist."))
        entries = service.entries(session, found)
    accepted = found.status is TableOrderStatus.ACCEPTED
    total = (
        sum(entry.line.total for entry in entries if entry.line is not None)
        if accepted
        else sum(entry.wanted["quantity"] * entry.wanted["unit_price"] for entry in entries if not entry.sold_out)
    )
    progress = status_of(entry.line.status for entry in entries if entry.line is not None)
    return render_template(
        "table_orders/order.html", found=found, code=code, entries=entries, steps=_STEPS, Status=TableOrderStatus,
        Line=LineStatus, total=total, expired=service.expired(found, at=now()), key=uuid.uuid4().hex,
        # What is held is the staff's secret: to the guests it is sent.
        progress=OrderStatus.SENT if progress is OrderStatus.DRAFT else progress,
    )  # fmt: skip


@guests.post("/<code>/<uuid:reference>/retrait")
def withdraw(code: str, reference: uuid.UUID) -> AnyResponse:
    """Withdraw an order that is not confirmed yet."""
    with _database().writing() as session:
        if codes.table_of(code, keys=_settings().signing_keys) != service.read(session, reference).table_id:
            raise NotFound(_("This order does not exist."))
        if first_time(session):
            service.withdraw(session, reference, at=now())
    return redirect(url_for("table.order_page", code=code, reference=reference), code=303)


@desk.get("")
def requests_page() -> str:
    """What waits to be confirmed."""
    with _database().reading() as session:
        waiting = service.waiting(session, at=now())
        requests = [
            (found, service.entries(session, found), orders.order_at(session, found.table) is not None)
            for found in waiting
        ]
    return render_template("table_orders/requests.html", requests=requests, key=uuid.uuid4().hex)


@desk.post("/<uuid:reference>/envoi")
def accept(reference: uuid.UUID) -> AnyResponse:
    """Add it to the order of its table, sent to the kitchen at once or held. What is sold out is left out and named."""
    wanted = read_form(Acceptance, {"hold": "hold" in request.form, "covers": request.form.get("covers") or 1})

    def act(absent: Collection[int]) -> AnyResponse:
        with _database().writing() as session:
            if not first_time(session):
                return redirect(url_for("table_orders.requests_page"), code=303)
            order, left_out = service.accept(
                session, reference, at=now(), business_day=_settings().business_day, hold=wanted.hold,
                covers=wanted.covers, by=signed_in(), without=absent,
            )  # fmt: skip
        names = ",".join(map(str, sorted({*absent, *(dish.id for dish in left_out)}))) or None
        return redirect(url_for("service.order_page", reference=order.reference, absent=names), code=303)

    return leaving_out(act)


@desk.post("/<uuid:reference>/refus")
def refuse(reference: uuid.UUID) -> AnyResponse:
    """Refuse it, with a reason for the guest."""
    wanted = read_form(Refusal, typed("reason"))
    with _database().writing() as session:
        if first_time(session, content=wanted):
            service.refuse(session, reference, at=now(), reason=wanted.reason, by=signed_in())
    return redirect(url_for("table_orders.requests_page"), code=303)


@printed.get("")
def codes_page() -> Response:
    """The QR codes of all tables, to be printed."""
    keys = _settings().signing_keys
    with _database().reading() as session:
        rooms = read_rooms(session)
    addresses = {
        table.id: address_of(codes.code_of(table, keys=keys)) for room in rooms for table in room.tables
    }  # fmt: skip
    drawn = {key: _qr(address) for key, address in addresses.items()}
    page = render_template(
        "table_orders/codes.html", rooms=rooms, drawn=drawn, addresses=addresses, key=uuid.uuid4().hex,
        off=_settings().table_orders == "none",
    )  # fmt: skip
    return Response(page, mimetype="text/html")


@printed.post("/<key:table>")
def renew(table: int) -> AnyResponse:
    """Revoke the code of a table and give it a new one; sent twice, the form does it once."""
    with _database().writing() as session:
        if first_time(session):
            codes.renew(session, read_table(session, table))
    return redirect(f"{url_for('codes.codes_page')}#t{table}", code=303)


def _qr(address: str) -> Markup:
    """The QR code of an address as SVG, of which a sixth may be soiled."""
    code = segno.make(address, micro=False, error="m")
    # The library draws one path: there is nothing of the address in it to escape.
    return Markup(code.svg_inline(omitsize=True, svgclass="qr", lineclass=None))  # noqa: S704


def _followed(session: Session, table: int) -> uuid.UUID | None:
    """The order that this browser sent last from the table."""
    try:
        reference = uuid.UUID(request.cookies.get(_COOKIE, ""))
        found = service.read(session, reference)
    except (ValueError, NotFound):
        return None
    return reference if found.table_id == table else None


def _settings() -> Settings:
    found: Settings = current_app.extensions["settings"]
    return found


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
