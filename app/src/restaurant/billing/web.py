"""Pages of the cash desk: open bills, one bill with its parts and payments, receipts, and the day's closing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from restaurant.billing import accounting, invoices, periods, service
from restaurant.billing.api import divide
from restaurant.billing.models import TENDERED, Method
from restaurant.billing.schemas import (
    AccountingQuery,
    NewDiscount,
    NewPayment,
    NewRefund,
    Nothing,
    ShareView,
    SplitQuery,
)
from restaurant.database import Database
from restaurant.deposits.models import MovementKind
from restaurant.errors import Conflict
from restaurant.forms import first_time, parse_cents, read_form
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.payments.models import Attempt
from restaurant.people import service as people
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for, give_approval
from restaurant.printing.service import targets
from restaurant.settings import Settings
from restaurant.types import now

cash_desk = Blueprint("cash", __name__, url_prefix="/caisse")
closing_pages = Blueprint("closings", __name__, url_prefix="/clotures")


@cash_desk.get("")
def open_bills() -> str:
    """Every order that is not paid."""
    with _database().reading() as session:
        return render_template("billing/open.html", orders=orders.open_orders(session))


@cash_desk.get("/<uuid:reference>")
def bill_page(reference: uuid.UUID) -> str:
    """A bill, its payments, and ways to divide what is left."""
    with _database().reading() as session:
        bill = service.read_bill(session, orders.read_order(session, reference))
        shares: list[ShareView] = []
        if "by" in request.args:
            lines = ",".join(request.args.getlist("lines"))
            query = {"by": request.args["by"], "parts": request.args.get("parts") or 1} | (
                {"lines": lines} if lines else {}
            )
            shares = divide(bill, read_form(SplitQuery, query))
        return render_template(
            "billing/bill.html",
            bill=bill,
            order=bill.order,
            invoices=invoices.read_invoices(session, bill.order),
            attempts=session.scalars(
                select(Attempt).where(Attempt.order_id == bill.order.id).order_by(Attempt.id)
            ).all(),
            channels=list(current_app.extensions["gateway"].providers),
            held=service.held(session, bill.order),
            approvers=[] if signed_in().may(Permission.REFUND) else people.list_approvers(session),
            shares=shares,
            methods=TENDERED,
            key=uuid.uuid4().hex,
            by=request.args.get("by", ""),
            parts=request.args.get("parts", ""),
        )


@cash_desk.post("/<uuid:reference>/addition")
def present(reference: uuid.UUID) -> Response:
    """Present the bill."""
    with _database().writing() as session:
        service.present(session, orders.lock_order(session, reference), by=signed_in())
    return _back(reference)


@cash_desk.post("/<uuid:reference>/reprise")
def reopen(reference: uuid.UUID) -> Response:
    """Reopen the order of a presented bill."""
    with _database().writing() as session:
        service.reopen(session, orders.lock_order(session, reference), by=signed_in())
    return redirect(url_for("service.order_page", reference=reference), code=303)


@cash_desk.post("/<uuid:reference>/paiements")
def pay(reference: uuid.UUID) -> Response:
    """Take a payment; sent twice, the form takes one. What is left is divided as before."""
    form = request.form
    wanted = {
        "amount": parse_cents(form.get("amount", "")), "tip": parse_cents(form.get("tip") or "0"),
        "method": form.get("method", ""), "tendered": _tendered(form),
        "seat": form.get("seat") or None, "lines": form.getlist("lines"),
    }  # fmt: skip
    payment = read_form(NewPayment, wanted)
    by, parts = form.get("by", ""), form.get("parts", "")
    with _database().writing() as session:
        if first_time(session, scope=f"web:pay:{reference}", content=payment):
            order = orders.lock_order(session, reference)
            service.pay(
                session, order, amount=payment.amount, tip=payment.tip, method=payment.method, by=signed_in(),
                seat=payment.seat, lines=payment.lines, tendered=payment.tendered,
            )  # fmt: skip
    divided: dict[str, Any] = {}
    if by == "equal" and parts.isdecimal() and 2 < int(parts[:3]) <= 60:
        divided = {"by": "equal", "parts": int(parts) - 1}
    elif by == "seat":
        divided = {"by": "seat"}
    return redirect(url_for("cash.bill_page", reference=reference, encaisse=1, **divided), code=303)


def _tendered(form: Mapping[str, str]) -> int | None:
    """What was tendered in cash; the field does not count for other methods."""
    given = form.get("tendered", "").strip()
    return parse_cents(given) if given and form.get("method") == Method.CASH else None


@cash_desk.post("/<uuid:reference>/acompte")
def deduct_deposit(reference: uuid.UUID) -> Response:
    """Deduct the guests' deposit from their bill; sent twice, the form does it once."""
    with _database().writing() as session:
        if first_time(session, content=Nothing()):
            service.deduct_deposit(session, orders.lock_order(session, reference), by=signed_in())
    return _back(reference)


