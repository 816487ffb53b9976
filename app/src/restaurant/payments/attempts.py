"""The states of attempts at payment providers, each of which is an entry of the journal."""

from __future__ import annotations

from sqlalchemy.orm import Session

from restaurant.billing import journal
from restaurant.billing.models import EntryKind
from restaurant.database import on_commit
from restaurant.deposits.models import Deposit
from restaurant.metrics import count_attempt
from restaurant.orders.models import Order
from restaurant.payments.models import Attempt, AttemptState
from restaurant.people.models import User
from restaurant.types import now


def move(session: Session, attempt: Attempt, state: AttemptState, *, by: User | None) -> None:
    """Put an attempt, which may be a new one, into a state; nobody for a guest."""
    moment = now()
    if attempt.created_at is None:
        attempt.created_at = moment
    attempt.state, attempt.changed_at = state, moment
    session.add(attempt)
    session.flush()
    order = session.get(Order, attempt.order_id) if attempt.order_id is not None else None
    deposit = session.get(Deposit, attempt.deposit_id) if attempt.deposit_id is not None else None
    content = {
        "attempt": str(attempt.reference), "order": str(order.reference) if order is not None else None,
        "deposit": str(deposit.reference) if deposit is not None else None, "action": attempt.action.value,
        "channel": attempt.channel.value, "state": state.value, "amount": attempt.amount, "tip": attempt.tip,
        "by": by.username if by is not None else "guest", "at": moment.isoformat(),
    }  # fmt: skip
    journal.record(session, EntryKind.ATTEMPT, content, [attempt])
    on_commit(session, lambda: count_attempt(channel=attempt.channel.value, state=state.value))
