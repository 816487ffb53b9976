"""Whether this process should receive requests: draining, and readiness with a cached check of the database."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from restaurant.database import Database
from restaurant.fault_injection import FaultSwitch
from restaurant.metrics import BUSY

log = structlog.get_logger()

#: Seconds for which the database's answer is cached.
READY_FRESH = 2.0
#: Seconds without an answer, while all threads are busy, after which a process is no longer ready. A loaded process
#: answers all the time; readiness must not fail for load alone, or all pods would fail together.
STUCK_SECONDS = 5.0


@dataclass
class Lifecycle:
    """Shared by the request threads, the probe server and the signal handler of one process."""

    database: Database
    switch: FaultSwitch | None = None
    threads: int = 0
    """How many requests can be answered at the same time; 0 if there is no limit."""
    draining: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float = float("-inf")
    _problem: str | None = "not checked yet"
    _migrated: bool = False

    def drain(self) -> None:
        """Stop being ready; open streams see `draining` and end."""
        if not self.draining.is_set():
            self.draining.set()
            log.info("draining")

    def problem(self) -> str | None:
        """Why this process is not ready, or None. Queries the database at most every `READY_FRESH` seconds."""
        if self.draining.is_set():
            return "draining"
        if self.switch is not None and self.switch.faults.unready:
            return "fault: unready"
        if self.threads and BUSY.now() >= self.threads and BUSY.unchanged() >= STUCK_SECONDS:
            return f"saturated: no request of {self.threads} threads has ended for {STUCK_SECONDS:.0f} s"
        with self._lock:
            if time.monotonic() - self._checked_at >= READY_FRESH:
                self._problem = self._check()
                self._checked_at = time.monotonic()
            return self._problem

    def _check(self) -> str | None:
        try:
            if self._migrated:
                self.database.ping()
                return None
            self._migrated = self.database.at_head()
        except SQLAlchemyError as error:
            return f"database: {type(error).__name__}"
        return None if self._migrated else "database: schema is not at this version; run `restaurant migrate`"
