"""Pages of the cash drawer: counting it, movements, and what was expected against what was counted."""

from __future__ import annotations

import uuid

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.billing import till
from restaurant.billing.models import Method, Movement
from restaurant.billing.schemas import NewCashMovement, NewTill, TillClosing
from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.forms import first_time, parse_cents, read_form, typed
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.people.permissions import Permission
from restaurant.printing.service import targets

till_pages = Blueprint("till", __name__, url_prefix="/caisse/tiroir")


@till_pages.get("")
def till_page() -> str:
    """The drawer: to be opened, or its movements and the count that closes it.

    What is expected is shown to managers only, as who counts must not know it.
    """
    page = read_form(PageQuery, {"after": request.args.get("suite"), "limit": 20})
    with _database().reading() as session:
        current = till.read_current(session)
        sums = till.takings(session, current) if current is not None else None
        expected = till.expected(session, current) if current is not None else None
        sessions, following = till.list_sessions(session, page)
        drawer = any(target.drawer for target in targets(session))
    return render_template(
        "billing/till.html", till=current, sums=sums, sessions=sessions, page=page, following=following,
        expected=expected if signed_in().may(Permission.CLOSE_DAY) else None, denominations=till.DENOMINATIONS,
        kinds=list(Movement), Method=Method, key=uuid.uuid4().hex, drawer=drawer,
    )  # fmt: skip


@till_pages.post("")
def open_till() -> Response:
    """Open the till with what was counted."""
    counted = read_form(NewTill, {"count": _count()})
    with _database().writing() as session:
        if first_time(session, content=counted):
            till.open_till(session, count=counted.count, by=signed_in())
    return redirect(url_for("till.till_page"), code=303)


@till_pages.post("/mouvements")
def move_cash() -> Response:
    """Put cash into the drawer or take it out."""
    values = typed("kind", "reason") | {"amount": parse_cents(request.form.get("amount", ""))}
    wanted = read_form(NewCashMovement, values)
    with _database().writing() as session:
        if first_time(session, content=wanted):
            till.move_cash(session, kind=wanted.kind, amount=wanted.amount, reason=wanted.reason, by=signed_in())
    return redirect(url_for("till.till_page"), code=303)


@till_pages.post("/cloture")
def close_till() -> Response:
    """Close the till with what was counted, and show what was expected."""
    counted = read_form(TillClosing, {"count": _count()} | typed("note"))
    with _database().writing() as session:
        if first_time(session, content=counted):
            till.close_till(session, count=counted.count, note=counted.note, by=signed_in())
        number = till.last_session(session)
    return redirect(url_for("till.session_page", number=number), code=303)


@till_pages.get("/<key:number>")
def session_page(number: int) -> str:
    """One till session, to print and keep."""
    with _database().reading() as session:
        found = till.read_session(session, number)
    return render_template("billing/till_session.html", till=found, Method=Method, denominations=till.DENOMINATIONS)


def _count() -> dict[str, int]:
    """The pieces that were counted; an empty field is none."""
    found = {}
    for cents in till.DENOMINATIONS:
        text = request.form.get(f"n{cents}", "").strip() or "0"
        if not (text.isascii() and text.isdecimal() and len(text) < 5):
            raise Invalid(_("Enter how many pieces there are of each note and coin."))
        found[str(cents)] = int(text)
    return found


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
