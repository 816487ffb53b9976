"""What the API takes and says about orders that guests send from their table."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen
from restaurant.orders.models import LineStatus
from restaurant.orders.schemas import LinePlacement, MenuPlacement, Placement
from restaurant.table_orders.models import TableOrderStatus
from restaurant.types import Fault, Key, Text, Why

Code = Annotated[str, Field(min_length=1, max_length=120)]


class WantedDish(BaseModel):
    """A quantity of a dish with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    quantity: Annotated[int, Field(ge=1, le=20)] = 1
    options: Annotated[list[Key], Field(max_length=20)] = []


class WantedChoice(BaseModel):
    """A dish chosen for a course of a set menu, with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    options: Annotated[list[Key], Field(max_length=20)] = []


class WantedMenu(BaseModel):
    """A quantity of a set menu with the same dishes, one of each course."""

    model_config = ConfigDict(extra="forbid")

    set_menu: Key
    quantity: Annotated[int, Field(ge=1, le=20)] = 1
    dishes: Annotated[list[WantedChoice], Field(max_length=8)]


class NewTableOrder(BaseModel):
    """What guests want at the table with this code; `allergies` are what they cannot eat."""

    model_config = ConfigDict(extra="forbid")

    code: Code
    guest: Annotated[Text, Field(max_length=80)] = ""
    note: Annotated[Text, Field(max_length=300)] = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []
    lines: Annotated[list[WantedDish], Field(max_length=30)] = []
    menus: Annotated[list[WantedMenu], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.lines and not self.menus:
            raise Fault(_("Choose at least one dish."))
        return self

    @property
    def wanted(self) -> list[Placement]:
        """All of it, dishes first."""
        return [
            *(LinePlacement.model_validate(line.model_dump()) for line in self.lines),
            *(MenuPlacement.model_validate(menu.model_dump()) for menu in self.menus),
        ]


class Acceptance(BaseModel):
    """How to accept it: `hold` keeps its dishes from the kitchen; `covers` is for a table where nobody was seated."""

    model_config = ConfigDict(extra="forbid")

    hold: bool = False
    covers: Annotated[int, Field(ge=1, le=60)] = 1


class Refusal(BaseModel):
    """Why it is refused, for the guest to read."""

    model_config = ConfigDict(extra="forbid")

    reason: Why


class TableOrderLineView(BaseModel):
    """A dish of it. `status` is null before it is accepted, and for a dish that was left out.

    `offer` names its set menu or happy hour, and the courses of a set menu have the same `portion`.
    """

    dish: int
    name: str
    quantity: int
    options: list[str]
    unit_price: int
    offer: str | None
    portion: str | None
    danger: list[Allergen]
    status: LineStatus | None


class TableOrderView(BaseModel):
    """An order from a table. Who knows its reference may read it."""

    reference: uuid.UUID
    table: str
    status: TableOrderStatus
    expired: bool
    guest: str
    note: str
    allergies: list[Allergen]
    reason: str
    total: int
    created_at: datetime
    lines: list[TableOrderLineView]


class TableOrdersView(BaseModel):
    """The orders from tables that wait to be confirmed, longest waiting first."""

    items: list[TableOrderView]


class CodeView(BaseModel):
    """A table's code and the address that its QR code leads to."""

    table: int
    code: str
    address: str
