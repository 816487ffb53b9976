"""Reading the menu and filling it from a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session, selectinload

from restaurant.errors import NotFound
from restaurant.i18n import gettext as _
from restaurant.menu.models import (
    Allergen,
    Category,
    Course,
    Dish,
    DishAllergen,
    Option,
    OptionGroup,
    Revision,
    Station,
)
from restaurant.stock.models import RecipeLine
from restaurant.types import Name, Text

_SEEDS = Path(__file__).parent.parent / "seeds"


@dataclass(frozen=True)
class Menu:
    """The menu as it was at one revision: read-only, detached from any session, shared by all threads."""

    revision: int
    categories: Sequence[Category]
    dishes: Mapping[int, Dish]
    recipes: Mapping[int, Sequence[tuple[int, int]]]
    """What a portion takes, by dish: ingredients and quantities, in the order of the ingredients' keys."""
    rendered: dict[tuple[str, str], Markup] = field(default_factory=dict)
    """The dishes as HTML by language and minute, kept as long as this revision (see `web.dishes_block`)."""


_REVISION = select(Revision.number).where(Revision.name == "menu")

#: The last menu read through each engine. Every reader compares revisions, so a stale one is never used.
_KNOWN: WeakKeyDictionary[Engine | Connection, Menu] = WeakKeyDictionary()


def read_menu(session: Session, *, revision: int | None = None) -> Menu:
    """All categories with their dishes, options and allergens; one small statement when nothing has changed.

    None at all when the caller has just read the `revision`.
    """
    if revision is None:
        revision = session.connection().execute(_REVISION).scalar() or 0
    bind = session.get_bind()
    known = _KNOWN.get(bind)
    if known is not None and known.revision == revision:
        return known
    dishes = selectinload(Category.dishes)
    with Session(session.connection()) as reader:
        categories = reader.scalars(
            select(Category)
            .options(
                dishes.selectinload(Dish.allergens),
                dishes.selectinload(Dish.option_groups).selectinload(OptionGroup.options),
            )
            .order_by(Category.position, Category.id)
        ).all()
        reader.expunge_all()
        recipes: dict[int, list[tuple[int, int]]] = {}
        wanted = select(RecipeLine.dish_id, RecipeLine.ingredient_id, RecipeLine.quantity)
        for key, ingredient, quantity in reader.execute(wanted.order_by(RecipeLine.ingredient_id)):
            recipes.setdefault(key, []).append((ingredient, quantity))
    by_key = {dish.id: dish for category in categories for dish in category.dishes}
    menu = Menu(revision=revision, categories=categories, dishes=by_key, recipes=recipes)
    _KNOWN[bind] = menu
    return menu


def is_available(dish: Dish, *, at: time) -> bool:
    """Whether `dish` can be ordered at the local time `at`. A window may pass midnight."""
    if dish.out_of_stock or dish.archived:
        return False
    start, end = dish.available_from, dish.available_until
    if start is None or end is None:
        return True
    return start <= at < end if start <= end else at >= start or at < end


def read_dish(session: Session, key: int) -> Dish:
    """One dish. Raises `NotFound`."""
    dish = session.get(Dish, key)
    if dish is None or dish.archived:
        raise NotFound(_("This dish is not on the menu."))
    return dish


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _OptionSeed(_Strict):
    name: Name
    name_en: Name
    price: int = Field(default=0, ge=0)


class _GroupSeed(_Strict):
    name: Name
    name_en: Name
    minimum: int = 0
    maximum: int = 1
    options: list[_OptionSeed]


class _DishSeed(_Strict):
    name: Name
    name_en: Name
    description: Text = ""
    description_en: Text = ""
    price: Annotated[int, Field(ge=0)]
    vat_dine_in: Literal[550, 1000, 2000] = 1000
    vat_take_away: Literal[550, 1000, 2000] = 1000
    station: Station
    course: Course
    allergens: list[Allergen] = []
    available_from: time | None = None
    available_until: time | None = None
    option_groups: list[_GroupSeed] = []


class _CategorySeed(_Strict):
    name: Name
    name_en: Name
    dishes: list[_DishSeed]


class _MenuSeed(_Strict):
    categories: list[_CategorySeed]


def seed_menu(session: Session, *, profile: str) -> int:
    """Fill an empty menu from a profile; returns how many dishes were added (none if there are some)."""
    if session.scalar(select(func.count()).select_from(Category)):
        return 0
    seed = _MenuSeed.model_validate_json((_SEEDS / f"{profile}.json").read_text(encoding="utf-8"))
    for position, category in enumerate(seed.categories):
        session.add(
            Category(
                name=category.name,
                name_en=category.name_en,
                position=position,
                dishes=[_dish(dish, position=place) for place, dish in enumerate(category.dishes)],
            )
        )
    session.flush()
    return sum(len(category.dishes) for category in seed.categories)


def _dish(seed: _DishSeed, *, position: int) -> Dish:
    return Dish(
        **seed.model_dump(exclude={"allergens", "option_groups"}),
        position=position,
        allergens=[DishAllergen(allergen=allergen) for allergen in seed.allergens],
        option_groups=[
            OptionGroup(
                **group.model_dump(exclude={"options"}),
                position=place,
                options=[Option(**option.model_dump(), position=rank) for rank, option in enumerate(group.options)],
            )
            for place, group in enumerate(seed.option_groups)
        ],
    )
