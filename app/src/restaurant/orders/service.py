"""Placing orders and everything that happens to them until they are paid.

Functions that change an order take one that was read by `lock_order`: two people who change the same order do so one
after the other, and each change ends by updating the order's status (`state_machine`) and recording an event for the
kitchen.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, time
from itertools import chain, count
from typing import TypedDict
from zoneinfo import ZoneInfo

from sqlalchemy import Table as SqlTable
from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.orm.attributes import flag_modified

from restaurant.billing import journal
from restaurant.billing.models import EntryKind
from restaurant.billing.split import apportion
from restaurant.business_day import BusinessDay
from restaurant.database import flush, on_commit
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.floor.models import Condition, Table
from restaurant.http import idempotency
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import euros, in_french, label, ngettext
from restaurant.i18n import gettext as _
from restaurant.kitchen import notices, outbox
from restaurant.kitchen.models import Change
from restaurant.menu.models import Allergen, Course, Dish, Option, Station
from restaurant.menu.offers import Offers, Price
from restaurant.menu.service import Menu, is_available, read_menu
from restaurant.metrics import COVERS, count_order
from restaurant.opening.hours import Purpose
from restaurant.opening.service import read_calendar, require_open, revisions
from restaurant.orders.models import ChosenOption, LineStatus, Order, OrderKind, OrderLine, OrderStatus
from restaurant.orders.schemas import (
    LinePlacement,
    LineView,
    MenuPlacement,
    OrderPlacement,
    OrderView,
    Placement,
    dishes_of,
)
from restaurant.orders.state_machine import MOVES, SETTLED, status_of
from restaurant.people.models import User
from restaurant.people.permissions import Permission
from restaurant.printing.service import print_tickets, targets
from restaurant.printing.tickets import Heading, TicketLine
from restaurant.reservations import limits
from restaurant.reservations.models import BESIDE, BookedTable, Booking
from restaurant.settings import Opening
from restaurant.stock import service as stock
from restaurant.types import MOST, now

_ORDERS: SqlTable = Order.__table__  # type: ignore[assignment]  # a declarative table is a Table
_LINES: SqlTable = OrderLine.__table__  # type: ignore[assignment]
_INSERT_ORDER = insert(_ORDERS).returning(_ORDERS.c.id)
_INSERT_LINES = insert(_LINES).returning(_LINES.c.id, sort_by_parameter_order=True)

#: The same two, the kitchen's event and the count of the sender's orders in one statement, one round trip, which only
#: PostgreSQL can.
_PLACE = """
WITH counted AS (
    INSERT INTO booking_address AS known (address_hash, since, bookings)
    SELECT %(address)s::varchar, %(at)s, 1 WHERE %(address)s::varchar IS NOT NULL
    ON CONFLICT (address_hash) DO UPDATE SET
        since = CASE WHEN known.since <= %(before)s THEN %(at)s ELSE known.since END,
        bookings = CASE WHEN known.since <= %(before)s THEN 1 ELSE known.bookings + 1 END
    RETURNING bookings, since
), placed AS (
    INSERT INTO orders (reference, kind, status, covers, allergies, guest, note, opened_at, due, paid, version)
    VALUES (%(reference)s, %(kind)s, %(status)s, 0, '[]', %(guest)s, %(note)s, %(at)s, 0, 0, 1)
    RETURNING id
), recorded AS (
    INSERT INTO event (order_id, created_at) SELECT id, %(at)s FROM placed
), written AS (
    INSERT INTO order_line (order_id, dish_id, name, name_en, quantity, unit_price, vat_rate, station, course, seat,
                            status, note, options, allergens, offer, offer_en, portion, regular_price, fired_at)
    SELECT placed.id, l.dish_id, l.name, l.name_en, l.quantity, l.unit_price, l.vat_rate, l.station, l.course, l.seat,
           l.status, l.note, l.options, l.allergens, l.offer, l.offer_en, l.portion, l.regular_price, %(at)s
    FROM placed, ROWS FROM (
        json_to_recordset(%(lines)s::json) AS (
            dish_id integer, name text, name_en text, quantity integer, unit_price integer, vat_rate integer,
            station text, course text, seat integer, status text, note text, options json, allergens json,
            offer text, offer_en text, portion text, regular_price integer)
    ) WITH ORDINALITY AS l
    ORDER BY l.ordinality
    RETURNING id
)
SELECT id, (SELECT bookings FROM counted), (SELECT since FROM counted) FROM written ORDER BY id
"""


#: Why an order ended whose lines another one took over.
MERGED = "merged"


class NewLine(TypedDict):
    """A line that is not written yet."""

    dish_id: int
    name: str
    name_en: str | None
    quantity: int
    unit_price: int
    vat_rate: int
    station: Station
    course: Course
    seat: int | None
    status: LineStatus
    note: str
    options: list[ChosenOption]
    allergens: list[str]
    offer: str | None
    offer_en: str | None
    portion: str | None
    regular_price: int | None


def place_order(
    session: Session, placement: OrderPlacement, *, at: datetime, opening: Opening, business_day: BusinessDay,
    by: User | None, address: str,
) -> OrderView:  # fmt: skip
    """Place the order of a guest at `address` at the instant `at`; it goes to the kitchen at once.

    Raises `Invalid` for an unknown dish or wrong options, `Conflict` for a dish that is not available or for more than
    an order may come to, and outside the opening hours, and `TooManyOrders`, unless it is one of those who take orders
    that places it.
    """
    known = idempotency.revisions(session) or revisions(session.connection())
    sender = None
    if by is None or not by.may(Permission.TAKE_ORDERS):
        if opening.orders_per_address:
            sender = limits.digest(f"orders {limits.network(address)}", key=opening.key)
        calendar = read_calendar(session, opening, revision=known.get("opening", 0))
        require_open(calendar, Purpose.TAKE_AWAY, at=at)
    menu = read_menu(session, revision=known.get("menu", 0))
    lines = _lines(menu, placement.wanted, kind=placement.kind, at=at, business_day=business_day)
    total = sum(line["quantity"] * line["unit_price"] for line in lines)
    _limit(total)
    for line in lines:
        line["status"] = LineStatus.FIRED
    reference = uuid.uuid4()
    keys = _insert(session, reference, placement, lines, at=at, sender=sender, most=opening.orders_per_address)
    stock.consume(
        session,
        [
            stock.Need(key, line["dish_id"], line["quantity"], line["name"])
            for key, line in zip(keys, lines, strict=True)
        ],
        menu.recipes,
    )
    print_tickets(
        session, Heading(placement.guest, _takeaway(), [], placement.note),
        [
            TicketLine(
                line["station"], line["quantity"], line["name"], [option["name"] for option in line["options"]],
                line["note"], [],
            )
            for line in lines
        ],
        at=at, revision=known.get("printers", 0),
    )  # fmt: skip
    order = OrderView(
        reference=reference,
        kind=placement.kind,
        status=OrderStatus.SENT,
        table_id=None,
        covers=0,
        allergies=[],
        guest=placement.guest,
        note=placement.note,
        opened_at=at,
        closed_at=None,
        total=total,
        version=1,
        lines=[
            LineView(id=key, total=line["quantity"] * line["unit_price"], danger=[], **line)
            for key, line in zip(keys, lines, strict=True)
        ],
    )
    on_commit(session, lambda: count_order(kind=placement.kind.value, value=order.total))
    return order


def open_table(
    session: Session, table: Table, *, covers: int, guest: str, allergies: Sequence[Allergen], server: User | None
) -> Order:
    """Seat guests at a table. Raises `Conflict` when it has an open order, is merged away or cannot be used."""
    _usable(session, table)
    order = Order(
        kind=OrderKind.DINE_IN,
        status=OrderStatus.DRAFT,
        table_id=table.id,
        covers=covers,
        guest=guest,
        allergies=[allergen.value for allergen in allergies],
        server_id=server.id if server is not None else None,
    )
    session.add(order)
    _flush_table(session)
    outbox.record(session, order.id)
    on_commit(session, lambda: COVERS.inc(covers))
    return order


def keep_free(session: Session, table: Table) -> None:
    """Lock `table` so that no one is seated there meanwhile. Raises `Conflict` when it has guests."""
    _usable(session, table)
    if session.scalar(select(Order.id).where(Order.table_id == table.id, Order.closed_at.is_(None))) is not None:
        raise _taken()


def read_order(session: Session, reference: uuid.UUID) -> Order:
    """The order known as `reference`, with its lines. Raises `NotFound`."""
    order = session.scalar(
        select(Order)
        .where(Order.reference == reference)
        .options(selectinload(Order.lines), joinedload(Order.table), joinedload(Order.server))
    )
    if order is None:
        raise unknown_order()
    return order


def unknown_order() -> NotFound:
    """The refusal of a reference that no order has."""
    return NotFound(_("This order does not exist."))


def read_order_with_key(session: Session, key: int) -> Order:
    """The order with this key, which is one that another row names."""
    return session.scalars(select(Order).where(Order.id == key)).one()


def lock_order(session: Session, reference: uuid.UUID) -> Order:
    """As `read_order`, and lock the order until this unit of work ends."""
    order = session.scalar(
        select(Order)
        .where(Order.reference == reference)
        .options(selectinload(Order.lines))
        .with_for_update(of=Order)
        .execution_options(populate_existing=True)
    )
    if order is None:
        raise unknown_order()
    return order


def order_at(session: Session, table: Table) -> uuid.UUID | None:
    """The open order of the guests at `table`; a table that is joined to another one has that one's."""
    key = session.scalar(BESIDE.with_only_columns(Booking.order_id).where(BookedTable.table_id == table.id).limit(1))
    at_table = Order.table_id == (table.merged_into_id or table.id) if key is None else Order.id == key
    return session.scalar(select(Order.reference).where(at_table, Order.closed_at.is_(None)))


