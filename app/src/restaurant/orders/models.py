"""Orders and their lines, with what was agreed when they were placed (names, prices, VAT) kept on them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NotRequired, TypedDict

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.floor.models import Table
from restaurant.menu.models import Allergen, Course, Station
from restaurant.people.models import User
from restaurant.types import Labelled, Moment, choice, now


class OrderKind(Labelled):
    """Where the order is eaten; the VAT rate depends on it."""

    DINE_IN = "dine_in"
    TAKE_AWAY = "take_away"


class OrderStatus(Labelled):
    """The state of an order: a function of its lines and its bill, see `state_machine`."""

    DRAFT = "draft"
    SENT = "sent"
    IN_PREPARATION = "in_preparation"
    READY = "ready"
    SERVED = "served"
    BILLED = "billed"
    PAID = "paid"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class LineStatus(Labelled):
    """The state of a line in the kitchen."""

    HELD = "held"
    FIRED = "fired"
    PREPARING = "preparing"
    READY = "ready"
    SERVED = "served"
    VOIDED = "voided"


class ChosenOption(TypedDict):
    """An option as it was chosen; the price is in cents and already in the line's unit price."""

    name: str
    name_en: NotRequired[str | None]
    """Lines that were ordered before it was kept do not have it."""
    price: int


class Order(Base):
    """What one table or one take-away guest orders. Known outside by `reference`, which cannot be guessed."""

    __tablename__ = "orders"
    __table_args__ = (
        # One open order per table, also when two requests arrive at the same time.
        Index(
            "uq_orders_open_table",
            "table_id",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
            sqlite_where=text("closed_at IS NULL"),
        ),
        CheckConstraint("covers >= 0", name="covers_not_negative"),
        CheckConstraint("paid >= 0 AND paid <= due", name="paid_within_due"),
        CheckConstraint("deposit >= 0", name="deposit_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid.uuid4)
    kind: Mapped[OrderKind] = mapped_column(choice(OrderKind))
    status: Mapped[OrderStatus] = mapped_column(choice(OrderStatus), index=True)
    table_id: Mapped[int | None] = mapped_column(ForeignKey("dining_table.id"))
    server_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"), index=True)
    covers: Mapped[int] = mapped_column(default=0, server_default="0")
    allergies: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    guest: Mapped[str] = mapped_column(String(80), default="")
    note: Mapped[str] = mapped_column(String(500), default="")
    opened_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    billed_at: Mapped[datetime | None] = mapped_column(Moment)
    due: Mapped[int] = mapped_column(default=0, server_default="0")
    paid: Mapped[int] = mapped_column(default=0, server_default="0")
    paid_at: Mapped[datetime | None] = mapped_column(Moment)
    deposit: Mapped[int] = mapped_column(default=0, server_default="0")
    """Cents of the guests' deposit that are to be deducted from the bill."""
    cancel_reason: Mapped[str | None] = mapped_column(String(200))
    version: Mapped[int] = mapped_column()

    table: Mapped[Table | None] = relationship()
    server: Mapped[User | None] = relationship()
    lines: Mapped[list[OrderLine]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="OrderLine.id"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class

    @property
    def total(self) -> int:
        """Cents due for everything that was not voided."""
        return sum(line.total for line in self.lines)


class OrderLine(Base):
    """A quantity of one dish."""

    __tablename__ = "order_line"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price >= 0", name="unit_price_not_negative"),
        CheckConstraint("regular_price >= 0", name="regular_price_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str | None] = mapped_column(String(80))
    quantity: Mapped[int]
    unit_price: Mapped[int]
    vat_rate: Mapped[int]
    station: Mapped[Station] = mapped_column(choice(Station))
    course: Mapped[Course] = mapped_column(choice(Course))
    status: Mapped[LineStatus] = mapped_column(choice(LineStatus), index=True)
    note: Mapped[str] = mapped_column(String(500), default="")
    options: Mapped[list[ChosenOption]] = mapped_column(JSON, default=list)
    allergens: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    seat: Mapped[int | None] = mapped_column()
    offer: Mapped[str | None] = mapped_column(String(80))
    """The set menu that the line is a course of, or the happy hour whose price it has."""
    offer_en: Mapped[str | None] = mapped_column(String(80))
    portion: Mapped[str | None] = mapped_column(String(32))
    """What the courses of a set menu have in common that were ordered together."""
    regular_price: Mapped[int | None] = mapped_column()
    """Cents for a portion without the offer."""
    fired_at: Mapped[datetime | None] = mapped_column(Moment)
    ready_at: Mapped[datetime | None] = mapped_column(Moment)
    served_at: Mapped[datetime | None] = mapped_column(Moment)
    void_reason: Mapped[str | None] = mapped_column(String(200))
    void_acknowledged_at: Mapped[datetime | None] = mapped_column(Moment)
    voided_by_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))

    order: Mapped[Order] = relationship(back_populates="lines")

    @property
    def total(self) -> int:
        """Cents due for this line."""
        return 0 if self.status is LineStatus.VOIDED else self.quantity * self.unit_price

    @property
    def danger(self) -> list[Allergen]:
        """Allergens of the dish that the guests said they cannot eat."""
        return [Allergen(name) for name in self.allergens if name in self.order.allergies]
