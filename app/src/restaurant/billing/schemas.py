"""What the API takes and says about bills. Amounts are cents."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from restaurant.billing.models import Method
from restaurant.billing.service import Bill
from restaurant.http.paging import PageView
from restaurant.orders.models import OrderStatus
from restaurant.types import LARGEST, Key, Why

Cents = Annotated[int, Field(ge=1, le=LARGEST)]
Approval = Annotated[str, Field(max_length=100)]


class RateShareView(BaseModel):
    """What of an amount falls under one VAT rate (hundredths of a percent): with tax, and the tax in it."""

    model_config = ConfigDict(from_attributes=True)

    rate: int
    total: int
    tax: int


class DiscountView(BaseModel):
    """Cents that a discount takes off now; a `percent` follows what is ordered and voided."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    amount: int
    percent: int | None
    reason: str


class ReceiptView(BaseModel):
    """The proof of a payment; negative for a refund."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    amount: int
    tip: int
    shares: list[RateShareView]
    issued_at: datetime


class PaymentView(BaseModel):
    """Money taken."""

    model_config = ConfigDict(from_attributes=True)

    reference: uuid.UUID
    method: Method
    amount: int
    tip: int
    refunded: int
    tip_refunded: int
    seat: int | None
    line_ids: list[int]
    created_at: datetime
    receipts: list[ReceiptView]


class BillView(BaseModel):
    """An order's bill: `total` of the lines, less discounts is `due`; `left` is still to be paid."""

    order: uuid.UUID
    status: OrderStatus
    total: int
    due: int
    paid: int
    left: int
    shares: list[RateShareView]
    discounts: list[DiscountView]
    payments: list[PaymentView]

    @classmethod
    def of(cls, bill: Bill) -> BillView:
        """The view of a bill."""
        return cls(
            order=bill.order.reference,
            status=bill.order.status,
            total=bill.total,
            due=bill.due,
            paid=bill.paid,
            left=bill.left,
            shares=[RateShareView.model_validate(share) for share in bill.shares],
            discounts=[DiscountView.model_validate(entry) for entry in bill.discounts],
            payments=[PaymentView.model_validate(entry) for entry in bill.payments],
        )


class SplitQuery(BaseModel):
    """How to divide what is left: in equal parts, by seat, or one part for the given lines and one for the rest."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["equal", "seat", "lines"]
    parts: Annotated[int, Field(ge=1, le=60)] = 1
    lines: Annotated[str, Field(pattern=r"^\d{1,9}(,\d{1,9}){0,59}$")] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.by == "lines" and self.lines is None:
            raise ValueError("lines must name the lines of the first part")
        return self


class ShareView(BaseModel):
    """A part of what is left to pay; send its `seat` or `lines` with its payment."""

    label: str
    amount: int
    seat: int | None = None
    lines: list[int] = []


class SplitView(BaseModel):
    """Parts that add up to what is left."""

    shares: list[ShareView]


class NewDiscount(BaseModel):
    """An amount, or a percentage of what is due, with a reason and where needed a manager's approval."""

    model_config = ConfigDict(extra="forbid")

    amount: Cents | None = None
    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    reason: Why
    approval: Approval | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.amount is None) == (self.percent is None):
            raise ValueError("give either amount or percent")
        return self


class NewPayment(BaseModel):
    """A payment; the tip comes on top of the amount."""

    model_config = ConfigDict(extra="forbid")

    amount: Cents
    tip: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    method: Method
    seat: Annotated[int, Field(ge=1, le=60)] | None = None
    lines: Annotated[list[Key], Field(max_length=60)] = []

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        if self.seat is not None and self.lines:
            raise ValueError("a payment is for a seat or for lines, not for both")
        return self


class Removal(BaseModel):
    """A manager's approval, where it is needed."""

    model_config = ConfigDict(extra="forbid")

    approval: Approval | None = None


class NewRefund(BaseModel):
    """An amount, a tip or both to refund, with a reason and where needed a manager's approval."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    tip: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    reason: Why
    approval: Approval | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.amount + self.tip:
            raise ValueError("an amount or a tip is required")
        return self


class ClosingView(BaseModel):
    """The closing of a day (Z)."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    day: date
    closed_at: datetime
    by: str
    first_receipt: int
    last_receipt: int
    total: int
    tips: int
    perpetual_total: int
    by_method: dict[str, int]
    tips_by_method: dict[str, int]
    by_rate: list[RateShareView]


class ClosingsView(PageView):
    """A page of the closings, newest first."""

    items: list[ClosingView]