@cash_desk.post("/<uuid:reference>/fin")
def finish(reference: uuid.UUID) -> Response:
    """Free the table of a paid order, or hand a paid take-away order over."""
    with _database().writing() as session:
        orders.finish(session, orders.lock_order(session, reference))
    return _back(reference)


@cash_desk.post("/<uuid:reference>/remises")
def give_discount(reference: uuid.UUID) -> Response:
    """Take something off, confirmed by a manager."""
    form = request.form
    wanted: dict[str, Any] = {"reason": form.get("reason", "")}
    if form.get("percent"):
        wanted["percent"] = form["percent"]
    else:
        wanted["amount"] = parse_cents(form.get("amount", ""))
    given = read_form(NewDiscount, wanted)
    approved = approval(Permission.DISCOUNT)
    with _database().writing() as session:
        if first_time(session, scope=f"web:discount:{reference}", content=given):
            order = orders.lock_order(session, reference)
            by = answer_for(session, actor=signed_in(), permission=Permission.DISCOUNT, approval=approved)
            service.discount(session, order, amount=given.amount, percent=given.percent, reason=given.reason, by=by)
    return _back(reference)


@cash_desk.post("/<uuid:reference>/remises/<key:discount>/retrait")
def remove_discount(reference: uuid.UUID, discount: int) -> Response:
    """Remove a discount, approved by a manager."""
    approved = approval(Permission.DISCOUNT)
    with _database().writing() as session:
        order = orders.lock_order(session, reference)
        by = answer_for(session, actor=signed_in(), permission=Permission.DISCOUNT, approval=approved)
        service.remove_discount(session, order, discount, by=by)
    return _back(reference)


@cash_desk.post("/paiements/<uuid:payment>/remboursements")
def refund(payment: uuid.UUID) -> Response:
    """Give money back, confirmed by a manager."""
    form = request.form
    wanted = {"amount": parse_cents(form.get("amount") or "0"), "tip": parse_cents(form.get("tip") or "0"),
              "reason": form.get("reason", "")}  # fmt: skip
    asked = read_form(NewRefund, wanted)
    approved = approval(Permission.REFUND)
    with _database().writing() as session:
        found = service.read_payment(session, payment)
        if first_time(session, scope=f"web:refund:{payment}", content=asked):
            by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=approved)
            service.refund(session, found, amount=asked.amount, tip=asked.tip, reason=asked.reason, by=by)
        reference = found.order.reference
    return _back(reference)


@cash_desk.get("/tickets/<key:number>")
def receipt_page(number: int) -> str:
    """A receipt, or with `impression` one of its copies to print."""
    with _database().reading() as session:
        receipt = service.read_receipt(session, number)
        return render_template(
            "billing/receipt.html", receipt=receipt, order=receipt.payment.order, key=uuid.uuid4().hex,
            copy=asked_copy(receipt.copies), printers=targets(session),
        )  # fmt: skip


@cash_desk.post("/tickets/<key:number>/copies")
def print_receipt(number: int) -> Response:
    """Count a copy of a receipt, and show it to be printed; sent twice, the form counts one."""
    with _database().writing() as session:
        if first_time(session, scope=f"web:print:{number}", content=Nothing()):
            copy = service.print_receipt(session, number, by=signed_in())
        else:
            copy = service.read_receipt(session, number).copies
    return redirect(url_for("cash.receipt_page", number=number, impression=copy), code=303)


