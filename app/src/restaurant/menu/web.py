"""The house's page of the menu: what has run out, and prices."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, url_for
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.menu import service

pages = Blueprint("card", __name__, url_prefix="/carte")


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
