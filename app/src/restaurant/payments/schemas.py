"""What the API takes and says about attempts at payment providers. Amounts are cents."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from restaurant.billing.schemas import Cents
from restaurant.http.paging import PageView
from restaurant.i18n import gettext as _
from restaurant.payments.models import Action, Attempt, AttemptState, Channel
from restaurant.types import Fault, Key


class NewAttempt(BaseModel):
    """A charge at a provider; the tip comes on top of the amount."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel
    amount: Cents
    tip: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    seat: Annotated[int, Field(ge=1, le=60)] | None = None
    lines: Annotated[list[Key], Field(max_length=60)] = []

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        if self.seat is not None and self.lines:
            raise Fault(_("A payment is for a seat or for lines, not for both."))
        return self


class AttemptView(BaseModel):
    """A charge or a refund at a provider, for an order or for a deposit. `page` is where the guest pays online."""

    reference: uuid.UUID
    order: uuid.UUID | None
    deposit: uuid.UUID | None
    channel: Channel
    action: Action
    state: AttemptState
    amount: int
    tip: int
    page: str | None
    provider_reference: str | None
    created_at: datetime

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptView:
        """The view of an attempt."""
        plain = {name: getattr(attempt, name) for name in cls.model_fields if name not in {"order", "deposit"}}
        order, deposit = attempt.order, attempt.deposit
        return cls(
            **plain, order=order.reference if order is not None else None,
            deposit=deposit.reference if deposit is not None else None,
        )  # fmt: skip


class AttemptsView(PageView):
    """A page of the attempts, newest first."""

    items: list[AttemptView]
