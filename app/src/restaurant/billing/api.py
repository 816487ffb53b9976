"""Bills, payments and closings over REST."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.billing import service
from restaurant.billing.schemas import (
    BillView,
    ClosingsView,
    ClosingView,
    NewDiscount,
    NewPayment,
    NewRefund,
    PaymentView,
    ReceiptView,
    ShareView,
    SplitQuery,
    SplitView,
)  # fmt: skip
from restaurant.billing.split import apportion, equal_shares, seat_shares
from restaurant.errors import Invalid
from restaurant.http.api import Api
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for
from restaurant.settings import Settings

bills = Api("bills")
closings = Api("closings")
_CONFLICT = (HTTPStatus.CONFLICT,)


@bills.operation("GET", "/orders/<uuid:reference>/bill", reply=BillView)
def read_bill(session: Session, *, reference: uuid.UUID) -> BillView:
    """Read an order's bill."""
    return BillView.of(service.read_bill(session, orders.read_order(session, reference)))


@bills.operation("GET", "/orders/<uuid:reference>/split", query=SplitQuery, reply=SplitView)
def split_bill(session: Session, *, reference: uuid.UUID, query: SplitQuery) -> SplitView:
    """Divide what is left to pay; the parts add up to it to the cent."""
    bill = service.read_bill(session, orders.read_order(session, reference))
    return SplitView(shares=[ShareView(label=label, amount=amount) for label, amount in divide(bill, query)])


def divide(bill: service.Bill, query: SplitQuery) -> list[tuple[str, int]]:
    """Labelled parts of what is left of `bill`. Raises `Invalid` for lines that are not the order's."""
    if query.by == "equal":
        return [
            (_("Part {number} of {parts}", number=number, parts=query.parts), amount)
            for number, amount in enumerate(equal_shares(bill.left, query.parts), 1)
        ]
    if query.by == "seat":
        lines = [(line.seat, line.total) for line in bill.order.lines]
        return [(_("Seat {seat}", seat=seat), amount) for seat, amount in seat_shares(lines, bill.left).items()]
    wanted = {int(key) for key in (query.lines or "").split(",")}
    if wanted - {line.id for line in bill.order.lines}:
        raise Invalid(_("This line does not exist."), fields={"/lines": _("This line does not exist.")})
    weights = {True: 0, False: 0}
    for line in bill.order.lines:
        weights[line.id in wanted] += line.total
    parts = apportion(weights, bill.left)
    return [(_("Selected items"), parts[True]), (_("Remaining items"), parts[False])]


@bills.operation("POST", "/orders/<uuid:reference>/bill", reply=BillView, refusals=_CONFLICT)
def present_bill(session: Session, *, reference: uuid.UUID) -> BillView:
    """Present the bill: what is due is fixed and nothing can be ordered any more."""
    order = orders.lock_order(session, reference)
    service.present(session, order)
    return BillView.of(service.read_bill(session, order))


@bills.operation("DELETE", "/orders/<uuid:reference>/bill", reply=BillView, refusals=_CONFLICT)
def reopen_bill(session: Session, *, reference: uuid.UUID) -> BillView:
    """Take the bill back, so that one may order again; not once something is paid."""
    order = orders.lock_order(session, reference)
    service.reopen(session, order)
    return BillView.of(service.read_bill(session, order))


@bills.operation(
    "POST",
    "/orders/<uuid:reference>/discounts",
    body=NewDiscount,
    reply=BillView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def give_discount(session: Session, *, reference: uuid.UUID, body: NewDiscount) -> BillView:
    """Take something off, with a reason and a manager's confirmation."""
    order = orders.lock_order(session, reference)
    by = answer_for(session, actor=signed_in(), permission=Permission.DISCOUNT, approval=body.approval)
    amount = body.amount
    if amount is None:
        amount = max(1, (service.read_bill(session, order).due * (body.percent or 0) + 50) // 100)
    service.discount(session, order, amount=amount, reason=body.reason, by=by)
    return BillView.of(service.read_bill(session, order))


@bills.operation(
    "POST",
    "/orders/<uuid:reference>/payments",
    body=NewPayment,
    reply=PaymentView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def pay(session: Session, *, reference: uuid.UUID, body: NewPayment) -> PaymentView:
    """Take a payment for all or a part of what is left, and issue its receipt."""
    order = orders.lock_order(session, reference)
    payment = service.pay(session, order, amount=body.amount, tip=body.tip, method=body.method, by=signed_in())
    return PaymentView.model_validate(payment)


@bills.operation(
    "POST",
    "/payments/<uuid:payment>/refunds",
    body=NewRefund,
    reply=ReceiptView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def refund(session: Session, *, payment: uuid.UUID, body: NewRefund) -> ReceiptView:
    """Give money back, with a reason and a manager's confirmation."""
    found = service.read_payment(session, payment)
    by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=body.approval)
    return ReceiptView.model_validate(service.refund(session, found, amount=body.amount, reason=body.reason, by=by))


@closings.operation("GET", "/closings", query=PageQuery, reply=ClosingsView)
def list_closings(session: Session, *, query: PageQuery) -> ClosingsView:
    """List the closings, newest first."""
    found, following = service.list_closings(session, query)
    return ClosingsView(items=[ClosingView.model_validate(entry) for entry in found], next=following)


@closings.operation("GET", "/closings/<key:number>", reply=ClosingView)
def read_closing(session: Session, *, number: int) -> ClosingView:
    """Read one closing."""
    return ClosingView.model_validate(service.read_closing(session, number))


@closings.operation("POST", "/closings", reply=ClosingView, status=HTTPStatus.CREATED, idempotent=True,
                    refusals=_CONFLICT)  # fmt: skip
def close_day(session: Session) -> ClosingView:
    """Close the day (Z)."""
    settings: Settings = current_app.extensions["settings"]
    return ClosingView.model_validate(service.close_day(session, by=signed_in().username, zone=settings.zone))
