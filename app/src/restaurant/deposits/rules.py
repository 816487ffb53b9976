"""When a booking needs a deposit, how much, and until when it is given back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class DepositRules:
    """The settings of deposits; amounts are cents, and 0 for no deposits."""

    per_cover: int
    fixed: int
    covers: int
    """Parties of at least so many guests pay a deposit."""
    refund: timedelta
    """Until so long before the booking, a cancellation gives it back."""
    pay: timedelta
    """How long a guest who books online has to pay it, after which the booking is released."""

    def amount(self, covers: int) -> int:
        """Cents that a party of this size pays, 0 for none."""
        return self.per_cover * covers + self.fixed if covers >= self.covers else 0
