"""The pages on which set menus and happy hours are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.forms import parse_cents, read_form, read_version, typed
from restaurant.http.api import require_version
from restaurant.i18n import abbreviated_weekdays, weekdays
from restaurant.i18n import gettext as _
from restaurant.menu import offer_editing as editing
from restaurant.menu import service
from restaurant.menu.models import Course, HappyHour, SetMenu
from restaurant.menu.schedule import Weekday
from restaurant.menu.schemas import HappyHourEntry, SetMenuEntry
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("offers", __name__, url_prefix="/carte/offres")

_COURSE_FIELD = re.compile(r"course-(\d{1,2})-name")
#: Empty rows of a form for what is added.
_MORE_DISHES, _COURSES = 3, 3


@pages.app_template_filter("weekdays")
def list_weekdays(days: Iterable[str]) -> str:
    """``lun., mar.``; every day when none is named."""
    wanted = set(days)
    names = [name for day, name in zip(Weekday, abbreviated_weekdays(), strict=True) if day in wanted]
    return ", ".join(names) or _("every day")


@pages.get("")
def offers_page() -> str:
    """All set menus and happy hours."""
    settings: Settings = current_app.extensions["settings"]
    with _database().reading() as session:
        menu = service.read_menu(session)
    offers = menu.offers(now(), settings.business_day)
    return render_template(
        "menu/offers.html", menu=menu, offers=offers, names={entry.id: entry.name for entry in menu.categories}
    )


@pages.get("/formules/nouvelle")
def new_set_menu_page() -> str:
    """A form for a new set menu."""
    with _database().reading() as session:
        return _set_menu_form(session, None)


@pages.post("/formules/nouvelle")
def add_set_menu() -> Response:
    """Add the set menu of the form."""
    entry = read_form(SetMenuEntry, _set_menu_values(request.form))
    with _database().writing() as session:
        editing.write_set_menu(session, SetMenu(), entry)
    return _back()


@pages.get("/formules/<key:set_menu>")
def set_menu_page(set_menu: int) -> str:
    """A form with everything of a set menu."""
    with _database().reading() as session:
        return _set_menu_form(session, editing.find_set_menu(session, set_menu))


@pages.post("/formules/<key:set_menu>")
def change_set_menu(set_menu: int) -> Response:
    """Write the form's set menu, unless someone else has changed it in the meantime."""
    entry = read_form(SetMenuEntry, _set_menu_values(request.form))
    with _database().writing() as session:
        found = editing.find_set_menu(session, set_menu)
        require_version(found, read_version(request.form))
        editing.write_set_menu(session, found, entry)
    return _back()


@pages.get("/happy-hours/nouvelle")
def new_happy_hour_page() -> str:
    """A form for a new happy hour."""
    with _database().reading() as session:
        return _happy_hour_form(session, None)


@pages.post("/happy-hours/nouvelle")
def add_happy_hour() -> Response:
    """Add the happy hour of the form."""
    entry = read_form(HappyHourEntry, _happy_hour_values(request.form))
    with _database().writing() as session:
        editing.write_happy_hour(session, HappyHour(), entry)
    return _back()


@pages.get("/happy-hours/<key:happy_hour>")
def happy_hour_page(happy_hour: int) -> str:
    """A form with everything of a happy hour."""
    with _database().reading() as session:
        return _happy_hour_form(session, editing.find_happy_hour(session, happy_hour))


@pages.post("/happy-hours/<key:happy_hour>")
def change_happy_hour(happy_hour: int) -> Response:
    """Write or remove the form's happy hour, unless someone else has changed it in the meantime."""
    entry = None if request.form.get("remove") else read_form(HappyHourEntry, _happy_hour_values(request.form))
    with _database().writing() as session:
        found = editing.find_happy_hour(session, happy_hour)
        require_version(found, read_version(request.form))
        if entry is None:
            editing.remove_happy_hour(session, found)
        else:
            editing.write_happy_hour(session, found, entry)
    return _back()


def _set_menu_form(session: Session, set_menu: SetMenu | None) -> str:
    menu = service.read_menu(session)
    return render_template(
        "menu/set_menu.html",
        set_menu=set_menu,
        categories=menu.categories,
        courses=list(Course),
        weekdays=list(zip(Weekday, weekdays(), strict=True)),
        rows=max(_COURSES, len(set_menu.courses) + 1 if set_menu is not None else 0),
        more=_MORE_DISHES,
    )


def _happy_hour_form(session: Session, happy_hour: HappyHour | None) -> str:
    menu = service.read_menu(session)
    items = list(happy_hour.items) if happy_hour is not None else []
    return render_template(
        "menu/happy_hour.html",
        happy_hour=happy_hour,
        categories=menu.categories,
        weekdays=list(zip(Weekday, weekdays(), strict=True)),
        chosen={item.category_id for item in items},
        dishes=[item for item in items if item.dish_id is not None],
        more=_MORE_DISHES,
    )


def _set_menu_values(form: MultiDict[str, str]) -> dict[str, Any]:
    """What the form says of a set menu. A course without a name and a row without a dish are left out."""
    values = typed("name", "description") | _schedule(form)
    values |= {name: form.get(name) or None for name in ("name_en", "description_en")}
    values |= {"price": parse_cents(form.get("price", "")), "archived": form.get("archived") == "1", "courses": []}
    numbers = sorted(int(found[1]) for name in form if (found := _COURSE_FIELD.fullmatch(name)) and form[name].strip())
    for number in numbers:
        prefix = f"course-{number}"
        choices = [
            {"dish": dish, "supplement": parse_cents(form.get(f"{prefix}-supplement-{row}") or "0")}
            for row, dish in _rows(form, f"{prefix}-dish-")
        ]
        values["courses"].append(
            {
                "name": form[f"{prefix}-name"], "name_en": form.get(f"{prefix}-name_en") or None,
                "course": form.get(f"{prefix}-course", ""), "choices": choices,
            }
        )  # fmt: skip
    return values


def _happy_hour_values(form: MultiDict[str, str]) -> dict[str, Any]:
    """What the form says of a happy hour. A row without a dish is left out."""
    items: list[dict[str, Any]] = [{"category": key} for key in form.getlist("categories")]
    for row, dish in _rows(form, "dish-"):
        price = form.get(f"price-{row}", "").strip()
        items.append({"dish": dish, "price": parse_cents(price) if price else None})
    return typed("name") | _schedule(form) | {
        "name_en": form.get("name_en") or None, "percent": form.get("percent") or None, "items": items
    }  # fmt: skip


def _rows(form: MultiDict[str, str], prefix: str) -> list[tuple[str, str]]:
    """The rows of a form in which something is chosen."""
    return [(name.removeprefix(prefix), value) for name, value in form.items() if name.startswith(prefix) and value]


def _schedule(form: MultiDict[str, str]) -> dict[str, Any]:
    return {"days": form.getlist("days"), **{name: form.get(name) or None for name in ("starts", "ends")}}


def _back() -> Response:
    return redirect(url_for("offers.offers_page"), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
