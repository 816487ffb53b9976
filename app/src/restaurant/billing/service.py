"""Bills: what is due, discounts, payments in as many parts as the guests like, refunds, and the day's closing."""

from __future__ import annotations

import uuid
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Executable, bindparam, func, null, select, union_all, update
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.billing import invoices, journal, periods
from restaurant.billing.anchors import Anchor, read_anchor
from restaurant.billing.models import Closing, Discount, EntryKind, Method, Payment, RateShare, Receipt
from restaurant.billing.split import Cell, Item, apportion, by_rate, owed, take
from restaurant.business_day import BusinessDay
from restaurant.database import on_commit
from restaurant.deposits import ledger
from restaurant.deposits.ledger import DepositSums
from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.http import idempotency
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.kitchen import outbox
from restaurant.metrics import count_payment
from restaurant.money import tax_in
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderLine, OrderStatus
from restaurant.orders.state_machine import SETTLED
from restaurant.payments.models import OPEN, Action, Attempt
from restaurant.people import service as people
from restaurant.people.models import User
from restaurant.printing import service as printing
from restaurant.reservations import limits
from restaurant.table_orders import service as table_orders
from restaurant.types import LARGEST, now

log = structlog.get_logger()


@dataclass(frozen=True)
class AppliedDiscount:
    """What a discount takes off now, in cents; less than was given when voids left less than that."""

    id: int
    amount: int
    percent: int | None
    reason: str


@dataclass(frozen=True)
class Figures:
    """What an order comes to, in cents: `total` of its lines, less discounts is `due`, of which `paid` is paid."""

    reference: uuid.UUID
    status: OrderStatus
    discounts: Sequence[AppliedDiscount]
    payments: Sequence[Payment]
    total: int
    due: int
    paid: int
    shares: Sequence[RateShare]

    @property
    def left(self) -> int:
        """What is still to be paid."""
        return self.due - self.paid


@dataclass(frozen=True)
class Bill(Figures):
    """An order's bill; `owed` is what is left to pay, by line and seat."""

    order: Order
    owed: Mapping[Cell, int]

    @property
    def owing(self) -> Sequence[OrderLine]:
        """The lines for which something is left to pay."""
        keys = {cell.line for cell, cents in self.owed.items() if cents}
        return [line for line in self.order.lines if line.id in keys]

    @property
    def unsent(self) -> bool:
        """Whether lines are held, so that the bill cannot be presented."""
        return any(line.status is LineStatus.HELD for line in self.order.lines)


def read_bill(session: Session, order: Order) -> Bill:
    """The bill of an order as it stands."""
    payments = _payments(session, order.id)
    total = order.total
    discounts = apply_discounts(_discounts(session, order), total)
    due = total - sum(discount.amount for discount in discounts)
    return Bill(
        order=order,
        reference=order.reference,
        status=order.status,
        discounts=discounts,
        payments=payments,
        total=total,
        due=due,
        paid=order.paid,
        shares=_shares(by_rate(_items(order), due)),
        owed=_owed(order, due, payments),
    )


_ORDER = (Order.id.label("order_id"), Order.reference, Order.status.label("order_status"), Order.paid)
# The order with each line and each discount, or alone: one round trip, and no objects.
_FIGURES: Executable = union_all(
    select(
        *_ORDER, OrderLine.id.label("key"), OrderLine.seat, OrderLine.vat_rate, OrderLine.status, OrderLine.quantity,
        OrderLine.unit_price, null().label("amount"), null().label("percent"), null().label("reason"),
    )
    .outerjoin(Order.lines)
    .where(Order.reference == bindparam("reference")),
    select(*_ORDER, Discount.id, *[null()] * 5, Discount.amount, Discount.percent, Discount.reason)
    .join(Discount, Discount.order_id == Order.id)
    .where(Order.reference == bindparam("reference"), Discount.removed_at.is_(None)),
).order_by("key")  # fmt: skip


def read_figures(session: Session, reference: uuid.UUID) -> Figures:
    """What `read_bill` finds, of an order that is not read. Raises `NotFound`."""
    rows = session.connection().execute(_FIGURES, {"reference": reference}).all()
    if not rows:
        raise orders.unknown_order()
    items = [
        Item(line=row.key, seat=row.seat, rate=row.vat_rate, amount=row.quantity * row.unit_price)
        for row in rows
        if row.quantity is not None and row.status is not LineStatus.VOIDED
    ]
    given = [AppliedDiscount(row.key, row.amount, row.percent, row.reason) for row in rows if row.amount is not None]
    total = sum(item.amount for item in items)
    discounts = apply_discounts(given, total)
    due = total - sum(discount.amount for discount in discounts)
    order = rows[0]
    return Figures(
        reference=order.reference,
        status=order.order_status,
        discounts=discounts,
        payments=_payments(session, order.order_id) if order.paid else [],
        total=total,
        due=due,
        paid=order.paid,
        shares=_shares(by_rate(items, due)),
    )


