"""The stock over REST."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.orm import Session

from restaurant.errors import Invalid
from restaurant.http.api import Api
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.stock import service
from restaurant.stock.schemas import (
    IngredientsView,
    IngredientView,
    NewIngredient,
    NewMovement,
    Recipe,
    RecipeEntry,
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


@api.operation("GET", "/dishes/<key:dish>/recipe", reply=Recipe)
def read_recipe(session: Session, *, dish: int) -> Recipe:
    """Read what one portion of a dish takes."""
    return Recipe(items=[RecipeEntry.of(line) for line in service.read_recipe(session, dish)])


@api.operation("PUT", "/dishes/<key:dish>/recipe", body=Recipe, reply=Recipe)
def write_recipe(session: Session, *, dish: int, body: Recipe) -> Recipe:
    """Replace what one portion of a dish takes."""
    quantities = {entry.ingredient: entry.quantity for entry in body.items}
    if len(quantities) < len(body.items):
        detail = _("An ingredient is named twice.")
        raise Invalid(detail, fields={"/items": detail})
    return Recipe(items=[RecipeEntry.of(line) for line in service.write_recipe(session, dish, quantities)])
