"""What the API takes and says about opening hours."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from restaurant.opening.hours import Hours, parse_hours, write_hours
from restaurant.types import Day, Name


def _read(value: Any) -> Hours:
    if not isinstance(value, str) or len(value) > 120:
        raise ValueError("must be text of at most 120 characters")
    return parse_hours(value)


_PATTERN = r"^(\d{2}:\d{2}-\d{2}:\d{2}(,\d{2}:\d{2}-\d{2}:\d{2}){0,5})?$"
#: Text such as ``12:00-14:30,19:00-22:00``, empty when closed.
HoursText = Annotated[
    Hours,
    PlainValidator(_read, json_schema_input_type=str),
    PlainSerializer(write_hours, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 120, "pattern": _PATTERN}),
]
WeekText = Annotated[list[HoursText], Field(min_length=7, max_length=7)]


class WeekChange(BaseModel):
    """The hours of each weekday, Monday first. Those of bookings are the first and last times at which one begins."""

    model_config = ConfigDict(extra="forbid")

    bookings: WeekText
    take_away: WeekText


class WeekView(BaseModel):
    """The hours of each weekday, Monday first."""

    model_config = ConfigDict(from_attributes=True)

    bookings: list[str]
    take_away: list[str]
    version: int


class SpecialDaysChange(BaseModel):
    """Days with hours of their own, both ends included; without hours the restaurant is closed."""

    model_config = ConfigDict(extra="forbid")

    first_day: Day
    last_day: Day
    name: Name
    bookings: HoursText = Field(default_factory=tuple)
    take_away: HoursText = Field(default_factory=tuple)


class SpecialDaysView(BaseModel):
    """Days with hours of their own."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    first_day: date
    last_day: date
    name: str
    bookings: str
    take_away: str
    version: int


class OpeningView(BaseModel):
    """When the restaurant is open, whether it takes take-away orders now, and when it does next."""

    week: WeekView
    special: list[SpecialDaysView]
    take_away_now: bool
    take_away_next: datetime | None
