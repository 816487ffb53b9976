"""The menu over REST: `api` is read by everybody, `editor` is for who writes the menu."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.http.api import Api, Versions, require_version
from restaurant.http.paging import PageQuery
from restaurant.menu import editing, offer_editing, service
from restaurant.menu.models import HappyHour, SetMenu
from restaurant.menu.offers import Offers
from restaurant.menu.schemas import (
    CategoryChange,
    CategoryEntry,
    DishChange,
    DishEntry,
    DishesView,
    DishView,
    HappyHourEntry,
    HappyHoursView,
    HappyHourView,
    MenuView,
    NewCategory,
    NewDish,
    SetMenuDetails,
    SetMenuEntry,
    SetMenusView,
)  # fmt: skip
from restaurant.settings import Settings
from restaurant.types import now

api = Api("menu")
editor = Api("menu_editor")


@api.operation("GET", "/menu", reply=MenuView)
def read_menu(session: Session) -> MenuView:
    """The menu, with what can be ordered now."""
    menu = service.read_menu(session)
    return MenuView.of(menu, _offers(menu))


@api.operation("GET", "/dishes/<key:dish>", reply=DishView)
def read_dish(session: Session, *, dish: int) -> DishView:
    """Read one dish."""
    return DishView.of(service.read_dish(session, dish), _offers(service.read_menu(session)))


@editor.operation("GET", "/dishes", query=PageQuery, reply=DishesView)
def list_dishes(session: Session, *, query: PageQuery) -> DishesView:
    """List all dishes, hidden ones included."""
    offers = _offers(service.read_menu(session))
    found, following = editing.list_dishes(session, query)
    return DishesView(items=[DishEntry.of(dish, offers) for dish in found], next=following)


@editor.operation("POST", "/dishes", body=NewDish, reply=DishEntry, status=HTTPStatus.CREATED,
                  refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND))  # fmt: skip
def add_dish(session: Session, *, body: NewDish) -> DishEntry:
    """Add a dish."""
    dish = editing.add_dish(session, body)
    return DishEntry.of(dish, _offers(service.read_menu(session)))


@editor.operation("PATCH", "/dishes/<key:dish>", body=DishChange, reply=DishEntry, if_match=True,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_dish(session: Session, *, dish: int, body: DishChange, version: Versions) -> DishEntry:
    """Change a dish: anything of it, or that it has run out or is hidden."""
    found = editing.find_dish(session, dish)
    require_version(found, version)
    dish_now = editing.change_dish(session, found, body)
    return DishEntry.of(dish_now, _offers(service.read_menu(session)))


@editor.operation("POST", "/categories", body=NewCategory, reply=CategoryEntry, status=HTTPStatus.CREATED,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def add_category(session: Session, *, body: NewCategory) -> CategoryEntry:
    """Add a heading."""
    return CategoryEntry.model_validate(editing.add_category(session, body))


@editor.operation("PATCH", "/categories/<key:category>", body=CategoryChange, reply=CategoryEntry, if_match=True,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_category(session: Session, *, category: int, body: CategoryChange, version: Versions) -> CategoryEntry:
    """Rename a heading, or give it another place."""
    found = editing.read_category(session, category)
    require_version(found, version)
    return CategoryEntry.model_validate(editing.change_category(session, found, body))


@editor.operation("DELETE", "/categories/<key:category>", reply=None, if_match=True, refusals=(HTTPStatus.CONFLICT,))
def remove_category(session: Session, *, category: int, version: Versions) -> None:
    """Take away a heading that has no dish."""
    found = editing.read_category(session, category)
    require_version(found, version)
    editing.remove_category(session, found)


@editor.operation("GET", "/set-menus", reply=SetMenusView)
def list_set_menus(session: Session) -> SetMenusView:
    """List all set menus, hidden ones included."""
    menu = service.read_menu(session)
    offers = _offers(menu)
    return SetMenusView(items=[SetMenuDetails.of(entry, menu.dishes, offers) for entry in menu.set_menus])


@editor.operation("GET", "/set-menus/<key:set_menu>", reply=SetMenuDetails)
def read_set_menu(session: Session, *, set_menu: int) -> SetMenuDetails:
    """Read one set menu."""
    return _details(session, offer_editing.find_set_menu(session, set_menu))


@editor.operation("POST", "/set-menus", body=SetMenuEntry, reply=SetMenuDetails, status=HTTPStatus.CREATED,
                  refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND))  # fmt: skip
def add_set_menu(session: Session, *, body: SetMenuEntry) -> SetMenuDetails:
    """Add a set menu."""
    return _details(session, offer_editing.write_set_menu(session, SetMenu(), body))


@editor.operation("PUT", "/set-menus/<key:set_menu>", body=SetMenuEntry, reply=SetMenuDetails, if_match=True,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_set_menu(session: Session, *, set_menu: int, body: SetMenuEntry, version: Versions) -> SetMenuDetails:
    """Replace a set menu; lines that were ordered keep their prices."""
    found = offer_editing.find_set_menu(session, set_menu)
    require_version(found, version)
    return _details(session, offer_editing.write_set_menu(session, found, body))


@editor.operation("GET", "/happy-hours", reply=HappyHoursView)
def list_happy_hours(session: Session) -> HappyHoursView:
    """List the happy hours."""
    menu = service.read_menu(session)
    offers = _offers(menu)
    return HappyHoursView(items=[HappyHourView.of(entry, offers) for entry in menu.happy_hours])


@editor.operation("GET", "/happy-hours/<key:happy_hour>", reply=HappyHourView)
def read_happy_hour(session: Session, *, happy_hour: int) -> HappyHourView:
    """Read one happy hour."""
    return _happy(session, offer_editing.find_happy_hour(session, happy_hour))


@editor.operation("POST", "/happy-hours", body=HappyHourEntry, reply=HappyHourView, status=HTTPStatus.CREATED,
                  refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND))  # fmt: skip
def add_happy_hour(session: Session, *, body: HappyHourEntry) -> HappyHourView:
    """Add a happy hour."""
    return _happy(session, offer_editing.write_happy_hour(session, HappyHour(), body))


@editor.operation("PUT", "/happy-hours/<key:happy_hour>", body=HappyHourEntry, reply=HappyHourView, if_match=True,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_happy_hour(session: Session, *, happy_hour: int, body: HappyHourEntry, version: Versions) -> HappyHourView:
    """Replace a happy hour; lines that were ordered keep their prices."""
    found = offer_editing.find_happy_hour(session, happy_hour)
    require_version(found, version)
    return _happy(session, offer_editing.write_happy_hour(session, found, body))


@editor.operation("DELETE", "/happy-hours/<key:happy_hour>", reply=None, if_match=True)
def remove_happy_hour(session: Session, *, happy_hour: int, version: Versions) -> None:
    """Remove a happy hour."""
    found = offer_editing.find_happy_hour(session, happy_hour)
    require_version(found, version)
    offer_editing.remove_happy_hour(session, found)


def _details(session: Session, set_menu: SetMenu) -> SetMenuDetails:
    menu = service.read_menu(session)
    return SetMenuDetails.of(set_menu, menu.dishes, _offers(menu))


def _happy(session: Session, happy_hour: HappyHour) -> HappyHourView:
    return HappyHourView.of(happy_hour, _offers(service.read_menu(session)))


def _offers(menu: service.Menu) -> Offers:
    """What is offered now."""
    settings: Settings = current_app.extensions["settings"]
    return menu.offers(now(), settings.business_day)
