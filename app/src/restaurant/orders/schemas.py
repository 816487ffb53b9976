"""What the API takes and says about orders."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from restaurant.menu.models import Course, Station
from restaurant.orders.models import LineStatus, Order, OrderKind, OrderStatus
from restaurant.types import LARGEST, Name, Text

Key = Annotated[int, Field(ge=1, le=LARGEST)]


class LinePlacement(BaseModel):
    """A quantity of a dish with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    quantity: Annotated[int, Field(ge=1, le=50)] = 1
    options: Annotated[list[Key], Field(max_length=20)] = []
    note: Text = ""


class OrderPlacement(BaseModel):
    """An order by a guest, to take away."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal[OrderKind.TAKE_AWAY] = OrderKind.TAKE_AWAY
    guest: Name
    note: Text = ""
    lines: Annotated[list[LinePlacement], Field(min_length=1, max_length=60)]


class ChosenOptionView(BaseModel):
    """An option as it was chosen; its price in cents is already in the line's unit price."""

    name: str
    price: int


class LineView(BaseModel):
    """A line of an order. Prices are in cents, options included."""

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
    status: LineStatus
    note: str
    options: list[ChosenOptionView]


class OrderView(BaseModel):
    """An order. `reference` is its address; who knows it may read the order."""

    model_config = ConfigDict(from_attributes=True)

    reference: uuid.UUID
    kind: OrderKind
    status: OrderStatus
    guest: str
    note: str
    opened_at: datetime
    closed_at: datetime | None
    total: int
    lines: list[LineView]

    @classmethod
    def of(cls, order: Order) -> OrderView:
        """The view of `order`."""
        return cls.model_validate(order)
