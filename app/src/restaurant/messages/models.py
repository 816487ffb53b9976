"""The queue of messages to guests."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from restaurant.database import Base
from restaurant.messages.post import ChannelKind
from restaurant.types import Labelled, Moment, choice, now


class MessageKind(Labelled):
    """What a message is about."""

    CONFIRMATION = "confirmation"
    CHANGE = "change"
    CANCELLATION = "cancellation"
    REMINDER = "reminder"


class MessageStatus(Labelled):
    """Where a message stands."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    REMOVED = "removed"


class Message(Base):
    """A message to the guest of a booking, written with what it tells, and kept until it is sent."""

    __tablename__ = "message"
    __table_args__ = (
        Index(
            "ix_message_waiting",
            "next_at",
            postgresql_where=text("status = 'waiting'"),
            sqlite_where=text("status = 'waiting'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    booking_id: Mapped[int] = mapped_column(ForeignKey("booking.id", ondelete="CASCADE"), index=True)
    kind: Mapped[MessageKind] = mapped_column(choice(MessageKind))
    channel: Mapped[ChannelKind] = mapped_column(choice(ChannelKind))
    recipient: Mapped[str] = mapped_column(String(120))
    subject: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[MessageStatus] = mapped_column(choice(MessageStatus), default=MessageStatus.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    """When the message is no longer worth sending."""
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
