"""What the cash desk prints: receipts, figures and closings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from restaurant.billing.models import Closing, Method, RateShare, Receipt
from restaurant.billing.service import Sums
from restaurant.deposits.models import MovementKind
from restaurant.i18n import euros, format_full_day, format_rate, format_time, label
from restaurant.i18n import gettext as _
from restaurant.orders.bundles import bundles
from restaurant.printing.escpos import Block, row, rule, text


@dataclass(frozen=True)
class House:
    """What the head of a document says."""

    name: str
    address: str
    registration: str


def receipt(found: Receipt, house: House, *, copy: int) -> list[Block]:
    """A receipt; every copy but the first is marked as a duplicate."""
    order, payment = found.payment.order, found.payment
    blocks = _head(house)
    if copy > 1:
        blocks.append(text(_("DUPLICATE {number}", number=copy - 1), bold=True, large=True, center=True))
    blocks += [
        text(_("Receipt {number}", number=found.number), bold=True),
        row(format_full_day(found.issued_at), format_time(found.issued_at)),
        rule(),
    ]
    for bundle in bundles(order.lines):
        if not bundle.total:
            continue
        name = bundle.first.offer if bundle.is_menu else bundle.first.name
        blocks.append(row(f"{bundle.quantity} x {name}", euros(bundle.total)))
        for line in bundle.lines:
            if bundle.is_menu:
                blocks.append(text(f"   {line.name}"))
            elif line.offer:
                blocks.append(text(f"   {line.offer}"))
            blocks += [text(f"   {option['name']}") for option in line.options]
    blocks.append(rule())
    if order.due != order.total:
        blocks.append(row(_("Discount"), euros(order.due - order.total)))
    if found.amount != order.due:
        blocks.append(row(_("Bill total"), euros(order.due)))
    paid = _("Refunded") if found.amount + found.tip < 0 else _("Paid")
    blocks.append(row(f"{paid} ({label(payment.method)})", euros(found.amount), bold=True))
    if found.tip:
        blocks.append(row(_("Tip"), euros(found.tip)))
    if found.amount > 0 and payment.tendered is not None and payment.change is not None:
        blocks += [row(_("Given in cash"), euros(payment.tendered)), row(_("Change due"), euros(payment.change))]
    return [*blocks, rule(), *_vat(found.shares)]


def figures(sums: Sums, house: House, *, at: datetime) -> list[Block]:
    """The figures since the last closing (X)."""
    blocks = [
        *_head(house), text(_("Figures so far (X)"), bold=True, large=True), row(format_full_day(at), format_time(at)),
        text(_("The day is not closed.")), rule(),
    ]  # fmt: skip
    if sums.empty:
        return [*blocks, text(_("There is nothing to close."))]
    return [*blocks, *_sums(sums), row(_("Total"), euros(sums.total), bold=True)]


def closing(found: Closing, house: House) -> list[Block]:
    """The closing of a day (Z)."""
    return [
        *_head(house), text(f"Z {found.number}", bold=True, large=True), text(format_full_day(found.day)),
        text(_("closed at {time} by {name}", time=format_time(found.closed_at), name=found.by)), rule(), *_sums(found),
        row(_("Total of the day"), euros(found.total), bold=True),
        row(_("Perpetual total"), euros(found.perpetual_total)),
    ]  # fmt: skip


def sample_page(name: str, *, at: datetime) -> list[Block]:
    """A page that shows whether a printer prints all it should."""
    return [
        text(name, bold=True, large=True, center=True),
        row(_("Test page"), format_time(at)),
        rule(),
        row("àâäçéèêëîïôöùûüÿæœ €", euros(123456)),
        text("0123456789 " * 5),
    ]


def _head(house: House) -> list[Block]:
    lines = [house.address, house.registration]
    return [text(house.name, bold=True, large=True, center=True), *(text(line, center=True) for line in lines if line)]


def _sums(sums: Sums | Closing) -> Iterator[Block]:
    if sums.first_receipt is not None and sums.last_receipt is not None and sums.first_receipt <= sums.last_receipt:
        yield text(_("Receipts {first} to {last}", first=sums.first_receipt, last=sums.last_receipt))
    yield from _vat(sums.by_rate)
    yield rule()
    for method, amount in sums.by_method.items():
        yield row(label(Method(method)), euros(amount))
    if sums.tips:
        yield row(_("Tips, beside the sales"), euros(sums.tips))
        for method, amount in sums.tips_by_method.items():
            yield row(f"   {label(Method(method))}", euros(amount))
    if sums.deposits:
        yield text(_("Deposits, beside the sales"))
        for kind, amount in sums.deposits.items():
            yield row(f"   {label(MovementKind(kind))}", euros(amount))
    yield rule()


def _vat(shares: Iterable[RateShare]) -> Iterator[Block]:
    for share in shares:
        rate = _("VAT {rate}", rate=format_rate(share["rate"]))
        yield row(_("{rate} of {amount}", rate=rate, amount=euros(share["total"] - share["tax"])), euros(share["tax"]))
