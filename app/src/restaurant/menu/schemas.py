"""What the API says about the menu."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from restaurant.menu.models import Allergen, Category, Course, Dish, Station
from restaurant.types import Name, Text

#: A time of day in the restaurant. JSON Schema's own format "time" would need an offset.
Clock = Annotated[time, WithJsonSchema({"type": "string", "pattern": r"^\d{2}:\d{2}:\d{2}$"})]


class OptionView(BaseModel):
    """One answer of an option group; the price in cents is added to the dish's."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    name_en: str | None
    price: int


class OptionGroupView(BaseModel):
    """A question asked about a dish."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    name_en: str | None
    minimum: int
    maximum: int
    options: list[OptionView]


class DishView(BaseModel):
    """A dish; `available` says whether it can be ordered now."""

    id: int
    name: str
    name_en: str | None
    description: str
    description_en: str | None
    price: int
    vat_dine_in: int
    vat_take_away: int
    station: Station
    course: Course
    allergens: list[Allergen]
    available: bool
    available_from: Clock | None
    available_until: Clock | None
    option_groups: list[OptionGroupView]
    version: int

    @classmethod
    def of(cls, dish: Dish, *, at: time) -> DishView:
        """The view of `dish` at the local time `at`."""
        from restaurant.menu.service import is_available

        return cls(
            **{name: getattr(dish, name) for name in _PLAIN},
            allergens=[entry.allergen for entry in dish.allergens],
            available=is_available(dish, at=at),
            option_groups=[OptionGroupView.model_validate(group) for group in dish.option_groups],
        )


_PLAIN = (
    "id", "name", "name_en", "description", "description_en", "price", "vat_dine_in", "vat_take_away",
    "station", "course", "available_from", "available_until", "version",
)  # fmt: skip


class CategoryView(BaseModel):
    """A heading of the menu with its dishes."""

    id: int
    name: str
    name_en: str | None
    dishes: list[DishView]

    @classmethod
    def of(cls, category: Category, *, at: time) -> CategoryView:
        """The view of `category` at the local time `at`."""
        return cls(
            id=category.id,
            name=category.name,
            name_en=category.name_en,
            dishes=[DishView.of(dish, at=at) for dish in category.dishes if not dish.archived],
        )


class MenuView(BaseModel):
    """The whole menu in the order it is printed."""

    categories: list[CategoryView]


class DishChange(BaseModel):
    """What to change of a dish; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    name_en: Name | None = None
    description: Text | None = None
    description_en: Text | None = None
    price: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    vat_dine_in: Literal[550, 1000, 2000] | None = None
    vat_take_away: Literal[550, 1000, 2000] | None = None
    out_of_stock: bool | None = None
    archived: bool | None = None
