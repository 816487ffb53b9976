"""The guest's pages: the menu one orders from, and the order one placed."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from markupsafe import Markup
from pydantic import ValidationError
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.http import idempotency
from restaurant.http.guard import current_user
from restaurant.http.prefix import cookie_path
from restaurant.http.targets import local_path
from restaurant.i18n import COOKIE, LOCALES
from restaurant.i18n import gettext as _
from restaurant.menu import service as menu
from restaurant.menu.models import Dish
from restaurant.menu.web import dishes_block, rendered
from restaurant.opening.hours import Purpose
from restaurant.opening.service import calendar_in_memory, closed_now, read_calendar, revisions
from restaurant.orders import service
from restaurant.orders.bundles import bundles
from restaurant.orders.models import OrderStatus
from restaurant.orders.schemas import OrderPlacement, dishes_of
from restaurant.orders.state_machine import status_of
from restaurant.settings import Settings
from restaurant.stock.service import leaving_out
from restaurant.types import now

web = Blueprint("orders", __name__)

#: Stands for the form's key in a page that is kept.
_KEY = "key-of-this-form"

_STEPS = (OrderStatus.SENT, OrderStatus.IN_PREPARATION, OrderStatus.READY, OrderStatus.SERVED)


web.add_app_template_filter(bundles)


@web.get("/")
def menu_page() -> str:
    """The menu with quantities to choose."""
    settings: Settings = current_app.extensions["settings"]
    database: Database = current_app.extensions["database"]
    at = now()
    # Guests look at this page most of all: it takes a session only when something has changed.
    with database.connection() as connection:
        known = revisions(connection)
    number, days = known.get("menu", 0), known.get("opening", 0)
    card = menu.menu_in_memory(database.engine, revision=number)
    calendar = calendar_in_memory(database.engine, settings.opening, revision=days)
    if card is None or calendar is None:
        with database.reading() as session:
            card = menu.read_menu(session, revision=number)
            calendar = read_calendar(session, settings.opening, revision=days)
    closed = "" if calendar.is_open(Purpose.TAKE_AWAY, at) else closed_now(calendar, Purpose.TAKE_AWAY, at=at)

    def page(key: str) -> str:
        return render_template(
            "orders/menu.html",
            categories=card.categories,
            dishes=dishes_block(card),
            key=key,
            closed=closed,
            set_menus=bool(card.set_menus),
        )

    key = uuid.uuid4().hex
    if request.query_string or current_user() is not None:
        return page(key)
    # To everybody who is not signed in it is the same page but for the form's key.
    return str(rendered(card, f"page {closed}", lambda: Markup(page(_KEY)))).replace(_KEY, key, 1)  # noqa: S704


@web.post("/commandes")
def place_order() -> Response:
    """Place the order of the menu's form and show it. Sent twice, the form places one order.

    What is sold out is left out and named.
    """
    settings: Settings = current_app.extensions["settings"]
    database: Database = current_app.extensions["database"]
    placement = _read_form()
    key = request.form.get("key", "")[:100]
    if not key:
        raise Invalid(_("This form is out of date. Please reload the menu."))
    content = placement.model_dump_json().encode()

    def act(absent: Collection[int]) -> str:
        with database.writing() as session:
            claimed = idempotency.claim(session, scope="web:order", key=key, content=content)
            if claimed.replay is not None:
                return claimed.replay[1]
            wanted = [entry for entry in placement.wanted if dishes_of(entry).isdisjoint(absent)] or placement.wanted
            offered, missing = service.available(session, wanted, at=now(), zone=settings.zone)
            # Without any, ordering them all says which dish is not available.
            placed = service.place_order(
                session, placement.only(offered or wanted), at=now(), opening=settings.opening,
                business_day=settings.business_day, by=current_user(), address=request.remote_addr or "",
            )  # fmt: skip
            names = ",".join(map(str, sorted({*absent, *(dish.id for dish in missing)}))) or None
            target = url_for("orders.order_page", reference=placed.reference, absent=names)
            idempotency.keep(session, claimed, status=303, body=target)
            return target

    target = leaving_out(act)
    return redirect(target if "/" in target else url_for("orders.order_page", reference=target), code=303)


@web.get("/commandes/<uuid:reference>")
def order_page(reference: uuid.UUID) -> str:
    """An order as its guest follows it: how far the kitchen is, whether it is paid or not."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        order = service.read_order(session, reference)
        progress = status_of(line.status for line in order.lines)
        absent = left_out(session)
        return render_template("orders/order.html", order=order, progress=progress, steps=_STEPS, absent=absent)


@web.post("/langue")
def choose_language() -> Response:
    """Remember the user's language and go back."""
    chosen = request.form.get("lang", "")
    back = local_path(request.form.get("back", ""), default=url_for("orders.menu_page"))
    response = redirect(back, code=303)
    if chosen in LOCALES:
        response.set_cookie(COOKIE, chosen, max_age=31_536_000, path=cookie_path(), samesite="Lax", httponly=True)
    return response


def left_out(session: Session) -> list[Dish]:
    """The dishes that the page's address says were left out of what was ordered."""
    wanted = request.args.get("absent", "").split(",")
    dishes = menu.read_menu(session).dishes
    keys = (int(key) for key in wanted[:60] if key.isdecimal() and len(key) < 10)
    return [dishes[key] for key in keys if key in dishes]


def read_wanted(form: MultiDict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """The chosen dishes and set menus of the menu's form, as `Placements` has them.

    A dish has ``quantity-<place>``, ``options-<place>`` and ``note-<place>``, where the place is the dish, as in ``7``,
    or one of several portions of it that differ, as in ``7.1``. The place of a set menu is ``m7`` or ``m7.1``, with
    ``choice-<place>-<course>`` for each course, ``note-<place>-<course>`` and ``options-<place>-<dish>``. Raises
    `Invalid` when nothing is chosen.
    """
    lines: list[dict[str, Any]] = []
    menus: list[dict[str, Any]] = []
    for field, text in form.items():
        kind, _dash, place = field.partition("-")
        key = place.partition(".")[0]
        if kind != "quantity" or text.strip() in {"", "0"}:
            continue
        if key.isdecimal():
            options, note = _options(form, place), form.get(f"note-{place}", "")
            lines.append({"dish": key, "quantity": text, "options": options, "note": note})
        elif key.startswith("m") and key[1:].isdecimal():
            dishes = [
                {
                    "dish": dish,
                    "options": _options(form, f"{place}-{dish}"),
                    "note": form.get(name.replace("choice", "note", 1), ""),
                }
                for name, dish in form.items()
                if name.startswith(f"choice-{place}-")
            ]
            menus.append({"set_menu": key[1:], "quantity": text, "dishes": dishes})
    if not lines and not menus:
        raise Invalid(_("Choose at least one dish."))
    return {"lines": lines, "menus": menus}


def _options(form: MultiDict[str, str], place: str) -> list[str]:
    # A group of which exactly one is taken has a name of its own, as radio buttons need.
    names = [name for name in form if name == f"options-{place}" or name.startswith(f"options-{place}-")]
    return [option for name in names for option in form.getlist(name)]


def _read_form() -> OrderPlacement:
    wanted = read_wanted(request.form)
    try:
        return OrderPlacement.model_validate(
            {"guest": request.form.get("guest", ""), "note": request.form.get("note", ""), **wanted}
        )
    except ValidationError as error:
        if any(problem["loc"][0] == "guest" for problem in error.errors()):
            raise Invalid(_("Please enter your name so that we can call you.")) from error
        raise Invalid(_("Enter a quantity of 1 to 50 for each dish.")) from error
