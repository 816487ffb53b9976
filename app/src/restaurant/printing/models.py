"""Receipt printers, and the queue of what they have to print."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.printing.escpos import Block
from restaurant.types import Labelled, Moment, choice, now


class JobKind(Labelled):
    """What is printed."""

    TICKET = "ticket"
    VOID = "void"
    CHANGE = "change"
    RECEIPT = "receipt"
    FIGURES = "figures"
    CLOSING = "closing"
    DRAWER = "drawer"
    TEST = "test"


class JobStatus(Labelled):
    """Where a job of the queue stands."""

    WAITING = "waiting"
    PRINTED = "printed"
    REMOVED = "removed"


class Trouble(Labelled):
    """Why a printer does not print."""

    NOT_REACHABLE = "not_reachable"
    OUT_OF_PAPER = "out_of_paper"
    OFFLINE = "offline"
    BROKE_OFF = "broke_off"


class Printer(Base):
    """A printer in the network, on raw TCP. How it fares is written by the spooler and counts as no change of it."""

    __tablename__ = "printer"
    __table_args__ = (
        CheckConstraint("width IN (58, 80)", name="width"),
        CheckConstraint("port BETWEEN 1 AND 65535", name="port"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    host: Mapped[str] = mapped_column(String(120))
    port: Mapped[int] = mapped_column()
    width: Mapped[int] = mapped_column()
    stations: Mapped[list[str]] = mapped_column(JSON, default=list)
    """The kitchen's stations whose tickets it prints."""
    receipts: Mapped[bool] = mapped_column(default=False)
    drawer: Mapped[bool] = mapped_column(default=False)
    """Whether a cash drawer is plugged into it."""
    failing_since: Mapped[datetime | None] = mapped_column(Moment)
    trouble: Mapped[Trouble | None] = mapped_column(choice(Trouble))
    printed_at: Mapped[datetime | None] = mapped_column(Moment)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class PrintJob(Base):
    """Something to print. It is written with what it is about, in one transaction, and stays until it is printed."""

    __tablename__ = "print_job"
    __table_args__ = (
        Index(
            "ix_print_job_waiting",
            "printer_id",
            "id",
            postgresql_where=text("status = 'waiting'"),
            sqlite_where=text("status = 'waiting'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    printer_id: Mapped[int] = mapped_column(ForeignKey("printer.id"))
    kind: Mapped[JobKind] = mapped_column(choice(JobKind))
    title: Mapped[str] = mapped_column(String(120))
    content: Mapped[list[Block]] = mapped_column(JSON)
    by: Mapped[str] = mapped_column(String(40), default="")
    status: Mapped[JobStatus] = mapped_column(choice(JobStatus), default=JobStatus.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    begun: Mapped[bool] = mapped_column(default=False)
    """Whether an earlier attempt may have printed it, or a part of it."""
    next_at: Mapped[datetime] = mapped_column(Moment, default=now)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    printed_at: Mapped[datetime | None] = mapped_column(Moment)

    printer: Mapped[Printer] = relationship()