def lock_pair(session: Session, first: uuid.UUID, second: uuid.UUID) -> tuple[Order, Order]:
    """Lock two orders, always in the same sequence, so that two people cannot wait for each other."""
    locked = {reference: lock_order(session, reference) for reference in sorted({first, second})}
    return locked[first], locked[second]


def find_line(order: Order, key: int) -> OrderLine:
    """The line of `order` with this key. Raises `NotFound`."""
    for line in order.lines:
        if line.id == key:
            return line
    raise NotFound(_("This line does not exist."))


def open_orders(session: Session) -> Sequence[Order]:
    """All orders that are not closed, oldest first."""
    return session.scalars(
        select(Order)
        .where(Order.closed_at.is_(None))
        .options(selectinload(Order.lines), joinedload(Order.table), joinedload(Order.server))
        .order_by(Order.opened_at, Order.id)
    ).all()


def list_orders(
    session: Session, page: PageQuery, *, status: OrderStatus | None = None
) -> tuple[Sequence[Order], str | None]:
    """A page of the orders, newest first, and where the following page begins."""
    query = select(Order).options(selectinload(Order.lines))
    if status is not None:
        query = query.where(Order.status == status)
    return read_page(session, query, page, by=[Sort(Order.id, descending=True)])


def add_lines(
    session: Session, order: Order, placements: Sequence[Placement], *, at: datetime, business_day: BusinessDay,
    fire: bool, by: User | None = None, chosen_at: datetime | None = None,
) -> list[OrderLine]:  # fmt: skip
    """Add lines, sent to the kitchen at once or held until their course is fired. Raises as `place_order` does.

    Of a set menu, only drinks and the first course are sent at once. An order without a server, because the host seated
    its guests, is assigned to `by`. Guests who chose before, at `chosen_at`, pay what it cost then.
    """
    _unsettled(order)
    if by is not None and by.may(Permission.TAKE_ORDERS) and not _has_server(order):
        order.server = session.get_one(User, by.id)
    menu = read_menu(session)
    lines = _lines(menu, placements, kind=order.kind, at=at, business_day=business_day, chosen_at=chosen_at)
    added = [OrderLine(**line) for line in lines]
    order.lines.extend(added)
    _limit(order.total)
    if fire:
        _fire(session, _first_courses(added), menu)
    refresh(session, order)
    return added


