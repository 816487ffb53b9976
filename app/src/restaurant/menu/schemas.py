"""What the API says about the menu."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from restaurant.http.paging import PageView
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Category, Course, Dish, HappyHour, SetMenu, Station
from restaurant.menu.offers import Offers, Price
from restaurant.menu.schedule import Weekday
from restaurant.types import Fault, Key, Name, Text

if TYPE_CHECKING:
    from restaurant.menu.service import Menu

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


class OfferView(BaseModel):
    """A happy hour with the price of a dish until it ends."""

    name: str
    name_en: str | None
    price: int
    until: Clock

    @classmethod
    def of(cls, price: Price) -> OfferView | None:
        """The view of a price, None for the regular one."""
        found = price.happy_hour
        if found is None:
            return None
        return cls(name=found.name, name_en=found.name_en, price=price.amount, until=found.ends)


class DishView(BaseModel):
    """A dish; `available` says whether it can be ordered now, `offer` the lower price that it has now."""

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
    offer: OfferView | None

    @classmethod
    def of(cls, dish: Dish, offers: Offers) -> DishView:
        """The view of `dish` with what is offered now."""
        from restaurant.menu.service import is_available

        return cls(
            **{name: getattr(dish, name) for name in _PLAIN},
            allergens=[entry.allergen for entry in dish.allergens],
            available=is_available(dish, at=offers.clock),
            option_groups=[OptionGroupView.model_validate(group) for group in dish.option_groups],
            offer=OfferView.of(offers.price(dish)),
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
    def of(cls, category: Category, offers: Offers) -> CategoryView:
        """The view of `category` with what is offered now."""
        return cls(
            id=category.id,
            name=category.name,
            name_en=category.name_en,
            version=category.version,
            dishes=[DishView.of(dish, offers) for dish in category.dishes if not dish.archived],
        )


class ChoiceView(BaseModel):
    """A dish that can be chosen for a course of a set menu, with a supplement in cents."""

    dish: int
    supplement: int
    available: bool


class MenuCourseView(BaseModel):
    """A course of a set menu, for which one dish is chosen; it is served as `course`."""

    id: int
    name: str
    name_en: str | None
    course: Course
    choices: list[ChoiceView]


class SetMenuView(BaseModel):
    """A set menu; `available` says whether it can be ordered now."""

    id: int
    name: str
    name_en: str | None
    description: str
    description_en: str | None
    price: int
    days: list[Weekday]
    starts: Clock | None
    ends: Clock | None
    available: bool
    version: int
    courses: list[MenuCourseView]

    @classmethod
    def of(cls, set_menu: SetMenu, dishes: Mapping[int, Dish], offers: Offers) -> SetMenuView:
        """The view of `set_menu` with what is offered now, and the `dishes` of the menu."""
        from restaurant.menu.service import is_available

        courses = [
            MenuCourseView(
                id=course.id,
                name=course.name,
                name_en=course.name_en,
                course=course.course,
                choices=[
                    ChoiceView(
                        dish=choice.dish_id, supplement=choice.supplement,
                        available=choice.dish_id in dishes and is_available(dishes[choice.dish_id], at=offers.clock),
                    )
                    for choice in course.choices
                ],
            )
            for course in set_menu.courses
        ]  # fmt: skip
        return cls(
            **{name: getattr(set_menu, name) for name in _PLAIN_OF_MENU},
            available=set_menu.id in offers.set_menus
            and all(any(choice.available for choice in course.choices) for course in courses),
            courses=courses,
        )


_PLAIN_OF_MENU = (
    "id", "name", "name_en", "description", "description_en", "price", "days", "starts", "ends", "version",
)  # fmt: skip


class MenuView(BaseModel):
    """The whole menu in the order it is printed; set menus name the dishes of the categories."""

    categories: list[CategoryView]
    set_menus: list[SetMenuView]

    @classmethod
    def of(cls, menu: Menu, offers: Offers) -> MenuView:
        """The view of `menu` with what is offered now."""
        return cls(
            categories=[CategoryView.of(category, offers) for category in menu.categories],
            set_menus=[
                SetMenuView.of(set_menu, menu.dishes, offers) for set_menu in menu.set_menus if not set_menu.archived
            ],
        )


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
Cents = Annotated[int, Field(ge=0, le=10_000_000)]
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
    price: Cents
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
    price: Cents | None = None
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
    def of(cls, dish: Dish, offers: Offers) -> DishEntry:
        """The view of `dish` with what is offered now."""
        return cls(
            **dict(DishView.of(dish, offers)),
            category_id=dish.category_id,
            archived=dish.archived,
            out_of_stock=dish.out_of_stock,
        )


class DishesView(PageView):
    """A page of all dishes, by category."""

    items: list[DishEntry]


Days = Annotated[list[Weekday], Field(max_length=7)]


class ChoiceEntry(BaseModel):
    """A dish to choose, with a supplement in cents."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    supplement: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class MenuCourseEntry(BaseModel):
    """A course of a set menu with the dishes to choose from."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    name_en: Name | None = None
    course: Course
    choices: Annotated[list[ChoiceEntry], Field(min_length=1, max_length=40)]


class SetMenuEntry(BaseModel):
    """A set menu as it is to be. Without `days` it is offered every day, without times all day; `archived` hides it."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    name_en: Name | None = None
    description: Text = ""
    description_en: Text | None = None
    price: Cents
    days: Days = []
    starts: Clock | None = None
    ends: Clock | None = None
    archived: bool = False
    courses: Annotated[list[MenuCourseEntry], Field(min_length=1, max_length=8)]

    @model_validator(mode="after")
    def _can_be_ordered(self) -> Self:
        if (self.starts is None) != (self.ends is None):
            raise Fault(_("Enter both the start and the end of the serving time, or neither."))
        dishes = [choice.dish for course in self.courses for choice in course.choices]
        if len(dishes) > len(set(dishes)):
            raise Fault(_("A dish can be in one course of a set menu only."))
        return self


