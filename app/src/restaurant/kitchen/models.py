"""The outbox, a row for every change that kitchen screens must show, and what the kitchen has to acknowledge."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from restaurant.database import Base
from restaurant.menu.models import Station
from restaurant.types import Labelled, Moment, choice, now


class Event(Base):
    """An order changed. What it looks like now is read from the order itself."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)


class Change(Labelled):
    """What changed of an order that is in the kitchen."""

    TABLE = "table"
    MERGE = "merge"
    LINE = "line"
    GUEST = "guest"
    ALLERGIES = "allergies"
    NOTE = "note"


class Notice(Base):
    """A change that a station has to acknowledge; `text` names the table it came from, or the line."""

    __tablename__ = "kitchen_notice"
    __table_args__ = (Index("ix_kitchen_notice_order_id", "order_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    station: Mapped[Station] = mapped_column(choice(Station))
    change: Mapped[Change] = mapped_column(choice(Change))
    text: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    acknowledged_at: Mapped[datetime | None] = mapped_column(Moment)