@closing_pages.get("")
def closings_page() -> str:
    """The closings, and what waits for the next one."""
    page = read_form(PageQuery, {"after": request.args.get("suite"), "limit": 30})
    with _database().reading() as session:
        waiting, months = service.to_close(session), periods.list_periods(session)
        closings, following = service.list_closings(session, page)
    return render_template(
        "billing/closings.html",
        closings=closings,
        months=months,
        count=waiting.count,
        empty=waiting.empty,
        amount=waiting.total,
        today=_today(),
        page=page,
        following=following,
    )


@closing_pages.get("/<key:number>")
def closing_page(number: int) -> str:
    """The report of one closing (Z), to print and keep."""
    with _database().reading() as session:
        return render_template(
            "billing/closing.html", closing=service.read_closing(session, number), Method=Method,
            MovementKind=MovementKind, printers=targets(session), key=uuid.uuid4().hex,
        )  # fmt: skip


@closing_pages.get("/x")
def x_page() -> str:
    """The figures since the last closing (X), which closes nothing."""
    with _database().reading() as session:
        return render_template(
            "billing/x.html", sums=service.to_close(session), Method=Method, MovementKind=MovementKind,
            printers=targets(session), key=uuid.uuid4().hex,
        )  # fmt: skip


@closing_pages.get("/periodes/<key:number>")
def period_page(number: int) -> str:
    """The closing of a month or a year, to print and keep."""
    with _database().reading() as session:
        return render_template(
            "billing/period.html",
            closing=periods.read_period(session, number),
            Method=Method,
            MovementKind=MovementKind,
        )


@closing_pages.get("/export")
def export() -> Response:
    """The closings of a period for the accountant: the FEC, or the sales journal as CSV."""
    values = {"since": request.args.get("du", ""), "until": request.args.get("au", ""),
              "form": request.args.get("format", "")}  # fmt: skip
    wanted = read_form(AccountingQuery, values)
    settings: Settings = current_app.extensions["settings"]
    with _database().reading() as session:
        closings = accounting.read_closings(session, since=wanted.since, until=wanted.until)
        first, last = settings.business_day.begin(wanted.since), wanted.until + timedelta(days=1)
        issued = invoices.read_period(session, since=first, until=settings.business_day.begin(last))
    if wanted.form == "invoices":
        name = f"factures-{wanted.since}-{wanted.until}.csv"
        text = accounting.invoice_register(issued, settings.business_day)
    elif wanted.form == "csv":
        name, text = f"ventes-{wanted.since}-{wanted.until}.csv", accounting.sales_journal(closings)
    elif settings.siren:
        name, text = accounting.fec_name(settings.siren, wanted.until), accounting.fec(closings, settings.business_day)
    else:
        raise Conflict(_("Set the SIREN of the company first (RESTAURANT_SIREN)."), code="siren-missing")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, mimetype="text/plain" if wanted.form == "fec" else "text/csv", headers=headers)


@closing_pages.get("/<key:number>/ancre.txt")
def anchor(number: int) -> Response:
    """The anchor of a closing, a file to keep elsewhere."""
    with _database().reading() as session:
        text = str(service.read_closing_anchor(session, number))
    headers = {"Content-Disposition": f'attachment; filename="Z{number}.txt"'}
    return Response(text, mimetype="text/plain", headers=headers)


@closing_pages.post("")
def close_day() -> Response:
    """Close the day."""
    settings: Settings = current_app.extensions["settings"]
    with _database().writing() as session:
        service.close_day(session, by=signed_in().username, business_day=settings.business_day)
    return redirect(url_for("closings.closings_page"), code=303)


def _today() -> date:
    settings: Settings = current_app.extensions["settings"]
    return settings.business_day.of(now())


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found


def _back(reference: uuid.UUID) -> Response:
    return redirect(url_for("cash.bill_page", reference=reference), code=303)


def asked_copy(counted: int) -> int:
    """The copy to print that the address of a page asks for, 0 unless it was `counted`."""
    text = request.args.get("impression", "")[:9]
    copy = int(text) if text.isascii() and text.isdecimal() else 0
    return copy if copy <= counted else 0


def approval(permission: Permission) -> str | None:
    """The approval of the manager whose name and password came with the form, if they did."""
    username = request.form.get("manager", "")[:40]
    if not username:
        return None
    return give_approval(
        current_app.extensions["database"],
        permission=permission,
        username=username,
        password=request.form.get("password", "")[:200],
        actor=signed_in(),
    )
