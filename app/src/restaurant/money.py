"""Amounts are whole cents, tax included; rates are hundredths of a percent (1000 is 10 %)."""

from __future__ import annotations

VAT_RATES = (550, 1000, 2000)


def tax_in(total: int, rate: int) -> int:
    """The tax contained in `total` cents at `rate`, rounded half up to the cent."""
    return (2 * total * rate + (10_000 + rate)) // (2 * (10_000 + rate)) if total >= 0 else -tax_in(-total, rate)


def format_euros(cents: int, *, locale: str) -> str:
    """`1234` as ``12,34 €`` in French and ``€12.34`` in English."""
    sign = "-" if cents < 0 else ""
    euros, rest = divmod(abs(cents), 100)
    if locale == "fr":
        return f"{sign}{f'{euros:,}'.replace(',', ' ')},{rest:02d} €"
    return f"{sign}€{euros:,}.{rest:02d}"
