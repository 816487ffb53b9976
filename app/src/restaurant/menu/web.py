"""The staff's pages of the menu: availability, and the editor of dishes and categories."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.forms import parse_cents, read_form, read_switch, read_version
from restaurant.http.api import require_version
from restaurant.i18n import current_locale, label, local
from restaurant.menu import editing, service
from restaurant.menu.models import Allergen, Course, Dish, Station
from restaurant.menu.schemas import CategoryChange, DishChange, MenuView, NewCategory, NewDish
from restaurant.orders.models import OrderLine
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("card", __name__, url_prefix="/carte")

#: Renderings of one revision that are kept: a few minutes' worth in both languages.
_KEPT = 12

#: Lines that the most sold dishes are counted from, and how many of those dishes are shown.
_RECENT_LINES = 2000
_FAVORITES = 6

_OPTION_FIELD = re.compile(r"group-(\d{1,2})-option-(\d{1,2})-name")
_TEXTS = ("category", "name", "name_en", "description", "description_en", "vat_dine_in", "vat_take_away", "station",
          "course", "available_from", "available_until")  # fmt: skip


@pages.app_template_filter("allergens")
def list_allergens(allergens: Iterable[str]) -> str:
    """``lait, œufs``."""
    return ", ".join(label(Allergen(allergen)).lower() for allergen in allergens)


def rendered(menu: service.Menu, name: str, render: Callable[[], Markup]) -> Markup:
    """What `render` makes of `menu` as it is offered this minute, in the language of this request; kept as `name`."""
    key = (current_locale(), f"{local(now()):%Y-%m-%d %H:%M} {name} {request.root_path}")
    block = menu.rendered.get(key)
    if block is None:
        block = render()
        if len(menu.rendered) >= _KEPT:
            menu.rendered.clear()
        menu.rendered[key] = block
    return block


def _offered(menu: service.Menu) -> dict[str, Any]:
    """What of `menu` is offered now, for a template."""
    settings: Settings = current_app.extensions["settings"]
    view = MenuView.of(menu, menu.offers(now(), settings.business_day))
    return {
        "categories": view.categories,
        "set_menus": view.set_menus,
        "by_key": {dish.id: dish for category in view.categories for dish in category.dishes},
    }


def dishes_block(menu: service.Menu) -> Markup:
    """The dishes and set menus of `menu` to choose from."""
    template = "menu/dishes.html"
    return rendered(menu, template, lambda: Markup(render_template(template, **_offered(menu))))  # noqa: S704


def dishes_to_pick(session: Session) -> Markup:
    """The dishes as a server picks them, the most sold first."""
    menu = service.read_menu(session)

    def render() -> Markup:
        offered = _offered(menu)
        dishes = offered["by_key"]
        favorites = [dishes[dish] for dish in most_sold(session) if dish in dishes and dishes[dish].available]
        page = render_template("menu/pick.html", **offered, favorites=favorites[:_FAVORITES])
        return Markup(page)  # noqa: S704  # a template's output

    return rendered(menu, "menu/pick.html", render)


def most_sold(session: Session) -> list[int]:
    """The dishes of the last lines ordered, most portions first."""
    recent = select(OrderLine.dish_id, OrderLine.quantity).order_by(OrderLine.id.desc()).limit(_RECENT_LINES).subquery()
    ranking = (func.sum(recent.c.quantity).desc(), recent.c.dish_id)
    return list(session.scalars(select(recent.c.dish_id).group_by(recent.c.dish_id).order_by(*ranking)))


@pages.get("")
def card_page() -> str:
    """Every dish by category, with its availability and links to edit it."""
    with _database().reading() as session:
        return render_template("menu/card.html", categories=service.read_menu(session).categories)


@pages.post("/plats/<key:dish>/rupture")
def set_out_of_stock(dish: int) -> Response:
    """Mark a dish as sold out, or as available again."""
    wanted = read_switch(request.form, "out_of_stock")
    with _database().writing() as session:
        found = service.read_dish(session, dish)
        if found.out_of_stock != wanted:
            editing.change_dish(session, found, DishChange(out_of_stock=wanted))
    return _back(dish)


@pages.post("/plats/<key:dish>/masquage")
def set_hidden(dish: int) -> Response:
    """Hide a dish from the menu for good, or show it again."""
    wanted = read_switch(request.form, "archived")
    with _database().writing() as session:
        found = editing.find_dish(session, dish)
        if found.archived != wanted:
            editing.change_dish(session, found, DishChange(archived=wanted))
    return _back(dish)


@pages.get("/plats/nouveau")
def new_dish_page() -> str:
    """A form for a new dish."""
    category = request.args.get("rubrique", "")
    with _database().reading() as session:
        return _dish_form(session, None, category=int(category) if category.isdecimal() else None)


@pages.post("/plats/nouveau")
def add_dish() -> Response:
    """Add the dish of the form."""
    new = read_form(NewDish, _dish_values(request.form))
    with _database().writing() as session:
        dish = editing.add_dish(session, new)
        return _back(dish.id)


@pages.get("/plats/<key:dish>")
def dish_page(dish: int) -> str:
    """A form with everything of a dish."""
    with _database().reading() as session:
        found = editing.find_dish(session, dish)
        return _dish_form(session, found, category=found.category_id)


@pages.post("/plats/<key:dish>")
def change_dish(dish: int) -> Response:
    """Write the form's dish, unless someone else has changed it in the meantime."""
    change = read_form(DishChange, _dish_values(request.form))
    with _database().writing() as session:
        found = editing.find_dish(session, dish)
        require_version(found, read_version(request.form))
        editing.change_dish(session, found, change)
    return _back(dish)


