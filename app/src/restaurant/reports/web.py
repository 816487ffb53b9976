"""The reports' page with its charts, and the same figures as CSV."""

from __future__ import annotations

import csv
import io

from flask import Blueprint, current_app, render_template, request
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid, NotFound
from restaurant.i18n import gettext as _
from restaurant.i18n import local
from restaurant.reports import service
from restaurant.reports.api import Span
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("reports", __name__, url_prefix="/rapports")


@pages.get("")
def report_page() -> str:
    """The figures of a span of days, today's without one."""
    span = _span()
    return render_template("reports/report.html", report=_report(span), span=span)


@pages.get("/<part>.csv")
def report_csv(part: str) -> Response:
    """One table of the report as CSV; amounts are in euros with a point."""
    parts = dict(_report(_span()).parts())
    if part not in parts:
        raise NotFound(_("There is no such report."))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([part, "count", "total_eur"])
    for row in parts[part]:
        # A spreadsheet must not take a name for a formula.
        label = f"'{row.label}" if row.label[:1] in {"=", "+", "-", "@"} else row.label
        writer.writerow([label, row.count, f"{row.total / 100:.2f}"])
    headers = {"Content-Disposition": f'attachment; filename="{part}.csv"'}
    return Response(text.getvalue(), mimetype="text/csv", headers=headers)


def _span() -> Span:
    today = local(now()).date().isoformat()
    try:
        return Span.model_validate({"since": request.args.get("du") or today, "until": request.args.get("au") or today})
    except ValidationError as error:
        raise Invalid(_("Choose a first and a last day, 93 days apart at most.")) from error


def _report(span: Span) -> service.Report:
    database: Database = current_app.extensions["database"]
    settings: Settings = current_app.extensions["settings"]
    with database.snapshot() as session:
        return service.read_report(session, since=span.since, until=span.until, zone=settings.zone)
