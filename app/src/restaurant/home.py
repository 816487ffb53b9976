"""The navigation, and the start page of a signed-in person: the parts of the app that their role may use."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, render_template, url_for

from restaurant.floor.models import TableState
from restaurant.http.guard import signed_in
from restaurant.http.prefix import own_path
from restaurant.i18n import gettext as _
from restaurant.people.permissions import Permission

home = Blueprint("home", __name__)


@dataclass(frozen=True)
class NavigationItem:
    """A link to a part of the app."""

    endpoint: str
    label: str
    hint: str
    permission: Permission

    @property
    def address(self) -> str:
        """The path of its page."""
        return url_for(self.endpoint)


def navigation() -> list[NavigationItem]:
    """The parts of the app that the signed-in person may use."""
    item = NavigationItem
    items = (
        item("floor.floor_page", _("Floor"), _("Tables, guests and their orders"), Permission.SEE_FLOOR),
        item("bookings.day_page", _("Bookings"), _("Expected guests and the waiting list"), Permission.BOOK),
        item("kitchen.board_page", _("Kitchen"), _("Orders to prepare, live"), Permission.COOK),
        item("cash.open_bills", _("Cash desk"), _("Bills, payments and receipts"), Permission.CASH),
        item("closings.closings_page", _("Closings"), _("The day's closing (Z)"), Permission.CLOSE_DAY),
        item("reports.report_page", _("Reports"), _("Sales, guests and turn time"), Permission.SEE_REPORTS),
        item("stock.stock_page", _("Stock"), _("Ingredients, deliveries and low stock"), Permission.MANAGE_STOCK),
        item("card.card_page", _("Menu"), _("Dishes, prices and availability"), Permission.EDIT_MENU),
        item(
            "opening.opening_page",
            _("Opening hours"),
            _("Weekly hours, holidays and special days"),
            Permission.EDIT_OPENING,
        ),
        item(
            "printers.printers_page",
            _("Printers"),
            _("Kitchen tickets and receipts on paper"),
            Permission.MANAGE_PRINTERS,
        ),
        item("team.people_page", _("Team"), _("Accounts and roles"), Permission.MANAGE_PEOPLE),
    )
    user = signed_in()
    return [entry for entry in items if user.may(entry.permission)]


@home.get("/accueil")
def first_page() -> str:
    """Tiles for everything this person may do."""
    return render_template("home.html")


def register(app: Flask) -> None:
    """Give templates the navigation and the choices they use."""
    app.jinja_env.globals.update(navigation=navigation, Permission=Permission, TableState=TableState, own_path=own_path)
