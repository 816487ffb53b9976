"""The stock over REST."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.orm import Session

from restaurant.http.api import Api, Versions, require_version
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.menu.editing import find_dish
from restaurant.menu.models import Dish
from restaurant.stock import service
from restaurant.stock.schemas import (
    IngredientChange,
    IngredientsView,
    IngredientView,
    MovementsView,
    MovementView,
    NewIngredient,
    NewMovement,
    Recipe,
    RecipeEntry,
    RecipeView,
)  # fmt: skip

api = Api("stock")


@api.operation("GET", "/ingredients", query=PageQuery, reply=IngredientsView)
def list_ingredients(session: Session, *, query: PageQuery) -> IngredientsView:
    """List the stock, what is low first."""
    found, following = service.list_ingredients(session, query)
    return IngredientsView(items=[IngredientView.model_validate(entry) for entry in found], next=following)


@api.operation("POST", "/ingredients", body=NewIngredient, reply=IngredientView, status=HTTPStatus.CREATED,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def add_ingredient(session: Session, *, body: NewIngredient) -> IngredientView:
    """Add an ingredient."""
    return IngredientView.model_validate(service.add_ingredient(session, **dict(body), by=signed_in()))


@api.operation("POST", "/ingredients/<key:ingredient>/movements", body=NewMovement, reply=IngredientView,
               status=HTTPStatus.CREATED, idempotent=True, refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def move_stock(session: Session, *, ingredient: int, body: NewMovement) -> IngredientView:
    """Record what was delivered, wasted or counted."""
    changed = service.adjust(session, ingredient, reason=body.reason, quantity=body.quantity, by=signed_in())
    return IngredientView.model_validate(changed)


@api.operation("PATCH", "/ingredients/<key:ingredient>", body=IngredientChange, reply=IngredientView, if_match=True,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_ingredient(
    session: Session, *, ingredient: int, body: IngredientChange, version: Versions
) -> IngredientView:
    """Rename an ingredient, or say when it is low."""
    found = service.read_ingredient(session, ingredient)
    require_version(found, version)
    return IngredientView.model_validate(service.change_ingredient(session, found, **body.model_dump()))


@api.operation("GET", "/ingredients/<key:ingredient>/movements", query=PageQuery, reply=MovementsView)
def list_movements(session: Session, *, ingredient: int, query: PageQuery) -> MovementsView:
    """List what became of an ingredient, newest first."""
    found, following = service.list_movements(session, service.read_ingredient(session, ingredient), query)
    return MovementsView(items=[MovementView.model_validate(entry) for entry in found], next=following)


@api.operation("GET", "/dishes/<key:dish>/recipe", reply=RecipeView)
def read_recipe(session: Session, *, dish: int) -> RecipeView:
    """Read what one portion of a dish takes."""
    return _recipe(session, find_dish(session, dish))


@api.operation("PUT", "/dishes/<key:dish>/recipe", body=Recipe, reply=RecipeView, if_match=True)
def write_recipe(session: Session, *, dish: int, body: Recipe, version: Versions) -> RecipeView:
    """Replace what one portion of a dish takes."""
    found = find_dish(session, dish)
    require_version(found, version)
    service.write_recipe(session, found, body.quantities())
    return _recipe(session, found)


def _recipe(session: Session, dish: Dish) -> RecipeView:
    items = [RecipeEntry.of(line) for line in service.read_recipe(session, dish)]
    return RecipeView(items=items, version=dish.version)
