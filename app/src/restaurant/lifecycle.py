"""Whether this process should receive requests: draining, and readiness with a cached check of the database."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from restaurant.database import Database
from restaurant.fault_injection import FaultSwitch
from restaurant.http.failover import Failover
from restaurant.metrics import BUSY

log = structlog.get_logger()

#: Seconds for which the database's answer is cached.
READY_FRESH = 2.0
#: Seconds for which the database's answer is waited for: less than a probe waits.
_PATIENCE = 2.5
#: Seconds without an answer, while all threads are busy, after which a process is no longer ready. A loaded process
#: answers all the time; readiness must not fail for load alone, or all pods would fail together.
STUCK_SECONDS = 5.0


@dataclass
class Lifecycle:
    """Shared by the request threads, the probe server and the signal handler of one process.

    While another database server takes over, a process stays ready: no other process is any better, and its requests
    are executed again as soon as one accepts writes.
    """

    database: Database
    switch: FaultSwitch | None = None
    threads: int = 0
    """How many requests can be answered at the same time; 0 if there is no limit."""
    failover: Failover | None = None
    draining: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float = float("-inf")
    _problem: str | None = "not checked yet"
    _answered_at: float = float("-inf")
    _migrated: bool = False
    _check_ended: threading.Event | None = None
    """Set at the end of the check that runs, None while none does."""
    _found: str | None = None

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
        stuck = BUSY.now() >= self.threads and BUSY.unchanged() >= STUCK_SECONDS
        if self.threads and stuck and not self._takes_over():
            return f"saturated: no request of {self.threads} threads has ended for {STUCK_SECONDS:.0f} s"
        with self._lock:
            if time.monotonic() - self._checked_at >= READY_FRESH:
                self._problem = self._check()
                self._checked_at = time.monotonic()
            return self._problem

    def _takes_over(self) -> bool:
        """Whether requests wait for a server to take over: threads that are all busy with that are not stuck."""
        return self.database.has_replicas and self.failover is not None and self.failover.is_waiting()

    def _check(self) -> str | None:
        """The database's problem. One of several servers has time to take over from another one."""
        if self._check_ended is None:
            self._check_ended = threading.Event()
            threading.Thread(target=self._query, args=(self._check_ended,), name="readiness", daemon=True).start()
        if self._check_ended.wait(_PATIENCE):
            self._check_ended, problem = None, self._found
        else:
            problem = "database: no answer"
        if problem is None:
            self._answered_at = time.monotonic()
        elif (
            self.database.has_replicas
            and self.failover is not None
            and time.monotonic() - self._answered_at < self.failover.seconds
        ):
            return None
        return problem

    def _query(self, ended: threading.Event) -> None:
        try:
            if self._migrated:
                self.database.ping()
            else:
                self._migrated = self.database.at_head()
        except SQLAlchemyError as error:
            self._found = f"database: {type(error).__name__}"
        else:
            schema = "database: schema is not at this version; run `restaurant migrate`"
            self._found = None if self._migrated else schema
        finally:
            ended.set()
