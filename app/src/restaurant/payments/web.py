"""Pages of the cash desk for charges and refunds at providers."""

from __future__ import annotations

import uuid

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.billing.schemas import NewRefund, Nothing
from restaurant.billing.web import approval
from restaurant.database import Database
from restaurant.forms import first_time, parse_cents, read_form
from restaurant.http.guard import signed_in
from restaurant.orders import service as orders
from restaurant.payments import gateway as payments
from restaurant.payments.api import charge, give_up, refund, the_gateway
from restaurant.payments.schemas import NewAttempt
from restaurant.people import service as people
from restaurant.people.permissions import Permission

payment_pages = Blueprint("payments", __name__, url_prefix="/caisse/encaissements")


@payment_pages.get("")
def unresolved_page() -> str:
    """The charges and refunds whose outcome is not known."""
    with _database().reading() as session:
        return render_template("payments/unresolved.html", attempts=payments.unresolved(session))


@payment_pages.post("/commandes/<uuid:reference>")
def begin(reference: uuid.UUID) -> Response:
    """Begin a charge for an order; sent twice, the form begins one."""
    form = request.form
    wanted = read_form(
        NewAttempt,
        {
            "channel": form.get("channel", ""), "amount": parse_cents(form.get("amount", "")),
            "tip": parse_cents(form.get("tip") or "0"), "seat": form.get("seat") or None,
            "lines": form.getlist("lines"),
        },
    )  # fmt: skip
    back = url_for("orders.order_page", reference=reference, _external=True)
    with _database().writing() as session:
        if first_time(session, scope=f"web:charge:{reference}", content=wanted):
            attempt = charge(session, reference, wanted, back=back).reference
        else:
            order = orders.read_order(session, reference)
            attempt = payments.attempts_of(session, order)[0].reference
    return _to(attempt)


@payment_pages.post("/paiements/<uuid:payment>")
def begin_refund(payment: uuid.UUID) -> Response:
    """Begin a refund, approved by a manager; sent twice, the form begins one."""
    form = request.form
    wanted = read_form(
        NewRefund,
        {
            "amount": parse_cents(form.get("amount") or "0"), "tip": parse_cents(form.get("tip") or "0"),
            "reason": form.get("reason", ""),
        },
    )  # fmt: skip
    approved = approval(Permission.REFUND)
    with _database().writing() as session:
        if first_time(session, scope=f"web:charge-refund:{payment}", content=wanted):
            attempt = refund(session, payment, wanted.model_copy(update={"approval": approved})).reference
        else:
            attempt = payments.refunds_of(session, payment)[0].reference
    return _to(attempt)


@payment_pages.get("/<uuid:attempt>")
def attempt_page(attempt: uuid.UUID) -> str:
    """How far a charge or a refund is."""
    with _database().reading() as session:
        found = payments.read_attempt(session, attempt)
        approvers = [] if signed_in().may(Permission.REFUND) else people.list_approvers(session)
        return render_template(
            "payments/attempt.html", attempt=found, order=found.order, approvers=approvers, key=uuid.uuid4().hex
        )


@payment_pages.post("/<uuid:attempt>/verification")
def check(attempt: uuid.UUID) -> Response:
    """Ask the provider now."""
    the_gateway().advance(attempt)
    return _to(attempt)


@payment_pages.post("/<uuid:attempt>/annulation")
def cancel(attempt: uuid.UUID) -> Response:
    """Cancel a charge that the guest has not finished."""
    the_gateway().cancel(attempt)
    return _to(attempt)


@payment_pages.post("/<uuid:attempt>/abandon")
def abandon(attempt: uuid.UUID) -> Response:
    """Give up waiting for a charge, approved by a manager; sent twice, the form does it once."""
    with _database().reading() as session:
        payments.read_attempt(session, attempt)
    approved = approval(Permission.REFUND)
    with _database().writing() as session:
        if first_time(session, scope=f"web:abandon:{attempt}", content=Nothing()):
            give_up(session, attempt, approval=approved)
    return _to(attempt)


def _to(attempt: uuid.UUID) -> Response:
    return redirect(url_for("payments.attempt_page", attempt=attempt), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
