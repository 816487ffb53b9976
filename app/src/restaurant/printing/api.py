"""Printers over REST: `printers` is for those who manage them, `receipts` and `closings` print documents."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.http.api import Api, require_version
from restaurant.http.guard import signed_in
from restaurant.printing import desk, service
from restaurant.printing.models import Printer
from restaurant.printing.schemas import (
    JobsQuery,
    JobsView,
    JobView,
    PrinterChange,
    PrinterChoice,
    PrintersView,
    PrinterView,
)
from restaurant.settings import Settings

printers = Api("printers")
receipts = Api("printed_receipts")
closings = Api("printed_closings")
_CONFLICT = (HTTPStatus.CONFLICT,)


@printers.operation("GET", "/printers", reply=PrintersView)
def list_printers(session: Session) -> PrintersView:
    """List the printers, with how they fare."""
    waiting = service.waiting_by_printer(session)
    found = service.list_printers(session)
    return PrintersView(items=[PrinterView.of(entry, waiting=waiting.get(entry.id, 0)) for entry in found])


@printers.operation("POST", "/printers", body=PrinterChange, reply=PrinterView, status=HTTPStatus.CREATED,
                    refusals=_CONFLICT)  # fmt: skip
def add_printer(session: Session, *, body: PrinterChange) -> PrinterView:
    """Add a printer."""
    return _view(session, service.write_printer(session, None, **dict(body)))


@printers.operation("PUT", "/printers/<key:printer>", body=PrinterChange, reply=PrinterView, if_match=True,
                    refusals=_CONFLICT)  # fmt: skip
def change_printer(session: Session, *, printer: int, body: PrinterChange, version: int) -> PrinterView:
    """Change a printer."""
    found = service.read_printer(session, printer)
    require_version(found, version)
    return _view(session, service.write_printer(session, found, **dict(body)))


@printers.operation("DELETE", "/printers/<key:printer>", reply=None, if_match=True, refusals=_CONFLICT)
def remove_printer(session: Session, *, printer: int, version: int) -> None:
    """Remove a printer for which nothing waits."""
    found = service.read_printer(session, printer)
    require_version(found, version)
    service.remove_printer(session, found)


@printers.operation("GET", "/print-jobs", query=JobsQuery, reply=JobsView)
def list_print_jobs(session: Session, *, query: JobsQuery) -> JobsView:
    """List the print jobs, newest first."""
    found, following = service.list_jobs(session, query, waiting=query.waiting)
    return JobsView(items=[JobView.model_validate(job) for job in found], next=following)


@printers.operation("POST", "/print-jobs/<key:job>/remove", reply=JobView, refusals=_CONFLICT)
def remove_print_job(session: Session, *, job: int) -> JobView:
    """Take a job out of its queue."""
    return JobView.model_validate(service.remove_job(session, job))


@printers.operation("POST", "/print-jobs/<key:job>/move", body=PrinterChoice, reply=JobView,
                    refusals=_CONFLICT)  # fmt: skip
def move_print_job(session: Session, *, job: int, body: PrinterChoice) -> JobView:
    """Have another printer do what waits for one."""
    return JobView.model_validate(service.move_job(session, job, service.read_printer(session, body.printer)))


@receipts.operation("POST", "/receipts/<key:number>/print", body=PrinterChoice, reply=JobView, idempotent=True,
                    status=HTTPStatus.CREATED)  # fmt: skip
def queue_receipt(session: Session, *, number: int, body: PrinterChoice) -> JobView:
    """Print a receipt, and count the copy."""
    settings: Settings = current_app.extensions["settings"]
    job = desk.print_receipt(session, number, printer=body.printer, by=signed_in(), settings=settings)
    return JobView.model_validate(service.read_job(session, job))


@closings.operation("POST", "/figures/print", body=PrinterChoice, reply=JobView, idempotent=True,
                    status=HTTPStatus.CREATED, refusals=(HTTPStatus.NOT_FOUND,))  # fmt: skip
def queue_figures(session: Session, *, body: PrinterChoice) -> JobView:
    """Print the figures since the last closing (X)."""
    settings: Settings = current_app.extensions["settings"]
    job = desk.print_figures(session, printer=body.printer, by=signed_in(), settings=settings)
    return JobView.model_validate(service.read_job(session, job))


@closings.operation("POST", "/closings/<key:number>/print", body=PrinterChoice, reply=JobView, idempotent=True,
                    status=HTTPStatus.CREATED)  # fmt: skip
def queue_closing(session: Session, *, number: int, body: PrinterChoice) -> JobView:
    """Print a closing (Z)."""
    settings: Settings = current_app.extensions["settings"]
    job = desk.print_closing(session, number, printer=body.printer, by=signed_in(), settings=settings)
    return JobView.model_validate(service.read_job(session, job))


def _view(session: Session, printer: Printer) -> PrinterView:
    return PrinterView.of(printer, waiting=service.waiting_by_printer(session).get(printer.id, 0))
