"""Orders over REST: `api` is the guest's, `seating_api` the host's, `service_api` the server's."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from http import HTTPStatus

from flask import current_app, request
from sqlalchemy.orm import Session

from restaurant.billing import service as billing
from restaurant.floor.service import read_table
from restaurant.http.api import Api, Versions, require_version
from restaurant.http.guard import current_user, signed_in
from restaurant.orders import service
from restaurant.orders.models import Order, OrderLine
from restaurant.orders.schemas import (
    Assignment,
    CourseChange,
    Firing,
    Guests,
    LineMove,
    LinesPlacement,
    LinesTransfer,
    Merge,
    OrderPlacement,
    OrdersQuery,
    OrdersView,
    OrderView,
    Reason,
    Seating,
    Transfer,
    Voiding,
)  # fmt: skip
from restaurant.people.models import User
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for, read_person
from restaurant.settings import Settings
from restaurant.types import now

api = Api("orders")
service_api = Api("service")
seating_api = Api("seatings")
_CONFLICT = (HTTPStatus.CONFLICT,)


@api.operation(
    "POST",
    "/orders",
    body=OrderPlacement,
    reply=OrderView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
)
def place_order(session: Session, *, body: OrderPlacement) -> OrderView:
    """Place a take-away order."""
    settings: Settings = current_app.extensions["settings"]
    return service.place_order(
        session,
        body,
        at=now(),
        opening=settings.opening,
        business_day=settings.business_day,
        by=current_user(),
        address=request.remote_addr or "",
    )


@api.operation("GET", "/orders/<uuid:reference>", reply=OrderView, refusals=(HTTPStatus.NOT_FOUND,))
def read_order(session: Session, *, reference: uuid.UUID) -> OrderView:
    """Read an order by its reference."""
    return OrderView.of(service.read_order(session, reference))


@service_api.operation("GET", "/orders", query=OrdersQuery, reply=OrdersView)
def list_orders(session: Session, *, query: OrdersQuery) -> OrdersView:
    """List orders, newest first."""
    found, following = service.list_orders(session, query, status=query.status)
    return OrdersView(items=[OrderView.of(order) for order in found], next=following)


@seating_api.operation(
    "POST", "/seatings", body=Seating, reply=OrderView, status=HTTPStatus.CREATED, idempotent=True,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
)  # fmt: skip
def seat_guests(session: Session, *, body: Seating) -> OrderView:
    """Open a table's order."""
    order = service.open_table(
        session, read_table(session, body.table), covers=body.covers, guest=body.guest, allergies=body.allergies,
        server=signed_in(),
    )  # fmt: skip
    return OrderView.of(order)


