"""What guests order at their table with their own telephone. It is part of no bill until it is accepted."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NotRequired, TypedDict

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.floor.models import Table
from restaurant.orders.models import ChosenOption
from restaurant.types import Labelled, Moment, choice, now


class TableOrderStatus(Labelled):
    """What became of it."""

    WAITING = "to_be_confirmed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class RequestedLine(TypedDict):
    """A dish as the guest chose it; the price in cents is that of one portion with its options.

    `line` is the key of the line of the table's order that it became, None before and for a dish that was left out.
    """

    dish: int
    name: str
    name_en: str | None
    quantity: int
    option_ids: list[int]
    options: list[ChosenOption]
    allergens: list[str]
    unit_price: int
    line: int | None
    offer: NotRequired[str | None]
    offer_en: NotRequired[str | None]
    set_menu: NotRequired[int | None]
    """The set menu that it is a course of; the courses that were chosen together have the same portion."""
    portion: NotRequired[str | None]


class TableOrder(Base):
    """What a guest at a table wants. Known outside by `reference`, which cannot be guessed."""

    __tablename__ = "table_order"
    __table_args__ = (
        Index(
            "ix_table_order_waiting",
            "created_at",
            postgresql_where=text("status = 'to_be_confirmed'"),
            sqlite_where=text("status = 'to_be_confirmed'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    table_id: Mapped[int] = mapped_column(ForeignKey("dining_table.id"), index=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    status: Mapped[TableOrderStatus] = mapped_column(choice(TableOrderStatus), default=TableOrderStatus.WAITING)
    guest: Mapped[str] = mapped_column(String(80), default="")
    note: Mapped[str] = mapped_column(String(300), default="")
    allergies: Mapped[list[str]] = mapped_column(JSON, default=list)
    lines: Mapped[list[RequestedLine]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    decided_at: Mapped[datetime | None] = mapped_column(Moment)
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))

    table: Mapped[Table] = relationship()

    @property
    def total(self) -> int:
        """Cents for all of it, at the prices when it was sent."""
        return sum(line["quantity"] * line["unit_price"] for line in self.lines)
