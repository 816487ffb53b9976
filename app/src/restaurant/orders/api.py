"""Orders over REST."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.http.api import Api
from restaurant.orders import service
from restaurant.orders.schemas import OrderPlacement, OrderView
from restaurant.settings import Settings
from restaurant.types import now

api = Api("orders")


@api.operation(
    "POST",
    "/orders",
    body=OrderPlacement,
    reply=OrderView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=(HTTPStatus.CONFLICT,),
)
def place_order(session: Session, *, body: OrderPlacement) -> OrderView:
    """Place an order to take away."""
    settings: Settings = current_app.extensions["settings"]
    return OrderView.of(service.place_order(session, body, at=now(), zone=settings.zone))


@api.operation("GET", "/orders/<uuid:reference>", reply=OrderView, refusals=(HTTPStatus.NOT_FOUND,))
def read_order(session: Session, *, reference: uuid.UUID) -> OrderView:
    """Read an order by its reference."""
    return OrderView.of(service.read_order(session, reference))
