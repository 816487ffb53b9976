"""Bills, payments and closings over REST."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import asdict
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.billing import invoices, periods, service, till
from restaurant.billing.models import Invoice
from restaurant.billing.schemas import (
    AnchorView,
    BillView,
    CashMovementView,
    ClosingsView,
    ClosingView,
    InvoicesView,
    InvoiceView,
    NewCashMovement,
    NewCreditNote,
    NewDiscount,
    NewInvoice,
    NewPayment,
    NewRefund,
    NewTill,
    OrderInvoicesView,
    PaymentView,
    PeriodsView,
    PeriodView,
    ReceiptView,
    Removal,
    ShareView,
    SplitQuery,
    SplitView,
    TakingsView,
    TillClosing,
    TillsView,
    TillView,
)  # fmt: skip
from restaurant.billing.split import equal_shares
from restaurant.errors import Conflict, Invalid, NotFound
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
    return BillView.of(service.read_figures(session, reference))


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
    service.present(session, order, by=signed_in())
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
        lines=body.lines, tendered=body.tendered,
    )  # fmt: skip
    return PaymentView.model_validate(payment)


@bills.operation("POST", "/orders/<uuid:reference>/deposit", reply=PaymentView, status=HTTPStatus.CREATED,
                 idempotent=True, refusals=_CONFLICT)  # fmt: skip
def deduct_deposit(session: Session, *, reference: uuid.UUID) -> PaymentView:
    """Deduct the guests' deposit from their presented bill."""
    order = orders.lock_order(session, reference)
    return PaymentView.model_validate(service.deduct_deposit(session, order, by=signed_in()))


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


@closings.operation("GET", "/closings/periods", reply=PeriodsView)
def list_periods(session: Session) -> PeriodsView:
    """List the closings of months and years; the first closing of a day after a period closes it."""
    return PeriodsView(items=[PeriodView.model_validate(entry) for entry in periods.list_periods(session)])


@bills.operation("POST", "/receipts/<key:number>/copies", reply=ReceiptView, idempotent=True,
                 status=HTTPStatus.CREATED)  # fmt: skip
def print_receipt(session: Session, *, number: int) -> ReceiptView:
    """Count a printed copy of a receipt; all but the first are to be marked as duplicates."""
    service.print_receipt(session, number, by=signed_in())
    return ReceiptView.model_validate(service.read_receipt(session, number))


@closings.operation("GET", "/closings/next", reply=TakingsView)
def read_takings(session: Session) -> TakingsView:
    """Add up the receipts since the last closing, without closing the day (X)."""
    return TakingsView.model_validate(service.to_close(session))


@closings.operation("GET", "/closings/<key:number>/anchor", reply=AnchorView)
def read_anchor(session: Session, *, number: int) -> AnchorView:
    """Read the anchor of a closing, to keep elsewhere."""
    return AnchorView.model_validate(asdict(service.read_closing_anchor(session, number)))


@closings.operation("POST", "/closings", reply=ClosingView, status=HTTPStatus.CREATED, idempotent=True,
                    refusals=_CONFLICT)  # fmt: skip
def close_day(session: Session) -> ClosingView:
    """Close the day (Z)."""
    settings: Settings = current_app.extensions["settings"]
    return ClosingView.model_validate(
        service.close_day(session, by=signed_in().username, business_day=settings.business_day)
    )


