"""Taking ingredients out of the stock when dishes are sent to the kitchen, and keeping the stock right.

A portion is taken by a conditional update, ingredient by ingredient in the order of their keys: of two servers who
send the last portion at once, one gets it and the other's dishes are refused as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.attributes import flag_modified

from restaurant.database import flush
from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.menu.models import Dish
from restaurant.metrics import STOCK_OUTS
from restaurant.orders.models import OrderLine
from restaurant.people.models import User
from restaurant.stock.models import Ingredient, Movement, MovementReason, RecipeLine, Unit
from restaurant.types import MOST

T = TypeVar("T")


class Need(NamedTuple):
    """Portions that a line, which is written already, takes."""

    line: int
    dish: int
    quantity: int
    name: str


class OutOfStock(Conflict):
    """An ingredient of a dish has run out."""

    code = "out-of-stock"

    def __init__(self, need: Need) -> None:
        super().__init__(_("Not enough in stock for {dish}.", dish=need.name))
        self.dish = need.dish


def leaving_out(act: Callable[[Collection[int]], T]) -> T:
    """Do `act`, a unit of work that takes the dishes to leave out, without the dishes that have run out.

    It is done again for each dish that turns out to have run out. Raises `OutOfStock` when nothing else is left of it.
    """
    absent: set[int] = set()
    while True:
        try:
            return act(absent)
        except OutOfStock as error:
            if error.dish in absent:
                raise
            absent.add(error.dish)


def consume(session: Session, needs: Sequence[Need], recipes: Mapping[int, Sequence[tuple[int, int]]]) -> None:
    """Take what lines need. Raises `OutOfStock` when anything of it is not there."""
    amounts = [
        (ingredient, need.line, quantity * need.quantity, need)
        for need in needs
        for ingredient, quantity in recipes.get(need.dish, ())
    ]
    for ingredient, line, amount, need in sorted(amounts):
        if not _change(session, ingredient, -amount):
            STOCK_OUTS.inc()
            raise OutOfStock(need)
        session.add(Movement(ingredient_id=ingredient, delta=-amount, reason=MovementReason.SOLD, line_id=line))
    if amounts:
        session.flush()


def give_back(session: Session, line: OrderLine, *, voided: int, of: int) -> None:
    """Return the ingredients for `voided` portions `of` those of a line whose preparation had not started."""
    taken: Counter[int] = Counter()
    for movement in session.scalars(select(Movement).where(Movement.line_id == line.id)):
        taken[movement.ingredient_id] -= movement.delta
    for key, whole in sorted(taken.items()):
        amount = whole * voided // of
        if amount:
            _change(session, key, amount)
            session.add(Movement(ingredient_id=key, delta=amount, reason=MovementReason.RETURNED, line_id=line.id))
    session.flush()


def list_ingredients(session: Session, page: PageQuery) -> tuple[Sequence[Ingredient], str | None]:
    """A page of what is in stock, by name, and where the following page begins."""
    return read_page(session, select(Ingredient), page, by=[Sort(Ingredient.name)])


def add_ingredient(session: Session, *, name: str, unit: Unit, quantity: int, low_at: int, by: User) -> Ingredient:
    """Add an ingredient with its quantity in stock. Raises `Conflict` when the name is taken."""
    ingredient = Ingredient(name=name, unit=unit, quantity=quantity, low_at=low_at)
    session.add(ingredient)
    _flush_name(session)
    if quantity:
        session.add(Movement(ingredient_id=ingredient.id, delta=quantity, reason=MovementReason.COUNTED, by_id=by.id))
        session.flush()
    return ingredient


def read_ingredient(session: Session, key: int) -> Ingredient:
    """One ingredient. Raises `NotFound`."""
    ingredient = session.get(Ingredient, key)
    if ingredient is None:
        raise NotFound(_("This ingredient does not exist."))
    return ingredient


def change_ingredient(
    session: Session, ingredient: Ingredient, *, name: str | None = None, low_at: int | None = None
) -> Ingredient:
    """Change the given values. Raises `Conflict` when the name is taken."""
    if name is not None:
        ingredient.name = name
    if low_at is not None:
        ingredient.low_at = low_at
    _flush_name(session)
    return ingredient


def list_movements(session: Session, ingredient: Ingredient, page: PageQuery) -> tuple[Sequence[Movement], str | None]:
    """A page of what became of an ingredient, newest first, and where the following page begins."""
    query = select(Movement).where(Movement.ingredient_id == ingredient.id).options(joinedload(Movement.by))
    return read_page(session, query, page, by=[Sort(Movement.id, descending=True)])


def adjust(session: Session, key: int, *, reason: MovementReason, quantity: int, by: User) -> Ingredient:
    """Deliver or waste `quantity`, or say that `quantity` was counted.

    Raises `NotFound`, or `Conflict` when more would be wasted than there is, or there would be too much.
    """
    ingredient = session.get(Ingredient, key, with_for_update=True, populate_existing=True)
    if ingredient is None:
        raise NotFound(_("This ingredient does not exist."))
    match reason:
        case MovementReason.COUNTED:
            delta = quantity - ingredient.quantity
        case MovementReason.WASTED:
            delta = -quantity
        case _:
            delta = quantity
    if ingredient.quantity + delta > MOST:
        raise Conflict(_("That is more than a stock can have."), code="above-limit")
    if ingredient.quantity + delta < 0 or not _change(session, key, delta):
        raise Conflict(_("There is not that much in stock."), code="below-zero")
    session.add(Movement(ingredient_id=key, delta=delta, reason=reason, by_id=by.id))
    session.flush()
    session.refresh(ingredient)
    return ingredient


def read_recipe(session: Session, dish: Dish) -> Sequence[RecipeLine]:
    """What one portion of a dish takes."""
    return session.scalars(
        select(RecipeLine)
        .where(RecipeLine.dish_id == dish.id)
        .options(joinedload(RecipeLine.ingredient))
        .order_by(RecipeLine.ingredient_id)
    ).all()


def write_recipe(session: Session, dish: Dish, quantities: dict[int, int]) -> None:
    """Replace a dish's recipe. Raises `NotFound` for an ingredient."""
    lines = read_recipe(session, dish)
    if {line.ingredient_id: line.quantity for line in lines} == quantities:
        return
    for line in lines:
        session.delete(line)
    session.flush()
    known = set(session.scalars(select(Ingredient.id).where(Ingredient.id.in_(quantities))))
    if set(quantities) - known:
        raise NotFound(_("This ingredient does not exist."))
    session.add_all(
        RecipeLine(dish_id=dish.id, ingredient_id=key, quantity=amount) for key, amount in quantities.items()
    )
    # A change of its recipe is a change of the dish: its version must count it.
    flag_modified(dish, "name")
    session.flush()


def _flush_name(session: Session) -> None:
    flush(
        session,
        conflicts={
            ("uq_ingredient_name", "ingredient.name"): lambda: Conflict(
                _("Another ingredient already has this name."), code="name-taken"
            )
        },
    )


def _change(session: Session, key: int, delta: int) -> bool:
    changed = session.execute(
        update(Ingredient)
        .where(Ingredient.id == key, Ingredient.quantity + delta >= 0)
        .values(quantity=Ingredient.quantity + delta)
        .returning(Ingredient.id)
        .execution_options(synchronize_session=False)
    ).first()
    return changed is not None
