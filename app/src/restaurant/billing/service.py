"""Bills: what is due, discounts, payments in as many parts as the guests like, refunds, and the day's closing."""

from __future__ import annotations

import uuid
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.billing import journal
from restaurant.billing.models import Closing, Discount, EntryKind, Method, Payment, RateShare, Receipt
from restaurant.billing.split import apportion
from restaurant.database import on_commit
from restaurant.errors import Conflict, NotFound
from restaurant.http import idempotency
from restaurant.http.paging import PageQuery, read_page
from restaurant.i18n import gettext as _
from restaurant.kitchen import outbox
from restaurant.metrics import count_payment
from restaurant.money import tax_in
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderStatus
from restaurant.orders.state_machine import SETTLED
from restaurant.people import service as people
from restaurant.people.models import User
from restaurant.types import now


@dataclass(frozen=True)
class Bill:
    """An order's bill in cents: `total` of its lines, less discounts is `due`, of which `paid` is paid."""

    order: Order
    discounts: Sequence[Discount]
    payments: Sequence[Payment]
    total: int
    due: int
    paid: int
    shares: Sequence[RateShare]

    @property
    def left(self) -> int:
        """What is still to be paid."""
        return self.due - self.paid


def read_bill(session: Session, order: Order) -> Bill:
    """The bill of an order as it stands."""
    discounts = session.scalars(
        select(Discount).where(Discount.order_id == order.id).options(joinedload(Discount.by)).order_by(Discount.id)
    ).all()
    payments = session.scalars(
        select(Payment)
        .where(Payment.order_id == order.id)
        .options(selectinload(Payment.receipts))
        .order_by(Payment.id)
        .execution_options(populate_existing=True)
    ).all()
    total = order.total
    due = total - sum(discount.amount for discount in discounts)
    return Bill(
        order=order,
        discounts=discounts,
        payments=payments,
        total=total,
        due=due,
        paid=order.paid,
        shares=_shares(_by_rate(order, due)),
    )


def present(session: Session, order: Order) -> None:
    """Fix what is due; nothing can be ordered any more. Raises `Conflict` when lines are held or it is settled.

    An order nothing is due for is closed at once, without a receipt.
    """
    if order.status in SETTLED:
        raise _settled()
    if any(line.status is LineStatus.HELD for line in order.lines):
        raise Conflict(_("Some lines have not been sent yet: send or void them first."), code="lines-held")
    order.billed_at = now()
    order.due = read_bill(session, order).due
    session.flush()
    if order.due == 0:
        order.paid_at = now()
    orders.refresh(session, order)


def reopen(session: Session, order: Order) -> None:
    """Take the bill back so that one may order again. Raises `Conflict` once something is paid."""
    if order.status is not OrderStatus.BILLED or order.paid:
        raise _settled()
    order.billed_at, order.due = None, 0
    orders.refresh(session, order)


def discount(session: Session, order: Order, *, amount: int, reason: str, by: User) -> Discount:
    """Take `amount` cents off. Raises `Conflict` when it is more than what is due or something is paid already."""
    if order.paid or order.paid_at is not None or order.closed_at is not None:
        raise _settled()
    bill = read_bill(session, order)
    if amount > bill.due:
        raise Conflict(_("The discount is larger than the bill."), code="discount-too-large")
    given = Discount(order_id=order.id, amount=amount, reason=reason, by_id=by.id)
    session.add(given)
    if order.billed_at is not None:
        order.due = bill.due - amount
        if order.due == 0:
            order.paid_at = now()
    orders.refresh(session, order)
    journal.record(
        session,
        EntryKind.DISCOUNT,
        {"order": str(order.reference), "amount": amount, "reason": reason, "by": by.username},
    )
    return given


def pay(session: Session, order: Order, *, amount: int, tip: int, method: Method, by: User) -> Payment:
    """Take a payment and issue its receipt; the last cent settles the order.

    Raises `Conflict` when the bill was not presented or the amount is more than what is left.
    """
    if order.status is not OrderStatus.BILLED:
        raise Conflict(_("Present the bill first."), code="not-billed")
    # The database refuses what is too much, whatever was read before.
    taken = session.execute(
        update(Order)
        .where(Order.id == order.id, Order.paid + amount <= Order.due)
        .values(paid=Order.paid + amount)
        .returning(Order.paid)
        .execution_options(synchronize_session=False)
    ).scalar()
    if taken is None:
        raise Conflict(_("This is more than what is left to pay."), code="overpayment")
    weights = _by_rate(order, order.due)
    for receipt in session.scalars(
        select(Receipt).join(Receipt.payment).where(Payment.order_id == order.id, Receipt.amount > 0)
    ):
        for share in receipt.shares:
            weights[share["rate"]] -= share["total"]
    payment = Payment(order_id=order.id, amount=amount, tip=tip, method=method, by_id=by.id)
    session.add(payment)
    session.flush()
    _issue(session, payment, order, amount=amount, tip=tip, shares=apportion(weights, amount), by=by)
    session.refresh(order, ["paid", "due"])
    if taken == order.due:
        order.paid_at = now()
        orders.refresh(session, order)
    on_commit(session, lambda: count_payment(method=method.value, value=amount))
    return payment


