"""The kitchen over REST."""

from __future__ import annotations

import uuid
from datetime import datetime
from http import HTTPStatus

from flask import current_app
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from restaurant.http.api import Api
from restaurant.kitchen import service
from restaurant.kitchen.models import Change
from restaurant.menu.models import Allergen, Station
from restaurant.orders.schemas import LineMove, LineView, OrderView
from restaurant.settings import Settings
from restaurant.types import Key, now

api = Api("kitchen")


class NoticeView(BaseModel):
    """A change of the order to acknowledge; `text` names the table that it came from, or the line."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    change: Change
    text: str
    created_at: datetime


class TicketView(BaseModel):
    """What one order wants from the kitchen."""

    order: uuid.UUID
    table: str | None
    guest: str
    note: str
    allergies: list[Allergen]
    since: datetime
    urgency: service.Urgency
    lines: list[LineView]
    changes: list[NoticeView]


class DishCount(BaseModel):
    """How many of a dish are still to be cooked."""

    name: str
    quantity: int


class BoardView(BaseModel):
    """Tickets, longest waiting first, and the all-day count."""

    tickets: list[TicketView]
    all_day: list[DishCount]


class BoardQuery(BaseModel):
    """Which station's board; all of them without one."""

    model_config = ConfigDict(extra="forbid")

    station: Station | None = None


class SeenQuery(BoardQuery):
    """Which changes were seen: those of a station up to one; without one, all that there are."""

    until: Key | None = None


@api.operation("GET", "/kitchen/tickets", query=BoardQuery, reply=BoardView)
def read_tickets(session: Session, *, query: BoardQuery) -> BoardView:
    """Read what there is to cook."""
    settings: Settings = current_app.extensions["settings"]
    board = service.read_board(session, station=query.station, at=now(), thresholds=settings.kitchen_thresholds)
    return BoardView(
        tickets=[
            TicketView(
                order=ticket.order.reference,
                table=ticket.order.table.name if ticket.order.table is not None else None,
                guest=ticket.order.guest,
                note=ticket.order.note,
                allergies=[Allergen(name) for name in ticket.order.allergies],
                since=ticket.since,
                urgency=ticket.urgency,
                lines=[LineView.model_validate(line) for line in ticket.lines],
                changes=[NoticeView.model_validate(notice) for notice in ticket.notices],
            )
            for ticket in board.tickets
        ],
        all_day=[DishCount(name=name, quantity=quantity) for name, quantity in board.all_day],
    )


@api.operation("POST", "/kitchen/lines/<key:line>/move", body=LineMove, reply=OrderView,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def move_kitchen_line(session: Session, *, line: int, body: LineMove) -> OrderView:
    """Move a line on, or back again (recall)."""
    return OrderView.of(service.move_line(session, line, body.status))


@api.operation("POST", "/kitchen/lines/<key:line>/acknowledge", reply=OrderView, refusals=(HTTPStatus.CONFLICT,))
def acknowledge_void(session: Session, *, line: int) -> OrderView:
    """Acknowledge a voided line, which takes it off the board."""
    return OrderView.of(service.acknowledge_void(session, line))


@api.operation("POST", "/kitchen/orders/<uuid:reference>/ready", query=BoardQuery, reply=OrderView,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def finish_ticket(session: Session, *, reference: uuid.UUID, query: BoardQuery) -> OrderView:
    """Mark all that a station, or the kitchen, still prepares of an order as ready."""
    return OrderView.of(service.finish_ticket(session, reference, station=query.station))


@api.operation("POST", "/kitchen/orders/<uuid:reference>/recall", query=BoardQuery, reply=OrderView,
               refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def recall_ticket(session: Session, *, reference: uuid.UUID, query: BoardQuery) -> OrderView:
    """Mark what is ready of an order, at a station or all, as being prepared again."""
    return OrderView.of(service.recall_ticket(session, reference, station=query.station))


@api.operation("POST", "/kitchen/orders/<uuid:reference>/acknowledge", query=SeenQuery, reply=OrderView)
def acknowledge_changes(session: Session, *, reference: uuid.UUID, query: SeenQuery) -> OrderView:
    """Acknowledge the announced changes of an order, which takes them off the board."""
    found = service.acknowledge_notices(session, reference, station=query.station, until=query.until)
    return OrderView.of(found)