@service_api.operation(
    "POST",
    "/orders/<uuid:reference>/lines",
    body=LinesPlacement,
    reply=OrderView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def add_lines(session: Session, *, reference: uuid.UUID, body: LinesPlacement) -> OrderView:
    """Add lines to an order."""
    settings: Settings = current_app.extensions["settings"]
    order = service.lock_order(session, reference)
    service.add_lines(
        session, order, body.wanted, at=now(), business_day=settings.business_day, fire=not body.hold, by=signed_in()
    )
    return _view(session, order)


@service_api.operation("PUT", "/orders/<uuid:reference>/guests", body=Guests, reply=OrderView, if_match=True,
                       refusals=_CONFLICT)  # fmt: skip
def describe_guests(session: Session, *, reference: uuid.UUID, body: Guests, version: Versions) -> OrderView:
    """Change what is known about the guests, such as their allergies."""
    order = service.lock_order(session, reference)
    require_version(order, version)
    service.describe_guests(
        session, order, covers=body.covers, guest=body.guest, note=body.note, allergies=body.allergies
    )
    return _view(session, order)


@service_api.operation("POST", "/orders/<uuid:reference>/fire", body=Firing, reply=OrderView, refusals=_CONFLICT)
def fire_course(session: Session, *, reference: uuid.UUID, body: Firing) -> OrderView:
    """Send held lines to the kitchen."""
    order = service.lock_order(session, reference)
    service.fire(session, order, course=body.course)
    return _view(session, order)


@service_api.operation(
    "POST", "/orders/<uuid:reference>/lines/<key:line>/move", body=LineMove, reply=OrderView, refusals=_CONFLICT
)
def move_line(session: Session, *, reference: uuid.UUID, line: int, body: LineMove) -> OrderView:
    """Move a line on, such as to served."""
    order = service.lock_order(session, reference)
    service.move_line(session, order, service.find_line(order, line), body.status)
    return _view(session, order)


@service_api.operation(
    "POST", "/orders/<uuid:reference>/lines/<key:line>/void", body=Voiding, reply=OrderView, idempotent=True,
    refusals=_CONFLICT,
)  # fmt: skip
def void_line(session: Session, *, reference: uuid.UUID, line: int, body: Voiding) -> OrderView:
    """Void a line or a part of it, with a reason; a manager must approve it once it was sent to the kitchen."""
    order = service.lock_order(session, reference)
    found = service.find_line(order, line)
    by = _responsible(session, [found], approval=body.approval)
    service.void_line(session, order, found, reason=body.reason, by=by, quantity=body.quantity)
    return _view(session, order)


@service_api.operation("POST", "/orders/<uuid:reference>/serve", reply=OrderView, refusals=_CONFLICT)
def serve_order(session: Session, *, reference: uuid.UUID) -> OrderView:
    """Mark every ready line as served."""
    order = service.lock_order(session, reference)
    service.serve_ready(session, order)
    return _view(session, order)


@service_api.operation(
    "PUT", "/orders/<uuid:reference>/lines/<key:line>/course", body=CourseChange, reply=OrderView, refusals=_CONFLICT
)
def change_course(session: Session, *, reference: uuid.UUID, line: int, body: CourseChange) -> OrderView:
    """Serve a held line with another course."""
    order = service.lock_order(session, reference)
    service.change_course(session, order, service.find_line(order, line), body.course)
    return _view(session, order)


@service_api.operation(
    "POST", "/orders/<uuid:reference>/repeat", reply=OrderView, idempotent=True, refusals=_CONFLICT
)  # fmt: skip
def repeat_round(session: Session, *, reference: uuid.UUID) -> OrderView:
    """Order the last round of drinks once more; drinks that are not available are left out."""
    settings: Settings = current_app.extensions["settings"]
    order = service.lock_order(session, reference)
    service.repeat(
        session, order, service.last_round(order), at=now(), business_day=settings.business_day, by=signed_in()
    )
    return _view(session, order)


@service_api.operation(
    "POST", "/orders/<uuid:reference>/lines/transfer", body=LinesTransfer, reply=OrderView, refusals=_CONFLICT
)
def transfer_lines(session: Session, *, reference: uuid.UUID, body: LinesTransfer) -> OrderView:
    """Move some lines to another order."""
    order, target = service.lock_pair(session, reference, body.into)
    billing.move_lines(session, order, target, body.lines, by=signed_in())
    return _view(session, order)


@service_api.operation("PUT", "/orders/<uuid:reference>/server", body=Assignment, reply=OrderView,
                       refusals=_CONFLICT)  # fmt: skip
def assign_server(session: Session, *, reference: uuid.UUID, body: Assignment) -> OrderView:
    """Hand an order over to another server."""
    order = service.lock_order(session, reference)
    service.assign(session, order, read_person(session, body.server), by=signed_in())
    return _view(session, order)


@service_api.operation("POST", "/orders/<uuid:reference>/transfer", body=Transfer, reply=OrderView, refusals=_CONFLICT)
def transfer_order(session: Session, *, reference: uuid.UUID, body: Transfer) -> OrderView:
    """Move an order to another table."""
    order = service.lock_order(session, reference)
    service.transfer(session, order, read_table(session, body.table))
    return _view(session, order)


@service_api.operation("POST", "/orders/<uuid:reference>/merge", body=Merge, reply=OrderView, refusals=_CONFLICT)
def merge_order(session: Session, *, reference: uuid.UUID, body: Merge) -> OrderView:
    """Put all lines of an order on another one."""
    order, target = service.lock_pair(session, reference, body.into)
    billing.merge(session, order, target, by=signed_in())
    return _view(session, target)


@service_api.operation("POST", "/orders/<uuid:reference>/cancel", body=Reason, reply=OrderView, refusals=_CONFLICT)
def cancel_order(session: Session, *, reference: uuid.UUID, body: Reason) -> OrderView:
    """Cancel an order that is not billed, with a reason; a manager must approve it once something of it was sent."""
    order = service.lock_order(session, reference)
    by = _responsible(session, order.lines, approval=body.approval)
    service.cancel(session, order, reason=body.reason, by=by)
    return _view(session, order)


def _responsible(session: Session, lines: Iterable[OrderLine], *, approval: str | None) -> User:
    if not service.needs_approval(lines):
        return signed_in()
    return answer_for(session, actor=signed_in(), permission=Permission.VOID_LINES, approval=approval)


def _view(session: Session, order: Order) -> OrderView:
    session.flush()
    session.refresh(order, ["lines"])
    return OrderView.of(order)
