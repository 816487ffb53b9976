"""Requests that lose their database connection are executed again, as soon as a server accepts writes.

A connection that is lost during a commit leaves its outcome unknown. A request with an `Idempotency-Key`, or a page's
form with its key, can be executed again all the same: it finds its own effect or has it now. So can one that has not
begun to commit. What has been committed without a key is never repeated; its client gets an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from restaurant.database import Database
from restaurant.metrics import REPEATED

T = TypeVar("T")

log = structlog.get_logger()

#: Seconds for which requests wait for another server to take over, or for the only one to restart.
TAKEOVER_SECONDS = 30.0
RESTART_SECONDS = 5.0

#: Seconds between two attempts: the first ones follow quickly, because most connections are lost to a restart.
_PAUSES = (0.05, 0.2, 0.5)
_PAUSE = 1.0


class Failover:
    """Executes the requests of one process, and knows since when its database has been away.

    Half of the threads may wait. The others respond at once that the service is not available, so that pages without
    the database, and clients that repeat a request by themselves, are served.
    """

    def __init__(self, database: Database, *, threads: int) -> None:
        self._database = database
        self._places = threading.BoundedSemaphore(max(1, threads // 2))
        self._away_since = float("-inf")
        #: Seconds for which a request, and readiness, wait for the database.
        self.seconds = TAKEOVER_SECONDS if database.has_replicas else RESTART_SECONDS

    def execute(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, executed again where that is safe. Raises what its last execution raised."""
        commits, until = self._database.commits(), float("inf")
        attempt, waits = 0, False
        try:
            while True:
                try:
                    done = action()
                except (DBAPIError, PoolTimeoutError) as error:
                    until = min(until, time.monotonic() + self.seconds)
                    if not self._repeats(error, commits, until):
                        raise
                    if not waits and not (waits := self._places.acquire(blocking=False)):
                        raise
                    time.sleep(_PAUSES[attempt] if attempt < len(_PAUSES) else _PAUSE)
                    attempt += 1
                else:
                    if attempt:
                        REPEATED.labels("answered").inc()
                        log.info("request executed again", attempts=attempt)
                    return done
        except (DBAPIError, PoolTimeoutError):
            if attempt:
                REPEATED.labels("failed").inc()
            raise
        finally:
            if waits:
                self._places.release()

    def is_waiting(self) -> bool:
        """Whether the database has been away for no longer than another server takes to take over."""
        return self._is_away() and time.monotonic() - self._away_since < self.seconds

    def _repeats(self, error: DBAPIError | PoolTimeoutError, commits: int, until: float) -> bool:
        """Whether to execute a request again that failed with `error`, at the latest at `until`."""
        now = time.monotonic()
        if isinstance(error, DBAPIError):
            if not self._database.is_away(error):
                return False
            if not self._is_away():
                self._away_since = now
        elif not self._is_away():
            return False  # too few connections, which waiting makes worse
        # Measured from the first failure of all requests too: those of a long outage are not held up.
        return now < min(until, self._away_since + self.seconds) and self._database.commits() == commits

    def _is_away(self) -> bool:
        return self._away_since > self._database.connected_at
