"""What the API takes and says about orders that guests send from their table."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from restaurant.menu.models import Allergen
from restaurant.orders.models import LineStatus
from restaurant.table_orders.models import TableOrderStatus
from restaurant.types import Key, Text, Why

Code = Annotated[str, Field(min_length=1, max_length=120)]


class WantedDish(BaseModel):
    """A quantity of a dish with the ids of its chosen options."""

    model_config = ConfigDict(extra="forbid")

    dish: Key
    quantity: Annotated[int, Field(ge=1, le=20)] = 1
    options: Annotated[list[Key], Field(max_length=20)] = []


class NewTableOrder(BaseModel):
    """What guests want at the table with this code; `allergies` are what they cannot eat."""

    model_config = ConfigDict(extra="forbid")

    code: Code
    guest: Annotated[Text, Field(max_length=80)] = ""
    note: Annotated[Text, Field(max_length=300)] = ""
    allergies: Annotated[list[Allergen], Field(max_length=14)] = []
    lines: Annotated[list[WantedDish], Field(min_length=1, max_length=30)]


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
    """A dish of it. `status` is null before it is accepted, and for a dish that was left out."""

    dish: int
    name: str
    quantity: int
    options: list[str]
    unit_price: int
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
