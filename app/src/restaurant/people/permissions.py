"""Who may do what: roles have permissions, and every blueprint names the ones it needs when it is registered."""

from __future__ import annotations

from enum import Enum, auto

from restaurant.types import Labelled


class Role(Labelled):
    """A person's job."""

    ADMIN = "admin"
    MANAGER = "manager"
    HOST = "host"
    SERVER = "server"
    KITCHEN = "kitchen"
    CASHIER = "cashier"


class Permission(Labelled):
    """One thing a person may be allowed to do."""

    EDIT_MENU = "edit_menu"
    SEE_FLOOR = "see_floor"
    EDIT_FLOOR = "edit_floor"
    SEAT = "seat"
    TAKE_ORDERS = "take_orders"
    VOID_LINES = "void_lines"
    COOK = "cook"
    BOOK = "book"
    EDIT_OPENING = "edit_opening"
    MANAGE_PRINTERS = "manage_printers"
    CASH = "cash"
    DISCOUNT = "discount"
    REFUND = "refund"
    CLOSE_DAY = "close_day"
    MANAGE_STOCK = "manage_stock"
    SEE_REPORTS = "see_reports"
    MANAGE_PEOPLE = "manage_people"


class Access(Enum):
    """Rules that are not a permission."""

    PUBLIC = auto()
    """Anybody, signed in or not."""
    SIGNED_IN = auto()
    """Every signed-in person."""


Rule = Permission | Access

_P = Permission
_MANAGER = frozenset(Permission) - {_P.MANAGE_PEOPLE}

GRANTED: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.MANAGER: _MANAGER,
    Role.HOST: frozenset({_P.SEE_FLOOR, _P.SEAT, _P.BOOK}),
    Role.SERVER: frozenset({_P.SEE_FLOOR, _P.SEAT, _P.TAKE_ORDERS, _P.BOOK, _P.CASH}),
    Role.KITCHEN: frozenset({_P.COOK}),
    Role.CASHIER: frozenset({_P.SEE_FLOOR, _P.CASH}),
}


def permits(role: Role, rule: Rule) -> bool:
    """Whether a signed-in person with `role` passes `rule`."""
    return isinstance(rule, Access) or rule in GRANTED[role]
