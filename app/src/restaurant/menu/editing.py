"""Writing the menu: categories, dishes with their allergens, windows and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from restaurant.database import flush
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Category, Dish, DishAllergen, Option, OptionGroup
from restaurant.menu.schemas import CategoryChange, DishChange, NewCategory, NewDish, OptionGroupEntry

T = TypeVar("T")


def read_category(session: Session, key: int) -> Category:
    """One category. Raises `NotFound`."""
    category = session.get(Category, key)
    if category is None:
        raise NotFound(_("This category does not exist."))
    return category


def add_category(session: Session, new: NewCategory) -> Category:
    """Add a category at the end. Raises `Conflict` when its name is taken."""
    last = session.scalar(select(func.max(Category.position)))
    category = Category(name=new.name, name_en=new.name_en, position=0 if last is None else last + 1)
    session.add(category)
    _flush(session)
    return category


def change_category(session: Session, category: Category, change: CategoryChange) -> Category:
    """Rename or move a category. Raises `Conflict` when the name is taken."""
    if change.name is not None:
        category.name = change.name
    if "name_en" in change.model_fields_set:
        category.name_en = change.name_en
    if change.position is not None:
        others = session.scalars(
            select(Category).where(Category.id != category.id).order_by(Category.position, Category.id)
        ).all()
        _place(others, category, change.position)
    _flush(session)
    return category


def remove_category(session: Session, category: Category) -> None:
    """Take an empty category away. Raises `Conflict` when it has dishes, hidden ones included."""
    if session.scalar(select(Dish.id).where(Dish.category_id == category.id).limit(1)) is not None:
        raise Conflict(_("This category still has dishes, which may be hidden."), code="category-not-empty")
    session.delete(category)
    session.flush()


def list_dishes(session: Session, page: PageQuery) -> tuple[Sequence[Dish], str | None]:
    """A page of all dishes, hidden ones included, by category, and where the following page begins."""
    columns = (Category.position, Category.id, Dish.position, Dish.id)
    return read_page(session, select(Dish).join(Dish.category), page, by=[Sort(column) for column in columns])


def find_dish(session: Session, key: int) -> Dish:
    """One dish, hidden or not. Raises `NotFound`."""
    dish = session.get(Dish, key)
    if dish is None:
        raise NotFound(_("This dish does not exist."))
    return dish


def add_dish(session: Session, new: NewDish) -> Dish:
    """Add a dish at the end of its category. Raises `NotFound` for the category, `Conflict` for a taken name."""
    category = read_category(session, new.category)
    last = session.scalar(select(func.max(Dish.position)).where(Dish.category_id == category.id))
    plain = {"category", "allergens", "option_groups"}
    dish = Dish(**new.model_dump(exclude=plain), category_id=category.id, position=0 if last is None else last + 1)
    _check_window(dish)
    _write_allergens(dish, new.allergens)
    _write_groups(dish, new.option_groups)
    session.add(dish)
    _flush(session)
    return dish


def change_dish(session: Session, dish: Dish, change: DishChange) -> Dish:
    """Change a dish. Raises `NotFound` for a category, `Conflict` for a taken name, `Invalid` for half a window."""
    changes: dict[str, Any] = change.changes()
    if (category := changes.pop("category", None)) is not None:
        dish.category_id = read_category(session, category).id
    if (position := changes.pop("position", None)) is not None:
        others = session.scalars(
            select(Dish)
            .where(Dish.category_id == dish.category_id, Dish.id != dish.id)
            .order_by(Dish.position, Dish.id)
        ).all()
        _place(others, dish, position)
    if (allergens := changes.pop("allergens", None)) is not None:
        _write_allergens(dish, allergens)
    if (groups := changes.pop("option_groups", None)) is not None:
        _write_groups(dish, groups)
    for name, value in changes.items():
        setattr(dish, name, value)
    _check_window(dish)
    # A change of its options or allergens is a change of the dish: its version must count it.
    flag_modified(dish, "name")
    _flush(session)
    return dish


def _place(others: Sequence[Category] | Sequence[Dish], moved: Category | Dish, position: int) -> None:
    """Give `moved` its place among the others, and everyone a number of their own."""
    line: list[Category | Dish] = list(others)
    line.insert(position, moved)
    for number, entry in enumerate(line):
        if entry.position != number:
            entry.position = number


def _check_window(dish: Dish) -> None:
    if (dish.available_from is None) != (dish.available_until is None):
        detail = _("Enter both the start and the end of the serving time, or neither.")
        raise Invalid(detail, code="half-window", fields={"/available_until": detail})


def _write_allergens(dish: Dish, wanted: Sequence[Allergen]) -> None:
    kept = {entry.allergen: entry for entry in dish.allergens}
    dish.allergens = [kept.get(allergen) or DishAllergen(allergen=allergen) for allergen in dict.fromkeys(wanted)]


def _write_groups(dish: Dish, wanted: Sequence[OptionGroupEntry]) -> None:
    """Replace a dish's option groups; those named by their id are changed and keep it, as do their options."""
    groups = {group.id: group for group in dish.option_groups}
    written: list[OptionGroup] = []
    for place, entry in enumerate(wanted):
        group = OptionGroup(options=[]) if entry.id is None else _named(groups, entry.id, f"/option_groups/{place}/id")
        group.name, group.name_en, group.position = entry.name, entry.name_en, place
        group.minimum, group.maximum = entry.minimum, entry.maximum
        options = {option.id: option for option in group.options}
        chosen: list[Option] = []
        for rank, item in enumerate(entry.options):
            pointer = f"/option_groups/{place}/options/{rank}/id"
            option = Option() if item.id is None else _named(options, item.id, pointer)
            option.name, option.name_en, option.price, option.position = item.name, item.name_en, item.price, rank
            chosen.append(option)
        group.options = chosen
        written.append(group)
    dish.option_groups = written


def _named(known: dict[int, T], key: int, pointer: str) -> T:
    # Taken out, so that one that is named twice is refused.
    found = known.pop(key, None)
    if found is None:
        detail = _("This dish no longer has this option. Reload the page and make your change again.")
        raise Invalid(detail, code="unknown-option", fields={pointer: detail})
    return found


def _flush(session: Session) -> None:
    flush(
        session,
        conflicts={
            ("uq_dish_category_id_name", "dish.category_id, dish.name"): lambda: Conflict(
                _("Another dish already has this name."), code="name-taken"
            ),
            ("uq_category_name", "category.name"): lambda: Conflict(
                _("Another category already has this name."), code="name-taken"
            ),
        },
    )
