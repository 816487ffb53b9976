"""The outbox: a row for every change that kitchen screens must show, written in the same transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from restaurant.database import Base
from restaurant.types import Moment, now


class Event(Base):
    """An order changed. What it looks like now is read from the order itself."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
