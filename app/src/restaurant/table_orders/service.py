"""Orders that guests send from their table, and what becomes of them.

What a guest sends waits until one of the staff confirms it, and is then added to the table's order as if it had been
taken there. With the setting `direct` it is added at once, if somebody was seated at the table, the bill was not
presented and no dish contains what the guests must not eat; otherwise it waits all the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from restaurant.business_day import BusinessDay
from restaurant.errors import Conflict, NotFound
from restaurant.floor.models import Table
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Dish
from restaurant.menu.service import read_menu
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderKind, OrderLine
from restaurant.orders.schemas import ChosenDish, LinePlacement, MenuPlacement, Placement, dishes_of
from restaurant.orders.state_machine import SETTLED
from restaurant.people.models import User
from restaurant.reservations import limits
from restaurant.settings import TableOrders
from restaurant.table_orders import codes
from restaurant.table_orders.models import RequestedLine, TableOrder, TableOrderStatus
from restaurant.table_orders.schemas import NewTableOrder

#: An order that nobody confirmed within this time is not for guests who still wait for it.
EXPIRES = timedelta(hours=1)
#: For how long they are kept, with the names that guests gave.
KEPT = timedelta(days=7)

_STATUS = TableOrderStatus


class TooManyTableOrders(limits.TooMany):
    """One table or one address orders too often."""

    code = "too-many-table-orders"


@dataclass(frozen=True)
class Entry:
    """A dish that was wanted, and the line that it became, if it did."""

    wanted: RequestedLine
    line: OrderLine | None
    danger: Sequence[Allergen]
    sold_out: bool
    """Whether it can no longer be ordered, of one that is not accepted yet."""

    @property
    def status(self) -> LineStatus | None:
        """How far it is; None before it is accepted, and for a dish that was left out."""
        return self.line.status if self.line is not None else None


def open_table(session: Session, code: str, *, rules: TableOrders) -> Table:
    """The table at which `code` lets guests order. Raises `NotFound`, `Conflict` where guests do not order so."""
    table = codes.find_table(session, code, keys=rules.keys)
    if rules.how == "none":
        raise Conflict(_("Orders are taken by our staff. Please ask us."), code="table-orders-off")
    return table


def place(
    session: Session, wanted: NewTableOrder, *, at: datetime, business_day: BusinessDay, rules: TableOrders,
    address: str, without: Collection[int] = (),
) -> TableOrder:  # fmt: skip
    """Take what a guest at `address` wants, at the instant `at`.

    Dishes that are not available, and those of `without`, are left out of what is sent to the kitchen at once.

    Raises `NotFound` for a code that is not valid, `TooManyTableOrders`, and as `orders.service.add_lines` does.
    """
    table = open_table(session, wanted.code, rules=rules)
    refused = TooManyTableOrders(_("Too many orders were sent from this table. Please ask us."))
    subjects = ((limits.network(address), rules.per_address), (f"table {table.id}", rules.per_table))
    for subject, most in subjects:
        hashed = limits.digest(f"table orders {subject}", key=rules.keys[0])
        limits.count(session, hashed, at=at, most=most, refused=refused)
    placements = wanted.wanted
    lines = orders.priced(session, placements, kind=OrderKind.DINE_IN, at=at, business_day=business_day)
    found = TableOrder(
        table_id=table.id, table=table, guest=wanted.guest, note=wanted.note, created_at=at,
        allergies=[allergen.value for allergen in wanted.allergies],
        lines=[
            RequestedLine(
                dish=line["dish_id"], name=line["name"], name_en=line["name_en"], quantity=line["quantity"],
                option_ids=_options_of(asked, line["dish_id"]), options=line["options"],
                allergens=line["allergens"], unit_price=line["unit_price"], line=None,
                offer=line["offer"], offer_en=line["offer_en"], portion=line["portion"],
                set_menu=asked.set_menu if isinstance(asked, MenuPlacement) else None,
            )
            for asked, its_lines in zip(placements, lines, strict=True)
            for line in its_lines
        ],
    )  # fmt: skip
    session.add(found)
    session.flush()
    if rules.how == "direct":
        reference = orders.order_at(session, table)
        order = orders.lock_order(session, reference) if reference is not None else None
        if order is not None and order.status not in SETTLED and not _dangerous(found, order):
            _add(session, found, order, at=at, business_day=business_day, fire=True, by=None, without=without)
    return found


def read(session: Session, reference: uuid.UUID) -> TableOrder:
    """The order from a table known as `reference`. Raises `NotFound`."""
    found = session.scalar(
        select(TableOrder).where(TableOrder.reference == reference).options(joinedload(TableOrder.table))
    )
    if found is None:
        raise NotFound(_("This order does not exist."))
    return found


def entries(session: Session, found: TableOrder) -> list[Entry]:
    """The dishes of it and how far they are."""
    keys = [line["line"] for line in found.lines if line["line"] is not None]
    query = select(OrderLine).where(OrderLine.id.in_(keys)).options(joinedload(OrderLine.order))
    lines = {line.id: line for line in session.scalars(query)} if keys else {}
    its_order = (
        Order.id == found.order_id
        if found.order_id is not None
        else Order.reference == orders.order_at(session, found.table)
    )
    at_table = session.scalar(select(Order.allergies).where(its_order)) or ()
    allergies = {*found.allergies, *at_table}
    sold_out: set[object] = set()
    if found.status is _STATUS.WAITING:
        dishes = read_menu(session).dishes
        gone = [n for n, line in enumerate(found.lines) if _is_sold_out(dishes.get(line["dish"]))]
        # A set menu cannot be ordered without one of its dishes.
        sold_out = {_part(found.lines, number) for number in gone}
    return [
        Entry(
            sold_out=_part(found.lines, number) in sold_out,
            wanted=line,
            line=lines.get(line["line"]) if line["line"] is not None else None,
            danger=[Allergen(name) for name in line["allergens"] if name in allergies],
        )
        for number, line in enumerate(found.lines)
    ]


def expired(found: TableOrder, *, at: datetime) -> bool:
    """Whether it waited too long to be confirmed."""
    return found.status is _STATUS.WAITING and found.created_at <= at - EXPIRES


def waiting(session: Session, *, at: datetime, table: Table | None = None) -> Sequence[TableOrder]:
    """What waits to be confirmed, of all tables or of one and those joined to it, longest waiting first."""
    query = (
        select(TableOrder)
        .where(TableOrder.status == _STATUS.WAITING, TableOrder.created_at > at - EXPIRES)
        .options(joinedload(TableOrder.table))
        .order_by(TableOrder.created_at, TableOrder.id)
    )
    if table is not None:
        query = query.join(TableOrder.table).where((Table.id == table.id) | (Table.merged_into_id == table.id))
    return session.scalars(query).all()


def accept(
    session: Session, reference: uuid.UUID, *, at: datetime, business_day: BusinessDay, hold: bool, covers: int,
    by: User, without: Collection[int] = (),
) -> tuple[Order, list[Dish]]:  # fmt: skip
    """Add it to the table's order, which is opened for `covers` guests when nobody was seated there.

    Returns the order, and the dishes that are not available and were left out; those of `without` are too. Raises
    `Conflict` when it was decided already, is too old, or nothing of it can be ordered, and as `add_lines` does.
    """
    found = _lock(session, reference, at=at)
    at_table = orders.order_at(session, found.table)
    if at_table is not None:
        order = orders.lock_order(session, at_table)
    else:
        table = session.get_one(Table, found.table.merged_into_id or found.table_id)
        order = orders.open_table(session, table, covers=covers, guest=found.guest, allergies=(), server=by)
    left_out = _add(session, found, order, at=at, business_day=business_day, fire=not hold, by=by, without=without)
    return order, left_out


def refuse(session: Session, reference: uuid.UUID, *, at: datetime, reason: str, by: User) -> TableOrder:
    """Refuse it, with a reason for the guest. Raises `Conflict` when it was decided already."""
    found = _lock(session, reference, at=at)
    found.reason = reason
    _decide(found, _STATUS.REFUSED, at=at, by=by)
    return found


def withdraw(session: Session, reference: uuid.UUID, *, at: datetime) -> TableOrder:
    """Withdraw it, by the guest. Raises `Conflict` when it was decided already."""
    found = _lock(session, reference, at=at)
    _decide(found, _STATUS.WITHDRAWN, at=at, by=None)
    return found


def purge(session: Session, *, at: datetime) -> None:
    """Forget what is older than `KEPT`."""
    session.execute(delete(TableOrder).where(TableOrder.created_at < at - KEPT))


def _add(
    session: Session, found: TableOrder, order: Order, *, at: datetime, business_day: BusinessDay, fire: bool,
    by: User | None, without: Collection[int] = (),
) -> list[Dish]:  # fmt: skip
    """Add the dishes that are available to `order`, which is locked; returns the others.

    They cost what they cost when the guest sent them.
    """
    note = " · ".join(filter(None, (found.guest, found.note)))
    parts = [list(group) for _key, group in groupby(range(len(found.lines)), key=lambda n: _part(found.lines, n))]
    placements = {part[0]: _placement([found.lines[number] for number in part], note=note) for part in parts}
    wanted = [entry for entry in placements.values() if not dishes_of(entry) & set(without)]
    if not wanted:
        names = ", ".join(line["name"] for line in found.lines)
        raise Conflict(_("{dish} is not available at the moment.", dish=names), code="dish-unavailable")
    offered, left_out = orders.available(session, wanted, at=at, zone=business_day.zone)
    orders.add_allergies(session, order, found.allergies)
    # Without any, adding them all says which dish is not available.
    added = orders.add_lines(
        session, order, offered or wanted, at=at, business_day=business_day, fire=fire, by=by,
        chosen_at=found.created_at,
    )  # fmt: skip
    keys = iter(added)
    absent = {*without, *(dish.id for dish in left_out)}
    found.lines = [
        found.lines[number]
        if dishes_of(placements[part[0]]) & absent
        else RequestedLine(**{**found.lines[number], "line": next(keys).id})
        for part in parts
        for number in part
    ]
    found.order_id = order.id
    _decide(found, _STATUS.ACCEPTED, at=at, by=by)
    session.flush()
    return left_out


def _decide(found: TableOrder, status: TableOrderStatus, *, at: datetime, by: User | None) -> None:
    found.status, found.decided_at, found.decided_by_id = status, at, by.id if by is not None else None


def _lock(session: Session, reference: uuid.UUID, *, at: datetime) -> TableOrder:
    found = session.scalar(
        select(TableOrder)
        .where(TableOrder.reference == reference)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound(_("This order does not exist."))
    if found.status is not _STATUS.WAITING:
        raise Conflict(_("This order was already confirmed, refused or withdrawn."), code="already-decided")
    if expired(found, at=at):
        raise Conflict(_("This order is too old. Please ask the guests what they want."), code="expired")
    return found


def _is_sold_out(dish: Dish | None) -> bool:
    return dish is None or dish.archived or dish.out_of_stock


def _dangerous(found: TableOrder, order: Order) -> bool:
    """Whether a dish contains what somebody at the table must not eat: that is for a person to decide."""
    allergies = {*found.allergies, *order.allergies}
    return any(allergies.intersection(line["allergens"]) for line in found.lines)


def _options_of(placement: Placement, dish: int) -> list[int]:
    """The chosen options of a dish in it."""
    if isinstance(placement, LinePlacement):
        return placement.options
    return next(entry.options for entry in placement.dishes if entry.dish == dish)


def _part(lines: Sequence[RequestedLine], number: int) -> object:
    """What a line has in common with the others of its set menu; a dish alone has it with no other."""
    return lines[number].get("portion") or number


def _placement(lines: Sequence[RequestedLine], *, note: str) -> Placement:
    """What was asked for with these lines, which are a dish or the courses of a set menu."""
    first = lines[0]
    set_menu = first.get("set_menu")
    if set_menu is None:
        return LinePlacement(
            dish=first["dish"], quantity=first["quantity"], options=first["option_ids"], note=note
        )  # fmt: skip
    dishes = [ChosenDish(dish=line["dish"], options=line["option_ids"], note=note) for line in lines]
    return MenuPlacement(set_menu=set_menu, quantity=first["quantity"], dishes=dishes)
