"""What the API takes and says about the floor."""

from __future__ import annotations

import uuid
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from restaurant.floor.models import Condition, Shape, TableState
from restaurant.floor.service import Seat
from restaurant.types import Key, Name, OneLine, Printable

TableName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[\w .-]{1,20}$"), Printable, OneLine]
Seats = Annotated[int, Field(ge=1, le=40)]
Place = Annotated[int, Field(ge=0, le=5000)]
Size = Annotated[int, Field(ge=40, le=1000)]


class TableView(BaseModel):
    """A table, with what it is doing and the open order it has. Positions and sizes are in centimeters."""

    id: int
    room_id: int
    name: str
    shape: Shape
    seats_min: int
    seats_max: int
    x: int
    y: int
    width: int
    height: int
    condition: Condition
    merged_into_id: int | None
    state: TableState
    order: uuid.UUID | None
    version: int

    @classmethod
    def of(cls, seat: Seat) -> TableView:
        """The view of a table."""
        plain = {name: getattr(seat.table, name) for name in cls.model_fields if name not in {"state", "order"}}
        return cls(**plain, state=seat.state, order=seat.order.reference if seat.order else None)


class RoomView(BaseModel):
    """A room and its tables."""

    id: int
    name: str
    tables: list[TableView]
    version: int


class FloorView(BaseModel):
    """All rooms and their tables."""

    rooms: list[RoomView]


class RoomName(BaseModel):
    """What a room is called."""

    model_config = ConfigDict(extra="forbid")

    name: Name


class NewTable(BaseModel):
    """A table to put into a room."""

    model_config = ConfigDict(extra="forbid")

    room: Key
    name: TableName
    shape: Shape = Shape.SQUARE
    seats_min: Seats = 1
    seats_max: Seats
    x: Place = 0
    y: Place = 0
    width: Size = 100
    height: Size = 100

    @model_validator(mode="after")
    def _seats(self) -> Self:
        if self.seats_min > self.seats_max:
            raise ValueError("seats_min must not be larger than seats_max")
        return self


class TableChange(BaseModel):
    """What to change of a table; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    room: Key | None = None
    name: TableName | None = None
    shape: Shape | None = None
    seats_min: Seats | None = None
    seats_max: Seats | None = None
    x: Place | None = None
    y: Place | None = None
    width: Size | None = None
    height: Size | None = None
    condition: Condition | None = None


class TableJoin(BaseModel):
    """The table to push this one to, or null to part them."""

    model_config = ConfigDict(extra="forbid")

    into: Key | None
