"""Filling an empty menu from a profile. A process that serves never loads this."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from restaurant.menu.models import Allergen, Category, Course, Dish, DishAllergen, Option, OptionGroup, Station
from restaurant.types import Name, Text

_SEEDS = Path(__file__).parent.parent / "seeds"


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
