"""Cents, VAT and how amounts are written."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restaurant.money import VAT_RATES, format_euros, tax_in


@given(st.integers(0, 10**9), st.sampled_from(VAT_RATES))
def test_the_tax_in_a_total_is_rounded_half_up_to_the_cent(total: int, rate: int) -> None:
    exact = Decimal(total) * rate / (10_000 + rate)
    assert tax_in(total, rate) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.integers(0, 10**9), st.sampled_from(VAT_RATES))
def test_a_refund_carries_the_tax_that_was_paid(total: int, rate: int) -> None:
    assert tax_in(-total, rate) == -tax_in(total, rate)


@pytest.mark.parametrize(
    ("cents", "french", "english"),
    [
        (0, "0,00 €", "€0.00"),
        (1234, "12,34 €", "€12.34"),
        (-5, "-0,05 €", "-€0.05"),
        (123456789, "1 234 567,89 €", "€1,234,567.89"),
    ],
)
def test_amounts_are_written_as_each_language_writes_them(cents: int, french: str, english: str) -> None:
    assert format_euros(cents, locale="fr").replace("\u202f", " ").replace("\u00a0", " ") == french
    assert format_euros(cents, locale="en") == english
