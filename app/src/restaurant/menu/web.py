"""The house's page of the menu: what has run out, and prices."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.i18n import current_locale, local
from restaurant.menu import service
from restaurant.menu.schemas import CategoryView
from restaurant.types import now

pages = Blueprint("card", __name__, url_prefix="/carte")

#: Renderings of one revision that are kept: a few minutes' worth in both languages.
_MINUTES_KEPT = 6


def dishes_block(menu: service.Menu) -> Markup:
    """The dishes of `menu` to choose from, as they are offered this minute, in the language of this request."""
    clock = local(now())
    key = (current_locale(), f"{clock:%H:%M}")
    block = menu.rendered.get(key)
    if block is None:
        categories = [CategoryView.of(category, at=clock.time()) for category in menu.categories]
        block = Markup(render_template("menu/dishes.html", categories=categories))  # noqa: S704  # a template's output
        if len(menu.rendered) >= _MINUTES_KEPT:
            menu.rendered.clear()
        menu.rendered[key] = block
    return block


@pages.get("")
def card_page() -> str:
    """Every dish, with a switch for what has run out."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        return render_template("menu/card.html", categories=service.read_menu(session).categories)


@pages.post("/<key:dish>/rupture")
def switch_out_of_stock(dish: int) -> Response:
    """Take a dish off for now, or put it on again."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        found = service.read_dish(session, dish)
        service.change_dish(session, found, out_of_stock=not found.out_of_stock)
    return redirect(f"{url_for('card.card_page')}#d{dish}", code=303)
