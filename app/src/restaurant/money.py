"""Amounts are whole cents, tax included; rates are hundredths of a percent (1000 is 10 %)."""

from __future__ import annotations

VAT_RATES = (550, 1000, 2000)


def tax_in(total: int, rate: int) -> int:
    """The tax contained in `total` cents at `rate`, rounded half up to the cent."""
    return (2 * total * rate + (10_000 + rate)) // (2 * (10_000 + rate)) if total >= 0 else -tax_in(-total, rate)
