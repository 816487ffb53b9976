"""The page of the opening hours."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.forms import read_form, read_version, typed
from restaurant.http.api import require_version
from restaurant.i18n import gettext as _
from restaurant.i18n import local, weekdays
from restaurant.opening import service
from restaurant.opening.hours import Purpose, parse_hours, show_hours
from restaurant.opening.schemas import SpecialDaysChange, WeekChange
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("opening", __name__, url_prefix="/horaires")


@pages.app_template_filter("hours")
def format_hours(text: str) -> str:
    """Hours as they are edited: ``12:00–14:00, 19:00–22:00``."""
    return show_hours(parse_hours(text))


@pages.get("")
def opening_page() -> str:
    """The hours of the week, and the days that differ."""
    settings: Settings = current_app.extensions["settings"]
    at = now()
    with _database().reading() as session:
        calendar = service.read_calendar(session, settings.opening)
        week = service.read_week(session, settings.opening)
        special = service.list_periods(session, since=local(at).date())
    return render_template(
        "opening/opening.html", week=week, special=special, weekdays=weekdays(), today=local(at).date(),
        open_now=calendar.is_open(Purpose.TAKE_AWAY, at),
        closed=service.closed_now(calendar, Purpose.TAKE_AWAY, at=at),
        always=all(text == "00:00-24:00" for text in week.take_away),
    )  # fmt: skip


@pages.post("")
def change_week() -> Response:
    """Change the hours of the week."""
    settings: Settings = current_app.extensions["settings"]
    form = request.form
    change = _read(WeekChange, {name: [form.get(f"{name}-{day}", "x") for day in range(7)]
                                for name in ("bookings", "take_away")})  # fmt: skip
    with _database().writing() as session:
        service.write_week(
            session, bookings=change.bookings, take_away=change.take_away, version=read_version(form),
            opening=settings.opening,
        )  # fmt: skip
    return _back()


@pages.post("/jours")
def add_special_days() -> Response:
    """Add days with hours of their own."""
    change = _read(SpecialDaysChange, _special())
    with _database().writing() as session:
        service.write_period(session, None, **dict(change))
    return _back()


@pages.post("/jours/<key:period>")
def change_special_days(period: int) -> Response:
    """Change or remove days with hours of their own."""
    change = None if request.form.get("remove") else _read(SpecialDaysChange, _special())
    with _database().writing() as session:
        found = service.read_period(session, period)
        require_version(found, read_version(request.form))
        if change is None:
            service.remove_period(session, found)
        else:
            service.write_period(session, found, **dict(change))
    return _back()


def _special() -> dict[str, Any]:
    values = typed("first_day", "last_day", "name", "bookings", "take_away")
    return values | {"last_day": values["last_day"] or values["first_day"]}


def _read(model: Any, values: dict[str, Any]) -> Any:
    """As `read_form`; hours that cannot be read are told how they are written."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        if any({"bookings", "take_away"} & set(entry["loc"]) for entry in error.errors()):
            detail = _(
                "Write hours such as {example}, without overlaps. Empty is closed.", example="12:00-14:00, 19:00-22:00"
            )
            raise Invalid(detail, code="hours") from error
        return read_form(model, values)


def _back() -> Response:
    return redirect(url_for("opening.opening_page"), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