@pages.post("/rubriques")
def add_category() -> Response:
    """Add a heading."""
    new = read_form(NewCategory, {"name": request.form.get("name", ""), "name_en": request.form.get("name_en") or None})
    with _database().writing() as session:
        editing.add_category(session, new)
    return redirect(url_for("card.card_page"), code=303)


@pages.post("/rubriques/<key:category>")
def change_category(category: int) -> Response:
    """Rename a heading, move it up or down, or take it away when it is empty."""
    form = request.form
    with _database().writing() as session:
        found = editing.read_category(session, category)
        require_version(found, read_version(request.form))
        if "remove" in form:
            editing.remove_category(session, found)
        elif form.get("move") in {"up", "down"}:
            place = [entry.id for entry in service.read_menu(session).categories].index(found.id)
            wanted = max(0, place + (1 if form["move"] == "down" else -1))
            editing.change_category(session, found, CategoryChange(position=wanted))
        else:
            named = {"name": form.get("name", ""), "name_en": form.get("name_en") or None}
            editing.change_category(session, found, read_form(CategoryChange, named))
    return redirect(url_for("card.card_page"), code=303)


def _dish_form(session: Session, dish: Dish | None, *, category: int | None) -> str:
    return render_template(
        "menu/dish.html",
        dish=dish,
        categories=service.read_menu(session).categories,
        chosen=category,
        groups=list(dish.option_groups) if dish is not None else [],
        contains={entry.allergen for entry in dish.allergens} if dish is not None else set(),
        allergens=list(Allergen),
        stations=list(Station),
        courses=list(Course),
        rates=(550, 1000, 2000),
    )


def _dish_values(form: MultiDict[str, str]) -> dict[str, Any]:
    """What the form says of a dish; empty fields that may be absent are None."""
    values: dict[str, Any] = {name: form.get(name, "") for name in _TEXTS}
    for name in ("name_en", "description_en", "available_from", "available_until"):
        values[name] = values[name] or None
    for name in ("vat_dine_in", "vat_take_away"):
        values[name] = int(values[name]) if values[name] in {"550", "1000", "2000"} else values[name]
    values["price"] = parse_cents(form.get("price", ""))
    values["allergens"] = form.getlist("allergens")
    groups: dict[int, dict[str, Any]] = {}
    for field in form:
        found = _OPTION_FIELD.fullmatch(field)
        if found is None or not form[field].strip():
            continue
        group, option = f"group-{found[1]}", field.removesuffix("-name")
        entry = groups.setdefault(
            int(found[1]),
            {
                "id": form.get(f"{group}-id") or None,
                "name": form.get(f"{group}-name", ""),
                "name_en": form.get(f"{group}-name_en") or None,
                "minimum": form.get(f"{group}-minimum") or 0,
                "maximum": form.get(f"{group}-maximum") or 1,
                "options": [],
            },
        )
        entry["options"].append(
            {
                "id": form.get(f"{option}-id") or None,
                "name": form[field],
                "name_en": form.get(f"{option}-name_en") or None,
                "price": parse_cents(form.get(f"{option}-price") or "0"),
            }
        )
    # A group without a name is removed.
    values["option_groups"] = [entry for _number, entry in sorted(groups.items()) if entry["name"].strip()]
    return values


def _back(dish: int) -> Response:
    return redirect(f"{url_for('card.card_page')}#d{dish}", code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
