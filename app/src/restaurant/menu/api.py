"""The menu over REST."""

from __future__ import annotations

from sqlalchemy.orm import Session

from restaurant.http.api import Api
from restaurant.i18n import local
from restaurant.menu import service
from restaurant.menu.schemas import CategoryView, MenuView
from restaurant.types import now

api = Api("menu")


@api.operation("GET", "/menu", reply=MenuView)
def read_menu(session: Session) -> MenuView:
    """The menu, with what can be ordered now."""
    clock = local(now()).time()
    return MenuView(categories=[CategoryView.of(category, at=clock) for category in service.read_menu(session)])
