"""The page of the stock."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.http.guard import signed_in
from restaurant.http.paging import WHOLE
from restaurant.i18n import gettext as _
from restaurant.stock import service
from restaurant.stock.models import MovementReason, Unit
from restaurant.stock.schemas import NewIngredient, NewMovement

pages = Blueprint("stock", __name__, url_prefix="/stock")


@pages.get("")
def stock_page() -> str:
    """Everything in stock, what is low first."""
    with _database().reading() as session:
        ingredients, _next = service.list_ingredients(session, WHOLE)
    reasons = [MovementReason.DELIVERED, MovementReason.WASTED, MovementReason.COUNTED]
    return render_template("stock/stock.html", ingredients=ingredients, reasons=reasons, units=list(Unit))


@pages.post("")
def add_ingredient() -> Response:
    """Add an ingredient."""
    try:
        new = NewIngredient.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise Invalid(_("Some values are missing or wrong.")) from error
    with _database().writing() as session:
        service.add_ingredient(session, **dict(new), by=signed_in())
    return redirect(url_for("stock.stock_page"), code=303)


@pages.post("/<key:ingredient>")
def move(ingredient: int) -> Response:
    """Record what was delivered, wasted or counted."""
    try:
        moved = NewMovement.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise Invalid(_("Some values are missing or wrong.")) from error
    with _database().writing() as session:
        service.adjust(session, ingredient, reason=moved.reason, quantity=moved.quantity, by=signed_in())
    return redirect(url_for("stock.stock_page"), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
