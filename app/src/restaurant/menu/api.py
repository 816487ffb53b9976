"""The menu over REST: `api` is read by everybody, `editor` is for who writes the menu."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.orm import Session

from restaurant.http.api import Api, Versions, require_version
from restaurant.http.paging import PageQuery
from restaurant.i18n import local
from restaurant.menu import editing, service
from restaurant.menu.schemas import (
    CategoryChange,
    CategoryEntry,
    CategoryView,
    DishChange,
    DishEntry,
    DishesView,
    DishView,
    MenuView,
    NewCategory,
    NewDish,
)  # fmt: skip
from restaurant.types import now

api = Api("menu")
editor = Api("menu_editor")


@api.operation("GET", "/menu", reply=MenuView)
def read_menu(session: Session) -> MenuView:
    """The menu, with what can be ordered now."""
    clock = local(now()).time()
    return MenuView(
        categories=[CategoryView.of(category, at=clock) for category in service.read_menu(session).categories]
    )


@api.operation("GET", "/dishes/<key:dish>", reply=DishView)
def read_dish(session: Session, *, dish: int) -> DishView:
    """Read one dish."""
    return DishView.of(service.read_dish(session, dish), at=local(now()).time())


@editor.operation("GET", "/dishes", query=PageQuery, reply=DishesView)
def list_dishes(session: Session, *, query: PageQuery) -> DishesView:
    """List all dishes, hidden ones included."""
    clock = local(now()).time()
    found, following = editing.list_dishes(session, query)
    return DishesView(items=[DishEntry.of(dish, at=clock) for dish in found], next=following)


@editor.operation("POST", "/dishes", body=NewDish, reply=DishEntry, status=HTTPStatus.CREATED,
                  refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND))  # fmt: skip
def add_dish(session: Session, *, body: NewDish) -> DishEntry:
    """Add a dish."""
    return DishEntry.of(editing.add_dish(session, body), at=local(now()).time())


@editor.operation("PATCH", "/dishes/<key:dish>", body=DishChange, reply=DishEntry, if_match=True,
                  refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_dish(session: Session, *, dish: int, body: DishChange, version: Versions) -> DishEntry:
    """Change a dish: anything of it, or that it has run out or is hidden."""
    found = editing.find_dish(session, dish)
    require_version(found, version)
    return DishEntry.of(editing.change_dish(session, found, body), at=local(now()).time())


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
