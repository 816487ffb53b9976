"""Invoices for paid orders, with the customer's name and address, and the credit notes that correct them."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from restaurant.billing import journal
from restaurant.billing.models import EntryKind, Invoice, InvoiceLine, Payment, RateShare, Receipt
from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.orders.models import Order, OrderLine
from restaurant.people.models import User
from restaurant.types import now


@dataclass(frozen=True)
class Customer:
    """Whom an invoice is for."""

    name: str
    address: str
    siret: str | None


def issue(session: Session, order: Order, customer: Customer, *, seller: str, served_on: date, by: User) -> Invoice:
    """Issue the invoice of a paid order, which must be locked, for what was not refunded of it.

    Raises `Conflict` when it is not paid or nothing is left of it, or when it has an invoice already.
    """
    if order.paid_at is None:
        raise Conflict(_("The bill is not paid yet."), code="not-paid")
    standing = _standing(session, order.id)
    if standing is not None:
        detail = _("Invoice {number} is for this bill: correct it with a credit note first.", number=standing.number)
        raise Conflict(detail, code="invoiced")
    receipts = session.scalars(
        select(Receipt).join(Receipt.payment).where(Payment.order_id == order.id).order_by(Receipt.number)
    ).all()
    total = sum(receipt.amount for receipt in receipts)
    if total <= 0:
        raise Conflict(_("Nothing was paid for this order, or everything was refunded."), code="nothing-paid")
    by_method: Tally[str] = Tally()
    for receipt in receipts:
        by_method[receipt.payment.method.value] += receipt.amount
    invoice = Invoice(
        number=journal.next_number(session, "invoice"),
        order_id=order.id,
        seller=seller,
        customer=customer.name,
        address=customer.address,
        siret=customer.siret,
        lines=[
            InvoiceLine(name=_name(line), quantity=line.quantity, unit_price=line.unit_price, rate=line.vat_rate)
            for line in order.lines
            if line.total
        ],
        discount=order.total - order.due,
        refunded=order.due - total,
        total=total,
        shares=_add(share for receipt in receipts for share in receipt.shares),
        by_method={method: cents for method, cents in sorted(by_method.items()) if cents},
        served_on=served_on,
        issued_at=now(),
        by_id=by.id,
        copies=0,
    )
    return _record(session, invoice, order, by=by)


def credit(session: Session, invoice: Invoice, order: Order, *, reason: str, by: User) -> Invoice:
    """Cancel what is left of an invoice with a credit note; the order must be locked. Raises `Conflict`."""
    if invoice.corrects is not None:
        raise Conflict(_("A credit note cannot be corrected."), code="credit-note")
    left = _left(session, invoice)
    if not left:
        raise Conflict(_("This invoice is already cancelled."), code="already-credited")
    negative = [RateShare(rate=share["rate"], total=-share["total"], tax=-share["tax"]) for share in left]
    return _credit(session, invoice, order, negative, by_method={}, reason=reason, by=by)


def credit_refund(session: Session, order: Order, receipt: Receipt, *, reason: str, by: User) -> None:
    """Issue a credit note for a refund, if the order has an invoice. The order must be locked."""
    standing = _standing(session, order.id)
    if standing is not None:
        by_method = {receipt.payment.method.value: receipt.amount}
        _credit(session, standing, order, receipt.shares, by_method=by_method, reason=reason, by=by)


def read_invoice(session: Session, number: int) -> Invoice:
    """One invoice or credit note. Raises `NotFound`."""
    invoice = session.get(Invoice, number)
    if invoice is None:
        raise NotFound(_("This invoice does not exist."))
    return invoice


def lock_order_of(session: Session, invoice: Invoice) -> Order:
    """The order of an invoice, locked until this unit of work ends."""
    return session.scalars(select(Order).where(Order.id == invoice.order_id).with_for_update()).one()


def read_invoices(session: Session, order: Order) -> Sequence[Invoice]:
    """The invoices and credit notes of an order."""
    return session.scalars(select(Invoice).where(Invoice.order_id == order.id).order_by(Invoice.number)).all()


def read_credit_notes(session: Session, invoice: Invoice) -> Sequence[Invoice]:
    """The credit notes for an invoice."""
    return session.scalars(select(Invoice).where(Invoice.corrects == invoice.number).order_by(Invoice.number)).all()


def list_invoices(session: Session, page: PageQuery) -> tuple[Sequence[Invoice], str | None]:
    """A page of the invoices, newest first, and where the following page begins."""
    return read_page(session, select(Invoice), page, by=[Sort(Invoice.number, descending=True)])


def read_period(session: Session, *, since: datetime, until: datetime) -> Sequence[Invoice]:
    """The invoices issued from `since` to before `until`."""
    query = select(Invoice).where(Invoice.issued_at >= since, Invoice.issued_at < until)
    return session.scalars(query.order_by(Invoice.number)).all()


def print_invoice(session: Session, number: int, *, by: User) -> int:
    """Count a copy of an invoice, and return which it is: all but the first are duplicates. Raises `NotFound`."""
    invoice = session.get(Invoice, number, with_for_update=True)
    if invoice is None:
        raise NotFound(_("This invoice does not exist."))
    return journal.record_copy(session, invoice, by=by.username)


def _name(line: OrderLine) -> str:
    """What an invoice calls a line: one of a set menu has a part of its price."""
    return f"{line.offer} – {line.name}" if line.portion else line.name


def _credit(
    session: Session, invoice: Invoice, order: Order, shares: Sequence[RateShare], *, by_method: dict[str, int],
    reason: str, by: User,
) -> Invoice:  # fmt: skip
    note = Invoice(
        number=journal.next_number(session, "invoice"),
        order_id=order.id,
        corrects=invoice.number,
        reason=reason,
        seller=invoice.seller,
        customer=invoice.customer,
        address=invoice.address,
        siret=invoice.siret,
        lines=[],
        discount=0,
        refunded=0,
        total=sum(share["total"] for share in shares),
        shares=list(shares),
        by_method=by_method,
        served_on=invoice.served_on,
        issued_at=now(),
        by_id=by.id,
        copies=0,
    )
    return _record(session, note, order, by=by)


def _record(session: Session, invoice: Invoice, order: Order, *, by: User) -> Invoice:
    session.add(invoice)
    content = {
        "invoice": invoice.number, "order": str(order.reference), "corrects": invoice.corrects,
        "reason": invoice.reason, "total": invoice.total, "by": by.username, "at": invoice.issued_at.isoformat(),
    }  # fmt: skip
    kind = EntryKind.INVOICE if invoice.corrects is None else EntryKind.CREDIT_NOTE
    journal.record(session, kind, content, [invoice])
    return invoice


def _standing(session: Session, order: int) -> Invoice | None:
    """The invoice of an order of which something is left."""
    query = select(Invoice).where(Invoice.order_id == order, Invoice.corrects.is_(None))
    last = session.scalars(query.order_by(Invoice.number.desc()).limit(1)).first()
    if last is None:
        return None
    credited = session.scalar(select(func.sum(Invoice.total)).where(Invoice.corrects == last.number)) or 0
    return last if last.total + credited > 0 else None


def _left(session: Session, invoice: Invoice) -> list[RateShare]:
    notes = session.scalars(select(Invoice).where(Invoice.corrects == invoice.number))
    return _add([*invoice.shares, *(share for note in notes for share in note.shares)])


def _add(shares: Iterable[RateShare]) -> list[RateShare]:
    totals: Tally[int] = Tally()
    taxes: Tally[int] = Tally()
    for share in shares:
        totals[share["rate"]] += share["total"]
        taxes[share["rate"]] += share["tax"]
    return [
        RateShare(rate=rate, total=totals[rate], tax=taxes[rate])
        for rate in sorted(totals)
        if totals[rate] or taxes[rate]
    ]
