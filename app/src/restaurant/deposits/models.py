"""Deposits for bookings: what was asked for, and every movement of the money."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from restaurant.database import Base
from restaurant.types import Labelled, Moment, choice, now


class DepositState(Labelled):
    """Where a deposit stands: a function of its amounts."""

    DUE = "deposit_due"
    WAIVED = "waived"
    PAID = "deposit_paid"
    USED = "deducted"
    REFUNDED = "given_back"
    KEPT = "kept"


class MovementKind(Labelled):
    """What became of money of a deposit."""

    TAKEN = "taken"
    USED = "deducted_from_a_bill"
    REFUNDED = "given_back"
    KEPT = "kept"


class Deposit(Base):
    """What the guests of a booking pay before they come, in cents. What is not used, refunded or kept is theirs."""

    __tablename__ = "deposit"
    __table_args__ = (
        CheckConstraint("amount > 0 AND paid >= 0", name="amount_positive"),
        CheckConstraint("used >= 0 AND refunded >= 0 AND kept >= 0 AND used + refunded + kept <= paid", name="balance"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    booking_id: Mapped[int] = mapped_column(ForeignKey("booking.id"), unique=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    """The order of the guests once they are seated, from whose bill it is deducted."""
    amount: Mapped[int] = mapped_column()
    paid: Mapped[int] = mapped_column(default=0)
    used: Mapped[int] = mapped_column(default=0)
    refunded: Mapped[int] = mapped_column(default=0)
    kept: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    """When the booking is released if it is not paid; None for never."""
    refundable_until: Mapped[datetime] = mapped_column(Moment)
    waived: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)

    @property
    def balance(self) -> int:
        """Cents that are still the guest's."""
        return self.paid - self.used - self.refunded - self.kept

    @property
    def outstanding(self) -> bool:
        """Whether it is to be paid yet."""
        return self.paid == 0 and not self.waived

    @property
    def state(self) -> DepositState:
        """Where it stands."""
        if self.paid == 0:
            return DepositState.WAIVED if self.waived else DepositState.DUE
        if self.balance:
            return DepositState.PAID
        if self.used:
            return DepositState.USED
        return DepositState.KEPT if self.kept else DepositState.REFUNDED


class DepositMovement(Base):
    """Cents taken for a deposit, deducted, given back or kept; negative when that is undone. Numbers have no gaps."""

    __tablename__ = "deposit_movement"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    deposit_id: Mapped[int] = mapped_column(ForeignKey("deposit.id"), index=True)
    kind: Mapped[MovementKind] = mapped_column(choice(MovementKind))
    amount: Mapped[int] = mapped_column()
    payment_id: Mapped[int | None] = mapped_column(ForeignKey("payment.id"), index=True)
    """The payment of the bill from which it was deducted."""
    by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
