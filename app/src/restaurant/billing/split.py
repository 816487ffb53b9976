"""Dividing cents without losing or creating one: the parts always add up to the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")


@dataclass(frozen=True)
class Cell:
    """What one seat owes for one line: the smallest part of a bill that a payment can be for."""

    line: int
    seat: int
    rate: int


@dataclass(frozen=True)
class Item:
    """A line of a bill: its amount, its VAT rate, and the seat it is for, None when the table shares it."""

    line: int
    seat: int | None
    rate: int
    amount: int


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


def by_rate(items: Iterable[Item], due: int) -> dict[int, int]:
    """What of `due` falls under each VAT rate: discounts lower every rate in proportion."""
    totals: Counter[int] = Counter()
    for item in items:
        totals[item.rate] += item.amount
    return apportion(dict(totals), due)


def owed(items: Sequence[Item], due: int) -> dict[Cell, int]:
    """`due` cents by line and seat; they add up to `by_rate` for each VAT rate.

    What is shared is divided equally over the seats; a discount, the difference between the items and `due`, lowers
    everything in proportion. Without any seat everything is seat 1's.
    """
    seats = sorted({item.seat for item in items if item.seat is not None}) or [1]
    weights: dict[int, dict[Cell, int]] = {}
    turn = 0
    for item in items:
        cells = weights.setdefault(item.rate, {})
        if item.seat is not None:
            cells[Cell(item.line, item.seat, item.rate)] = item.amount
            continue
        # The odd cents of shared lines go to one seat after the other.
        order = seats[turn % len(seats) :] + seats[: turn % len(seats)]
        for seat, share in zip(order, equal_shares(item.amount, len(seats)), strict=True):
            cells[Cell(item.line, seat, item.rate)] = share
        turn += item.amount % len(seats)
    found: dict[Cell, int] = {}
    for rate, total in by_rate(items, due).items():
        found |= apportion(weights[rate], total)
    return found


def take(left: Mapping[Cell, int], amount: int, wanted: Callable[[Cell], bool]) -> dict[Cell, int]:
    """What a payment of `amount` takes from what is `left`: from the `wanted` cells first, the rest from the others."""
    first = {cell: cents for cell, cents in left.items() if wanted(cell)}
    others = {cell: cents for cell, cents in left.items() if not wanted(cell)}
    part = min(amount, sum(first.values()))
    return apportion(first, part) | apportion(others, amount - part)
