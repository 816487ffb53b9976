"""Every sentence of the interface exists in French and in English."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import restaurant
from restaurant.billing.models import Method
from restaurant.floor.models import Condition, Shape, TableState
from restaurant.forms import LABELS
from restaurant.i18n import catalogue
from restaurant.menu.models import Allergen, Course, Station
from restaurant.orders.models import LineStatus, OrderStatus
from restaurant.people.permissions import Role
from restaurant.reservations.models import BookingStatus, WaitStatus
from restaurant.stock.models import MovementReason, Unit
from restaurant.types import Labelled

PACKAGE = Path(restaurant.__file__).parent
IN_TEMPLATE = re.compile(r"""_\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")


LABELLED: list[type[Labelled]] = [
    Allergen,
    BookingStatus,
    Condition,
    Course,
    LineStatus,
    Method,
    MovementReason,
    OrderStatus,
    Role,
    Shape,
    Station,
    TableState,
    Unit,
    WaitStatus,
]


def messages() -> set[str]:
    found: set[str] = set()
    for template in PACKAGE.glob("templates/**/*.html"):
        found |= {ast.literal_eval(text) for text in IN_TEMPLATE.findall(template.read_text())}
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_" and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant):
                    found.add(str(argument.value))
    for kind in LABELLED:
        found |= {member.label for member in kind}
    return found


def test_the_french_catalogue_has_every_message_and_no_other() -> None:
    assert set(catalogue("fr")) == messages()


def test_every_field_of_a_form_is_called_what_its_page_calls_it() -> None:
    assert set(LABELS.values()) <= messages()


def test_translations_keep_the_places_of_values() -> None:
    places = re.compile(r"\{(\w+)\}")
    for english, french in catalogue("fr").items():
        assert sorted(places.findall(english)) == sorted(places.findall(french)), english
