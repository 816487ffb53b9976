"""Dividing cents without losing or making one: the parts always add up to the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

K = TypeVar("K")


def equal_shares(total: int, parts: int) -> list[int]:
    """`total` cents in `parts` shares that differ by one cent at most, the larger ones first."""
    share, rest = divmod(total, parts)
    return [share + 1] * rest + [share] * (parts - rest)


def apportion(weights: Mapping[K, int], total: int) -> dict[K, int]:
    """`total` cents over keys in proportion to their weights, by largest remainder.

    No key gets more than its weight when `total` is at most the sum of the weights, so amounts taken one after the
    other from what is left use it up exactly. Raises `ValueError` when there is something to give and no weight.
    """
    whole = sum(weights.values())
    if whole == 0:
        if total:
            raise ValueError("nothing to apportion to")
        return dict.fromkeys(weights, 0)
    shares = {key: weight * total // whole for key, weight in weights.items()}
    left = total - sum(shares.values())
    by_remainder = sorted(weights, key=lambda key: weights[key] * total % whole, reverse=True)
    for key in by_remainder[:left]:
        shares[key] += 1
    return shares


def seat_shares(lines: Sequence[tuple[int | None, int]], total: int) -> dict[int, int]:
    """`total` cents by seat, given each line's seat (None for what is shared) and amount.

    What is shared is divided equally over the seats; a discount, the difference between the lines and `total`, is
    borne in proportion. Without any seat everything is seat 1's.
    """
    seats = sorted({seat for seat, _amount in lines if seat is not None}) or [1]
    owed = dict.fromkeys(seats, 0)
    shared = 0
    for seat, amount in lines:
        if seat is None:
            shared += amount
        else:
            owed[seat] += amount
    for seat, share in zip(seats, equal_shares(shared, len(seats)), strict=True):
        owed[seat] += share
    return apportion(owed, total)