def priced(
    session: Session, placements: Sequence[Placement], *, kind: OrderKind, at: datetime, business_day: BusinessDay
) -> Sequence[Sequence[NewLine]]:
    """The lines that each of `placements` would become at the instant `at`; some may not be available then.

    Raises as `place_order` does, and for a dish that is not available when none of them can be ordered.
    """
    offered, _left_out = available(session, placements, at=at, zone=business_day.zone)
    menu = read_menu(session)
    lines = _priced(menu, placements, kind=kind, at=at, business_day=business_day, even_missing=bool(offered))
    _limit(sum(line["quantity"] * line["unit_price"] for line in chain.from_iterable(lines)))
    return lines


def available(
    session: Session, placements: Sequence[Placement], *, at: datetime, zone: ZoneInfo
) -> tuple[list[Placement], list[Dish]]:
    """The placements that can be ordered at the instant `at`, and the dishes of the menu that cannot.

    A set menu cannot be ordered without one of its dishes.
    """
    menu = read_menu(session)
    clock = at.astimezone(zone).time()
    left_out = [
        dish
        for placement in placements
        for key in sorted(dishes_of(placement))
        if (dish := menu.dishes.get(key)) is not None and not is_available(dish, at=clock)
    ]
    missing = {dish.id for dish in left_out}
    return [placement for placement in placements if not missing & dishes_of(placement)], left_out


def last_round(order: Order) -> list[OrderLine]:
    """The drinks that were sent to the bar last."""
    drinks = [
        line
        for line in order.lines
        if line.course is Course.DRINK and line.fired_at is not None and line.status is not LineStatus.VOIDED
    ]
    latest = max((line.fired_at for line in drinks if line.fired_at is not None), default=None)
    return [line for line in drinks if line.fired_at == latest]


