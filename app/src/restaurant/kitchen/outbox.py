"""Writing events, and telling this process's open screens about new ones.

Identifiers are given before transactions commit, so a smaller one may appear after a larger one. Each look therefore
reaches `WINDOW` identifiers back, and what was already told is remembered.
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
#: Seconds between two looks at the outbox.
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
    """Forget events that no screen can ask for any more."""
    session.execute(delete(Event).where(Event.created_at < now() - KEPT))


class TooManyStreamsError(Exception):
    """Another stream would take a thread that pages need."""


class Hub:
    """Looks at the outbox once a second for all screens of this process, while there are any."""

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
        """A queue of new events' identifiers. Raises `TooManyStreamsError` when all places are taken."""
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
        told: set[int] = set()
        last: int | None = None
        pause = threading.Event()
        while True:
            with suppress(SQLAlchemyError):
                with self.database.reading() as session:
                    if last is None:
                        last = last_event(session)
                        told = set(session.scalars(select(Event.id).where(Event.id > last - WINDOW)))
                    fresh = set(session.scalars(select(Event.id).where(Event.id > last - WINDOW))) - told
                if fresh:
                    last = max(last, *fresh)
                    told = {number for number in told | fresh if number > last - WINDOW}
                    with self._lock:
                        for screen in self._screens:
                            screen.put(last)
            with self._lock:
                if not self._screens:
                    self._watching = False
                    return
            pause.wait(PERIOD)
