"""Opening hours over REST: `public` is for everybody, `editor` for those who change them."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.http.api import Api, Versions, require_version
from restaurant.opening import service
from restaurant.opening.hours import Purpose
from restaurant.opening.schemas import OpeningView, SpecialDaysChange, SpecialDaysView, WeekChange, WeekView
from restaurant.settings import Settings
from restaurant.types import now

public = Api("opening")
editor = Api("opening_editor")
_CONFLICT = (HTTPStatus.CONFLICT,)


@public.operation("GET", "/opening", reply=OpeningView)
def read_opening(session: Session) -> OpeningView:
    """Read when the restaurant is open."""
    settings: Settings = current_app.extensions["settings"]
    at = now()
    calendar = service.read_calendar(session, settings.opening)
    today = at.astimezone(settings.zone).date()
    return OpeningView(
        week=WeekView.model_validate(service.read_week(session, settings.opening)),
        special=[SpecialDaysView.model_validate(entry) for entry in service.list_periods(session, since=today)],
        take_away_now=calendar.is_open(Purpose.TAKE_AWAY, at),
        take_away_next=calendar.next_opening(Purpose.TAKE_AWAY, at),
    )


@editor.operation("PUT", "/opening/week", body=WeekChange, reply=WeekView, if_match=True)
def change_week(session: Session, *, body: WeekChange, version: Versions) -> WeekView:
    """Change the hours of the week; `If-Match: "0"` while they are those of the settings."""
    settings: Settings = current_app.extensions["settings"]
    week = service.write_week(
        session, bookings=body.bookings, take_away=body.take_away, version=version, opening=settings.opening
    )
    return WeekView.model_validate(week)


@editor.operation("POST", "/opening/days", body=SpecialDaysChange, reply=SpecialDaysView, status=HTTPStatus.CREATED,
                  refusals=_CONFLICT)  # fmt: skip
def add_special_days(session: Session, *, body: SpecialDaysChange) -> SpecialDaysView:
    """Add days with hours of their own."""
    return SpecialDaysView.model_validate(service.write_period(session, None, **dict(body)))


@editor.operation("PUT", "/opening/days/<key:period>", body=SpecialDaysChange, reply=SpecialDaysView, if_match=True,
                  refusals=_CONFLICT)  # fmt: skip
def change_special_days(
    session: Session, *, period: int, body: SpecialDaysChange, version: Versions
) -> SpecialDaysView:
    """Change days with hours of their own."""
    found = service.read_period(session, period)
    require_version(found, version)
    return SpecialDaysView.model_validate(service.write_period(session, found, **dict(body)))


@editor.operation("DELETE", "/opening/days/<key:period>", reply=None, if_match=True)
def remove_special_days(session: Session, *, period: int, version: Versions) -> None:
    """Remove days with hours of their own: the hours of the week apply again."""
    found = service.read_period(session, period)
    require_version(found, version)
    service.remove_period(session, found)
