"""Sends the messages that are due. Every process has one, and they share the work as the spooler's do."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from restaurant.database import Database
from restaurant.messages.channels import Channel, DeliveryError, Letter
from restaurant.messages.models import Message, MessageStatus
from restaurant.messages.post import ChannelKind
from restaurant.metrics import MESSAGES
from restaurant.types import now

log = structlog.get_logger()

PERIOD = 5.0
#: A message that was taken this long ago and is not done was taken by a process that is no longer there.
LEASE = timedelta(seconds=90)
#: Pauses after the first, second, ... failure; the last one repeats until the message expires.
_PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))


class Sender:
    """Sends what waits, in a thread that does not keep the process alive."""

    def __init__(self, database: Database, channels: Mapping[ChannelKind, Channel]) -> None:
        self._database = database
        self._channels = channels
        self._stopped = threading.Event()

    def start(self) -> None:
        """Send from now on; nothing without a channel."""
        if self._channels:
            threading.Thread(target=self._run, name="messages", daemon=True).start()

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD):
            try:
                while self.work():
                    pass
            except SQLAlchemyError as error:
                log.warning("messages not available", error=str(error.__cause__ or error))

    def work(self) -> bool:
        """Send the message that is due first. Returns whether there was one."""
        taken = self._take()
        if taken is None:
            return False
        key, channel, attempts, letter = taken
        result, values = "sent", {"status": MessageStatus.SENT, "sent_at": now()}
        try:
            self._channels[channel].send(letter)
        except DeliveryError as error:
            result = "failed"
            pause = _PAUSES[min(attempts, len(_PAUSES)) - 1]
            values = {"status": MessageStatus.FAILED} if error.permanent else {"next_at": now() + pause}
            # Neither the guest's address nor the text is for logs.
            log.warning("message not sent", message=key, channel=channel.value, attempts=attempts, error=str(error))
        MESSAGES.labels(channel.value, result).inc()
        self._set(key, values)
        return True

    def _take(self) -> tuple[int, ChannelKind, int, Letter] | None:
        moment = now()
        with self._database.reading() as session:
            if session.execute(self._due(moment).with_only_columns(Message.id)).first() is None:
                return None
        with self._database.writing() as session:
            session.execute(
                update(Message)
                .where(Message.status == MessageStatus.WAITING, Message.expires_at <= moment)
                .values(status=MessageStatus.FAILED)
                .execution_options(synchronize_session=False)
            )
            message = session.scalars(self._due(moment).with_for_update(skip_locked=True)).first()
            if message is None:
                return None
            message.attempts, message.next_at = message.attempts + 1, moment + LEASE
            letter = Letter(f"{message.booking_id}-{message.id}", message.recipient, message.subject, message.body)
            return message.id, message.channel, message.attempts, letter

    def _due(self, moment: datetime) -> Select[Message]:
        return (
            select(Message)
            .where(
                Message.status == MessageStatus.WAITING, Message.next_at <= moment,
                Message.channel.in_(self._channels),
            )
            .order_by(Message.next_at, Message.id)
            .limit(1)
        )  # fmt: skip

    def _set(self, key: int, values: Mapping[str, object]) -> None:
        with self._database.writing() as session:
            session.execute(
                update(Message)
                .where(Message.id == key, Message.status == MessageStatus.WAITING)
                .values(**values)
                .execution_options(synchronize_session=False)
            )
