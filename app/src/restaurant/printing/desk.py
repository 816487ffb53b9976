"""Printing what the cash desk issues."""

from __future__ import annotations

from sqlalchemy.orm import Session

from restaurant.billing import service as billing
from restaurant.errors import NotFound
from restaurant.i18n import gettext as _
from restaurant.i18n import in_french
from restaurant.people.models import User
from restaurant.printing import documents
from restaurant.printing.models import JobKind
from restaurant.printing.service import enqueue, targets
from restaurant.settings import Settings
from restaurant.types import now


def print_receipt(session: Session, number: int, *, printer: int, by: User, settings: Settings) -> int:
    """Count a copy of a receipt and queue it, and return the job's key; all but the first are marked as duplicates.

    Raises `NotFound`.
    """
    _check(session, printer)
    copy = billing.print_receipt(session, number, by=by)
    found = billing.read_receipt(session, number)
    with in_french():
        content = documents.receipt(found, _house(settings), copy=copy)
    return enqueue(session, printer, JobKind.RECEIPT, title=str(number), content=content, by=by.username)


def print_figures(session: Session, *, printer: int, by: User, settings: Settings) -> int:
    """Queue the figures since the last closing (X). Raises `NotFound` for an unknown printer."""
    _check(session, printer)
    with in_french():
        content = documents.figures(billing.to_close(session), _house(settings), at=now())
    return enqueue(session, printer, JobKind.FIGURES, title="X", content=content, by=by.username)


def print_closing(session: Session, number: int, *, printer: int, by: User, settings: Settings) -> int:
    """Queue a closing (Z). Raises `NotFound` for an unknown closing or printer."""
    _check(session, printer)
    with in_french():
        content = documents.closing(billing.read_closing(session, number), _house(settings))
    return enqueue(session, printer, JobKind.CLOSING, title=f"Z {number}", content=content, by=by.username)


def _check(session: Session, printer: int) -> None:
    if not any(target.id == printer and target.receipts for target in targets(session)):
        raise NotFound(_("This printer does not exist."))


def _house(settings: Settings) -> documents.House:
    return documents.House(settings.name, settings.address, settings.registration)