def repeat(
    session: Session, order: Order, lines: Sequence[OrderLine], *, quantity: int | None = None, at: datetime,
    business_day: BusinessDay, by: User, without: Collection[int] = (),
) -> list[Dish]:  # fmt: skip
    """Order `lines` once more, each as often as before or `quantity` times, with their options, notes and seats.

    They cost what they cost now; one of a set menu is ordered as a dish.

    Returns the dishes that are not available, which are left out; those of `without` are too. Raises as `add_lines`
    does, and `Conflict` when nothing is left to order.
    """
    menu = read_menu(session)
    again = []
    for line in lines:
        dish = menu.dishes.get(line.dish_id)
        names = {option["name"] for option in line.options}
        groups = dish.option_groups if dish is not None else []
        options = [option.id for group in groups for option in group.options if option.name in names]
        again.append(
            LinePlacement(
                dish=line.dish_id, quantity=quantity or line.quantity, options=options, course=line.course,
                seat=line.seat, note=line.note,
            )
        )  # fmt: skip
    wanted, left_out = available(session, again, at=at, zone=business_day.zone)
    if not wanted:
        names = {dish.name for dish in left_out}
        raise Conflict(
            _("{dish} is not available at the moment.", dish=", ".join(sorted(names)))
            if names
            else _("There is nothing to repeat."),
            code="dish-unavailable" if names else "nothing-to-repeat",
        )
    # Without any, adding them all says which dish has run out.
    offered = [placement for placement in wanted if dishes_of(placement).isdisjoint(without)] or wanted
    add_lines(session, order, offered, at=at, business_day=business_day, fire=True, by=by)
    return left_out


def change_course(session: Session, order: Order, line: OrderLine, course: Course) -> None:
    """Serve a held line with another course. Raises `Conflict` once it is sent."""
    _unsettled(order)
    if line.status is not LineStatus.HELD:
        raise Conflict(_("This line is already sent to the kitchen."), code="wrong-step")
    if line.course is not course:
        line.course = course
        refresh(session, order)


def fire(session: Session, order: Order, *, course: Course | None, without: Collection[int] = ()) -> list[OrderLine]:
    """Send held lines to the kitchen: those of one course, or all; the dishes of `without` stay held.

    Raises `Conflict` when none is held.
    """
    _unsettled(order)
    held = [line for line in order.lines if line.status is LineStatus.HELD and course in {None, line.course}]
    if not held:
        raise Conflict(_("There is nothing to send."), code="nothing-held")
    # Without any, sending them all says which dish has run out.
    sent = [line for line in held if line.dish_id not in without] or held
    _fire(session, sent, read_menu(session))
    refresh(session, order)
    return sent


def move_line(session: Session, order: Order, line: OrderLine, status: LineStatus) -> None:
    """Move a line on (or back, a recall). Raises `Conflict` for a step the machine does not have."""
    if status not in MOVES[line.status] or status is LineStatus.VOIDED or line.status is LineStatus.HELD:
        raise Conflict(
            _("A line that is “{old}” cannot become “{new}”.", old=label(line.status), new=label(status)),
            code="wrong-step",
        )
    if order.closed_at is not None:
        raise Conflict(_("This order is closed."), code="order-settled")
    line.status = status
    if status is LineStatus.READY:
        line.ready_at = line.ready_at or now()
    if status is LineStatus.SERVED:
        line.served_at = now()
    refresh(session, order)


def serve_ready(session: Session, order: Order) -> None:
    """Mark every ready line as served. Raises `Conflict` when none is ready or the order is closed."""
    ready = [line for line in order.lines if line.status is LineStatus.READY]
    if order.closed_at is not None or not ready:
        raise Conflict(_("Nothing is ready to serve."), code="nothing-ready")
    _serve(ready)
    refresh(session, order)


def finish(session: Session, order: Order) -> None:
    """Close a paid order: whatever the kitchen's screen still shows, the guests have it. Raises `Conflict` before."""
    if order.status is not OrderStatus.PAID:
        raise Conflict(_("This order is not paid, or is already closed."), code="not-paid")
    _serve([line for line in order.lines if line.status not in {LineStatus.SERVED, LineStatus.VOIDED}])
    refresh(session, order)


def assign(session: Session, order: Order, server: User, *, by: User) -> None:
    """Hand an order over to another server, who is credited with its sales. Raises `Conflict`, or `Invalid`."""
    if order.closed_at is not None:
        raise Conflict(_("This order is closed."), code="order-settled")
    if not server.active or not server.may(Permission.TAKE_ORDERS):
        raise Invalid(_("This person does not take orders."), code="not-a-server")
    if order.server_id != server.id:
        before = order.server.username if order.server is not None else None
        order.server = server
        refresh(session, order)
        if order.billed_at is not None:
            content = {
                "order": str(order.reference), "from": before, "to": server.username, "by": by.username,
                "at": now().isoformat(),
            }  # fmt: skip
            journal.record(session, EntryKind.HANDOVER, content, [order])


def needs_approval(lines: Iterable[OrderLine]) -> bool:
    """Whether taking these lines off is a manager's decision: something of them was sent to the kitchen."""
    return any(line.status not in {LineStatus.HELD, LineStatus.VOIDED} for line in lines)


