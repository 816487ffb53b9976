"""The first page of whoever is signed in: the parts of the house open to them."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, render_template, url_for

from restaurant.floor.models import TableState
from restaurant.http.guard import signed_in
from restaurant.i18n import gettext as _
from restaurant.people.permissions import Permission

home = Blueprint("home", __name__)


@dataclass(frozen=True)
class Door:
    """A way to a part of the house."""

    endpoint: str
    label: str
    hint: str
    permission: Permission

    @property
    def address(self) -> str:
        """Where it leads."""
        return url_for(self.endpoint)


def doors() -> list[Door]:
    """The parts of the house that the person signed in may enter."""
    every = (
        Door("floor.floor_page", _("Floor"), _("Tables, guests and their orders"), Permission.SEE_FLOOR),
        Door("bookings.day_page", _("Bookings"), _("Expected guests and the waiting list"), Permission.BOOK),
        Door("kitchen.board_page", _("Kitchen"), _("Orders to prepare, live"), Permission.COOK),
        Door("cash.open_bills", _("Cash desk"), _("Bills, payments and receipts"), Permission.CASH),
        Door("closings.closings_page", _("Closings"), _("The day's closing (Z)"), Permission.CLOSE_DAY),
        Door("reports.report_page", _("Reports"), _("Sales, guests and turn time"), Permission.SEE_REPORTS),
        Door("stock.stock_page", _("Stock"), _("Ingredients, deliveries and low stock"), Permission.MANAGE_STOCK),
        Door("card.card_page", _("Menu"), _("Dishes, prices and availability"), Permission.EDIT_MENU),
        Door("team.people_page", _("Team"), _("Accounts and roles"), Permission.MANAGE_PEOPLE),
    )
    user = signed_in()
    return [door for door in every if user.may(door.permission)]


@home.get("/accueil")
def first_page() -> str:
    """Tiles to everything this person may do."""
    return render_template("home.html")


def register(app: Flask) -> None:
    """Give templates the navigation and the choices they name."""
    app.jinja_env.globals.update(doors=doors, Permission=Permission, TableState=TableState)
