"""Discounts, payments, receipts, and the journal nothing is ever taken out of."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import TypedDict

from sqlalchemy import JSON, CheckConstraint, Date, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.orders.models import Order
from restaurant.people.models import User
from restaurant.types import Labelled, Moment, choice, now


class Method(Labelled):
    """How a payment is made."""

    CARD = "card"
    CASH = "cash"
    VOUCHER = "voucher"
    TRANSFER = "transfer"


class EntryKind(Labelled):
    """What a journal entry records."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISCOUNT = "discount"
    DISCOUNT_REMOVAL = "discount_removal"
    VOID = "void"
    CANCELLATION = "cancellation"
    REOPENING = "reopening"
    MERGE = "merge"
    CLOSING = "closing"


class RateShare(TypedDict):
    """What of an amount falls under one VAT rate, in cents: with tax, and the tax in it."""

    rate: int
    total: int
    tax: int


class Discount(Base):
    """Cents off an order, or a `percent` of what it comes to, with the reason and who is responsible for it.

    A discount never takes off more than is there: see `billing.service.apply_discounts`.
    """

    __tablename__ = "discount"
    __table_args__ = (CheckConstraint("amount > 0", name="amount_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    amount: Mapped[int] = mapped_column()
    percent: Mapped[int | None] = mapped_column()
    reason: Mapped[str] = mapped_column(String(200))
    by_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    removed_at: Mapped[datetime | None] = mapped_column(Moment)
    by: Mapped[User] = relationship()


class Payment(Base):
    """Money taken for an order: for one seat, for some lines, or for any part of it.

    A tip is in addition to the amount. Neither is ever refunded twice.
    """

    __tablename__ = "payment"
    __table_args__ = (
        CheckConstraint("amount > 0 AND tip >= 0", name="amount_positive"),
        CheckConstraint("refunded >= 0 AND refunded <= amount", name="refunded_within_amount"),
        CheckConstraint("tip_refunded >= 0 AND tip_refunded <= tip", name="tip_refunded_within_tip"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    method: Mapped[Method] = mapped_column(choice(Method))
    amount: Mapped[int] = mapped_column()
    tip: Mapped[int] = mapped_column(default=0)
    refunded: Mapped[int] = mapped_column(default=0)
    tip_refunded: Mapped[int] = mapped_column(default=0, server_default="0")
    seat: Mapped[int | None] = mapped_column()
    line_ids: Mapped[list[int]] = mapped_column(JSON, default=list, server_default="[]")
    by_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    order: Mapped[Order] = relationship()
    receipts: Mapped[list[Receipt]] = relationship(back_populates="payment", order_by="Receipt.number")


class Receipt(Base):
    """The proof of a payment, or of a refund with negative amounts. Numbers have no gaps."""

    __tablename__ = "receipt"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payment.id"), index=True)
    amount: Mapped[int] = mapped_column()
    tip: Mapped[int] = mapped_column()
    shares: Mapped[list[RateShare]] = mapped_column(JSON)
    issued_at: Mapped[datetime] = mapped_column(Moment, index=True)
    payment: Mapped[Payment] = relationship(back_populates="receipts")


class Counter(Base):
    """The last number given of a series; its row is locked until the unit of work that took a number ends."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    value: Mapped[int] = mapped_column()


class JournalEntry(Base):
    """A link of the chain: `hash` covers the number, the content and the previous hash. Never changed or deleted."""

    __tablename__ = "journal_entry"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[EntryKind] = mapped_column(choice(EntryKind))
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    content: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class Closing(Base):
    """The closing of a day (Z): the receipts since the closing before it, added up once and for all."""

    __tablename__ = "closing"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(Date, index=True)
    closed_at: Mapped[datetime] = mapped_column(Moment)
    by: Mapped[str] = mapped_column(String(80))
    first_receipt: Mapped[int] = mapped_column()
    last_receipt: Mapped[int] = mapped_column()
    total: Mapped[int] = mapped_column()
    tips: Mapped[int] = mapped_column()
    perpetual_total: Mapped[int] = mapped_column()
    by_method: Mapped[dict[str, int]] = mapped_column(JSON)
    tips_by_method: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")
    by_rate: Mapped[list[RateShare]] = mapped_column(JSON)
