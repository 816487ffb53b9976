"""Writing events, and notifying the connected screens of this process.

Identifiers are assigned before transactions commit, so a smaller one may appear after a larger one. Each read therefore
goes `WINDOW` identifiers back, and remembers which events were already sent.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from restaurant.database import Database
from restaurant.kitchen.models import Event
from restaurant.types import now

WINDOW = 100
#: Seconds between two reads of the outbox.
PERIOD = 1.0
KEPT = timedelta(hours=6)

_RECORD = insert(Event.__table__)  # type: ignore[arg-type]  # a declarative table is a Table


def record(session: Session, order_id: int) -> None:
    """Note, in this unit of work, that an order changed."""
    session.connection().execute(_RECORD, {"order_id": order_id, "created_at": now()})


def last_event(session: Session) -> int:
    """The largest identifier so far."""
    return session.scalar(select(func.max(Event.id))) or 0


def purge(session: Session) -> None:
    """Delete events that no screen can resume from."""
    session.execute(delete(Event).where(Event.created_at < now() - KEPT))


class TooManyStreamsError(Exception):
    """The maximum number of streams is connected: another would use a thread that pages need."""


class Hub:
    """Reads the outbox once a second for all screens of this process, while any is connected."""

    def __init__(self, database: Database, *, capacity: int) -> None:
        self.database = database
        self.capacity = capacity
        self._lock = threading.Lock()
        self._screens: set[queue.SimpleQueue[int]] = set()
        self._watching = False

    @property
    def open_streams(self) -> int:
        """How many screens are connected to this process."""
        return len(self._screens)

    @contextmanager
    def screen(self) -> Iterator[queue.SimpleQueue[int]]:
        """A queue of new events' identifiers. Raises `TooManyStreamsError` when the maximum is connected."""
        place: queue.SimpleQueue[int] = queue.SimpleQueue()
        with self._lock:
            if len(self._screens) >= self.capacity:
                raise TooManyStreamsError
            self._screens.add(place)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="outbox", daemon=True).start()
        try:
            yield place
        finally:
            with self._lock:
                self._screens.discard(place)

    def _watch(self) -> None:
        sent: set[int] = set()
        last: int | None = None
        pause = threading.Event()
        while True:
            with suppress(SQLAlchemyError):
                with self.database.reading() as session:
                    if last is None:
                        last = last_event(session)
                        sent = set(session.scalars(select(Event.id).where(Event.id > last - WINDOW)))
                    fresh = set(session.scalars(select(Event.id).where(Event.id > last - WINDOW))) - sent
                if fresh:
                    last = max(last, *fresh)
                    sent = {number for number in sent | fresh if number > last - WINDOW}
                    with self._lock:
                        for screen in self._screens:
                            screen.put(last)
            with self._lock:
                if not self._screens:
                    self._watching = False
                    return
            pause.wait(PERIOD)
