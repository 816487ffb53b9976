"""Charges and refunds at payment providers over REST. The provider is asked later: read the attempt to follow."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.billing import service as billing
from restaurant.billing.schemas import NewRefund, Removal
from restaurant.database import on_commit
from restaurant.errors import Conflict
from restaurant.http.api import Api
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.payments import gateway as payments
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import Attempt, Channel
from restaurant.payments.schemas import AttemptsView, AttemptView, NewAttempt
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for

api = Api("attempts")
_CONFLICT = (HTTPStatus.CONFLICT,)


def the_gateway() -> Gateway:
    """The providers of this restaurant."""
    found: Gateway = current_app.extensions["gateway"]
    return found


def charge(session: Session, reference: uuid.UUID, wanted: NewAttempt, *, back: str = "") -> Attempt:
    """Begin a charge, about which the provider is asked once it is committed. Raises `Conflict` without a provider."""
    gateway = the_gateway()
    _require(gateway, wanted.channel)
    attempt = payments.begin_charge(
        session, orders.lock_order(session, reference), channel=wanted.channel, amount=wanted.amount, tip=wanted.tip,
        by=signed_in(), seat=wanted.seat, lines=wanted.lines, back=back,
    )  # fmt: skip
    on_commit(session, lambda: gateway.wake(attempt.reference))
    return attempt


def refund(session: Session, payment: uuid.UUID, wanted: NewRefund) -> Attempt:
    """Begin a refund, as `charge` does a charge."""
    gateway = the_gateway()
    by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=wanted.approval)
    found = billing.read_payment(session, payment)
    attempt = payments.begin_refund(session, found, amount=wanted.amount, tip=wanted.tip, reason=wanted.reason, by=by)
    _require(gateway, attempt.channel)
    on_commit(session, lambda: gateway.wake(attempt.reference))
    return attempt


def give_up(session: Session, reference: uuid.UUID, *, approval: str | None) -> Attempt:
    """Give up waiting for a charge, with a manager's approval."""
    gateway = the_gateway()
    by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=approval)
    attempt = payments.abandon(session, reference, by=by)
    on_commit(session, lambda: gateway.wake(reference))
    return attempt


def _require(gateway: Gateway, channel: Channel) -> None:
    if channel not in gateway.providers:
        raise Conflict(_("No provider is set up for this way to pay."), code="no-provider")


@api.operation("GET", "/payment-attempts", query=PageQuery, reply=AttemptsView)
def list_payment_attempts(session: Session, *, query: PageQuery) -> AttemptsView:
    """List charges and refunds at providers, newest first."""
    found, following = payments.list_attempts(session, query)
    return AttemptsView(items=[AttemptView.of(attempt) for attempt in found], next=following)


@api.operation("GET", "/payment-attempts/<uuid:attempt>", reply=AttemptView)
def read_payment_attempt(session: Session, *, attempt: uuid.UUID) -> AttemptView:
    """Read how far a charge or a refund at a provider is."""
    return AttemptView.of(payments.read_attempt(session, attempt))


@api.operation(
    "POST", "/orders/<uuid:reference>/payment-attempts", body=NewAttempt, reply=AttemptView, status=HTTPStatus.ACCEPTED,
    idempotent=True, refusals=_CONFLICT,
)  # fmt: skip
def charge_order(session: Session, *, reference: uuid.UUID, body: NewAttempt) -> AttemptView:
    """Charge all or a part of what is left at a provider; it becomes a payment once the provider has the money."""
    return AttemptView.of(charge(session, reference, body))


@api.operation(
    "POST", "/payments/<uuid:payment>/refund-attempts", body=NewRefund, reply=AttemptView, status=HTTPStatus.ACCEPTED,
    idempotent=True, refusals=_CONFLICT,
)  # fmt: skip
def refund_payment(session: Session, *, payment: uuid.UUID, body: NewRefund) -> AttemptView:
    """Refund a payment at the provider that it was made at, with a reason and a manager's approval."""
    return AttemptView.of(refund(session, payment, body))


@api.operation("POST", "/payment-attempts/<uuid:attempt>/abandon", body=Removal, reply=AttemptView, refusals=_CONFLICT)
def abandon_payment_attempt(session: Session, *, attempt: uuid.UUID, body: Removal) -> AttemptView:
    """Give up waiting for a charge, with a manager's approval: what the provider takes yet is given back."""
    return AttemptView.of(give_up(session, attempt, approval=body.approval))
