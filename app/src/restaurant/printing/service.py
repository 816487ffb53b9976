"""Printers, and what is put into their queues.

A job is written in the transaction of what it is about: an order that is not placed prints nothing, and one that is
placed prints its tickets, however long a printer is off. `spooler` sends the jobs. What is printed is in French, the
language of the house, not in the language of the guest whose order is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from restaurant.database import flush
from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.i18n import in_french
from restaurant.menu.models import Revision, Station
from restaurant.opening.service import revisions
from restaurant.printing.escpos import Block, open_drawer, text
from restaurant.printing.models import JobKind, JobStatus, Printer, PrintJob
from restaurant.printing.tickets import Heading, TicketLine, kitchen_ticket
from restaurant.types import now

_REVISION = "printers"
#: For how long printed and removed jobs are kept, to see what was printed and to print it again.
KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Target:
    """What the rest of the application needs to know about a printer."""

    id: int
    name: str
    stations: frozenset[Station]
    receipts: bool
    drawer: bool


#: The printers read last through each engine, with their revision.
_KNOWN: WeakKeyDictionary[Engine | Connection, tuple[int, tuple[Target, ...]]] = WeakKeyDictionary()


def targets(session: Session, *, revision: int | None = None) -> Sequence[Target]:
    """The printers, by name; no statement when the caller has just read the `revision` and nothing changed."""
    number = revisions(session.connection()).get(_REVISION, 0) if revision is None else revision
    bind = session.get_bind()
    known = _KNOWN.get(bind)
    if known is None or known[0] != number:
        found = tuple(
            Target(
                printer.id, printer.name, frozenset(Station(name) for name in printer.stations), printer.receipts,
                printer.drawer,
            )
            for printer in list_printers(session)
        )  # fmt: skip
        known = _KNOWN[bind] = (number, found)
    return known[1]


def print_tickets(
    session: Session, heading: Heading, lines: Iterable[TicketLine], *, at: datetime, voided: bool = False,
    change: str = "", revision: int | None = None,
) -> None:  # fmt: skip
    """Queue a ticket for each printer of the stations of `lines`; `change` says what changed of their order."""
    wanted = list(lines)
    for target in targets(session, revision=revision):
        own = [line for line in wanted if line.station in target.stations]
        if own:
            with in_french():
                content = kitchen_ticket(heading, own, at=at, voided=voided, change=change)
            kind = JobKind.VOID if voided else JobKind.CHANGE if change else JobKind.TICKET
            enqueue(session, target.id, kind, title=heading.title, content=content)


def kick_drawer(session: Session, *, by: str) -> None:
    """Open the cash drawer, if there is one at a printer."""
    target = next((target for target in targets(session) if target.drawer), None)
    if target is not None:
        enqueue(session, target.id, JobKind.DRAWER, title="", content=[open_drawer()], by=by)


def enqueue(
    session: Session, printer: int, kind: JobKind, *, title: str, content: Sequence[Block], by: str = ""
) -> int:
    """Put a job into a printer's queue, in this unit of work, and return its key."""
    moment = now()
    key: int = session.connection().execute(
        insert(PrintJob).returning(PrintJob.id),
        {
            "printer_id": printer, "kind": kind, "title": title[:120], "content": list(content), "by": by,
            "status": JobStatus.WAITING, "attempts": 0, "begun": False, "next_at": moment, "created_at": moment,
        },
    ).scalar_one()  # fmt: skip
    return key


def list_printers(session: Session) -> Sequence[Printer]:
    """All printers, by name."""
    return session.scalars(select(Printer).order_by(Printer.name)).all()


def read_printer(session: Session, key: int) -> Printer:
    """One printer. Raises `NotFound`."""
    found = session.get(Printer, key)
    if found is None:
        raise NotFound(_("This printer does not exist."))
    return found


def write_printer(
    session: Session, printer: Printer | None, *, name: str, host: str, port: int, width: int,
    stations: Sequence[Station], receipts: bool, drawer: bool,
) -> Printer:  # fmt: skip
    """Add a printer, or change one. Raises `Conflict` when the name is taken."""
    found = printer if printer is not None else Printer()
    if (found.host, found.port) != (host, port):
        # Whatever was wrong with the former address is not known of this one.
        found.failing_since, found.trouble = None, None
    found.name, found.host, found.port, found.width = name, host, port, width
    found.stations = sorted({station.value for station in stations})
    found.receipts, found.drawer = receipts, drawer
    session.add(found)
    flush(
        session,
        conflicts={
            ("uq_printer_name", "printer.name"): lambda: Conflict(
                _("Another printer already has this name."), code="name-taken"
            )
        },
    )
    _count_change(session)
    return found


