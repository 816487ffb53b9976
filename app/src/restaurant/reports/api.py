"""Reports over REST."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from flask import current_app
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.orm import Session

from restaurant.http.api import Api
from restaurant.reports import service
from restaurant.settings import Settings

api = Api("reports")
Day = Annotated[date, Field(ge=date(2020, 1, 1), le=date(2100, 1, 1))]


class Span(BaseModel):
    """The first and the last day of a report, 93 days apart at most."""

    model_config = ConfigDict(extra="forbid")

    since: Day
    until: Day

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.since <= self.until <= self.since + service.LONGEST:
            raise ValueError("until must be the same day as since or up to 92 days later")
        return self


class RowView(BaseModel):
    """A line of a report: how many, and what they brought in cents."""

    model_config = ConfigDict(from_attributes=True)

    label: str
    count: int
    total: int


class ReportView(BaseModel):
    """A span's figures; amounts are cents, `turn_minutes` is the mean from seating to paying."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    tips: int
    orders: int
    covers: int
    per_cover: int
    turn_minutes: int
    by_day: list[RowView]
    by_hour: list[RowView]
    by_dish: list[RowView]
    by_server: list[RowView]
    by_method: list[RowView]
    by_rate: list[RowView]


@api.operation("GET", "/reports", query=Span, reply=ReportView)
def read_report(session: Session, *, query: Span) -> ReportView:
    """Read the figures of a span of days."""
    settings: Settings = current_app.extensions["settings"]
    report = service.read_report(session, since=query.since, until=query.until, business_day=settings.business_day)
    return ReportView.model_validate(report)
