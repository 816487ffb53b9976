"""Cents and VAT."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from restaurant.money import VAT_RATES, tax_in


@given(st.integers(0, 10**9), st.sampled_from(VAT_RATES))
def test_the_tax_in_a_total_is_rounded_half_up_to_the_cent(total: int, rate: int) -> None:
    exact = Decimal(total) * rate / (10_000 + rate)
    assert tax_in(total, rate) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.integers(0, 10**9), st.sampled_from(VAT_RATES))
def test_a_refund_carries_the_tax_that_was_paid(total: int, rate: int) -> None:
    assert tax_in(-total, rate) == -tax_in(total, rate)
