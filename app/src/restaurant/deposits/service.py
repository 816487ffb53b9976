"""What becomes of the deposit of a booking: asked for, paid at a provider, given back, kept, or waived.

It is locked before anything happens to it, after its booking. Money goes back to the guest by a refund at the provider,
which is begun here and recorded once the provider has done it.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from restaurant.deposits import ledger
from restaurant.deposits.models import Deposit
from restaurant.deposits.rules import DepositRules
from restaurant.errors import Conflict, NotFound
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.orders.models import Order
from restaurant.payments import attempts
from restaurant.payments.models import OPEN, UNRESOLVED, Action, Attempt, AttemptState, Channel
from restaurant.people.models import User
from restaurant.reservations.models import Booking, BookingStatus
from restaurant.types import now

#: Who acts on a booking page without being signed in.
GUEST = "guest"


def rules(session: Session) -> DepositRules:
    """The settings; they come with every session that writes."""
    found: DepositRules = session.info["deposits"]
    return found


def ask(session: Session, booking: Booking, *, online: bool) -> None:
    """Ask for the deposit of a new booking, if its size needs one. Who books online has some minutes to pay it."""
    rule = rules(session)
    amount = rule.amount(booking.covers)
    if amount:
        session.add(
            Deposit(
                booking_id=booking.id, amount=amount, due_at=now() + rule.pay if online else None,
                refundable_until=booking.starts_at - rule.refund,
            )
        )  # fmt: skip
        session.flush()


def adjust(session: Session, booking: Booking) -> None:
    """Follow a change of a booking: what is not paid yet is what its size needs now."""
    rule = rules(session)
    amount = rule.amount(booking.covers)
    deposit = lock(session, booking)
    if deposit is None:
        return ask(session, booking, online=False)
    deposit.refundable_until = booking.starts_at - rule.refund
    if deposit.outstanding and not _unresolved(session, deposit):
        deposit.amount, deposit.waived = amount or deposit.amount, amount == 0
    return session.flush()


def lock(session: Session, booking: Booking) -> Deposit | None:
    """The deposit of a booking, locked."""
    query = select(Deposit).where(Deposit.booking_id == booking.id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def require(session: Session, booking: Booking) -> Deposit:
    """As `lock`. Raises `NotFound` when the booking has none."""
    deposit = lock(session, booking)
    if deposit is None:
        raise NotFound(_("This booking needs no deposit."))
    return deposit


def begin_payment(session: Session, booking: Booking, *, back: str) -> Attempt:
    """Begin to charge the deposit, or continue the charge that is under way: nobody pays it twice.

    Raises `Conflict` when it is paid or waived, or the booking is not ahead.
    """
    deposit = require(session, booking)
    if booking.status is not BookingStatus.CONFIRMED or not deposit.outstanding:
        raise Conflict(_("There is no deposit to pay for this booking."), code="no-deposit-due")
    open_ones = _unresolved(session, deposit)
    if open_ones:
        return open_ones[0]
    attempt = Attempt(
        deposit_id=deposit.id, channel=Channel.ONLINE, action=Action.CHARGE, amount=deposit.amount, tip=0, line_ids=[],
        back=back, reference=uuid.uuid4(),
    )  # fmt: skip
    attempts.move(session, attempt, AttemptState.STARTED, by=None)
    return attempt


def begin_refund(session: Session, deposit: Deposit, *, reason: str, by: User | None) -> Attempt:
    """Begin to give back what is left of a deposit, which is locked. Raises `Conflict` when nothing is.

    What was kept is given back too: this undoes that.
    """
    if _at_table(session, deposit):
        raise Conflict(_("The guests are at the table: deduct the deposit from their bill."), code="deposit-at-table")
    if _unresolved(session, deposit):
        raise Conflict(_("A payment or refund of this deposit is under way."), code="charge-in-progress")
    if deposit.kept:
        ledger.keep(session, deposit, -deposit.kept, by=_name(by))
    if deposit.balance == 0:
        raise Conflict(_("Nothing is left of this deposit."), code="no-deposit-left")
    attempt = Attempt(
        deposit_id=deposit.id, channel=Channel.ONLINE, action=Action.REFUND, amount=deposit.balance, tip=0, line_ids=[],
        reason=reason, by_id=by.id if by is not None else None, reference=uuid.uuid4(),
    )  # fmt: skip
    attempts.move(session, attempt, AttemptState.STARTED, by=by)
    return attempt


def waive(session: Session, booking: Booking) -> None:
    """Do without the deposit of a booking. Raises `Conflict` when it is paid, waived, or being paid."""
    deposit = require(session, booking)
    if not deposit.outstanding:
        raise Conflict(_("There is no deposit to pay for this booking."), code="no-deposit-due")
    _give_up(session, deposit, by=None)
    deposit.waived, deposit.due_at = True, None
    session.flush()


def cancelled(session: Session, booking: Booking, *, at: datetime, by: User | None) -> None:
    """The booking is cancelled at the instant `at`: in time its deposit is given back, and afterwards kept."""
    deposit = lock(session, booking)
    if deposit is None:
        return
    _give_up(session, deposit, by=by)
    if deposit.balance and not _unresolved(session, deposit):
        if at <= deposit.refundable_until:
            begin_refund(session, deposit, reason=_("Booking cancelled"), by=by)
        else:
            ledger.keep(session, deposit, deposit.balance, by=_name(by))


def not_come(session: Session, booking: Booking, *, by: User | None) -> None:
    """The guests did not come: their deposit is kept."""
    deposit = lock(session, booking)
    if deposit is None:
        return
    _give_up(session, deposit, by=by)
    if deposit.balance and not _unresolved(session, deposit):
        ledger.keep(session, deposit, deposit.balance, by=_name(by))


def expected_again(session: Session, booking: Booking, *, by: User | None) -> None:
    """A cancellation or a no-show is undone, or guests leave the table again: what was kept is theirs."""
    deposit = lock(session, booking)
    if deposit is None:
        return
    if deposit.kept:
        ledger.keep(session, deposit, -deposit.kept, by=_name(by))
    deposit.order_id, deposit.due_at = None, None
    session.flush()


def seated(session: Session, booking: Booking, order: Order) -> None:
    """The guests sit down: what is left of their deposit, and is not being given back, is deducted from their bill."""
    deposit = lock(session, booking)
    if deposit is not None:
        deposit.order_id, deposit.due_at = order.id, None
        session.flush()
        ledger.count(session, order)


def finish(session: Session, attempt: Attempt, *, by: User | None) -> None:
    """Record what a provider has done for an attempt, whose deposit is locked."""
    deposit = session.get_one(Deposit, attempt.deposit_id)
    if attempt.action is Action.REFUND:
        ledger.give_back(session, deposit, attempt.amount, by=_name(by))
        return
    ledger.take(session, deposit, attempt.amount, by=_name(by))
    deposit.due_at = None
    booking = session.get_one(Booking, deposit.booking_id)
    if deposit.order_id is None and booking.status is not BookingStatus.CONFIRMED:
        # The guest was asked before, and paid while the booking was cancelled.
        attempts.move(
            session,
            Attempt(
                deposit_id=deposit.id, channel=attempt.channel, action=Action.REFUND, amount=deposit.balance, tip=0,
                line_ids=[], reason=_("Booking cancelled"), reference=uuid.uuid4(),
            ),
            AttemptState.STARTED,
            by=None,
        )  # fmt: skip
    session.flush()


def lock_for(session: Session, attempt: Attempt) -> None:
    """Lock the deposit of an attempt, after the order of its guests. Raises `Conflict` when that changes meanwhile."""
    wanted = select(Deposit).where(Deposit.id == attempt.deposit_id).execution_options(populate_existing=True)
    before = session.scalars(wanted).one().order_id
    if before is not None:
        orders.lock_order(session, session.scalars(select(Order.reference).where(Order.id == before)).one())
    if session.scalars(wanted.with_for_update()).one().order_id != before:
        raise Conflict(_("Someone else has changed this in the meantime. Reload the page and make your change again."))


def concluded(session: Session, attempt: Attempt) -> None:
    """The outcome of an attempt is known: a payment, or a refund that failed, is deducted from the guests' bill."""
    order = session.get_one(Deposit, attempt.deposit_id).order_id
    if order is not None:
        ledger.count(session, session.get_one(Order, order))


def refundable(session: Session, deposit: Deposit) -> bool:
    """Whether a refund can be begun now."""
    return (
        deposit.balance + deposit.kept > 0
        and not _at_table(session, deposit)
        and session.scalars(_under_way(deposit)).first() is None
    )


def overdue(session: Session, *, at: datetime) -> list[uuid.UUID]:
    """The bookings to release: their deposit is due, and no charge of it is under way."""
    under_way = select(Attempt.id).where(Attempt.deposit_id == Deposit.id, Attempt.state.in_(UNRESOLVED))
    query = (
        select(Booking.reference)
        .join(Deposit, Deposit.booking_id == Booking.id)
        .where(
            Deposit.due_at < at, Deposit.paid == 0, Deposit.waived.is_(False), ~under_way.exists(),
            Booking.status == BookingStatus.CONFIRMED,
        )
    )  # fmt: skip
    return list(session.scalars(query))


def attempts_of(session: Session, deposit: Deposit) -> list[Attempt]:
    """The charges and refunds of a deposit, the newest first."""
    query = select(Attempt).where(Attempt.deposit_id == deposit.id).order_by(Attempt.id.desc())
    return list(session.scalars(query))


def _at_table(session: Session, deposit: Deposit) -> bool:
    """Whether its guests sit at a table, and it is deducted from their bill."""
    query = select(Order.id).where(Order.id == deposit.order_id, Order.closed_at.is_(None), Order.deposit > 0)
    return session.scalar(query) is not None


def _give_up(session: Session, deposit: Deposit, *, by: User | None) -> None:
    """Give up charges that are under way: what the provider takes yet is given back."""
    for attempt in _unresolved(session, deposit):
        if attempt.action is Action.CHARGE and attempt.state in OPEN:
            attempts.move(session, attempt, AttemptState.ABANDONED, by=by)


def _unresolved(session: Session, deposit: Deposit) -> list[Attempt]:
    query = _under_way(deposit).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _under_way(deposit: Deposit) -> Select[Attempt]:
    return select(Attempt).where(Attempt.deposit_id == deposit.id, Attempt.state.in_(UNRESOLVED))


def _name(by: User | None) -> str:
    return by.username if by is not None else GUEST