def void_line(
    session: Session, order: Order, line: OrderLine, *, reason: str, by: User, quantity: int | None = None
) -> None:
    """Void a line, or a part of its quantity; `by` is responsible for it.

    Raises `Conflict` when it is voided, has less than `quantity`, or the order is settled.
    """
    _unsettled(order)
    if line.status is LineStatus.VOIDED:
        raise Conflict(_("This line is already voided."), code="wrong-step")
    if quantity is None or quantity == line.quantity:
        voided = line
    elif quantity > line.quantity:
        raise Conflict(_("This line has fewer portions than that."), code="quantity-too-large")
    else:
        voided = _part(line, quantity)
        order.lines.append(voided)
    _void(session, order, line, voided, reason=reason, by=by)
    refresh(session, order)


def _void(session: Session, order: Order, line: OrderLine, voided: OrderLine, *, reason: str, by: User) -> None:
    """Void `voided`, which is `line` or the part of it that was split off."""
    if line.status is LineStatus.FIRED:
        stock.give_back(session, line, voided=voided.quantity, of=line.quantity)
    if line is not voided:
        line.quantity -= voided.quantity
    sent = voided.status is not LineStatus.HELD
    if sent and voided.status is not LineStatus.SERVED:
        _print(session, order, [voided], voided=True)
    if voided.status in {LineStatus.HELD, LineStatus.SERVED}:
        # It is not in the kitchen, which has nothing to stop.
        voided.void_acknowledged_at = now()
    voided.status = LineStatus.VOIDED
    voided.void_reason = reason or None
    voided.voided_by_id = by.id
    session.flush()
    if sent:
        journal.record(
            session,
            EntryKind.VOID,
            {
                "order": str(order.reference), "line": voided.id, "name": voided.name, "quantity": voided.quantity,
                "amount": voided.quantity * voided.unit_price, "reason": reason, "by": by.username,
                "at": now().isoformat(),
            },
            [voided],
        )  # fmt: skip


def _part(line: OrderLine, quantity: int) -> OrderLine:
    """A line like `line` for some of its portions."""
    copied = {
        column.key: getattr(line, column.key)
        for column in inspect(OrderLine).column_attrs
        if column.key not in {"id", "quantity"}
    }
    return OrderLine(**copied, quantity=quantity)


def _serve(lines: Iterable[OrderLine]) -> None:
    moment = now()
    for line in lines:
        line.status, line.ready_at, line.served_at = LineStatus.SERVED, line.ready_at or moment, moment


def _has_server(order: Order) -> bool:
    return order.server is not None and order.server.may(Permission.TAKE_ORDERS)


def transfer(session: Session, order: Order, table: Table) -> None:
    """Move an order to another table. Raises `Conflict` when that table is taken or cannot be used."""
    _unsettled(order)
    if order.table_id == table.id:
        return
    _usable(session, table)
    before = order.table
    order.table_id = table.id
    _flush_table(session)
    session.refresh(order, ["table"])
    _announce(session, order, Change.TABLE, order.lines, text=before.name if before is not None else "")
    refresh(session, order)


def move_lines(session: Session, order: Order, target: Order, keys: Iterable[int]) -> None:
    """Put some lines of `order` on `target`; both must be locked (`lock_pair`).

    Raises `NotFound` for a line that is not of `order`, `Conflict` for a voided line or when one of the orders is
    settled.
    """
    _unsettled(order)
    _unsettled(target)
    if order.id == target.id or order.kind is not target.kind:
        raise Conflict(_("Lines cannot be moved to this order."), code="not-mergeable")
    lines = [find_line(order, key) for key in sorted(set(keys))]
    if any(line.status is LineStatus.VOIDED for line in lines):
        raise Conflict(_("This line is already voided."), code="wrong-step")
    before = order.table.name if order.table is not None else order.guest
    for line in lines:
        line.order, line.seat = target, None
        _announce(session, target, Change.LINE, [line], text=before)
    _limit(target.total)
    refresh(session, order)
    refresh(session, target)


def merge(session: Session, order: Order, target: Order) -> None:
    """Put all lines of `order` on `target`, and end `order`. Both must be locked (`lock_pair`)."""
    _unsettled(order)
    _unsettled(target)
    if order.id == target.id or order.kind is not target.kind:
        raise Conflict(_("These two orders cannot be merged."), code="not-mergeable")
    target.covers += order.covers
    target.allergies = sorted({*target.allergies, *order.allergies})
    before = order.table.name if order.table is not None else order.guest
    notices.pass_on(session, order, target)
    lines = list(order.lines)
    for line in lines:
        line.order = target
    _announce(session, target, Change.MERGE, lines, text=before)
    _limit(target.total)
    session.flush()
    _end(order, reason=MERGED)
    refresh(session, target)
    outbox.record(session, order.id)
    session.flush()


