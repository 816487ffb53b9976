"""Lines as bills and receipts show them: the courses of a set menu together, at its price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from restaurant.orders.models import LineStatus, OrderLine


@dataclass(frozen=True)
class Bundle:
    """The lines of one set menu, or a line alone."""

    lines: Sequence[OrderLine]

    @property
    def first(self) -> OrderLine:
        """The line that says which offer and which seat it is of."""
        return self.lines[0]

    @property
    def is_menu(self) -> bool:
        """Whether it is a set menu."""
        return self.first.portion is not None

    @property
    def quantity(self) -> int:
        """How many portions; of a set menu of which a part was voided, the most of any course."""
        portions: dict[int, int] = {}
        for line in self.lines:
            portions[line.dish_id] = portions.get(line.dish_id, 0) + line.quantity
        return max(portions.values())

    @property
    def total(self) -> int:
        """Cents for all of it."""
        return sum(line.total for line in self.lines)


def bundles(lines: Iterable[OrderLine]) -> list[Bundle]:
    """The lines that are not voided, in the sequence in which the first of each bundle was ordered."""
    found: dict[str, list[OrderLine]] = {}
    for line in lines:
        if line.status is not LineStatus.VOIDED:
            found.setdefault(line.portion or f"line {line.id}", []).append(line)
    return [Bundle(group) for group in found.values()]
