"""What is printed in the kitchen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from restaurant.i18n import format_time, label
from restaurant.i18n import gettext as _
from restaurant.menu.models import Allergen, Station
from restaurant.printing.escpos import Block, row, rule, text


@dataclass(frozen=True)
class TicketLine:
    """A line of a kitchen ticket."""

    station: Station
    quantity: int
    name: str
    options: Sequence[str]
    note: str
    danger: Sequence[str]
    """Allergens of the dish that the guests must not eat."""


@dataclass(frozen=True)
class Heading:
    """Whose order a ticket is of."""

    title: str
    """The table, or the guest who takes the order away."""
    details: str
    allergies: Sequence[str]
    note: str


def kitchen_ticket(
    heading: Heading, lines: Iterable[TicketLine], *, at: datetime, voided: bool = False, change: str = ""
) -> list[Block]:
    """What a station prepares, stops preparing, or prepares already of an order with a `change`."""
    blocks = [text(_("VOIDED"), bold=True, large=True, center=True)] if voided else []
    if change:
        blocks += [text(_("CHANGED"), bold=True, large=True, center=True), text(change, bold=True), rule()]
    blocks += [text(heading.title, bold=True, large=True), row(heading.details, format_time(at)), rule()]
    if heading.allergies:
        blocks += [text(_("ALLERGIES: {names}", names=_allergens(heading.allergies)), bold=True), rule()]
    for line in lines:
        blocks.append(text(f"{line.quantity} x {line.name}", bold=True, large=True))
        blocks += [text(f"   + {option}") for option in line.options]
        if line.note:
            blocks.append(text(f"   ! {line.note}", bold=True))
        if line.danger:
            blocks.append(text("   " + _("CONTAINS: {names}", names=_allergens(line.danger)), bold=True))
    if heading.note:
        blocks += [rule(), text(heading.note, bold=True)]
    return blocks


def _allergens(names: Iterable[str]) -> str:
    return ", ".join(label(Allergen(name)).lower() for name in names)