@bills.operation(
    "POST",
    "/orders/<uuid:reference>/invoices",
    body=NewInvoice,
    reply=InvoiceView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def issue_invoice(session: Session, *, reference: uuid.UUID, body: NewInvoice) -> InvoiceView:
    """Issue the invoice of a paid order for a customer."""
    return InvoiceView.model_validate(invoice_for(session, reference, body))


def invoice_for(session: Session, reference: uuid.UUID, wanted: NewInvoice) -> Invoice:
    """Issue the invoice of a paid order. Raises `Conflict`, also when the settings do not name the seller."""
    settings: Settings = current_app.extensions["settings"]
    if not (settings.address and settings.registration):
        detail = _(
            "Set the address and the registration numbers of the restaurant first (RESTAURANT_ADDRESS, "
            "RESTAURANT_REGISTRATION)."
        )
        raise Conflict(detail, code="seller-missing")
    order = orders.lock_order(session, reference)
    return invoices.issue(
        session,
        order,
        invoices.Customer(name=wanted.customer, address=wanted.address, siret=wanted.siret),
        seller=f"{settings.name}\n{settings.address}\n{settings.registration}",
        served_on=settings.business_day.of(order.opened_at),
        by=signed_in(),
    )


@bills.operation("GET", "/orders/<uuid:reference>/invoices", reply=OrderInvoicesView)
def read_order_invoices(session: Session, *, reference: uuid.UUID) -> OrderInvoicesView:
    """Read the invoices and credit notes of an order."""
    found = invoices.read_invoices(session, orders.read_order(session, reference))
    return OrderInvoicesView(items=[InvoiceView.model_validate(entry) for entry in found])


@bills.operation("GET", "/invoices", query=PageQuery, reply=InvoicesView)
def list_invoices(session: Session, *, query: PageQuery) -> InvoicesView:
    """List the invoices and credit notes, newest first."""
    found, following = invoices.list_invoices(session, query)
    return InvoicesView(items=[InvoiceView.model_validate(entry) for entry in found], next=following)


@bills.operation("GET", "/invoices/<key:number>", reply=InvoiceView)
def read_invoice(session: Session, *, number: int) -> InvoiceView:
    """Read one invoice or credit note."""
    return InvoiceView.model_validate(invoices.read_invoice(session, number))


@bills.operation(
    "POST",
    "/invoices/<key:number>/credit-notes",
    body=NewCreditNote,
    reply=InvoiceView,
    status=HTTPStatus.CREATED,
    idempotent=True,
    refusals=_CONFLICT,
)
def credit_invoice(session: Session, *, number: int, body: NewCreditNote) -> InvoiceView:
    """Cancel what is left of an invoice with a credit note, with a reason and a manager's approval."""
    invoice = invoices.read_invoice(session, number)
    order = invoices.lock_order_of(session, invoice)
    by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=body.approval)
    return InvoiceView.model_validate(invoices.credit(session, invoice, order, reason=body.reason, by=by))


@bills.operation("POST", "/invoices/<key:number>/copies", reply=InvoiceView, idempotent=True,
                 status=HTTPStatus.CREATED)  # fmt: skip
def print_invoice(session: Session, *, number: int) -> InvoiceView:
    """Count a printed copy of an invoice; all but the first are to be marked as duplicates."""
    invoices.print_invoice(session, number, by=signed_in())
    return InvoiceView.model_validate(invoices.read_invoice(session, number))


@bills.operation("GET", "/till", reply=TillView, refusals=(HTTPStatus.NOT_FOUND,))
def read_till(session: Session) -> TillView:
    """Read the till session that is open."""
    current = till.read_current(session)
    if current is None:
        raise NotFound(_("The till is not open."))
    return TillView.model_validate(current)


@bills.operation("GET", "/till/sessions", query=PageQuery, reply=TillsView)
def list_till_sessions(session: Session, *, query: PageQuery) -> TillsView:
    """List the till sessions, newest first."""
    found, following = till.list_sessions(session, query)
    return TillsView(items=[TillView.model_validate(entry) for entry in found], next=following)


@bills.operation("GET", "/till/sessions/<key:number>", reply=TillView)
def read_till_session(session: Session, *, number: int) -> TillView:
    """Read one till session."""
    return TillView.model_validate(till.read_session(session, number))


@bills.operation("POST", "/till/sessions", body=NewTill, reply=TillView, status=HTTPStatus.CREATED, idempotent=True,
                 refusals=_CONFLICT)  # fmt: skip
def open_till(session: Session, *, body: NewTill) -> TillView:
    """Open the till with what was counted in the drawer."""
    return TillView.model_validate(till.open_till(session, count=body.count, by=signed_in()))


@bills.operation("POST", "/till/movements", body=NewCashMovement, reply=CashMovementView, status=HTTPStatus.CREATED,
                 idempotent=True, refusals=_CONFLICT)  # fmt: skip
def move_cash(session: Session, *, body: NewCashMovement) -> CashMovementView:
    """Put cash into the drawer or take it out, with a reason."""
    moved = till.move_cash(session, kind=body.kind, amount=body.amount, reason=body.reason, by=signed_in())
    return CashMovementView.model_validate(moved)


@bills.operation("POST", "/till/closing", body=TillClosing, reply=TillView, status=HTTPStatus.CREATED,
                 idempotent=True, refusals=_CONFLICT)  # fmt: skip
def close_till(session: Session, *, body: TillClosing) -> TillView:
    """Close the till with what was counted in the drawer, and tell what was expected."""
    return TillView.model_validate(till.close_till(session, count=body.count, note=body.note, by=signed_in()))
