"""Pages of invoices: the list, one invoice to print, and forms to issue and to cancel one."""

from __future__ import annotations

import uuid

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.billing import invoices
from restaurant.billing.api import invoice_for
from restaurant.billing.models import Method
from restaurant.billing.schemas import NewCreditNote, NewInvoice, Nothing
from restaurant.billing.web import approval, asked_copy
from restaurant.database import Database
from restaurant.forms import first_time, read_form, typed
from restaurant.http.guard import signed_in
from restaurant.http.paging import PageQuery
from restaurant.orders import service as orders
from restaurant.people import service as people
from restaurant.people.permissions import Permission
from restaurant.people.service import answer_for

invoice_pages = Blueprint("invoices", __name__, url_prefix="/caisse/factures")


@invoice_pages.get("")
def invoices_page() -> str:
    """The invoices and credit notes, newest first."""
    page = read_form(PageQuery, {"after": request.args.get("suite"), "limit": 30})
    with _database().reading() as session:
        found, following = invoices.list_invoices(session, page)
    return render_template("billing/invoices.html", invoices=found, page=page, following=following)


@invoice_pages.post("/commandes/<uuid:reference>")
def issue(reference: uuid.UUID) -> Response:
    """Issue the invoice of a paid order; sent twice, the form issues one."""
    wanted = read_form(NewInvoice, typed("customer", "address") | {"siret": request.form.get("siret") or None})
    with _database().writing() as session:
        if first_time(session, scope=f"web:invoice:{reference}", content=wanted):
            number = invoice_for(session, reference, wanted).number
        else:
            number = invoices.read_invoices(session, orders.read_order(session, reference))[-1].number
    return _to(number)


@invoice_pages.get("/<key:number>")
def invoice_page(number: int) -> str:
    """An invoice, or with `impression` one of its copies to print."""
    with _database().reading() as session:
        invoice = invoices.read_invoice(session, number)
        approvers = [] if signed_in().may(Permission.REFUND) else people.list_approvers(session)
        notes = invoices.read_credit_notes(session, invoice)
        order = orders.read_order_with_key(session, invoice.order_id)
    left = invoice.total + sum(note.total for note in notes)
    return render_template(
        "billing/invoice.html", invoice=invoice, notes=notes, order=order, approvers=approvers, key=uuid.uuid4().hex,
        Method=Method,
        copy=asked_copy(invoice.copies), left=left if invoice.corrects is None else 0,
    )  # fmt: skip


@invoice_pages.post("/<key:number>/copies")
def print_invoice(number: int) -> Response:
    """Count a copy of an invoice, and show it to be printed; sent twice, the form counts one."""
    with _database().writing() as session:
        if first_time(session, scope=f"web:print-invoice:{number}", content=Nothing()):
            copy = invoices.print_invoice(session, number, by=signed_in())
        else:
            copy = invoices.read_invoice(session, number).copies
    return redirect(url_for("invoices.invoice_page", number=number, impression=copy), code=303)


@invoice_pages.post("/<key:number>/avoir")
def credit(number: int) -> Response:
    """Cancel an invoice with a credit note, approved by a manager."""
    wanted = read_form(NewCreditNote, typed("reason"))
    approved = approval(Permission.REFUND)
    with _database().writing() as session:
        invoice = invoices.read_invoice(session, number)
        order = invoices.lock_order_of(session, invoice)
        if first_time(session, scope=f"web:credit:{number}", content=wanted):
            by = answer_for(session, actor=signed_in(), permission=Permission.REFUND, approval=approved)
            invoices.credit(session, invoice, order, reason=wanted.reason, by=by)
    return _to(number)


def _to(number: int) -> Response:
    return redirect(url_for("invoices.invoice_page", number=number), code=303)


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