def _payments(session: Session, order: int) -> Sequence[Payment]:
    return session.scalars(
        select(Payment)
        .where(Payment.order_id == order)
        .options(selectinload(Payment.receipts))
        .order_by(Payment.id)
        .execution_options(populate_existing=True)
    ).all()


def apply_discounts(discounts: Sequence[Discount | AppliedDiscount], total: int) -> list[AppliedDiscount]:
    """What each discount takes off `total`, one after the other: a percentage of what is left, or at most all of it."""
    applied = []
    for given in discounts:
        amount = min(given.amount, total) if given.percent is None else percentage(total, given.percent)
        total -= amount
        applied.append(AppliedDiscount(id=given.id, amount=amount, percent=given.percent, reason=given.reason))
    return applied


def percentage(total: int, percent: int) -> int:
    """`percent` of `total`, rounded half up to the cent, and at least one cent of anything."""
    return min(total, max(1, (total * percent + 50) // 100))


def present(session: Session, order: Order, *, by: User) -> None:
    """Fix the amount due, after which nothing can be ordered. Raises `Conflict` when lines are held or it is settled.

    An order nothing is due for is closed at once, without a receipt.
    """
    if order.status in SETTLED:
        raise _settled()
    bill = read_bill(session, order)
    if bill.unsent:
        raise Conflict(_("Some lines have not been sent yet: send or void them first."), code="lines-held")
    order.billed_at = now()
    order.due = bill.due
    if order.due == 0:
        order.paid_at = order.billed_at
    orders.refresh(session, order)
    journal.record(
        session,
        EntryKind.PRESENTATION,
        {
            "order": str(order.reference), "total": bill.total, "due": order.due, "by": by.username,
            "at": order.billed_at.isoformat(),
        },
        [order, *order.lines],
    )  # fmt: skip


def reopen(session: Session, order: Order, *, by: User) -> None:
    """Reopen the order of a presented bill. Raises `Conflict` once something is paid."""
    if order.status is not OrderStatus.BILLED or order.paid:
        raise _settled()
    if held(session, order):
        raise _in_progress()
    due = order.due
    order.billed_at, order.due = None, 0
    orders.refresh(session, order)
    content = {"order": str(order.reference), "due": due, "by": by.username, "at": now().isoformat()}
    journal.record(session, EntryKind.REOPENING, content, [order])


def discount(
    session: Session, order: Order, *, amount: int | None = None, percent: int | None = None, reason: str, by: User
) -> None:
    """Take `amount` cents off, or a percentage that follows what is ordered and voided afterwards.

    Raises `Conflict` when it is more than what is due, nothing is due, or something is paid already.
    """
    _undiscountable(session, order)
    due = read_bill(session, order).due
    taken = percentage(due, percent) if percent is not None else amount or 0
    if taken > due or due == 0:
        raise Conflict(_("The discount is larger than the bill."), code="discount-too-large")
    given = Discount(order_id=order.id, amount=taken, percent=percent, reason=reason, by_id=by.id, created_at=now())
    session.add(given)
    session.flush()
    _change_due(session, order)
    journal.record(
        session,
        EntryKind.DISCOUNT,
        {
            "order": str(order.reference), "discount": given.id, "amount": taken, "percent": percent, "reason": reason,
            "by": by.username, "at": given.created_at.isoformat(),
        },
        [given, order],
    )  # fmt: skip


def remove_discount(session: Session, order: Order, key: int, *, by: User) -> None:
    """Remove a discount. Raises `NotFound`, or `Conflict` once something is paid."""
    _undiscountable(session, order)
    found = next((given for given in _discounts(session, order) if given.id == key), None)
    if found is None:
        raise NotFound(_("This discount does not exist."))
    found.removed_at = now()
    session.flush()
    _change_due(session, order)
    journal.record(
        session,
        EntryKind.DISCOUNT_REMOVAL,
        {
            "order": str(order.reference),
            "discount": key,
            "amount": found.amount,
            "by": by.username,
            "at": found.removed_at.isoformat(),
        },
        [found, order],
    )


def merge(session: Session, order: Order, target: Order, *, by: User) -> None:
    """Move all lines of `order` to `target`, with its discounts, and end `order`. Both must be locked (`lock_pair`).

    Each discount becomes a fixed amount: a percentage of one table must not apply to both.
    """
    moved, dropped, moment = [], [], now()
    changed: list[Discount] = []
    lines = [line.id for line in order.lines]
    voided = [line for line in order.lines if line.status is LineStatus.VOIDED]
    for one in (order, target):
        given = _discounts(session, one)
        changed += given
        for entry, applied in zip(given, apply_discounts(given, one.total), strict=True):
            if applied.amount == 0:
                entry.removed_at = moment
                dropped.append(entry.id)
                continue
            entry.amount, entry.percent = applied.amount, None
            moved.append({"discount": entry.id, "amount": entry.amount})
            entry.order_id = target.id
    orders.merge(session, order, target)
    for deposit in ledger.lock_of_order(session, order.id):
        deposit.order_id = target.id
    session.flush()
    ledger.count(session, target)
    journal.record(
        session,
        EntryKind.MERGE,
        {
            "order": str(order.reference), "into": str(target.reference), "lines": lines, "discounts": moved,
            "dropped": dropped, "by": by.username, "at": moment.isoformat(),
        },
        # What was voided is recorded already, with the order that it was of.
        [*changed, order, *voided],
    )  # fmt: skip


def move_lines(session: Session, order: Order, target: Order, keys: Iterable[int], *, by: User) -> None:
    """Put some lines of `order` on `target`, with their part of its discounts. Both must be locked (`lock_pair`).

    The lines' part is a fixed amount; a percentage stays with the other lines of its order, and applies to what is
    ordered there later.
    """
    given = _discounts(session, order)
    applied = apply_discounts(given, order.total)
    keys = set(keys)
    moving = sum(line.total for line in order.lines if line.id in keys)
    staying = order.total - moving
    orders.move_lines(session, order, target, keys)
    moment, parts = now(), list[Discount]()
    changed = list[Discount]()
    for entry, discount in zip(given, applied, strict=True):
        if entry.percent is not None:
            # What a percentage takes off the rest is rounded by itself.
            stays = percentage(staying, entry.percent)
            part = discount.amount - stays
        else:
            part = apportion({True: moving, False: staying}, discount.amount)[True]
            stays = discount.amount - part
        moving, staying = moving - part, staying - stays
        if part == 0:
            continue
        changed.append(entry)
        if not order.total or (entry.percent is None and part == entry.amount):
            entry.order_id, entry.amount, entry.percent = target.id, part, None
            continue
        if entry.percent is None:
            entry.amount -= part
        parts.append(
            Discount(order_id=target.id, amount=part, reason=entry.reason, by_id=entry.by_id, created_at=moment)
        )
    session.add_all(parts)
    session.flush()
    if changed:
        moved = [{"discount": entry.id, "amount": entry.amount} for entry in (*changed, *parts)]
        content = {
            "order": str(order.reference), "into": str(target.reference), "lines": sorted(keys), "discounts": moved,
            "by": by.username, "at": moment.isoformat(),
        }  # fmt: skip
        journal.record(session, EntryKind.MOVE, content, [*changed, *parts])


def _change_due(session: Session, order: Order) -> None:
    if order.billed_at is not None:
        order.due = read_bill(session, order).due
        if order.due == 0:
            order.paid_at = now()
    orders.refresh(session, order)


def _undiscountable(session: Session, order: Order) -> None:
    if order.paid or order.paid_at is not None or order.closed_at is not None:
        raise _settled()
    if held(session, order):
        raise _in_progress()


def pay(
    session: Session, order: Order, *, amount: int, tip: int, method: Method, by: User, seat: int | None = None,
    lines: Sequence[int] = (), tendered: int | None = None, attempt: Attempt | None = None,
) -> Payment:  # fmt: skip
    """Take a payment and issue its receipt; the last cent settles the order. `attempt` is the charge that it completes.

    The payment is for a `seat`, for some `lines`, or for any part of the bill. Raises `Conflict` when the bill was not
    presented or the amount is more than what is left, and `Invalid` for a seat or lines that the order does not have,
    or when less than the payment was `tendered` in cash.
    """
    if tendered is not None and (method is not Method.CASH or not amount + tip <= tendered <= LARGEST):
        detail = _("Less than the payment was given.") if method is Method.CASH else _("Only cash is tendered.")
        raise Invalid(detail, fields={"/tendered": detail})
    if order.status is not OrderStatus.BILLED:
        raise Conflict(_("Present the bill first."), code="not-billed")
    if order.deposit and method is not Method.DEPOSIT and attempt is None:
        raise Conflict(_("Deduct the deposit of these guests first."), code="deposit-first")
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
    if taken + held(session, order, but=attempt) > order.due:
        raise _in_progress()
    before = session.scalars(select(Payment).where(Payment.order_id == order.id).order_by(Payment.id)).all()
    left = _owed(order, order.due, before)
    _known(left, seat, lines)
    payment = Payment(
        order_id=order.id, amount=amount, tip=tip, method=method, by_id=by.id, seat=seat, line_ids=list(lines),
        tendered=tendered, created_at=now(),
    )  # fmt: skip
    shares: Tally[int] = Tally()
    for cell, cents in take(left, amount, _purpose(payment)).items():
        shares[cell.rate] += cents
    session.add(payment)
    session.flush()
    session.refresh(order, ["paid", "due"])
    if taken == order.due:
        order.paid_at = payment.created_at
        orders.refresh(session, order)
    if method is Method.CASH:
        printing.kick_drawer(session, by=by.username)
    _issue(session, payment, order, EntryKind.PAYMENT, amount=amount, tip=tip, shares=dict(shares), by=by)
    on_commit(session, lambda: count_payment(method=method.value, value=amount))
    return payment


def deduct_deposit(session: Session, order: Order, *, by: User) -> Payment:
    """Deduct the guests' deposit from their presented bill, as far as there is something left to pay.

    What is more than the bill stays theirs. Raises `Conflict` when they have none, or nothing is left to pay.
    """
    left = order.due - order.paid - held(session, order)
    if order.status is not OrderStatus.BILLED:
        raise Conflict(_("Present the bill first."), code="not-billed")
    found = next((entry for entry in ledger.lock_of_order(session, order.id) if ledger.free(session, entry) > 0), None)
    if found is None or left <= 0:
        raise Conflict(_("There is no deposit to deduct."), code="no-deposit-left")
    amount = min(left, ledger.free(session, found))
    payment = pay(session, order, amount=amount, tip=0, method=Method.DEPOSIT, by=by)
    ledger.use(session, found, amount, payment, by=by.username)
    ledger.count(session, order)
    return payment


def held(session: Session, order: Order, *, but: Attempt | None = None) -> int:
    """Cents of an order's bill for which charges at providers are open, but for one of them."""
    query = select(func.coalesce(func.sum(Attempt.amount), 0)).where(
        Attempt.order_id == order.id, Attempt.action == Action.CHARGE, Attempt.state.in_(OPEN)
    )
    if but is not None:
        query = query.where(Attempt.id != but.id)
    return session.scalar(query) or 0


def check_purpose(session: Session, order: Order, *, seat: int | None, lines: Sequence[int]) -> None:
    """Raise `Invalid` for a seat or lines that a payment of this order cannot be for."""
    before = session.scalars(select(Payment).where(Payment.order_id == order.id).order_by(Payment.id)).all()
    _known(_owed(order, order.due, before), seat, lines)


def refund(
    session: Session, payment: Payment, *, amount: int, tip: int = 0, reason: str, by: User,
    attempt: Attempt | None = None,
) -> Receipt:  # fmt: skip
    """Refund an amount, a tip or both, with a receipt of its own, and a credit note if there is an invoice.

    Raises `Conflict` when it is more than was paid, and for a payment that was made at a provider unless `attempt` is
    the refund there.
    """
    # Nobody issues an invoice meanwhile.
    session.execute(select(Order.id).where(Order.id == payment.order_id).with_for_update())
    charged = select(Attempt.id).where(Attempt.payment_id == payment.id, Attempt.action == Action.CHARGE)
    if attempt is None and session.scalar(charged) is not None:
        raise Conflict(_("This payment was made at a provider: refund it there."), code="refund-at-provider")
    kept = session.execute(
        update(Payment)
        .where(
            Payment.id == payment.id,
            Payment.refunded + amount <= Payment.amount,
            Payment.tip_refunded + tip <= Payment.tip,
        )
        .values(refunded=Payment.refunded + amount, tip_refunded=Payment.tip_refunded + tip)
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
    order = payment.order
    receipt = _issue(
        session, payment, order, EntryKind.REFUND, amount=-amount, tip=-tip, shares=shares, by=by, reason=reason
    )
    if amount:
        invoices.credit_refund(session, order, receipt, reason=reason, by=by)
    if payment.method is Method.CASH:
        printing.kick_drawer(session, by=by.username)
    if payment.method is Method.DEPOSIT and (deposit := ledger.lock_of_payment(session, payment)) is not None:
        # It is a deposit again, which is given back at its provider.
        ledger.use(session, deposit, -amount, payment, by=by.username)
        session.refresh(order)
        ledger.count(session, order)
    return receipt


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


def print_receipt(session: Session, number: int, *, by: User) -> int:
    """Count a copy of a receipt, and return which it is: all but the first are duplicates. Raises `NotFound`."""
    receipt = session.get(Receipt, number, with_for_update=True)
    if receipt is None:
        raise NotFound(_("This receipt does not exist."))
    return journal.record_copy(session, receipt, by=by.username)


def close_day(session: Session, *, by: str, business_day: BusinessDay) -> Closing:
    """Close the day (Z). Raises `Conflict` when there is no receipt since the last closing.

    Closes the months and years that are over before.

    Also deletes expired data: stored replies, the kitchen's events, and sessions.
    """
    number = journal.next_number(session, "closing")
    periods.close_periods(session, by=by, today=business_day.of(now()))
    before = session.get(Closing, number - 1)
    first = before.last_receipt + 1 if before is not None else 1
    receipts = session.scalars(
        select(Receipt).where(Receipt.number >= first).options(joinedload(Receipt.payment)).order_by(Receipt.number)
    ).all()
    moved = ledger.waiting(session)
    if not receipts and moved.last == (before.last_deposit if before is not None else 0):
        raise Conflict(_("There is nothing to close: no receipt since the last closing."), code="nothing-to-close")
    sums = add_up(receipts, deposits=moved)
    moment = now()
    closing = Closing(
        number=number,
        day=business_day.of(moment),
        closed_at=moment,
        by=by,
        first_receipt=first,
        last_receipt=receipts[-1].number if receipts else first - 1,
        total=sums.total,
        tips=sums.tips,
        perpetual_total=sums.total + (before.perpetual_total if before is not None else 0),
        by_method=sums.by_method,
        tips_by_method=sums.tips_by_method,
        by_rate=sums.by_rate,
        deposits=moved.by_kind,
        last_deposit=moved.last,
    )
    session.add(closing)
    journal.record(
        session,
        EntryKind.CLOSING,
        {
            "number": number, "day": closing.day.isoformat(), "first_receipt": first, "by": by, "total": sums.total,
            "last_receipt": closing.last_receipt, "perpetual_total": closing.perpetual_total,
            "by_rate": closing.by_rate, "by_method": closing.by_method, "tips": closing.tips,
            "tips_by_method": closing.tips_by_method, "closed_at": moment.isoformat(),
        },
        [closing],
    )  # fmt: skip
    anchor = read_anchor(session, number)
    # Logs are collected elsewhere, so the anchor is there too.
    on_commit(session, lambda: log.info("day closed", anchor=asdict(anchor) if anchor is not None else None))
    idempotency.purge(session)
    outbox.purge(session)
    people.purge(session)
    limits.purge(session, at=moment)
    table_orders.purge(session, at=moment)
    printing.purge(session)
    return closing


def list_closings(session: Session, page: PageQuery) -> tuple[Sequence[Closing], str | None]:
    """A page of the closings, newest first, and where the following page begins."""
    return read_page(session, select(Closing), page, by=[Sort(Closing.number, descending=True)])


def read_closing(session: Session, number: int) -> Closing:
    """One closing. Raises `NotFound`."""
    closing = session.get(Closing, number)
    if closing is None:
        raise NotFound(_("This closing does not exist."))
    return closing


def last_closing(session: Session) -> int:
    """The number of the last closing, 0 without one."""
    return session.scalar(select(func.max(Closing.number))) or 0


def read_closing_anchor(session: Session, number: int) -> Anchor:
    """The anchor of a closing. Raises `NotFound`."""
    found = read_anchor(session, number)
    if found is None:
        raise NotFound(_("This closing does not exist."))
    return found


def to_close(session: Session) -> Sums:
    """What the receipts since the last closing add up to: the figures of the day so far (X)."""
    last = session.scalar(select(func.max(Closing.last_receipt))) or 0
    waiting = select(Receipt).where(Receipt.number > last).options(joinedload(Receipt.payment))
    return add_up(session.scalars(waiting.order_by(Receipt.number)).all(), deposits=ledger.waiting(session))


@dataclass(frozen=True)
class Sums:
    """What receipts add up to, in cents."""

    count: int
    first_receipt: int | None
    last_receipt: int | None
    total: int
    tips: int
    by_method: dict[str, int]
    tips_by_method: dict[str, int]
    by_rate: list[RateShare]
    deposits: dict[str, int]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to close."""
        return not self.count and not self.deposits


def add_up(receipts: Sequence[Receipt], *, deposits: DepositSums | None = None) -> Sums:
    """The sums of some receipts, with their payments, and of movements of deposits."""
    by_method: Tally[str] = Tally()
    tips: Tally[str] = Tally()
    totals: Tally[int] = Tally()
    taxes: Tally[int] = Tally()
    for receipt in receipts:
        by_method[receipt.payment.method.value] += receipt.amount
        tips[receipt.payment.method.value] += receipt.tip
        for share in receipt.shares:
            totals[share["rate"]] += share["total"]
            taxes[share["rate"]] += share["tax"]
    return Sums(
        count=len(receipts),
        first_receipt=receipts[0].number if receipts else None,
        last_receipt=receipts[-1].number if receipts else None,
        total=sum(receipt.amount for receipt in receipts),
        tips=sum(receipt.tip for receipt in receipts),
        by_method=dict(sorted(by_method.items())),
        tips_by_method={method: cents for method, cents in sorted(tips.items()) if cents},
        by_rate=[RateShare(rate=rate, total=totals[rate], tax=taxes[rate]) for rate in sorted(totals)],
        deposits=deposits.by_kind if deposits is not None else {},
    )


def _issue(
    session: Session, payment: Payment, order: Order, kind: EntryKind, *, amount: int, tip: int,
    shares: dict[int, int], by: User, reason: str = "",
) -> Receipt:  # fmt: skip
    number = journal.next_number(session, "receipt")
    receipt = Receipt(
        number=number,
        payment_id=payment.id,
        amount=amount,
        tip=tip,
        shares=_shares(shares),
        issued_at=payment.created_at if kind is EntryKind.PAYMENT else now(),
    )
    session.add(receipt)
    journal.record(
        session,
        kind,
        {
            "receipt": number, "order": str(order.reference), "payment": str(payment.reference), "amount": amount,
            "tip": tip, "method": payment.method.value, "shares": receipt.shares, "by": by.username, "reason": reason,
            "at": receipt.issued_at.isoformat(), "payment_id": payment.id, "order_id": order.id, "seat": payment.seat,
            "lines": payment.line_ids,
        },
        [receipt, payment, order] if kind is EntryKind.PAYMENT else [receipt, payment],
    )  # fmt: skip
    return receipt


def _discounts(session: Session, order: Order) -> Sequence[Discount]:
    query = select(Discount).where(Discount.order_id == order.id, Discount.removed_at.is_(None))
    return session.scalars(query.order_by(Discount.id)).all()


def _items(order: Order) -> list[Item]:
    return [
        Item(line=line.id, seat=line.seat, rate=line.vat_rate, amount=line.total) for line in order.lines if line.total
    ]


def _owed(order: Order, due: int, payments: Sequence[Payment]) -> dict[Cell, int]:
    """What is left of `due` after `payments`, by line and seat."""
    left = owed(_items(order), due)
    for payment in payments:
        for cell, cents in take(left, payment.amount, _purpose(payment)).items():
            left[cell] -= cents
    return left


def _purpose(payment: Payment) -> Callable[[Cell], bool]:
    """Which part of the bill the payment is for."""
    if payment.seat is not None:
        return lambda cell: cell.seat == payment.seat
    if payment.line_ids:
        return lambda cell: cell.line in payment.line_ids
    return lambda _cell: True


def _known(left: Mapping[Cell, int], seat: int | None, lines: Sequence[int]) -> None:
    if seat is not None and seat not in {cell.seat for cell in left}:
        raise Invalid(_("This seat does not exist."), fields={"/seat": _("This seat does not exist.")})
    if set(lines) - {cell.line for cell in left}:
        raise Invalid(_("This line does not exist."), fields={"/lines": _("This line does not exist.")})


def _shares(totals: dict[int, int]) -> list[RateShare]:
    return [
        RateShare(rate=rate, total=total, tax=tax_in(total, rate)) for rate, total in sorted(totals.items()) if total
    ]


def _in_progress() -> Conflict:
    return Conflict(_("A charge at a provider is in progress for this bill."), code="charge-in-progress")


def _settled() -> Conflict:
    return Conflict(_("This order is settled and cannot be changed."), code="order-settled")
