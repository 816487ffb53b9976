"""Attempts to charge or to refund at a provider."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.deposits.models import Deposit
from restaurant.orders.models import Order
from restaurant.payments.providers import LONGEST_PAGE
from restaurant.people.models import User
from restaurant.types import Labelled, Moment, choice, now


class Channel(Labelled):
    """Where the guest pays."""

    TERMINAL = "card_terminal"
    ONLINE = "online_payment"


class Action(Labelled):
    """What a provider is asked for."""

    CHARGE = "charge"
    REFUND = "refund"


class AttemptState(Labelled):
    """How far an attempt is."""

    STARTED = "started"
    AUTHORIZED = "authorized"
    UNKNOWN = "outcome_unknown"
    """A request was not answered: the outcome is looked up."""
    ABANDONED = "given_up"
    """Someone gave up waiting: what the provider has taken, or takes yet, is given back."""
    DONE = "done"
    DECLINED = "declined"
    CANCELLED = "cancelled"


#: Attempts whose outcome may still be that money was taken. Those that are given up no longer hold a part of the bill.
OPEN = frozenset({AttemptState.STARTED, AttemptState.AUTHORIZED, AttemptState.UNKNOWN})
UNRESOLVED = OPEN | {AttemptState.ABANDONED}


class Attempt(Base):
    """A charge or a refund at a provider, known there as `reference`: for an order, or for the deposit of a booking.

    Of a charge for an order, `payment_id` is what it became.
    """

    __tablename__ = "payment_attempt"
    __table_args__ = (
        CheckConstraint("amount >= 0 AND tip >= 0 AND amount + tip > 0", name="amount_positive"),
        CheckConstraint("(order_id IS NULL) <> (deposit_id IS NULL)", name="order_or_deposit"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    deposit_id: Mapped[int | None] = mapped_column(ForeignKey("deposit.id"), index=True)
    """The deposit of a booking, for an attempt that is not about an order."""
    payment_id: Mapped[int | None] = mapped_column(ForeignKey("payment.id"), index=True)
    channel: Mapped[Channel] = mapped_column(choice(Channel))
    action: Mapped[Action] = mapped_column(choice(Action))
    state: Mapped[AttemptState] = mapped_column(choice(AttemptState), index=True)
    amount: Mapped[int] = mapped_column()
    tip: Mapped[int] = mapped_column(default=0)
    seat: Mapped[int | None] = mapped_column()
    line_ids: Mapped[list[int]] = mapped_column(JSON, default=list)
    reason: Mapped[str] = mapped_column(String(200), default="")
    back: Mapped[str] = mapped_column(String(500), default="")
    page: Mapped[str | None] = mapped_column(String(LONGEST_PAGE))
    provider_reference: Mapped[str | None] = mapped_column(String(100))
    by_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    """Nobody for a guest who pays a deposit, or cancels a booking."""
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    changed_at: Mapped[datetime] = mapped_column(Moment, default=now)
    order: Mapped[Order | None] = relationship()
    deposit: Mapped[Deposit | None] = relationship()
    by: Mapped[User | None] = relationship()

    @property
    def open(self) -> bool:
        """Whether the outcome may still be that money was taken for the order."""
        return self.state in OPEN

    @property
    def unresolved(self) -> bool:
        """Whether the provider is still asked about it."""
        return self.state in UNRESOLVED
