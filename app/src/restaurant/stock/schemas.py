"""What the API takes and says about the stock. Quantities are whole grams, millilitres or pieces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from restaurant.errors import Invalid
from restaurant.http.paging import PageView
from restaurant.i18n import gettext as _
from restaurant.stock.models import MovementReason, RecipeLine, Unit
from restaurant.types import LARGEST, Name

Quantity = Annotated[int, Field(ge=0, le=100_000_000)]
Key = Annotated[int, Field(ge=1, le=LARGEST)]


class IngredientView(BaseModel):
    """Something dishes are made of."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    unit: Unit
    quantity: int
    low_at: int
    version: int


class IngredientsView(PageView):
    """Everything in stock, what is low first."""

    items: list[IngredientView]


class NewIngredient(BaseModel):
    """An ingredient, with its quantity in stock and its low-stock threshold."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    unit: Unit
    quantity: Quantity = 0
    low_at: Quantity = 0


class IngredientChange(BaseModel):
    """What to change of an ingredient; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    low_at: Quantity | None = None


class MovementView(BaseModel):
    """A change of a stock, and who made it; no one when a dish was sold."""

    model_config = ConfigDict(from_attributes=True)

    created_at: datetime
    reason: MovementReason
    delta: int
    by: Annotated[str | None, BeforeValidator(lambda user: user and user.name)]


class MovementsView(PageView):
    """A page of an ingredient's movements, newest first."""

    items: list[MovementView]


class NewMovement(BaseModel):
    """What was delivered, wasted or counted."""

    model_config = ConfigDict(extra="forbid")

    reason: Literal[MovementReason.DELIVERED, MovementReason.WASTED, MovementReason.COUNTED]
    quantity: Quantity


class RecipeEntry(BaseModel):
    """How much of an ingredient one portion takes."""

    model_config = ConfigDict(extra="forbid")

    ingredient: Key
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]

    @classmethod
    def of(cls, line: RecipeLine) -> RecipeEntry:
        """The view of a line of a recipe."""
        return cls(ingredient=line.ingredient_id, quantity=line.quantity)


class RecipeView(BaseModel):
    """What one portion of a dish takes; the version is the dish's."""

    items: list[RecipeEntry]
    version: int


class Recipe(BaseModel):
    """What one portion of a dish takes."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[RecipeEntry], Field(max_length=60)]

    def quantities(self) -> dict[int, int]:
        """Quantities by ingredient. Raises `Invalid` when one is named twice."""
        found = {entry.ingredient: entry.quantity for entry in self.items}
        if len(found) < len(self.items):
            detail = _("An ingredient is listed twice.")
            raise Invalid(detail, fields={"/items": detail})
        return found
