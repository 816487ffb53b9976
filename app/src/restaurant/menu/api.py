"""The menu over REST."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.orm import Session

from restaurant.http.api import Api, require_version
from restaurant.i18n import local
from restaurant.menu import service
from restaurant.menu.schemas import CategoryView, DishChange, DishView, MenuView
from restaurant.types import now

api = Api("menu")


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


@api.operation("PATCH", "/dishes/<key:dish>", body=DishChange, reply=DishView, if_match=True,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_dish(session: Session, *, dish: int, body: DishChange, version: int) -> DishView:
    """Change a dish: its price, its names, or that it has run out."""
    found = service.read_dish(session, dish)
    require_version(found, version)
    changed = service.change_dish(session, found, **body.model_dump(exclude_none=True))
    return DishView.of(changed, at=local(now()).time())
