"""What the API says about the menu."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from restaurant.http.paging import PageView
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Category, Course, Dish, Station
from restaurant.types import Fault, Key, Name, Text

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
    """A group of options of a dish."""

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
    version: int
    dishes: list[DishView]

    @classmethod
    def of(cls, category: Category, *, at: time) -> CategoryView:
        """The view of `category` at the local time `at`."""
        return cls(
            id=category.id,
            name=category.name,
            name_en=category.name_en,
            version=category.version,
            dishes=[DishView.of(dish, at=at) for dish in category.dishes if not dish.archived],
        )


class MenuView(BaseModel):
    """The whole menu in the order it is printed."""

    categories: list[CategoryView]


class NewCategory(BaseModel):
    """A heading to add at the end of the menu."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    name_en: Name | None = None


class CategoryChange(BaseModel):
    """What to change of a heading; what is absent stays. `position` 0 is the first place."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    name_en: Name | None = None
    position: Annotated[int, Field(ge=0, le=1000)] | None = None


class CategoryEntry(BaseModel):
    """A heading, without its dishes."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    name_en: str | None
    position: int
    version: int


class OptionEntry(BaseModel):
    """An option to write. With the `id` of an existing option, that option is changed and keeps its id."""

    model_config = ConfigDict(extra="forbid")

    id: Key | None = None
    name: Name
    name_en: Name | None = None
    price: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class OptionGroupEntry(BaseModel):
    """A question about a dish, answered with `minimum` to `maximum` of its options."""

    model_config = ConfigDict(extra="forbid")

    id: Key | None = None
    name: Name
    name_en: Name | None = None
    minimum: Annotated[int, Field(ge=0, le=20)] = 0
    maximum: Annotated[int, Field(ge=1, le=20)] = 1
    options: Annotated[list[OptionEntry], Field(min_length=1, max_length=30)]

    @model_validator(mode="after")
    def _can_be_answered(self) -> Self:
        if not self.minimum <= self.maximum <= len(self.options):
            raise Fault(
                _("The minimum must not be larger than the maximum, nor the maximum than the number of options.")
            )
        return self


Vat = Literal[550, 1000, 2000]
Price = Annotated[int, Field(ge=0, le=10_000_000)]
Allergens = Annotated[list[Allergen], Field(max_length=14)]
Groups = Annotated[list[OptionGroupEntry], Field(max_length=12)]


class NewDish(BaseModel):
    """A dish to put at the end of its category. A window of availability has both its ends or none."""

    model_config = ConfigDict(extra="forbid")

    category: Key
    name: Name
    name_en: Name | None = None
    description: Text = ""
    description_en: Text | None = None
    price: Price
    vat_dine_in: Vat = 1000
    vat_take_away: Vat = 1000
    station: Station
    course: Course
    allergens: Allergens = []
    available_from: Clock | None = None
    available_until: Clock | None = None
    option_groups: Groups = []


class DishChange(BaseModel):
    """What to change of a dish; what is absent stays, and allergens and option groups are replaced as a whole.

    null removes an English text or the window of availability, and changes nothing else. `archived` hides a dish.
    """

    model_config = ConfigDict(extra="forbid")

    category: Key | None = None
    position: Annotated[int, Field(ge=0, le=1000)] | None = None
    name: Name | None = None
    name_en: Name | None = None
    description: Text | None = None
    description_en: Text | None = None
    price: Price | None = None
    vat_dine_in: Vat | None = None
    vat_take_away: Vat | None = None
    station: Station | None = None
    course: Course | None = None
    allergens: Allergens | None = None
    available_from: Clock | None = None
    available_until: Clock | None = None
    option_groups: Groups | None = None
    out_of_stock: bool | None = None
    archived: bool | None = None

    def changes(self) -> dict[str, Any]:
        """What was sent, without the nulls that mean nothing."""
        may_be_null = {"name_en", "description_en", "available_from", "available_until"}
        return {
            name: value
            for name in self.model_fields_set
            if (value := getattr(self, name)) is not None or name in may_be_null
        }


class DishEntry(DishView):
    """A dish as the staff sees it, including hidden ones."""

    category_id: int
    archived: bool
    out_of_stock: bool

    @classmethod
    def of(cls, dish: Dish, *, at: time) -> DishEntry:
        """The view of `dish` at the local time `at`."""
        return cls(
            **dict(DishView.of(dish, at=at)),
            category_id=dish.category_id,
            archived=dish.archived,
            out_of_stock=dish.out_of_stock,
        )


class DishesView(PageView):
    """A page of all dishes, by category."""

    items: list[DishEntry]