def refund(session: Session, payment: Payment, *, amount: int, reason: str, by: User) -> Receipt:
    """Give money back, with a receipt of its own. Raises `Conflict` when it is more than was paid."""
    kept = session.execute(
        update(Payment)
        .where(Payment.id == payment.id, Payment.refunded + amount <= Payment.amount)
        .values(refunded=Payment.refunded + amount)
        .returning(Payment.refunded)
        .execution_options(synchronize_session=False)
    ).scalar()
    if kept is None:
        raise Conflict(_("This is more than what was paid."), code="refund-too-large")
    weights: dict[int, int] = {}
    for receipt in session.scalars(select(Receipt).where(Receipt.payment_id == payment.id)):
        for share in receipt.shares:
            weights[share["rate"]] = weights.get(share["rate"], 0) + share["total"]
    shares = {rate: -total for rate, total in apportion(weights, amount).items()}
    session.refresh(payment)
    return _issue(session, payment, payment.order, amount=-amount, tip=0, shares=shares, by=by, reason=reason)


def read_payment(session: Session, reference: uuid.UUID) -> Payment:
    """One payment. Raises `NotFound`."""
    payment = session.scalar(
        select(Payment)
        .where(Payment.reference == reference)
        .options(selectinload(Payment.receipts), joinedload(Payment.order))
    )
    if payment is None:
        raise NotFound(_("This payment does not exist."))
    return payment


def read_receipt(session: Session, number: int) -> Receipt:
    """One receipt with its payment and order. Raises `NotFound`."""
    receipt = session.get(
        Receipt,
        number,
        options=[joinedload(Receipt.payment).joinedload(Payment.order).options(selectinload(Order.lines))],
    )
    if receipt is None:
        raise NotFound(_("This receipt does not exist."))
    return receipt


def close_day(session: Session, *, by: str, zone: ZoneInfo) -> Closing:
    """Close the day (Z). Raises `Conflict` when there is no receipt since the last closing.

    Also forgets what is kept for a while only: stored replies, the kitchen's events, and sessions that are over.
    """
    number = journal.next_number(session, "closing")
    before = session.get(Closing, number - 1)
    first = before.last_receipt + 1 if before is not None else 1
    receipts = session.scalars(
        select(Receipt).where(Receipt.number >= first).options(joinedload(Receipt.payment)).order_by(Receipt.number)
    ).all()
    if not receipts:
        raise Conflict(_("There is nothing to close: no receipt since the last closing."), code="nothing-to-close")
    by_method: Tally[str] = Tally()
    totals: Tally[int] = Tally()
    taxes: Tally[int] = Tally()
    for receipt in receipts:
        by_method[receipt.payment.method.value] += receipt.amount
        for share in receipt.shares:
            totals[share["rate"]] += share["total"]
            taxes[share["rate"]] += share["tax"]
    total = sum(receipt.amount for receipt in receipts)
    moment = now()
    closing = Closing(
        number=number,
        day=moment.astimezone(zone).date(),
        closed_at=moment,
        by=by,
        first_receipt=first,
        last_receipt=receipts[-1].number,
        total=total,
        tips=sum(receipt.tip for receipt in receipts),
        perpetual_total=total + (before.perpetual_total if before is not None else 0),
        by_method=dict(sorted(by_method.items())),
        by_rate=[RateShare(rate=rate, total=totals[rate], tax=taxes[rate]) for rate in sorted(totals)],
    )
    session.add(closing)
    journal.record(
        session,
        EntryKind.CLOSING,
        {
            "number": number, "day": closing.day.isoformat(), "first_receipt": first, "by": by, "total": total,
            "last_receipt": closing.last_receipt, "perpetual_total": closing.perpetual_total,
            "by_rate": closing.by_rate, "by_method": closing.by_method,
        },
    )  # fmt: skip
    idempotency.purge(session)
    outbox.purge(session)
    people.purge(session)
    return closing


def list_closings(session: Session, page: PageQuery) -> tuple[Sequence[Closing], int | None]:
    """A page of the closings, newest first, and the number of the following page."""
    return read_page(session, select(Closing).order_by(Closing.number.desc()), page)


def read_closing(session: Session, number: int) -> Closing:
    """One closing. Raises `NotFound`."""
    closing = session.get(Closing, number)
    if closing is None:
        raise NotFound(_("This closing does not exist."))
    return closing


def to_close(session: Session) -> tuple[int, int]:
    """How many receipts wait for the next closing, and what they add up to."""
    last = session.scalar(select(func.max(Closing.last_receipt))) or 0
    row = session.execute(
        select(func.count(), func.coalesce(func.sum(Receipt.amount), 0)).where(Receipt.number > last)
    ).one()
    return int(row[0]), int(row[1])


def _issue(
    session: Session, payment: Payment, order: Order, *, amount: int, tip: int, shares: dict[int, int], by: User,
    reason: str = "",
) -> Receipt:  # fmt: skip
    number = journal.next_number(session, "receipt")
    receipt = Receipt(
        number=number, payment_id=payment.id, amount=amount, tip=tip, shares=_shares(shares), issued_at=now()
    )
    session.add(receipt)
    journal.record(
        session,
        EntryKind.PAYMENT if amount > 0 else EntryKind.REFUND,
        {
            "receipt": number, "order": str(order.reference), "payment": str(payment.reference), "amount": amount,
            "tip": tip, "method": payment.method.value, "shares": receipt.shares, "by": by.username, "reason": reason,
        },
    )  # fmt: skip
    return receipt


def _by_rate(order: Order, due: int) -> dict[int, int]:
    """What of `due` falls under each VAT rate: discounts lower every rate in proportion."""
    totals: Tally[int] = Tally()
    for line in order.lines:
        totals[line.vat_rate] += line.total
    return apportion(dict(totals), due)


def _shares(totals: dict[int, int]) -> list[RateShare]:
    return [
        RateShare(rate=rate, total=total, tax=tax_in(total, rate)) for rate, total in sorted(totals.items()) if total
    ]


def _settled() -> Conflict:
    return Conflict(_("This order is settled and cannot be changed."), code="order-settled")
