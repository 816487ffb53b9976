"""The reports' page with its charts, and the same figures as CSV."""

from __future__ import annotations

import csv
import io
from datetime import date

from flask import Blueprint, current_app, render_template, request
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.billing.models import Method
from restaurant.database import Database
from restaurant.errors import Invalid, NotFound
from restaurant.i18n import current_locale, format_amount, format_numeric_day, format_rate, label
from restaurant.i18n import gettext as _
from restaurant.reports import service
from restaurant.reports.api import Span
from restaurant.settings import Settings
from restaurant.types import now

pages = Blueprint("reports", __name__, url_prefix="/rapports")


@pages.get("")
def report_page() -> str:
    """The figures of a span of days, today's without one."""
    span = _span()
    return render_template(
        "reports/report.html", report=_report(span), span=span, labels=_headings(), label_of=label_of
    )


@pages.get("/<part>.csv")
def report_csv(part: str) -> Response:
    """One table of the report as CSV, the way the spreadsheet of this language reads it."""
    parts = dict(_report(_span()).parts())
    if part not in parts:
        raise NotFound(_("This report does not exist."))
    text = io.StringIO()
    # Excel needs the byte order mark to read UTF-8; where the comma is the decimal separator, it splits at ";".
    text.write("\N{BYTE ORDER MARK}")
    writer = csv.writer(text, delimiter=";" if current_locale() == "fr" else ",")
    writer.writerow([_headings()[part], _("Count"), _("Total, €")])
    for row in parts[part]:
        name = label_of(part, row)
        # A spreadsheet must not take a name for a formula.
        writer.writerow([f"'{name}" if name[:1] in {"=", "+", "-", "@"} else name, row.count, format_amount(row.total)])
    headers = {"Content-Disposition": f'attachment; filename="{part}.csv"'}
    return Response(text.getvalue(), mimetype="text/csv", headers=headers)


def label_of(part: str, row: service.Row) -> str:
    """What a row of this table is called in the language of this request."""
    match part:
        case "day":
            return format_numeric_day(date.fromisoformat(row.label))
        case "hour":
            return _("{hour} h", hour=row.label)
        case "method":
            return label(Method(row.label))
        case "rate":
            return format_rate(int(row.label))
        case _:
            return row.label or _("Ordered by guests")


def _headings() -> dict[str, str]:
    return {
        "day": _("By day"), "hour": _("By hour"), "dish": _("By dish"), "server": _("By server"),
        "method": _("By payment method"), "rate": _("By VAT rate"),
    }  # fmt: skip


def _span() -> Span:
    settings: Settings = current_app.extensions["settings"]
    today = settings.business_day.of(now()).isoformat()
    try:
        return Span.model_validate({"since": request.args.get("du") or today, "until": request.args.get("au") or today})
    except ValidationError as error:
        raise Invalid(_("Choose a first and a last day that are at most 93 days apart.")) from error


def _report(span: Span) -> service.Report:
    database: Database = current_app.extensions["database"]
    settings: Settings = current_app.extensions["settings"]
    with database.snapshot() as session:
        return service.read_report(session, since=span.since, until=span.until, business_day=settings.business_day)
