"""What the API takes and says about the stock. Quantities are whole grams, millilitres or pieces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from restaurant.http.paging import PageView
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


class IngredientsView(PageView):
    """Everything in stock, what is low first."""

    items: list[IngredientView]


class NewIngredient(BaseModel):
    """An ingredient, with what is there of it and when that is too little."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    unit: Unit
    quantity: Quantity = 0
    low_at: Quantity = 0


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


class Recipe(BaseModel):
    """What one portion of a dish takes."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[RecipeEntry], Field(max_length=60)]
