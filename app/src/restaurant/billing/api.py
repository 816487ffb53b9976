"""Bills, payments and closings over REST."""

from __future__ import annotations

import uuid
from collections import Counter
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
    Removal,
    ShareView,
    SplitQuery,
    SplitView,
)  # fmt: skip
from restaurant.billing.split import equal_shares
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
    return SplitView(shares=divide(bill, query))


def divide(bill: service.Bill, query: SplitQuery) -> list[ShareView]:
    """Labelled parts of what is left of `bill`. Raises `Invalid` for lines that are not the order's."""
    if query.by == "equal":
        return [
            ShareView(label=_("Part {number} of {parts}", number=number, parts=query.parts), amount=amount)
            for number, amount in enumerate(equal_shares(bill.left, query.parts), 1)
        ]
    if query.by == "seat":
        seats: Counter[int] = Counter()
        for cell, cents in bill.owed.items():
            seats[cell.seat] += cents
        return [
            ShareView(label=_("Seat {seat}", seat=seat), amount=amount, seat=seat)
            for seat, amount in sorted(seats.items())
        ]
    wanted = {int(key) for key in (query.lines or "").split(",")}
    if wanted - {line.id for line in bill.order.lines}:
        raise Invalid(_("This line does not exist."), fields={"/lines": _("This line does not exist.")})
    selected = sum(cents for cell, cents in bill.owed.items() if cell.line in wanted)
    return [
        ShareView(label=_("Selected items"), amount=selected, lines=sorted(wanted & {cell.line for cell in bill.owed})),
        ShareView(label=_("Remaining items"), amount=bill.left - selected),
    ]


@bills.operation("POST", "/orders/<uuid:reference>/bill", reply=BillView, refusals=_CONFLICT)
def present_bill(session: Session, *, reference: uuid.UUID) -> BillView:
    """Present the bill: fixes the amount due, after which nothing can be ordered."""
    order = orders.lock_order(session, reference)
    service.present(session, order)
    return BillView.of(service.read_bill(session, order))


@bills.operation("DELETE", "/orders/<uuid:reference>/bill", reply=BillView, refusals=_CONFLICT)
def reopen_bill(session: Session, *, reference: uuid.UUID) -> BillView:
    """Reopen the order of a presented bill; not once something is paid."""
    order = orders.lock_order(session, reference)
    service.reopen(session, order, by=signed_in())
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
    service.discount(session, order, amount=body.amount, percent=body.percent, reason=body.reason, by=by)
    return BillView.of(service.read_bill(session, order))


@bills.operation(
    "POST", "/orders/<uuid:reference>/discounts/<key:discount>/remove", body=Removal, reply=BillView,
    refusals=_CONFLICT,
)  # fmt: skip
def remove_discount(session: Session, *, reference: uuid.UUID, discount: int, body: Removal) -> BillView:
    """Remove a discount, with a manager's approval; not once something is paid."""
    order = orders.lock_order(session, reference)
    by = answer_for(session, actor=signed_in(), permission=Permission.DISCOUNT, approval=body.approval)
    service.remove_discount(session, order, discount, by=by)
    return BillView.of(service.read_bill(session, order))


@bills.operation("POST", "/orders/<uuid:reference>/finish", reply=BillView, refusals=_CONFLICT)
def finish_order(session: Session, *, reference: uuid.UUID) -> BillView:
    """Mark everything of a paid order as served, which closes it and frees its table."""
    order = orders.lock_order(session, reference)
    orders.finish(session, order)
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
    payment = service.pay(
        session, order, amount=body.amount, tip=body.tip, method=body.method, by=signed_in(), seat=body.seat,
        lines=body.lines,
    )  # fmt: skip
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
    receipt = service.refund(session, found, amount=body.amount, tip=body.tip, reason=body.reason, by=by)
    return ReceiptView.model_validate(receipt)


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
    return ClosingView.model_validate(
        service.close_day(session, by=signed_in().username, business_day=settings.business_day)
    )
