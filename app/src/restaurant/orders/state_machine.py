"""The two state machines of an order: how its lines move, and its status as a function of lines and bill."""

from __future__ import annotations

from collections.abc import Iterable

from restaurant.orders.models import LineStatus, OrderStatus

_S = LineStatus

#: The transitions of a line. Steps back are the kitchen's recall.
MOVES: dict[LineStatus, frozenset[LineStatus]] = {
    _S.HELD: frozenset({_S.FIRED, _S.VOIDED}),
    _S.FIRED: frozenset({_S.PREPARING, _S.READY, _S.VOIDED}),
    _S.PREPARING: frozenset({_S.READY, _S.FIRED, _S.VOIDED}),
    _S.READY: frozenset({_S.SERVED, _S.PREPARING, _S.VOIDED}),
    _S.SERVED: frozenset({_S.READY, _S.VOIDED}),
    _S.VOIDED: frozenset(),
}

#: An order in one of these takes no more lines and cannot be cancelled.
SETTLED = frozenset({OrderStatus.BILLED, OrderStatus.PAID, OrderStatus.CLOSED, OrderStatus.CANCELLED})


def status_of(lines: Iterable[LineStatus], *, billed: bool = False, paid: bool = False) -> OrderStatus:
    """The status of an order that was neither cancelled nor merged away.

    A paid order is closed once nothing of it is left to serve.
    """
    standing = {line for line in lines if line is not _S.VOIDED}
    waiting = standing & {_S.HELD, _S.FIRED, _S.PREPARING, _S.READY}
    if paid:
        return OrderStatus.PAID if waiting else OrderStatus.CLOSED
    if billed:
        return OrderStatus.BILLED
    if not standing or standing == {_S.HELD}:
        return OrderStatus.DRAFT
    if not waiting:
        return OrderStatus.SERVED
    if standing <= {_S.READY, _S.SERVED}:
        return OrderStatus.READY
    if standing & {_S.PREPARING, _S.READY, _S.SERVED}:
        return OrderStatus.IN_PREPARATION
    return OrderStatus.SENT
