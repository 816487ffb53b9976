"""Reading the menu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from weakref import WeakKeyDictionary

from markupsafe import Markup
from sqlalchemy import Connection, Engine, select
from sqlalchemy.orm import Session, selectinload

from restaurant.business_day import BusinessDay
from restaurant.errors import NotFound
from restaurant.i18n import gettext as _
from restaurant.menu.models import Category, Dish, HappyHour, MenuCourse, OptionGroup, Revision, SetMenu
from restaurant.menu.offers import Offers
from restaurant.stock.models import RecipeLine


@dataclass(frozen=True)
class Menu:
    """The menu as it was at one revision: read-only, detached from any session, shared by all threads."""

    revision: int
    categories: Sequence[Category]
    dishes: Mapping[int, Dish]
    recipes: Mapping[int, Sequence[tuple[int, int]]]
    """What a portion takes, by dish: ingredients and quantities, in the order of the ingredients' keys."""
    set_menus: Sequence[SetMenu]
    happy_hours: Sequence[HappyHour]
    rendered: dict[tuple[str, str], Markup] = field(default_factory=dict)
    """The dishes as HTML by language and minute, kept as long as this revision (see `web.dishes_block`)."""

    def offers(self, at: datetime, business_day: BusinessDay) -> Offers:
        """What is offered at the instant `at`."""
        return Offers.at(at, self.happy_hours, self.set_menus, business_day)


_REVISION = select(Revision.number).where(Revision.name == "menu")

#: The last menu read through each engine. Every reader compares revisions, so a stale one is never used.
_KNOWN: WeakKeyDictionary[Engine | Connection, Menu] = WeakKeyDictionary()


def menu_in_memory(bind: Engine | Connection, *, revision: int) -> Menu | None:
    """The menu as last read, None when that was another revision."""
    known = _KNOWN.get(bind)
    return known if known is not None and known.revision == revision else None


def read_menu(session: Session, *, revision: int | None = None) -> Menu:
    """All categories with their dishes, options and allergens; one small statement when nothing has changed.

    None at all when the caller has just read the `revision`.
    """
    if revision is None:
        revision = session.connection().execute(_REVISION).scalar() or 0
    bind = session.get_bind()
    known = menu_in_memory(bind, revision=revision)
    if known is not None:
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
        set_menus = reader.scalars(
            select(SetMenu)
            .options(selectinload(SetMenu.courses).selectinload(MenuCourse.choices))
            .order_by(SetMenu.price, SetMenu.id)
        ).all()
        happy_hours = reader.scalars(
            select(HappyHour).options(selectinload(HappyHour.items)).order_by(HappyHour.starts, HappyHour.id)
        ).all()
        reader.expunge_all()
        recipes: dict[int, list[tuple[int, int]]] = {}
        wanted = select(RecipeLine.dish_id, RecipeLine.ingredient_id, RecipeLine.quantity)
        for key, ingredient, quantity in reader.execute(wanted.order_by(RecipeLine.ingredient_id)):
            recipes.setdefault(key, []).append((ingredient, quantity))
    by_key = {dish.id: dish for category in categories for dish in category.dishes}
    menu = Menu(
        revision=revision, categories=categories, dishes=by_key, recipes=recipes, set_menus=set_menus,
        happy_hours=happy_hours,
    )  # fmt: skip
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