def cancel(session: Session, order: Order, *, reason: str, by: User) -> None:
    """Void all lines and end the order; `by` is responsible for it. Raises `Conflict` once it is billed."""
    _unsettled(order)
    sent, amount = needs_approval(order.lines), order.total
    for line in order.lines:
        if line.status is not LineStatus.VOIDED:
            _void(session, order, line, line, reason=reason, by=by)
    _end(order, reason=reason)
    if sent:
        content = {
            "order": str(order.reference), "amount": amount, "reason": reason, "by": by.username,
            "at": now().isoformat(),
        }  # fmt: skip
        journal.record(session, EntryKind.CANCELLATION, content, [order])
    outbox.record(session, order.id)
    session.flush()


def describe_guests(
    session: Session, order: Order, *, covers: int, guest: str, note: str, allergies: Sequence[Allergen]
) -> None:
    """Change what is known about the guests; every line is checked against their allergies from then on."""
    _unsettled(order)
    before, noted = order.guest, order.note
    order.covers, order.guest, order.note = covers, guest, note
    if before != guest and order.table_id is None:
        _announce(session, order, Change.GUEST, order.lines, text=before)
    if noted != note:
        _announce(session, order, Change.NOTE, order.lines)
    _set_allergies(session, order, [allergen.value for allergen in allergies])
    refresh(session, order)


def add_allergies(session: Session, order: Order, allergies: Iterable[str]) -> None:
    """Add to what the guests of an order, which must be locked, cannot eat."""
    _set_allergies(session, order, sorted({*order.allergies, *allergies}))


def _set_allergies(session: Session, order: Order, allergies: list[str]) -> None:
    changed = set(order.allergies) != set(allergies)
    order.allergies = allergies
    if changed:
        _announce(session, order, Change.ALLERGIES, order.lines)


def _announce(session: Session, order: Order, change: Change, lines: Sequence[OrderLine], *, text: str = "") -> None:
    """Tell the kitchen what changed of an order that it is cooking, on its screens and on paper.

    `text` is the table, or the name, that it was before.
    """
    cooking = [line for line in lines if line.status in notices.IN_KITCHEN]
    if not cooking:
        return
    told = f"{cooking[0].quantity} × {cooking[0].name} ← {text}" if change is Change.LINE else text
    notices.announce(session, order, change, cooking, text=told)
    with in_french():
        # The paper lists the lines.
        words = notices.words(Change.TABLE if change is Change.LINE else change, text)
    _print(session, order, cooking, change=words)


def _unsettled(order: Order) -> None:
    if order.status in SETTLED:
        raise Conflict(_("This order is settled and cannot be changed."), code="order-settled")


def _usable(session: Session, table: Table) -> None:
    # Seating guests at a table, joining it to another one and giving it to a large party exclude each other.
    session.refresh(table, with_for_update=True)
    if table.condition is not Condition.USABLE or table.merged_into_id is not None:
        raise Conflict(_("Table {table} cannot be used now.", table=table.name), code="table-unusable")
    if session.execute(BESIDE.where(BookedTable.table_id == table.id)).first() is not None:
        raise _taken()


def _taken() -> Conflict:
    return Conflict(_("This table already has an open order."), code="table-taken")


def _flush_table(session: Session) -> None:
    flush(session, conflicts={("uq_orders_open_table", "orders.table_id"): _taken})


def _fire(session: Session, lines: Sequence[OrderLine], menu: Menu) -> None:
    # Movements of the stock name the lines they were for.
    session.flush()
    stock.consume(
        session, [stock.Need(line.id, line.dish_id, line.quantity, line.name) for line in lines], menu.recipes
    )
    moment = now()
    for line in lines:
        line.status, line.fired_at = LineStatus.FIRED, moment
    if lines:
        _print(session, lines[0].order, lines)


def _print(
    session: Session, order: Order, lines: Sequence[OrderLine], *, voided: bool = False, change: str = ""
) -> None:
    """Queue tickets for the kitchen's printers; nothing is read when there are none."""
    if not targets(session):
        return
    with in_french():
        if order.table is not None:
            title = _("Table {table}", table=order.table.name)
            details = ngettext("{count} guest", "{count} guests", order.covers)
        else:
            title, details = order.guest or _takeaway(), _takeaway()
    if order.server is not None:
        details = f"{details} - {order.server.name}"
    heading = Heading(title, details, order.allergies, order.note)
    rows = [
        TicketLine(
            line.station, line.quantity, line.name, [option["name"] for option in line.options], line.note,
            [name for name in line.allergens if name in order.allergies],
        )
        for line in lines
    ]  # fmt: skip
    print_tickets(session, heading, rows, at=now(), voided=voided, change=change)


