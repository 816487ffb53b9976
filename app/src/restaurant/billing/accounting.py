"""The closings as entries of an accounting journal: the French FEC (article A.47 A-1 of the LPF), and a sales journal.

Each closing is one entry: what was taken by method is debited, sales without tax and the tax by rate are credited, and
tips are owed to the staff. An entry is balanced because the closing is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from restaurant.billing.models import Closing, Invoice
from restaurant.business_day import BusinessDay
from restaurant.deposits.models import MovementKind

#: The columns, in the sequence that the law gives.
COLUMNS = (
    "JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib PieceRef PieceDate "
    "Debit Credit EcritureLib EcritureLet DateLet ValidDate Montantdevise Idevise"
).split()
_SALES = ("VE", "Ventes")
#: Accounts of the French chart of accounts. Names have no accents, so that every permitted encoding is the same.
_METHODS = {
    "card": ("511500", "Cartes bancaires a encaisser"),
    "cash": ("530000", "Caisse"),
    "voucher": ("511700", "Titres restaurant a encaisser"),
    "transfer": ("511800", "Virements a recevoir"),
    "deposit_deducted": ("419100", "Clients - acomptes recus"),
}
_REVENUE = {550: "706055", 1000: "706100", 2000: "706200"}
_TAX = {550: "445715", 1000: "445711", 2000: "445712"}
_TIPS = ("467100", "Pourboires a reverser")
_DEPOSITS = ("419100", "Clients - acomptes recus")
#: A deposit that is kept is a compensation, which is no sale and has no VAT.
_COMPENSATION = ("758800", "Indemnites de reservation")


@dataclass(frozen=True)
class Posting:
    """A line of an entry: cents on an account, debited when positive, credited when negative."""

    account: str
    name: str
    cents: int


def read_closings(session: Session, *, since: date, until: date) -> Sequence[Closing]:
    """The closings of the business days from `since` to `until`, both included."""
    query = select(Closing).where(Closing.day >= since, Closing.day <= until).order_by(Closing.number)
    return session.scalars(query).all()


def postings(closing: Closing) -> Iterator[Posting]:
    """The lines of the entry of a closing, which add up to zero."""
    for method, (account, name) in _METHODS.items():
        yield Posting(account, name, closing.by_method.get(method, 0) + closing.tips_by_method.get(method, 0))
    for share in closing.by_rate:
        rate = share["rate"]
        label = f"{rate / 100:g} %".replace(".", ",")
        yield Posting(_REVENUE[rate], f"Ventes {label}", share["tax"] - share["total"])
        yield Posting(_TAX[rate], f"TVA collectee {label}", -share["tax"])
    yield Posting(*_TIPS, -closing.tips)
    moved = {MovementKind(kind): cents for kind, cents in closing.deposits.items()}
    received = moved.get(MovementKind.TAKEN, 0) - moved.get(MovementKind.REFUNDED, 0)
    kept = moved.get(MovementKind.KEPT, 0)
    yield Posting(*_METHODS["card"], received)
    yield Posting(*_DEPOSITS, kept - received)
    yield Posting(*_COMPENSATION, -kept)


def fec(closings: Iterable[Closing], business_day: BusinessDay) -> str:
    """The file of a period: fields are separated by tabs, amounts have a decimal comma."""
    lines = ["\t".join(COLUMNS)]
    for closing in closings:
        day, closed = (f"{moment:%Y%m%d}" for moment in (closing.day, closing.closed_at.astimezone(business_day.zone)))
        piece = f"Z{closing.number}"
        for posting in postings(closing):
            if posting.cents:
                debit, credit = _euros(max(posting.cents, 0)), _euros(max(-posting.cents, 0))
                fields = (
                    *_SALES, str(closing.number), day, posting.account, posting.name, "", "", piece, closed, debit,
                    credit, f"Cloture {piece} du {closing.day:%d/%m/%Y}", "", "", closed, "", "",
                )  # fmt: skip
                lines.append("\t".join(fields))
    return "".join(f"{line}\r\n" for line in lines)


def fec_name(siren: str, until: date) -> str:
    """The name that the law gives to the file."""
    return f"{siren}FEC{until:%Y%m%d}.txt"


def sales_journal(closings: Iterable[Closing]) -> str:
    """One line per closing and VAT rate as CSV, in the form that French spreadsheets and accounting programs read."""
    text = io.StringIO()
    text.write("\N{BYTE ORDER MARK}")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["Date", "Cloture", "Premier ticket", "Dernier ticket", "Taux TVA", "HT", "TVA", "TTC"])
    for closing in closings:
        for share in closing.by_rate:
            writer.writerow(
                [
                    f"{closing.day:%d/%m/%Y}", f"Z{closing.number}", closing.first_receipt, closing.last_receipt,
                    f"{share['rate'] / 100:g}".replace(".", ","), _euros(share["total"] - share["tax"]),
                    _euros(share["tax"]), _euros(share["total"]),
                ]
            )  # fmt: skip
    return text.getvalue()


def invoice_register(invoices: Iterable[Invoice], business_day: BusinessDay) -> str:
    """One line per invoice and VAT rate as CSV.

    Their sales are in the closings already, which the FEC and the sales journal contain: this says for whom.
    """
    text = io.StringIO()
    text.write("\N{BYTE ORDER MARK}")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["Date", "Facture", "Avoir sur", "Client", "SIRET", "Taux TVA", "HT", "TVA", "TTC"])
    for invoice in invoices:
        day = f"{invoice.issued_at.astimezone(business_day.zone):%d/%m/%Y}"
        for share in invoice.shares:
            writer.writerow(
                [
                    day, f"F{invoice.number}", f"F{invoice.corrects}" if invoice.corrects else "",
                    _text(invoice.customer), invoice.siret or "", f"{share['rate'] / 100:g}".replace(".", ","),
                    _euros(share["total"] - share["tax"]), _euros(share["tax"]), _euros(share["total"]),
                ]
            )  # fmt: skip
    return text.getvalue()


def _text(typed: str) -> str:
    """What someone typed, which no spreadsheet takes for a formula."""
    return f"'{typed}" if typed.startswith(("=", "+", "-", "@")) else typed


def _euros(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100},{abs(cents) % 100:02}"
