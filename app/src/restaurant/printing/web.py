"""Pages of the printers and their queue, and the buttons that print documents of the cash desk."""

from __future__ import annotations

import uuid

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.forms import first_time, read_form, read_version, typed
from restaurant.http.api import require_version
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.http.targets import previous_page
from restaurant.i18n import in_french
from restaurant.menu.models import Station
from restaurant.printing import desk, service
from restaurant.printing.documents import sample_page
from restaurant.printing.escpos import encode
from restaurant.printing.models import JobKind, JobStatus
from restaurant.printing.schemas import PrinterChange, PrinterChoice
from restaurant.printing.virtual import draw, read
from restaurant.settings import Settings
from restaurant.types import now

printers = Blueprint("printers", __name__, url_prefix="/imprimantes")
receipts = Blueprint("printed_receipts", __name__, url_prefix="/imprimer")
closings = Blueprint("printed_closings", __name__, url_prefix="/imprimer")


@printers.get("")
def printers_page() -> str:
    """The printers, how they fare, and what they printed or have to print."""
    page = read_form(PageQuery, {"after": request.args.get("suite"), "limit": 30})
    with _database().reading() as session:
        found = service.list_printers(session)
        jobs, following = service.list_jobs(session, page)
        return render_template(
            "printing/printers.html", printers=found, jobs=jobs, waiting=service.waiting_by_printer(session),
            stations=list(Station), JobKind=JobKind, JobStatus=JobStatus, key=uuid.uuid4().hex, page=page,
            following=following,
        )  # fmt: skip


@printers.post("")
def add_printer() -> Response:
    """Add a printer."""
    wanted = _read()
    with _database().writing() as session:
        service.write_printer(session, None, **dict(wanted))
    return _back()


@printers.post("/<key:printer>")
def change_printer(printer: int) -> Response:
    """Change or remove a printer."""
    remove = bool(request.form.get("remove"))
    wanted = None if remove else _read()
    with _database().writing() as session:
        found = service.read_printer(session, printer)
        require_version(found, read_version(request.form))
        if wanted is None:
            service.remove_printer(session, found)
        else:
            service.write_printer(session, found, **dict(wanted))
    return _back()


@printers.post("/<key:printer>/essai")
def print_sample(printer: int) -> Response:
    """Print a test page."""
    with _database().writing() as session:
        found = service.read_printer(session, printer)
        if first_time(session):
            with in_french():
                content = sample_page(found.name, at=now())
            service.enqueue(session, found.id, JobKind.TEST, title=found.name, content=content, by=signed_in().username)
    return _back()


@printers.post("/<key:printer>/reprise")
def retry(printer: int) -> Response:
    """Try again at once what waits for a printer."""
    with _database().writing() as session:
        if first_time(session):
            service.retry_jobs(session, service.read_printer(session, printer))
        else:
            service.read_printer(session, printer)
    return _back()


@printers.get("/papiers/<key:job>.svg")
def paper(job: int) -> Response:
    """The paper of a job, as its printer prints it."""
    with _database().reading() as session:
        found = service.read_job(session, job)
        width = found.printer.width
        picture = draw(read(encode(found.content, width=width), width=width))
    return Response(picture, mimetype="image/svg+xml")


@printers.post("/papiers/<key:job>/retrait")
def remove_job(job: int) -> Response:
    """Take a job out of its queue."""
    with _database().writing() as session:
        service.remove_job(session, job)
    return _back()


@printers.post("/papiers/<key:job>/encore")
def print_again(job: int) -> Response:
    """Print a ticket once more."""
    with _database().writing() as session:
        if first_time(session):
            service.print_again(session, job, by=signed_in().username)
    return _back()


@printers.post("/papiers/<key:job>/ailleurs")
def move_job(job: int) -> Response:
    """Have another printer do what waits for one."""
    wanted = read_form(PrinterChoice, typed("printer"))
    with _database().writing() as session:
        if first_time(session):
            service.move_job(session, job, service.read_printer(session, wanted.printer))
    return _back()


@receipts.post("/recus/<key:number>")
def print_receipt(number: int) -> Response:
    """Print a receipt; sent twice, the form prints one copy."""
    printer = read_form(PrinterChoice, typed("printer")).printer
    with _database().writing() as session:
        if first_time(session, scope=f"web:paper:{number}"):
            desk.print_receipt(session, number, printer=printer, by=signed_in(), settings=_settings())
    return redirect(url_for("cash.receipt_page", number=number), code=303)


@receipts.post("/tiroir")
def kick_drawer() -> Response:
    """Open the cash drawer."""
    with _database().writing() as session:
        if first_time(session):
            service.kick_drawer(session, by=signed_in().username)
    return redirect(previous_page(default=url_for("cash.open_bills")), code=303)


@closings.post("/x")
def print_figures() -> Response:
    """Print the figures since the last closing (X)."""
    printer = read_form(PrinterChoice, typed("printer")).printer
    with _database().writing() as session:
        if first_time(session):
            desk.print_figures(session, printer=printer, by=signed_in(), settings=_settings())
    return redirect(url_for("closings.x_page"), code=303)


@closings.post("/z/<key:number>")
def print_closing(number: int) -> Response:
    """Print a closing (Z)."""
    printer = read_form(PrinterChoice, typed("printer")).printer
    with _database().writing() as session:
        if first_time(session, scope=f"web:paper:z{number}"):
            desk.print_closing(session, number, printer=printer, by=signed_in(), settings=_settings())
    return redirect(url_for("closings.closing_page", number=number), code=303)


def _read() -> PrinterChange:
    form = request.form
    return read_form(
        PrinterChange,
        typed("name", "host", "port")
        | {
            "width": int(form["width"]) if form.get("width") in {"58", "80"} else form.get("width", ""),
            "stations": form.getlist("stations"), "receipts": form.get("receipts") == "1",
            "drawer": form.get("drawer") == "1",
        },
    )  # fmt: skip


def _back() -> Response:
    return redirect(url_for("printers.printers_page"), code=303)


def _settings() -> Settings:
    found: Settings = current_app.extensions["settings"]
    return found


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
