"""What the API takes and says about bills. Amounts are cents."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from restaurant.billing.models import Method, Movement
from restaurant.billing.service import Figures
from restaurant.billing.siret import is_siret
from restaurant.http.paging import PageView
from restaurant.i18n import gettext as _
from restaurant.orders.models import OrderStatus
from restaurant.types import MOST, Fault, Key, Name, Text, Why

Cents = Annotated[int, Field(ge=1, le=MOST)]
Approval = Annotated[str, Field(max_length=100)]


def _siret(text: str) -> str:
    bare = "".join(text.split())
    if not is_siret(bare):
        raise Fault(_("This is not a SIRET."))
    return bare


#: 14 digits, with or without spaces, whose check digits are right.
Siret = Annotated[str, Field(max_length=20), AfterValidator(_siret)]
#: Pieces of a denomination of the euro, by its value in cents.
Count = dict[
    Literal["50000", "20000", "10000", "5000", "2000", "1000", "500", "200", "100", "50", "20", "10", "5", "2", "1"],
    Annotated[int, Field(ge=0, le=9999)],
]


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
    """The proof of a payment; negative for a refund. `copies` were printed, all but the first as duplicates."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    amount: int
    tip: int
    shares: list[RateShareView]
    copies: int
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
    tendered: int | None
    change: int | None
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
    def of(cls, bill: Figures) -> BillView:
        """The view of a bill."""
        return cls(
            order=bill.reference,
            status=bill.status,
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
            raise Fault(_("Name the lines of the first part."))
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
            raise Fault(_("Enter either an amount or a percentage."))
        return self


class NewPayment(BaseModel):
    """A payment; the tip comes on top of the amount. What was `tendered` in cash tells the change."""

    model_config = ConfigDict(extra="forbid")

    amount: Cents
    tip: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    method: Literal[Method.CARD, Method.CASH, Method.VOUCHER, Method.TRANSFER]
    tendered: Cents | None = None
    seat: Annotated[int, Field(ge=1, le=60)] | None = None
    lines: Annotated[list[Key], Field(max_length=60)] = []

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        if self.seat is not None and self.lines:
            raise Fault(_("A payment is for a seat or for lines, not for both."))
        return self


class Nothing(BaseModel):
    """A form without values of its own."""


class Removal(BaseModel):
    """A manager's approval, where it is needed."""

    model_config = ConfigDict(extra="forbid")

    approval: Approval | None = None


class NewRefund(BaseModel):
    """An amount, a tip or both to refund, with a reason and where needed a manager's approval."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[int, Field(ge=0, le=MOST)] = 0
    tip: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    reason: Why
    approval: Approval | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.amount + self.tip:
            raise Fault(_("Enter an amount or a tip."))
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
    deposits: dict[str, int]


class AccountingQuery(BaseModel):
    """The first and the last day of an export for the accountant, and its form."""

    model_config = ConfigDict(extra="forbid")

    since: date
    until: date
    form: Literal["fec", "csv", "invoices"]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since > self.until:
            raise Fault(_("The last day is before the first."))
        return self


class TakingsView(BaseModel):
    """What the receipts since the last closing add up to (X)."""

    model_config = ConfigDict(from_attributes=True)

    count: int
    first_receipt: int | None
    last_receipt: int | None
    total: int
    tips: int
    by_method: dict[str, int]
    tips_by_method: dict[str, int]
    by_rate: list[RateShareView]
    deposits: dict[str, int]


class PeriodView(BaseModel):
    """The closing of a month (`2026-11`) or a year (`2026`)."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    period: str
    closed_at: datetime
    by: str
    first_closing: int
    last_closing: int
    total: int
    tips: int
    perpetual_total: int
    by_method: dict[str, int]
    tips_by_method: dict[str, int]
    by_rate: list[RateShareView]
    deposits: dict[str, int]


class PeriodsView(BaseModel):
    """The closings of months and years, newest first."""

    items: list[PeriodView]


class AnchorView(BaseModel):
    """The signed entry of a closing in the journal, to keep elsewhere: it shows if entries are cut off."""

    model_config = ConfigDict(from_attributes=True)

    closing: int
    day: date
    perpetual_total: int
    entry: int
    hash: str
    key: str
    signature: str


class ClosingsView(PageView):
    """A page of the closings, newest first."""

    items: list[ClosingView]


class NewInvoice(BaseModel):
    """The customer of an invoice; a company in France has a SIRET."""

    model_config = ConfigDict(extra="forbid")

    customer: Name
    address: Annotated[Text, StringConstraints(min_length=1, max_length=300)]
    siret: Siret | None = None


class NewCreditNote(BaseModel):
    """Why an invoice is cancelled, with where needed a manager's approval."""

    model_config = ConfigDict(extra="forbid")

    reason: Why
    approval: Approval | None = None


class InvoiceLineView(BaseModel):
    """A line of an invoice, with tax."""

    name: str
    quantity: int
    unit_price: int
    rate: int


class InvoiceView(BaseModel):
    """An invoice; with `corrects` a credit note, whose amounts are negative. All but the first copy are duplicates."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    corrects: int | None
    reason: str | None
    seller: str
    customer: str
    address: str
    siret: str | None
    lines: list[InvoiceLineView]
    discount: int
    refunded: int
    total: int
    shares: list[RateShareView]
    by_method: dict[str, int]
    served_on: date
    issued_at: datetime
    copies: int


class InvoicesView(PageView):
    """A page of the invoices and credit notes, newest first."""

    items: list[InvoiceView]


class OrderInvoicesView(BaseModel):
    """The invoices and credit notes of an order."""

    items: list[InvoiceView]


class NewTill(BaseModel):
    """What is in the drawer when the till opens."""

    model_config = ConfigDict(extra="forbid")

    count: Count


class TillClosing(BaseModel):
    """What is in the drawer when the till closes, and a note about a difference."""

    model_config = ConfigDict(extra="forbid")

    count: Count
    note: Annotated[Text, StringConstraints(max_length=200)] = ""


class NewCashMovement(BaseModel):
    """Cash put into the drawer (`deposit`) or taken out of it, and why."""

    model_config = ConfigDict(extra="forbid")

    kind: Movement
    amount: Cents
    reason: Why


class CashMovementView(BaseModel):
    """Cash put into the drawer or taken out of it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: Movement
    amount: int
    reason: str
    by: str
    created_at: datetime


class TillView(BaseModel):
    """A till session: what was counted and expected when it opened and closed. What is not known yet is null."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    opened_at: datetime
    opened_by: str
    opening_count: dict[str, int]
    opening_total: int
    opening_expected: int | None
    opening_difference: int | None
    closed_at: datetime | None
    closed_by: str | None
    closing_count: dict[str, int] | None
    closing_total: int | None
    closing_expected: int | None
    difference: int | None
    by_method: dict[str, int] | None
    tips_by_method: dict[str, int] | None
    note: str | None
    movements: list[CashMovementView]


class TillsView(PageView):
    """A page of the till sessions, newest first."""

    items: list[TillView]