def _takeaway() -> str:
    with in_french():
        return _("Take-away")


def _limit(total: int) -> None:
    if total > MOST:
        raise Conflict(_("An order may come to at most {amount}.", amount=euros(MOST)), code="order-too-large")


def refresh(session: Session, order: Order) -> None:
    """Update the status after a change, increment the version and notify the kitchen."""
    order.status = status_of(
        (line.status for line in order.lines), billed=order.billed_at is not None, paid=order.paid_at is not None
    )
    if order.status is OrderStatus.CLOSED:
        order.closed_at = now()
    if order.paid_at is not None:
        # What is more than the bill stays the guests', and is given back.
        order.deposit = 0
    if inspect(order).persistent:
        # A change of a line is a change of its order: the order's version must count it.
        flag_modified(order, "status")
    session.flush()
    outbox.record(session, order.id)


def _end(order: Order, *, reason: str) -> None:
    order.status, order.closed_at, order.cancel_reason, order.deposit = OrderStatus.CANCELLED, now(), reason, 0


def _insert(
    session: Session, reference: uuid.UUID, placement: OrderPlacement, lines: Sequence[NewLine], *, at: datetime,
    sender: str | None, most: int,
) -> list[int]:  # fmt: skip
    """Write a guest's order, its lines and the kitchen's event, and count it; returns the lines' keys.

    Guests place most of all orders, so this does without the ORM, whose unit of work takes several times as long.
    """
    connection = session.connection()
    order = {
        "reference": reference, "kind": placement.kind, "status": OrderStatus.SENT, "guest": placement.guest,
        "note": placement.note,
    }  # fmt: skip
    if connection.dialect.name == "postgresql":
        values = {**order, "kind": placement.kind.value, "status": OrderStatus.SENT.value, "address": sender}
        more = {"at": at, "before": at - limits.WINDOW, "lines": json.dumps(lines)}
        written = connection.exec_driver_sql(_PLACE, {**values, **more}).all()
        _key, times, since = written[0]
        if times is not None:
            limits.check(times, since=since, at=at, most=most, refused=limits.too_many_orders())
        return [line for line, _times, _since in written]
    if sender is not None:
        limits.count(session, sender, at=at, most=most, refused=limits.too_many_orders())
    key = connection.execute(_INSERT_ORDER, {**order, "opened_at": at, "version": 1}).scalar_one()
    outbox.record(session, key)
    rows = [{**line, "order_id": key, "fired_at": at} for line in lines]
    return list(connection.execute(_INSERT_LINES, rows).scalars())


def _lines(
    menu: Menu, placements: Sequence[Placement], *, kind: OrderKind, at: datetime, business_day: BusinessDay,
    chosen_at: datetime | None = None,
) -> list[NewLine]:  # fmt: skip
    found = _priced(menu, placements, kind=kind, at=at, business_day=business_day, chosen_at=chosen_at)
    return list(chain.from_iterable(found))


def _priced(
    menu: Menu, placements: Sequence[Placement], *, kind: OrderKind, at: datetime, business_day: BusinessDay,
    chosen_at: datetime | None = None, even_missing: bool = False,
) -> list[list[NewLine]]:  # fmt: skip
    """The lines of each placement, with the offers that were on when they were chosen.

    All dishes must be available at the instant `at`, unless it is `even_missing`.
    """
    clock = None if even_missing else at.astimezone(business_day.zone).time()
    offers = menu.offers(chosen_at or at, business_day)
    fields = {LinePlacement: count(), MenuPlacement: count()}
    found = []
    for placement in placements:
        index = next(fields[type(placement)])
        if isinstance(placement, LinePlacement):
            field, dish = f"/lines/{index}", menu.dishes.get(placement.dish)
            found.append([_line(placement, dish, kind=kind, clock=clock, field=field, offers=offers)])
        else:
            found.append(_courses(placement, menu, kind=kind, clock=clock, field=f"/menus/{index}", offers=offers))
    return found


def _line(
    placement: LinePlacement, dish: Dish | None, *, kind: OrderKind, clock: time | None, field: str,
    offers: Offers | None,
) -> NewLine:  # fmt: skip
    """The line of a dish, at its regular price without `offers`; available or not without `clock`."""
    if dish is None or dish.archived:
        detail = _("This dish is not on the menu.")
        raise Invalid(detail, code="unknown-dish", fields={f"{field}/dish": detail})
    if clock is not None and not is_available(dish, at=clock):
        raise Conflict(_("{dish} is not available at the moment.", dish=dish.name), code="dish-unavailable")
    options = _chosen(placement, dish, field=field)
    extra = sum(option.price for option in options)
    price = offers.price(dish) if offers is not None else Price(dish.price)
    reason = price.happy_hour
    return NewLine(
        dish_id=dish.id,
        name=dish.name,
        name_en=dish.name_en,
        quantity=placement.quantity,
        unit_price=price.amount + extra,
        vat_rate=dish.vat_dine_in if kind is OrderKind.DINE_IN else dish.vat_take_away,
        station=dish.station,
        course=placement.course or dish.course,
        seat=placement.seat,
        status=LineStatus.HELD,
        note=placement.note,
        options=[ChosenOption(name=option.name, name_en=option.name_en, price=option.price) for option in options],
        allergens=[entry.allergen.value for entry in dish.allergens],
        offer=reason.name if reason is not None else None,
        offer_en=reason.name_en if reason is not None else None,
        portion=None,
        regular_price=dish.price + extra if reason is not None else None,
    )


def _courses(
    placement: MenuPlacement, menu: Menu, *, kind: OrderKind, clock: time | None, field: str, offers: Offers
) -> list[NewLine]:
    """The lines of a set menu. Its price is divided in proportion to the regular prices of the chosen dishes.

    So each VAT rate gets its part, and the parts add up to the price to the cent. Supplements and options belong to
    their dish. Raises `Invalid` unless one dish of each course is chosen.
    """
    set_menu = next((entry for entry in menu.set_menus if entry.id == placement.set_menu), None)
    if set_menu is None or set_menu.archived:
        detail = _("This set menu is not on the menu.")
        raise Invalid(detail, code="unknown-set-menu", fields={f"{field}/set_menu": detail})
    if set_menu.id not in offers.set_menus:
        raise Conflict(_("{dish} is not available at the moment.", dish=set_menu.name), code="set-menu-unavailable")
    chosen = {entry.dish: entry for entry in placement.dishes}
    lines, supplements, prices = [], [], {}
    for place, course in enumerate(set_menu.courses):
        picked = [choice for choice in course.choices if choice.dish_id in chosen]
        if len(picked) != 1:
            detail = _("{menu}: choose one dish for {course}.", menu=set_menu.name, course=course.name)
            raise Invalid(detail, code="course-choice", fields={f"{field}/dishes": detail})
        entry = chosen.pop(picked[0].dish_id)
        wanted = LinePlacement(
            dish=entry.dish, quantity=placement.quantity, options=entry.options, note=entry.note, seat=placement.seat,
            course=course.course,
        )  # fmt: skip
        dish = menu.dishes.get(entry.dish)
        lines.append(_line(wanted, dish, kind=kind, clock=clock, field=f"{field}/dishes", offers=None))
        supplements.append(picked[0].supplement)
        prices[place] = dish.price if dish is not None else 0
    if chosen or len(placement.dishes) != len(lines):
        detail = _("{menu} does not have this dish.", menu=set_menu.name)
        raise Invalid(detail, code="course-choice", fields={f"{field}/dishes": detail})
    # Dishes that cost nothing alone share the price equally.
    shares = apportion(prices if any(prices.values()) else dict.fromkeys(prices, 1), set_menu.price)
    portion = uuid.uuid4().hex
    for place, line in enumerate(lines):
        regular = line["unit_price"]
        line["unit_price"] = shares[place] + supplements[place] + regular - prices[place]
        line["regular_price"], line["portion"] = regular, portion
        line["offer"], line["offer_en"] = set_menu.name, set_menu.name_en
    return lines


def _first_courses(lines: Sequence[OrderLine]) -> list[OrderLine]:
    """The lines to send at once: all but the later courses of set menus."""
    order = list(Course)
    first: dict[str, Course] = {}
    for line in lines:
        if line.portion is not None and line.course is not Course.DRINK:
            first[line.portion] = min(first.get(line.portion, line.course), line.course, key=order.index)
    return [
        line
        for line in lines
        if line.portion is None or line.course is Course.DRINK or line.course is first[line.portion]
    ]


def _chosen(placement: LinePlacement, dish: Dish, *, field: str) -> list[Option]:
    """The chosen options in the menu's order. Raises `Invalid` when a group's minimum or maximum is not met."""
    pointer = f"{field}/options"
    wanted = Counter(placement.options)
    known = {option.id for group in dish.option_groups for option in group.options}
    if set(wanted) - known or any(count > 1 for count in wanted.values()):
        detail = _("{dish} does not have this option.", dish=dish.name)
        raise Invalid(detail, code="unknown-option", fields={pointer: detail})
    chosen: list[Option] = []
    for group in dish.option_groups:
        picked = [option for option in group.options if option.id in wanted]
        if not group.minimum <= len(picked) <= group.maximum:
            detail = _(
                "{dish}: choose {minimum} to {maximum} for {group}.",
                dish=dish.name, minimum=group.minimum, maximum=group.maximum, group=group.name,
            )  # fmt: skip
            raise Invalid(detail, code="option-count", fields={pointer: detail})
        chosen += picked
    return chosen