class SetMenusView(BaseModel):
    """All set menus, hidden ones included."""

    items: list[SetMenuDetails]


class SetMenuDetails(SetMenuView):
    """A set menu as the staff sees it."""

    archived: bool

    @classmethod
    def of(cls, set_menu: SetMenu, dishes: Mapping[int, Dish], offers: Offers) -> SetMenuDetails:
        """The view of `set_menu`, hidden or not."""
        return cls(**dict(SetMenuView.of(set_menu, dishes, offers)), archived=set_menu.archived)


class HappyHourItemEntry(BaseModel):
    """A dish, with a price in cents of its own if it has one, or a category."""

    model_config = ConfigDict(extra="forbid")

    dish: Key | None = None
    category: Key | None = None
    price: Cents | None = None


class HappyHourEntry(BaseModel):
    """A happy hour as it is to be: `percent` less, or the prices of its dishes. Without `days` it is every day.

    Times are the restaurant's, and belong to the business day on which they begin.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name
    name_en: Name | None = None
    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    days: Days = []
    starts: Clock
    ends: Clock
    items: Annotated[list[HappyHourItemEntry], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _has_prices(self) -> Self:
        for item in self.items:
            if (item.dish is None) == (item.category is None):
                raise Fault(_("Choose a dish or a category."))
            if item.price is not None and item.dish is None:
                raise Fault(_("A category has no price of its own: enter a percentage."))
            if item.price is None and self.percent is None:
                raise Fault(_("Enter a percentage, or a price for each dish."))
        if len({(item.dish, item.category) for item in self.items}) < len(self.items):
            raise Fault(_("A happy hour names each dish and each category once."))
        return self


class HappyHourView(BaseModel):
    """A happy hour; `running` says whether it is on now."""

    id: int
    name: str
    name_en: str | None
    percent: int | None
    days: list[Weekday]
    starts: Clock
    ends: Clock
    running: bool
    version: int
    items: list[HappyHourItemView]

    @classmethod
    def of(cls, found: HappyHour, offers: Offers) -> HappyHourView:
        """The view of a happy hour."""
        names = ("id", "name", "name_en", "percent", "days", "starts", "ends", "version")
        return cls(
            **{name: getattr(found, name) for name in names},
            running=found.id in {entry.id for entry in offers.happy_hours},
            items=[
                HappyHourItemView(dish=item.dish_id, category=item.category_id, price=item.price)
                for item in found.items
            ],
        )


class HappyHourItemView(BaseModel):
    """What a happy hour is for."""

    dish: int | None
    category: int | None
    price: int | None


class HappyHoursView(BaseModel):
    """All happy hours."""

    items: list[HappyHourView]
