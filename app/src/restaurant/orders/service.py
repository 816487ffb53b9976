"""Placing and reading orders."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime, time
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from restaurant.database import on_commit
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.i18n import gettext as _
from restaurant.menu.models import Dish, Option, OptionGroup
from restaurant.menu.service import is_available
from restaurant.metrics import count_order
from restaurant.orders.models import ChosenOption, LineStatus, Order, OrderKind, OrderLine, OrderStatus
from restaurant.orders.schemas import LinePlacement, OrderPlacement


def place_order(session: Session, placement: OrderPlacement, *, at: datetime, zone: ZoneInfo) -> Order:
    """Place a guest's order at the instant `at`.

    Raises `Invalid` for an unknown dish or wrong options, `Conflict` for a dish that is not available.
    """
    wanted = {line.dish for line in placement.lines}
    dishes = {
        dish.id: dish
        for dish in session.scalars(
            select(Dish)
            .where(Dish.id.in_(wanted), Dish.archived.is_(False))
            .options(selectinload(Dish.option_groups).selectinload(OptionGroup.options))
        )
    }
    clock = at.astimezone(zone).time()
    order = Order(
        kind=placement.kind,
        status=OrderStatus.SENT,
        guest=placement.guest,
        note=placement.note,
        opened_at=at,
        lines=[
            _line(line, dishes.get(line.dish), kind=placement.kind, clock=clock, field=f"/lines/{index}")
            for index, line in enumerate(placement.lines)
        ],
    )
    session.add(order)
    session.flush()
    kind, value = order.kind.value, order.total
    on_commit(session, lambda: count_order(kind=kind, value=value))
    return order


def read_order(session: Session, reference: uuid.UUID) -> Order:
    """The order known as `reference`. Raises `NotFound`."""
    order = session.scalar(select(Order).where(Order.reference == reference).options(selectinload(Order.lines)))
    if order is None:
        raise NotFound(_("There is no such order."))
    return order


def _line(placement: LinePlacement, dish: Dish | None, *, kind: OrderKind, clock: time, field: str) -> OrderLine:
    if dish is None:
        detail = _("This dish is not on the menu.")
        raise Invalid(detail, code="unknown-dish", fields={f"{field}/dish": detail})
    if not is_available(dish, at=clock):
        raise Conflict(_("{dish} is not available at the moment.", dish=dish.name), code="dish-unavailable")
    options = _chosen(placement, dish, field=field)
    return OrderLine(
        dish_id=dish.id,
        name=dish.name,
        name_en=dish.name_en,
        quantity=placement.quantity,
        unit_price=dish.price + sum(option.price for option in options),
        vat_rate=dish.vat_dine_in if kind is OrderKind.DINE_IN else dish.vat_take_away,
        station=dish.station,
        course=dish.course,
        status=LineStatus.FIRED,
        note=placement.note,
        options=[ChosenOption(name=option.name, price=option.price) for option in options],
    )


def _chosen(placement: LinePlacement, dish: Dish, *, field: str) -> list[Option]:
    """The chosen options in the menu's order. Raises `Invalid` when a group's minimum or maximum is not met."""
    pointer = f"{field}/options"
    wanted = Counter(placement.options)
    known = {option.id for group in dish.option_groups for option in group.options}
    if set(wanted) - known or any(count > 1 for count in wanted.values()):
        detail = _("{dish} has no such option.", dish=dish.name)
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
