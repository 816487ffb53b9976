"""What the API takes and says about orders."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from restaurant.http.paging import PageQuery, PageView
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Course, Station
from restaurant.orders.models import LineStatus, Order, OrderKind, OrderStatus
from restaurant.types import Fault, Key, Name, Text, Why


class LinePlacement(BaseModel):
    """A quantity of a dish with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    quantity: Annotated[int, Field(ge=1, le=50)] = 1
    options: Annotated[list[Key], Field(max_length=20)] = []
    course: Course | None = None
    seat: Annotated[int, Field(ge=1, le=60)] | None = None
    note: Text = ""


class ChosenDish(BaseModel):
    """A dish chosen for a course of a set menu, with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    options: Annotated[list[Key], Field(max_length=20)] = []
    note: Text = ""


class MenuPlacement(BaseModel):
    """A quantity of a set menu with the same dishes, one of each course."""

    model_config = ConfigDict(extra="forbid")

    set_menu: Key
    quantity: Annotated[int, Field(ge=1, le=50)] = 1
    seat: Annotated[int, Field(ge=1, le=60)] | None = None
    dishes: Annotated[list[ChosenDish], Field(max_length=8)]


class Placements(BaseModel):
    """What to order: dishes, set menus, or both."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[list[LinePlacement], Field(max_length=60)] = []
    menus: Annotated[list[MenuPlacement], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.wanted:
            raise Fault(_("Choose at least one dish."))
        return self

    @property
    def wanted(self) -> list[Placement]:
        """All of it, dishes first."""
        return [*self.lines, *self.menus]

    def only(self, wanted: Iterable[Placement]) -> Self:
        """The same with only `wanted` of it."""
        kept = list(wanted)
        lines = [entry for entry in kept if isinstance(entry, LinePlacement)]
        menus = [entry for entry in kept if isinstance(entry, MenuPlacement)]
        return self.model_copy(update={"lines": lines, "menus": menus})


#: A quantity of a dish or of a set menu.
Placement = LinePlacement | MenuPlacement


def dishes_of(placement: Placement) -> set[int]:
    """The ids of the dishes in it."""
    return {placement.dish} if isinstance(placement, LinePlacement) else {entry.dish for entry in placement.dishes}


class OrderPlacement(Placements):
    """A guest's take-away order. It is sent to the kitchen immediately."""

    kind: Literal[OrderKind.TAKE_AWAY] = OrderKind.TAKE_AWAY
    guest: Name
    note: Text = ""


class ChosenOptionView(BaseModel):
    """An option as it was chosen; its price in cents is already in the line's unit price."""

    name: str
    price: int


class LineView(BaseModel):
    """A line of an order. Prices are in cents, options included.

    `offer` names the set menu that it is a course of, or the happy hour whose price it has; `regular_price` is what a
    portion costs without. The courses of a set menu that were ordered together have the same `portion`, and share its
    price.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    dish_id: int
    name: str
    quantity: int
    unit_price: int
    total: int
    vat_rate: int
    station: Station
    course: Course
    seat: int | None
    status: LineStatus
    note: str
    options: list[ChosenOptionView]
    offer: str | None
    portion: str | None
    regular_price: int | None
    danger: list[Allergen]


class OrderView(BaseModel):
    """An order. `reference` is its address; who knows it may read the order."""

    model_config = ConfigDict(from_attributes=True)

    reference: uuid.UUID
    kind: OrderKind
    status: OrderStatus
    table_id: int | None
    covers: int
    allergies: list[Allergen]
    guest: str
    note: str
    opened_at: datetime
    closed_at: datetime | None
    total: int
    version: int
    lines: list[LineView]

    @classmethod
    def of(cls, order: Order) -> OrderView:
        """The view of `order`."""
        return cls.model_validate(order)


class OrdersView(PageView):
    """A page of orders, newest first."""

    items: list[OrderView]


class OrdersQuery(PageQuery):
    """Which orders to list."""

    status: OrderStatus | None = None


class Seating(BaseModel):
    """Guests who sit down at a table."""

    model_config = ConfigDict(extra="forbid")

    table: Key
    covers: Annotated[int, Field(ge=1, le=60)]
    guest: Annotated[Text, Field(max_length=80)] = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []


class LinesPlacement(Placements):
    """Lines to add; `hold` keeps them from the kitchen until their course is fired.

    Of a set menu, drinks and the first course are sent, and the other courses are held.
    """

    hold: bool = False


class Firing(BaseModel):
    """Which course to send to the kitchen; without one, everything that is held."""

    model_config = ConfigDict(extra="forbid")

    course: Course | None = None


class LineMove(BaseModel):
    """Where a line goes."""

    model_config = ConfigDict(extra="forbid")

    status: Literal[LineStatus.FIRED, LineStatus.PREPARING, LineStatus.READY, LineStatus.SERVED]


class Reason(BaseModel):
    """The reason of a void or cancellation, with a manager's approval where one is needed."""

    model_config = ConfigDict(extra="forbid")

    reason: Why
    approval: Annotated[str, Field(max_length=100)] | None = None


class Voiding(Reason):
    """How many portions of a line to void; without a quantity, all."""

    quantity: Annotated[int, Field(ge=1, le=50)] | None = None


class Assignment(BaseModel):
    """The person who serves the order from now on."""

    model_config = ConfigDict(extra="forbid")

    server: Key


class Transfer(BaseModel):
    """The table to move to."""

    model_config = ConfigDict(extra="forbid")

    table: Key


class Merge(BaseModel):
    """The order that takes over all lines."""

    model_config = ConfigDict(extra="forbid")

    into: uuid.UUID


class LinesTransfer(BaseModel):
    """The lines to move, and the order to move them to."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[list[Key], Field(min_length=1, max_length=60)]
    into: uuid.UUID


class CourseChange(BaseModel):
    """The course to serve a held line with."""

    model_config = ConfigDict(extra="forbid")

    course: Course


class Guests(BaseModel):
    """What is known about the guests."""

    model_config = ConfigDict(extra="forbid")

    covers: Annotated[int, Field(ge=1, le=60)]
    guest: Annotated[Text, Field(max_length=80)] = ""
    note: Text = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []
