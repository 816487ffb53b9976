"""The movements of deposits. Each is an entry of the journal, with the deposit as it then is."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from restaurant.billing import journal
from restaurant.billing.models import Closing, EntryKind, Payment
from restaurant.deposits.models import Deposit, DepositMovement, MovementKind
from restaurant.orders.models import Order
from restaurant.payments.models import OPEN, Action, Attempt
from restaurant.types import now


@dataclass(frozen=True)
class DepositSums:
    """What movements add up to, in cents by kind, and the number of the last one."""

    by_kind: dict[str, int]
    last: int


def take(session: Session, deposit: Deposit, amount: int, *, by: str) -> None:
    """Record that the guest has paid `amount`."""
    deposit.paid += amount
    _record(session, deposit, MovementKind.TAKEN, amount, by=by)


def use(session: Session, deposit: Deposit, amount: int, payment: Payment, *, by: str) -> None:
    """Deduct `amount` from a bill, by `payment`; a negative one gives it back to the deposit."""
    deposit.used += amount
    _record(session, deposit, MovementKind.USED, amount, by=by, payment=payment)


def give_back(session: Session, deposit: Deposit, amount: int, *, by: str) -> None:
    """Record that the guest has `amount` back."""
    deposit.refunded += amount
    _record(session, deposit, MovementKind.REFUNDED, amount, by=by)


def keep(session: Session, deposit: Deposit, amount: int, *, by: str) -> None:
    """Keep `amount` as a compensation; a negative one no longer keeps it."""
    deposit.kept += amount
    _record(session, deposit, MovementKind.KEPT, amount, by=by)


def lock_of_payment(session: Session, payment: Payment) -> Deposit | None:
    """The deposit that a payment was deducted from, locked."""
    number = select(DepositMovement.deposit_id).where(DepositMovement.payment_id == payment.id).limit(1)
    return session.scalar(
        select(Deposit).where(Deposit.id == number.scalar_subquery()).with_for_update(),
        execution_options={"populate_existing": True},
    )


def lock_of_order(session: Session, order_id: int) -> Sequence[Deposit]:
    """The deposits of the guests of an order, locked."""
    query = select(Deposit).where(Deposit.order_id == order_id).order_by(Deposit.id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).all()


def free(session: Session, deposit: Deposit) -> int:
    """Cents that are still the guest's, without those that a refund under way gives back."""
    under_way = select(func.coalesce(func.sum(Attempt.amount), 0)).where(
        Attempt.deposit_id == deposit.id, Attempt.action == Action.REFUND, Attempt.state.in_(OPEN)
    )
    return deposit.balance - (session.scalar(under_way) or 0)


def count(session: Session, order: Order) -> None:
    """Find out again what is to be deducted from the bill of an order, which is locked; nothing once it is settled."""
    if order.paid_at is None and order.closed_at is None:
        order.deposit = sum(free(session, deposit) for deposit in lock_of_order(session, order.id))
        session.flush()


def waiting(session: Session) -> DepositSums:
    """What the movements since the last closing add up to."""
    last = session.scalar(select(Closing.last_deposit).order_by(Closing.number.desc()).limit(1)) or 0
    movements = session.scalars(
        select(DepositMovement).where(DepositMovement.number > last).order_by(DepositMovement.number)
    ).all()
    sums: Tally[str] = Tally()
    for movement in movements:
        sums[movement.kind.value] += movement.amount
    return DepositSums(
        by_kind={kind: cents for kind, cents in sorted(sums.items()) if cents},
        last=movements[-1].number if movements else last,
    )


def _record(
    session: Session, deposit: Deposit, kind: MovementKind, amount: int, *, by: str, payment: Payment | None = None
) -> None:
    movement = DepositMovement(
        number=journal.next_number(session, "deposit"), deposit_id=deposit.id, kind=kind, amount=amount,
        payment_id=payment.id if payment is not None else None, by=by, created_at=now(),
    )  # fmt: skip
    session.add(movement)
    content = {
        "deposit": str(deposit.reference), "number": movement.number, "kind": kind.value, "amount": amount, "by": by,
        "at": movement.created_at.isoformat(),
    }  # fmt: skip
    journal.record(session, EntryKind.DEPOSIT, content, [movement, deposit])
