"""The pages of the stock: everything there is, what became of one ingredient, and what a dish is made of."""

from __future__ import annotations

import uuid

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.forms import first_time, read_form, read_version, typed
from restaurant.http.api import require_version
from restaurant.http.guard import signed_in
from restaurant.http.paging import WHOLE, PageQuery
from restaurant.i18n import format_number, ngettext
from restaurant.i18n import gettext as _
from restaurant.menu.editing import find_dish
from restaurant.stock import service
from restaurant.stock.models import MovementReason, Unit
from restaurant.stock.schemas import IngredientChange, NewIngredient, NewMovement, Recipe

pages = Blueprint("stock", __name__, url_prefix="/stock")

_ADJUSTMENTS = (MovementReason.DELIVERED, MovementReason.WASTED, MovementReason.COUNTED)
#: Empty rows at the end of a recipe's form, and how many rows are read.
_MORE_ROWS, _ROWS = 4, 60


@pages.app_template_filter("measure")
def format_measure(quantity: int, unit: Unit) -> str:
    """``1 500 g``, ``3 pièces``."""
    match unit:
        case Unit.GRAM:
            return _("{count} g", count=format_number(quantity))
        case Unit.MILLILITRE:
            return _("{count} ml", count=format_number(quantity))
        case Unit.PIECE:
            return ngettext("{count} piece", "{count} pieces", quantity)


@pages.get("")
def stock_page() -> str:
    """Everything in stock, what is low first."""
    with _database().reading() as session:
        ingredients, _next = service.list_ingredients(session, WHOLE)
    return render_template(
        "stock/stock.html",
        ingredients=sorted(ingredients, key=lambda entry: entry.quantity > entry.low_at),
        reasons=_ADJUSTMENTS,
        units=list(Unit),
        key=uuid.uuid4().hex,
    )


@pages.post("")
def add_ingredient() -> Response:
    """Add an ingredient."""
    new = read_form(NewIngredient, request.form.to_dict())
    with _database().writing() as session:
        service.add_ingredient(session, **dict(new), by=signed_in())
    return redirect(url_for("stock.stock_page"), code=303)


@pages.post("/<key:ingredient>")
def move(ingredient: int) -> Response:
    """Record what was delivered, wasted or counted; sent twice, the form records it once."""
    moved = read_form(NewMovement, typed("reason", "quantity"))
    with _database().writing() as session:
        if first_time(session, scope=f"web:stock:{ingredient}", content=moved):
            service.adjust(session, ingredient, reason=moved.reason, quantity=moved.quantity, by=signed_in())
    return redirect(url_for("stock.stock_page"), code=303)


@pages.get("/<key:ingredient>")
def ingredient_page(ingredient: int) -> str:
    """What became of an ingredient, and a form to rename it or to say when it is low."""
    page = read_form(PageQuery, {"after": request.args.get("suite"), "limit": 50})
    with _database().reading() as session:
        found = service.read_ingredient(session, ingredient)
        movements, following = service.list_movements(session, found, page)
        return render_template(
            "stock/ingredient.html", ingredient=found, movements=movements, page=page, following=following
        )


@pages.post("/<key:ingredient>/fiche")
def change_ingredient(ingredient: int) -> Response:
    """Rename an ingredient, or say when it is low."""
    change = read_form(IngredientChange, typed("name", "low_at"))
    with _database().writing() as session:
        found = service.read_ingredient(session, ingredient)
        require_version(found, read_version(request.form))
        service.change_ingredient(session, found, **change.model_dump())
    return redirect(url_for("stock.ingredient_page", ingredient=ingredient), code=303)


@pages.get("/recettes/<key:dish>")
def recipe_page(dish: int) -> str:
    """What one portion of a dish takes."""
    with _database().reading() as session:
        found = find_dish(session, dish)
        lines = service.read_recipe(session, found)
        ingredients, _next = service.list_ingredients(session, WHOLE)
    return render_template("stock/recipe.html", dish=found, lines=lines, ingredients=ingredients, more=_MORE_ROWS)


@pages.post("/recettes/<key:dish>")
def write_recipe(dish: int) -> Response:
    """Write what one portion of a dish takes; empty rows are left out."""
    form = request.form
    rows = [(form.get(f"ingredient-{row}", ""), form.get(f"quantity-{row}", "")) for row in range(_ROWS)]
    recipe = read_form(Recipe, {"items": [{"ingredient": key, "quantity": much} for key, much in rows if key or much]})
    with _database().writing() as session:
        found = find_dish(session, dish)
        require_version(found, read_version(form))
        service.write_recipe(session, found, recipe.quantities())
    return redirect(url_for("stock.recipe_page", dish=dish), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
