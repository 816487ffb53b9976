"""Sends the jobs of the queue to the printers, one after the other for each, for as long as it takes.

Every process has one, and they share the work: who takes a job holds its row for `LEASE`. A job is sent in the order of
its queue and stays there until the printer has confirmed it. If a printer does not answer questions, a job is done
once the printer has taken the bytes. When a connection breaks, the next attempt says on the paper that it may be a
second one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, aliased, joinedload

from restaurant.database import Database
from restaurant.i18n import gettext as _
from restaurant.i18n import in_french
from restaurant.metrics import PRINT_ATTEMPTS
from restaurant.printing.escpos import ASK_DONE, ASK_PAPER, ASK_STATE, Block, encode, text
from restaurant.printing.models import JobKind, JobStatus, Printer, PrintJob, Trouble
from restaurant.types import now

log = structlog.get_logger()

#: Seconds between two looks into the queue.
PERIOD = 1.0
#: A job that was taken this long ago and is not done was taken by a process that is no longer there.
LEASE = timedelta(seconds=40)
#: Pauses after the first, second, ... failure of a job; the last one repeats.
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 20, 30))
#: A drawer that opens long after the payment opens for nobody.
_DRAWER_KEPT = timedelta(minutes=1)

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 0.7
_PRINT_SECONDS = 12.0


class PrinterError(Exception):
    """A printer did not print; `begun` says whether it may have printed a part."""

    def __init__(self, trouble: Trouble, message: str, *, begun: bool = False) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.begun = begun


@dataclass(frozen=True)
class Work:
    """A job that this process has taken."""

    id: int
    printer: int
    name: str
    host: str
    port: int
    width: int
    kind: JobKind
    content: Sequence[Block]
    attempts: int
    begun: bool


def send(host: str, port: int, data: bytes) -> None:
    """Print `data`. Raises `PrinterError` when the printer is not reachable, not ready, or does not confirm."""
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise PrinterError(Trouble.NOT_REACHABLE, f"not reachable: {error.strerror or error}") from error
    begun = False
    with connection:
        try:
            state, paper = _ask(connection, ASK_STATE), None
            if state is not None:
                paper = _ask(connection, ASK_PAPER)
            if paper is not None and paper & 0x60:
                raise PrinterError(Trouble.OUT_OF_PAPER, "out of paper")
            if state is not None and state & 0x08:
                raise PrinterError(Trouble.OFFLINE, "offline")
            connection.settimeout(_PRINT_SECONDS)
            begun = True
            connection.sendall(data + (ASK_DONE if state is not None else b""))
            if state is not None and not connection.recv(1):
                raise PrinterError(Trouble.BROKE_OFF, "closed the connection while printing", begun=True)
            connection.shutdown(socket.SHUT_WR)
            if state is None:
                # Closed too early, some printers drop what they have not printed yet.
                connection.settimeout(_ANSWER_SECONDS)
                _drain(connection)
        except OSError as error:
            raise PrinterError(Trouble.BROKE_OFF, f"stopped while printing: {error}", begun=begun) from error


def _ask(connection: socket.socket, question: bytes) -> int | None:
    """The answer of the printer, None when it gives none: not every printer does."""
    connection.settimeout(_ANSWER_SECONDS)
    connection.sendall(question)
    try:
        answer = connection.recv(1)
    except TimeoutError:
        return None
    if not answer:
        raise PrinterError(Trouble.BROKE_OFF, "closed the connection")
    return answer[0]


def _drain(connection: socket.socket) -> None:
    try:
        while connection.recv(64):
            pass
    except TimeoutError:
        return


class Spooler:
    """Prints what waits, in a thread that does not keep the process alive."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped = threading.Event()

    def start(self) -> None:
        """Print from now on."""
        threading.Thread(target=self._run, name="spooler", daemon=True).start()

    def stop(self) -> None:
        """Take no further job."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD):
            try:
                while not self._stopped.is_set() and self.work():
                    pass
            except SQLAlchemyError as error:
                log.warning("print queue not available", error=str(error.__cause__ or error))

    def work(self) -> bool:
        """Print the job that is due first. Returns whether there was one."""
        taken = self._take()
        if taken is None:
            return False
        try:
            send(taken.host, taken.port, encode(self._content(taken), width=taken.width))
        except PrinterError as error:
            PRINT_ATTEMPTS.labels("failed").inc()
            log.warning("not printed", printer=taken.name, job=taken.id, attempts=taken.attempts, error=str(error))
            self._failed(taken, error)
        else:
            PRINT_ATTEMPTS.labels("printed").inc()
            self._done(taken)
        return True

    def _content(self, taken: Work) -> Sequence[Block]:
        if not taken.begun or taken.kind is JobKind.DRAWER:
            return taken.content
        with in_french():
            again = text(_("PERHAPS PRINTED BEFORE"), bold=True, center=True)
        return [again, *taken.content]

    def _take(self) -> Work | None:
        with self._database.reading() as session:
            if session.execute(_due(now()).with_only_columns(PrintJob.id)).first() is None:
                return None
        moment = now()
        with self._database.writing() as session:
            _drop_drawers(session, moment)
            query = _due(moment).options(joinedload(PrintJob.printer)).with_for_update(of=PrintJob, skip_locked=True)
            job = session.scalars(query).first()
            if job is None:
                return None
            begun = job.begun
            # Until the opposite is known, it was printed.
            job.begun, job.attempts, job.next_at = True, job.attempts + 1, moment + LEASE
            printer = job.printer
            return Work(
                job.id, printer.id, printer.name, printer.host, printer.port, printer.width, job.kind, job.content,
                job.attempts, begun,
            )  # fmt: skip

    def _done(self, taken: Work) -> None:
        moment = now()
        with self._database.writing() as session:
            _update(session, taken, status=JobStatus.PRINTED, printed_at=moment)
            session.execute(
                update(Printer)
                .where(Printer.id == taken.printer)
                .values(failing_since=None, trouble=None, printed_at=moment)
                .execution_options(synchronize_session=False)
            )

    def _failed(self, taken: Work, error: PrinterError) -> None:
        moment = now()
        pause = _PAUSES[min(taken.attempts, len(_PAUSES)) - 1]
        with self._database.writing() as session:
            _update(session, taken, next_at=moment + pause, begun=taken.begun or error.begun)
            printer = session.get(Printer, taken.printer)
            if printer is not None:
                session.execute(
                    update(Printer)
                    .where(Printer.id == taken.printer)
                    .values(failing_since=printer.failing_since or moment, trouble=error.trouble)
                    .execution_options(synchronize_session=False)
                )


def _update(session: Session, taken: Work, **values: object) -> None:
    """Change a job that this process took, unless it was removed in the meantime."""
    session.execute(
        update(PrintJob)
        .where(PrintJob.id == taken.id, PrintJob.status == JobStatus.WAITING)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _due(moment: datetime) -> Select[PrintJob]:
    """The job that is due first of those that are at the head of their printer's queue."""
    earlier = aliased(PrintJob)
    ahead = exists().where(
        earlier.printer_id == PrintJob.printer_id, earlier.status == JobStatus.WAITING, earlier.id < PrintJob.id
    )
    return (
        select(PrintJob)
        .where(PrintJob.status == JobStatus.WAITING, PrintJob.next_at <= moment, ~ahead)
        .order_by(PrintJob.next_at, PrintJob.id)
        .limit(1)
    )


def _drop_drawers(session: Session, moment: datetime) -> None:
    session.execute(
        update(PrintJob)
        .where(
            PrintJob.kind == JobKind.DRAWER,
            PrintJob.status == JobStatus.WAITING,
            PrintJob.created_at < moment - _DRAWER_KEPT,
        )
        .values(status=JobStatus.REMOVED)
        .execution_options(synchronize_session=False)
    )