def remove_printer(session: Session, printer: Printer) -> None:
    """Remove a printer with its past jobs. Raises `Conflict` while something waits for it."""
    if session.scalar(_waiting(printer.id)):
        raise Conflict(_("Something waits to be printed here. Move or remove it first."), code="jobs-waiting")
    session.execute(delete(PrintJob).where(PrintJob.printer_id == printer.id))
    session.delete(printer)
    session.flush()
    _count_change(session)


def list_jobs(session: Session, page: PageQuery, *, waiting: bool = False) -> tuple[Sequence[PrintJob], str | None]:
    """A page of the jobs, newest first, or of those that wait, and where the following page begins."""
    query = select(PrintJob).options(joinedload(PrintJob.printer))
    if waiting:
        query = query.where(PrintJob.status == JobStatus.WAITING)
    return read_page(session, query, page, by=[Sort(PrintJob.id, descending=True)])


def read_job(session: Session, key: int) -> PrintJob:
    """One job. Raises `NotFound`."""
    found = session.get(PrintJob, key, options=[joinedload(PrintJob.printer)])
    if found is None:
        raise NotFound(_("This print job does not exist."))
    return found


def remove_job(session: Session, key: int) -> PrintJob:
    """Take a job out of its queue. Raises `NotFound`, or `Conflict` when it does not wait."""
    job = _lock_waiting(session, key)
    job.status = JobStatus.REMOVED
    session.flush()
    return job


def move_job(session: Session, key: int, printer: Printer) -> PrintJob:
    """Have another printer do what waits for one. Raises as `remove_job` does."""
    job = _lock_waiting(session, key)
    job.printer_id, job.next_at = printer.id, now()
    session.flush()
    session.refresh(job, ["printer"])
    return job


def print_again(session: Session, key: int, *, by: str) -> None:
    """Print a kitchen ticket or a test page once more. Raises `NotFound`, or `Conflict` for anything else.

    A receipt is printed again from its page, which counts its copies.
    """
    job = read_job(session, key)
    if job.kind not in {JobKind.TICKET, JobKind.VOID, JobKind.TEST} or job.status is JobStatus.WAITING:
        raise Conflict(_("Only tickets that were printed are printed again from here."), code="not-reprintable")
    with in_french():
        mark = text(_("PRINTED AGAIN"), bold=True, center=True)
    enqueue(session, job.printer_id, job.kind, title=job.title, content=[mark, *job.content], by=by)


def retry_jobs(session: Session, printer: Printer) -> None:
    """Try again at once what waits for a printer."""
    session.execute(
        update(PrintJob)
        .where(PrintJob.printer_id == printer.id, PrintJob.status == JobStatus.WAITING)
        .values(next_at=now())
        .execution_options(synchronize_session=False)
    )


def purge(session: Session) -> None:
    """Delete what was printed or removed long ago."""
    session.execute(delete(PrintJob).where(PrintJob.status != JobStatus.WAITING, PrintJob.created_at < now() - KEPT))


def failing(session: Session) -> Sequence[Printer]:
    """The printers that do not print although something waits for them."""
    return session.scalars(
        select(Printer)
        .where(Printer.failing_since.is_not(None), _waiting(Printer.id).correlate(Printer).scalar_subquery() > 0)
        .order_by(Printer.name)
    ).all()


def waiting_by_printer(session: Session) -> dict[int, int]:
    """How many jobs wait, by printer."""
    rows = session.execute(
        select(PrintJob.printer_id, func.count())
        .where(PrintJob.status == JobStatus.WAITING)
        .group_by(PrintJob.printer_id)
    )
    return {printer: count for printer, count in rows}  # noqa: C416  # a Row is a tuple of any length to the type checker


def _waiting(printer: InstrumentedAttribute[int] | int) -> Select[int]:
    return select(func.count(PrintJob.id)).where(PrintJob.printer_id == printer, PrintJob.status == JobStatus.WAITING)


def _lock_waiting(session: Session, key: int) -> PrintJob:
    job = session.scalar(select(PrintJob).where(PrintJob.id == key).with_for_update())
    if job is None:
        raise NotFound(_("This print job does not exist."))
    if job.status is not JobStatus.WAITING:
        raise Conflict(_("This job does not wait to be printed."), code="wrong-step")
    return job


def _count_change(session: Session) -> None:
    """Have every process read the printers again."""
    build = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = build(Revision).values(name=_REVISION, number=1)
    session.execute(
        statement.on_conflict_do_update(index_elements=[Revision.name], set_={"number": Revision.number + 1})
    )
