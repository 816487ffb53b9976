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
from restaurant.types import LONG, Labelled, Moment, choice, now


class Method(Labelled):
    """How a payment is made."""

    CARD = "card"
    CASH = "cash"
    VOUCHER = "voucher"
    TRANSFER = "transfer"
    DEPOSIT = "deposit_deducted"
    """What guests paid when they booked."""


#: How guests can pay at the cash desk.
TENDERED = tuple(method for method in Method if method is not Method.DEPOSIT)


class Movement(Labelled):
    """Why cash enters or leaves the drawer other than by a payment."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    EXPENSE = "expense"
    TIPS = "tips"
    """Tips that were paid by card, given to the staff."""

    @property
    def sign(self) -> int:
        """Whether it adds to the drawer or takes from it."""
        return 1 if self is Movement.DEPOSIT else -1


class EntryKind(Labelled):
    """What a journal entry records."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISCOUNT = "discount"
    DISCOUNT_REMOVAL = "discount_removal"
    VOID = "void"
    CANCELLATION = "cancellation"
    PRESENTATION = "presentation"
    REOPENING = "reopening"
    HANDOVER = "handover"
    MERGE = "merge"
    MOVE = "move"
    """Lines of a discounted order were put on another one, with their part of its discounts."""
    PRINT = "print"
    CLOSING = "closing"
    PERIOD = "period"
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    TILL_OPENING = "till_opening"
    TILL_CLOSING = "till_closing"
    CASH_MOVEMENT = "cash_movement"
    DEPOSIT = "deposit"
    """Money of a deposit was taken, deducted, given back or kept."""
    ATTEMPT = "attempt"
    """A charge or a refund at a payment provider came to another state."""
    APPROVAL = "approval"
    """A manager approved an act on someone else's device; the entry of the act itself follows."""
    PERSON = "person"
    """Another person uses a shared device."""
    CREDENTIAL = "credential"
    """A PIN or a badge was given to a person, or withdrawn."""
    KEY = "key"
    """The public key that signs from here on."""
    ADOPTION = "adoption"
    """Rows from before the journal recorded them, as the migration found them."""


class InvoiceLine(TypedDict):
    """A line of an invoice: prices are cents with tax, the rate is in hundredths of a percent."""

    name: str
    quantity: int
    unit_price: int
    rate: int


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
    tendered: Mapped[int | None] = mapped_column()
    """What the guest gave in cash, of which `change` was given back."""
    seat: Mapped[int | None] = mapped_column()
    line_ids: Mapped[list[int]] = mapped_column(JSON, default=list, server_default="[]")
    by_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    order: Mapped[Order] = relationship()
    receipts: Mapped[list[Receipt]] = relationship(back_populates="payment", order_by="Receipt.number")

    @property
    def change(self) -> int | None:
        """The change from what was tendered."""
        return None if self.tendered is None else self.tendered - self.amount - self.tip


class Receipt(Base):
    """The proof of a payment, or of a refund with negative amounts. Numbers have no gaps."""

    __tablename__ = "receipt"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payment.id"), index=True)
    amount: Mapped[int] = mapped_column()
    tip: Mapped[int] = mapped_column()
    shares: Mapped[list[RateShare]] = mapped_column(JSON)
    copies: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it was printed: all but the first are duplicates."""
    issued_at: Mapped[datetime] = mapped_column(Moment, index=True)
    payment: Mapped[Payment] = relationship(back_populates="receipts")


class Invoice(Base):
    """An invoice for a paid order, or with `corrects` a credit note with negative amounts. Numbers have no gaps.

    It contains all that it shows, and is never changed: a mistake is corrected by a credit note and a new invoice.
    """

    __tablename__ = "invoice"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    corrects: Mapped[int | None] = mapped_column(ForeignKey("invoice.number"), index=True)
    reason: Mapped[str | None] = mapped_column(String(200))
    seller: Mapped[str] = mapped_column(String(600))
    customer: Mapped[str] = mapped_column(String(80))
    address: Mapped[str] = mapped_column(String(300))
    siret: Mapped[str | None] = mapped_column(String(14))
    lines: Mapped[list[InvoiceLine]] = mapped_column(JSON)
    discount: Mapped[int] = mapped_column()
    refunded: Mapped[int] = mapped_column()
    total: Mapped[int] = mapped_column()
    shares: Mapped[list[RateShare]] = mapped_column(JSON)
    by_method: Mapped[dict[str, int]] = mapped_column(JSON)
    served_on: Mapped[date] = mapped_column(Date)
    issued_at: Mapped[datetime] = mapped_column(Moment, index=True)
    by_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))
    copies: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it was printed: all but the first are duplicates."""


