"""Orders from tables over REST: `api` is the guest's, `desk` the staff's, `editor` is for the codes."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app, request, url_for
from sqlalchemy.orm import Session

from restaurant.floor.models import Table
from restaurant.floor.service import read_table
from restaurant.http.api import Api
from restaurant.http.guard import signed_in
from restaurant.menu.models import Allergen
from restaurant.orders.schemas import OrderView
from restaurant.settings import Settings
from restaurant.table_orders import codes, service
from restaurant.table_orders.models import TableOrder
from restaurant.table_orders.schemas import (
    Acceptance,
    CodeView,
    NewTableOrder,
    Refusal,
    TableOrderLineView,
    TableOrdersView,
    TableOrderView,
)
from restaurant.types import now

api = Api("table_orders")
desk = Api("table_order_desk")
editor = Api("table_codes")
_CONFLICT = (HTTPStatus.CONFLICT,)


@api.operation(
    "POST", "/table-orders", body=NewTableOrder, reply=TableOrderView, status=HTTPStatus.CREATED, idempotent=True,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS),
)  # fmt: skip
def send_table_order(session: Session, *, body: NewTableOrder) -> TableOrderView:
    """Order at a table, by its code."""
    settings = _settings()
    found = service.place(
        session, body, at=now(), business_day=settings.business_day, rules=settings.orders_from_tables(),
        address=request.remote_addr or "",
    )  # fmt: skip
    return view(session, found)


@api.operation("GET", "/table-orders/<uuid:reference>", reply=TableOrderView)
def read_table_order(session: Session, *, reference: uuid.UUID) -> TableOrderView:
    """Read an order from a table by its reference."""
    return view(session, service.read(session, reference))


@api.operation("POST", "/table-orders/<uuid:reference>/withdraw", reply=TableOrderView, refusals=_CONFLICT)
def withdraw_table_order(session: Session, *, reference: uuid.UUID) -> TableOrderView:
    """Withdraw an order from a table that is not confirmed yet."""
    return view(session, service.withdraw(session, reference, at=now()))


@desk.operation("GET", "/table-orders", reply=TableOrdersView)
def list_table_orders(session: Session) -> TableOrdersView:
    """List the orders from tables that wait to be confirmed."""
    return TableOrdersView(items=[view(session, found) for found in service.waiting(session, at=now())])


@desk.operation("POST", "/table-orders/<uuid:reference>/accept", body=Acceptance, reply=OrderView, idempotent=True,
                refusals=_CONFLICT)  # fmt: skip
def accept_table_order(session: Session, *, reference: uuid.UUID, body: Acceptance) -> OrderView:
    """Add it to the order of its table."""
    order, _left_out = service.accept(
        session, reference, at=now(), business_day=_settings().business_day, hold=body.hold, covers=body.covers,
        by=signed_in(),
    )  # fmt: skip
    session.refresh(order, ["lines"])
    return OrderView.of(order)


@desk.operation("POST", "/table-orders/<uuid:reference>/refuse", body=Refusal, reply=TableOrderView,
                refusals=_CONFLICT)  # fmt: skip
def refuse_table_order(session: Session, *, reference: uuid.UUID, body: Refusal) -> TableOrderView:
    """Refuse it, with a reason for the guest."""
    return view(session, service.refuse(session, reference, at=now(), reason=body.reason, by=signed_in()))


@editor.operation("GET", "/tables/<key:table>/code", reply=CodeView)
def read_code(session: Session, *, table: int) -> CodeView:
    """Read the code that guests at a table order with."""
    return _code(read_table(session, table))


@editor.operation("POST", "/tables/<key:table>/code", reply=CodeView, idempotent=True)
def renew_code(session: Session, *, table: int) -> CodeView:
    """Revoke the code of a table and give it a new one."""
    found = read_table(session, table)
    codes.renew(session, found)
    return _code(found)


def view(session: Session, found: TableOrder) -> TableOrderView:
    """The view of an order from a table."""
    return TableOrderView(
        reference=found.reference, table=found.table.name, status=found.status,
        expired=service.expired(found, at=now()), guest=found.guest, note=found.note,
        allergies=[Allergen(name) for name in found.allergies], reason=found.reason, total=found.total,
        created_at=found.created_at,
        lines=[
            TableOrderLineView(
                dish=entry.wanted["dish"], name=entry.wanted["name"], quantity=entry.wanted["quantity"],
                options=[option["name"] for option in entry.wanted["options"]],
                unit_price=entry.wanted["unit_price"], offer=entry.wanted.get("offer"),
                portion=entry.wanted.get("portion"), danger=list(entry.danger),
                status=entry.status,
            )
            for entry in service.entries(session, found)
        ],
    )  # fmt: skip


def address_of(code: str) -> str:
    """The address that guests open, at the address of the restaurant's pages if that is set."""
    settings = _settings()
    if settings.public_url:
        return settings.public_url.rstrip("/") + url_for("table.menu_page", code=code).removeprefix(request.root_path)
    return url_for("table.menu_page", code=code, _external=True)


def _code(table: Table) -> CodeView:
    code = codes.code_of(table, keys=_settings().signing_keys)
    return CodeView(table=table.id, code=code, address=address_of(code))


def _settings() -> Settings:
    found: Settings = current_app.extensions["settings"]
    return found
