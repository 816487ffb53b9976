"""Writing set menus and happy hours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from restaurant.database import flush
from restaurant.errors import Conflict, NotFound
from restaurant.i18n import gettext as _
from restaurant.menu.models import Category, Dish, HappyHour, HappyHourItem, MenuChoice, MenuCourse, SetMenu
from restaurant.menu.schemas import HappyHourEntry, SetMenuEntry


def find_set_menu(session: Session, key: int) -> SetMenu:
    """One set menu, hidden or not. Raises `NotFound`."""
    found = session.get(SetMenu, key)
    if found is None:
        raise NotFound(_("This set menu does not exist."))
    return found


def write_set_menu(session: Session, set_menu: SetMenu, entry: SetMenuEntry) -> SetMenu:
    """Make `set_menu`, which may be a new one, what `entry` says.

    Raises `NotFound` for a dish that does not exist, `Conflict` when its name is taken.
    """
    _know(session, Dish, (choice.dish for course in entry.courses for choice in course.choices))
    courses = [
        MenuCourse(
            name=course.name, name_en=course.name_en, position=place, course=course.course,
            choices=[
                MenuChoice(dish_id=choice.dish, supplement=choice.supplement, position=rank)
                for rank, choice in enumerate(course.choices)
            ],
        )
        for place, course in enumerate(entry.courses)
    ]  # fmt: skip
    _write(session, set_menu, {**dict(entry), "courses": courses})
    return set_menu


def find_happy_hour(session: Session, key: int) -> HappyHour:
    """One happy hour. Raises `NotFound`."""
    found = session.get(HappyHour, key)
    if found is None:
        raise NotFound(_("This happy hour does not exist."))
    return found


def write_happy_hour(session: Session, happy_hour: HappyHour, entry: HappyHourEntry) -> HappyHour:
    """Make `happy_hour`, which may be a new one, what `entry` says. Raises as `write_set_menu` does."""
    _know(session, Dish, (item.dish for item in entry.items if item.dish is not None))
    _know(session, Category, (item.category for item in entry.items if item.category is not None))
    items = [HappyHourItem(dish_id=item.dish, category_id=item.category, price=item.price) for item in entry.items]
    _write(session, happy_hour, {**dict(entry), "items": items})
    return happy_hour


def remove_happy_hour(session: Session, happy_hour: HappyHour) -> None:
    """Remove a happy hour."""
    session.delete(happy_hour)
    session.flush()


def _know(session: Session, model: type[Dish] | type[Category], keys: Iterable[int]) -> None:
    wanted = set(keys)
    if len(session.scalars(select(model.id).where(model.id.in_(wanted))).all()) < len(wanted):
        raise NotFound(_("This dish does not exist.") if model is Dish else _("This category does not exist."))


def _write(session: Session, offer: SetMenu | HappyHour, values: dict[str, Any]) -> None:
    # Reading what belonged to it before must not write its new name: its conflict is known only below.
    with session.no_autoflush:
        for name, value in values.items():
            setattr(offer, name, [day.value for day in value] if name == "days" else value)
    session.add(offer)
    # A change of what belongs to it is one of its own: its version must count it.
    flag_modified(offer, "name")
    flush(
        session,
        conflicts={
            ("uq_set_menu_name", "set_menu.name"): lambda: Conflict(
                _("Another set menu already has this name."), code="name-taken"
            ),
            ("uq_happy_hour_name", "happy_hour.name"): lambda: Conflict(
                _("Another happy hour already has this name."), code="name-taken"
            ),
        },
    )