class TillSession(Base):
    """The time from one count of the drawer to the next. Counts are pieces by denomination in cents.

    What is expected at the opening is what was counted before, and cash that was taken since.
    """

    __tablename__ = "till_session"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    opened_at: Mapped[datetime] = mapped_column(Moment)
    opened_by: Mapped[str] = mapped_column(String(80))
    opening_count: Mapped[dict[str, int]] = mapped_column(JSON)
    opening_total: Mapped[int] = mapped_column()
    opening_expected: Mapped[int | None] = mapped_column(LONG)
    first_receipt: Mapped[int] = mapped_column()
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    closed_by: Mapped[str | None] = mapped_column(String(80))
    closing_count: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    closing_total: Mapped[int | None] = mapped_column()
    closing_expected: Mapped[int | None] = mapped_column(LONG)
    last_receipt: Mapped[int | None] = mapped_column()
    by_method: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    tips_by_method: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    note: Mapped[str | None] = mapped_column(String(200))
    movements: Mapped[list[CashMovement]] = relationship(order_by="CashMovement.id")

    @property
    def opening_difference(self) -> int | None:
        """What was counted at the opening beyond what was expected."""
        return None if self.opening_expected is None else self.opening_total - self.opening_expected

    @property
    def difference(self) -> int | None:
        """What was counted at the closing beyond what was expected."""
        if self.closing_total is None or self.closing_expected is None:
            return None
        return self.closing_total - self.closing_expected


class CashMovement(Base):
    """Cash put into the drawer or taken out of it, with the reason."""

    __tablename__ = "cash_movement"
    __table_args__ = (CheckConstraint("amount > 0", name="amount_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_number: Mapped[int] = mapped_column(ForeignKey("till_session.number"), index=True)
    kind: Mapped[Movement] = mapped_column(choice(Movement))
    amount: Mapped[int] = mapped_column()
    reason: Mapped[str] = mapped_column(String(200))
    by: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Counter(Base):
    """The last number given of a series; its row is locked until the unit of work that took a number ends."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    value: Mapped[int] = mapped_column()


class JournalEntry(Base):
    """A link of the chain: `hash` covers the number, the content and the previous hash. Never changed or deleted.

    `signature` is of the hash, with the private part of the public key whose fingerprint is `key`.
    """

    __tablename__ = "journal_entry"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[EntryKind] = mapped_column(choice(EntryKind), index=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    content: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    key: Mapped[str | None] = mapped_column(String(16))
    signature: Mapped[str | None] = mapped_column(String(88))


class Closing(Base):
    """The closing of a day (Z): the receipts since the closing before it, added up once and for all."""

    __tablename__ = "closing"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(Date, index=True)
    closed_at: Mapped[datetime] = mapped_column(Moment)
    by: Mapped[str] = mapped_column(String(80))
    first_receipt: Mapped[int] = mapped_column()
    last_receipt: Mapped[int] = mapped_column()
    total: Mapped[int] = mapped_column(LONG)
    tips: Mapped[int] = mapped_column(LONG)
    perpetual_total: Mapped[int] = mapped_column(LONG)
    by_method: Mapped[dict[str, int]] = mapped_column(JSON)
    tips_by_method: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")
    by_rate: Mapped[list[RateShare]] = mapped_column(JSON)
    deposits: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")
    """What became of deposits, by kind of movement: they are no sales before they are deducted from a bill."""
    last_deposit: Mapped[int] = mapped_column(default=0, server_default="0")


class PeriodClosing(Base):
    """The closing of a month (`2026-11`) or a year (`2026`) that is over: its days' closings, added up."""

    __tablename__ = "period_closing"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(String(7), unique=True)
    closed_at: Mapped[datetime] = mapped_column(Moment)
    by: Mapped[str] = mapped_column(String(80))
    first_closing: Mapped[int] = mapped_column()
    last_closing: Mapped[int] = mapped_column()
    total: Mapped[int] = mapped_column(LONG)
    tips: Mapped[int] = mapped_column(LONG)
    perpetual_total: Mapped[int] = mapped_column(LONG)
    by_method: Mapped[dict[str, int]] = mapped_column(JSON)
    tips_by_method: Mapped[dict[str, int]] = mapped_column(JSON)
    by_rate: Mapped[list[RateShare]] = mapped_column(JSON)
    deposits: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")
