"""Every sentence of the interface exists in French and in English, in the typography and the formats of each."""

from __future__ import annotations

import ast
import io
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient

import restaurant
from restaurant import i18n
from restaurant.billing.models import Method, Movement
from restaurant.deposits.models import DepositState, MovementKind
from restaurant.errors import Invalid
from restaurant.floor.models import Condition, Shape, TableState
from restaurant.forms import LABELS, parse_cents
from restaurant.menu.models import Allergen, Course, Station
from restaurant.messages.models import MessageKind, MessageStatus
from restaurant.messages.post import ChannelKind
from restaurant.orders.models import LineStatus, OrderStatus
from restaurant.payments.models import Action, AttemptState, Channel
from restaurant.people.permissions import Role
from restaurant.printing.models import JobKind, JobStatus, Trouble
from restaurant.reservations.models import BookingStatus, ChangeKind, WaitStatus
from restaurant.stock.models import MovementReason, Unit
from restaurant.table_orders.models import TableOrderStatus
from restaurant.types import Labelled

PACKAGE = Path(restaurant.__file__).parent
COMPILED = PACKAGE / "locales/fr/LC_MESSAGES/restaurant.mo"

LABELLED: list[type[Labelled]] = [
    Action,
    Allergen,
    AttemptState,
    BookingStatus,
    ChangeKind,
    ChannelKind,
    Channel,
    Condition,
    Course,
    DepositState,
    JobKind,
    JobStatus,
    LineStatus,
    Method,
    Movement,
    MessageKind,
    MessageStatus,
    MovementKind,
    MovementReason,
    OrderStatus,
    Role,
    Shape,
    Station,
    TableOrderStatus,
    TableState,
    Trouble,
    Unit,
    WaitStatus,
]

Message = tuple[str | None, str | tuple[str, ...]]


@pytest.fixture(scope="module")
def french() -> Catalog:
    with COMPILED.with_suffix(".po").open("rb") as file:
        return read_po(file, locale="fr", domain="restaurant")


@pytest.fixture(scope="module")
def messages() -> set[Message]:
    """Every message of the code and the templates, with its context."""
    methods = [("**.py", "python"), ("**.html", "jinja2")]
    keywords = {"_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    options = {"**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}}
    found = extract_from_dir(PACKAGE, methods, options, keywords=keywords)
    named = {(type(member).__name__, member.label) for kind in LABELLED for member in kind}
    # What extraction gives for a message without a plural is the message itself.
    return {(context, message) for _file, _line, message, _comments, context in found} | named


def test_the_french_catalog_has_every_message_and_no_other(french: Catalog, messages: set[Message]) -> None:
    assert {(entry.context, entry.id) for entry in french if entry.id} == messages


def test_the_compiled_catalog_is_made_from_the_written_one(french: Catalog) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, french)
    assert compiled.getvalue() == COMPILED.read_bytes(), "pybabel compile -d src/restaurant/locales -D restaurant"


def test_every_message_is_translated_with_the_same_places_for_values(french: Catalog) -> None:
    places = re.compile(r"\{(\w+)\}")
    for entry in french:
        forms = zip(
            entry.id if isinstance(entry.id, tuple) else [entry.id],
            entry.string if isinstance(entry.string, tuple) else [entry.string],
            strict=True,
        )
        for english, translated in forms:
            if english:
                assert translated, f"{english} has no French"
            assert sorted(places.findall(english)) == sorted(places.findall(translated)), english


def test_french_signs_are_never_torn_from_their_words(french: Catalog) -> None:
    torn = re.compile(r"[^\u00a0\u202f][:;!?»%€]|«[^\u00a0\u202f]|'|n° ")
    strings = [entry.string for entry in french if entry.id]
    texts = [text for entry in strings for text in (entry if isinstance(entry, tuple) else [entry])]
    assert [text for text in texts if torn.search(text)] == []


def test_every_field_of_a_form_is_called_what_its_page_calls_it(messages: set[Message]) -> None:
    assert {(None, label) for label in LABELS.values()} <= messages


def test_two_things_that_a_house_tells_apart_have_two_words(one_app: Flask) -> None:
    with one_app.test_request_context("/?lang=fr"):
        assert i18n.gettext("Cancel the order") == "Annuler la commande"
        assert i18n.gettext("Void this line") == "Supprimer cette ligne"
        assert (i18n.label(Role.CASHIER), i18n.gettext("Cash desk")) == ("Caissier·ère", "Caisse")
        assert (i18n.label(Role.KITCHEN), i18n.gettext("Kitchen")) == ("Cuisinier·ère", "Cuisine")
        assert (i18n.pgettext("button", "Order"), i18n.gettext("Order")) == ("Commander", "Commande")


@pytest.mark.parametrize(
    ("count", "french", "english"),
    [(0, "0 convive", "0 guests"), (1, "1 convive", "1 guest"), (2, "2 convives", "2 guests")],
)
def test_guests_are_counted_in_the_plural_of_each_language(
    one_app: Flask, count: int, french: str, english: str
) -> None:
    for locale, expected in (("fr", french), ("en", english)):
        with one_app.test_request_context(f"/?lang={locale}"):
            assert i18n.ngettext("{count} guest", "{count} guests", count) == expected


@pytest.mark.parametrize(
    ("cents", "french", "english"),
    [
        (0, "0,00\u00a0€", "€0.00"),
        (1234, "12,34\u00a0€", "€12.34"),
        (-5, "-0,05\u00a0€", "-€0.05"),
        (123456789, "1\u202f234\u202f567,89\u00a0€", "€1,234,567.89"),
    ],
)
def test_amounts_are_written_as_each_language_writes_them(cents: int, french: str, english: str) -> None:
    assert i18n.format_euros(cents, locale="fr") == french
    assert i18n.format_euros(cents, locale="en") == english


def test_dates_and_rates_are_written_as_each_language_writes_them(one_app: Flask) -> None:
    moment = datetime(2026, 4, 3, 18, 5, tzinfo=UTC)
    with one_app.test_request_context("/?lang=fr"):
        assert i18n.format_full_day(moment) == "vendredi 3 avril 2026"
        assert i18n.format_day(date(2026, 5, 1)) == "vendredi 1er mai"
        assert i18n.format_time(moment) == "20:05"
        assert i18n.format_rate(550) == "5,5\u00a0%"
    with one_app.test_request_context("/?lang=en"):
        assert i18n.format_full_day(moment) == "Friday 3 April 2026"
        assert i18n.format_time(moment) == "20:05"
        assert i18n.format_rate(550) == "5.5%"


@pytest.mark.parametrize("locale", ["fr", "en"])
@pytest.mark.parametrize("cents", [0, 5, 120, 1668, 124_500, 123_456_700])
def test_an_amount_can_be_typed_back_as_it_is_shown(one_app: Flask, locale: str, cents: int) -> None:
    with one_app.test_request_context(f"/?lang={locale}"):
        assert parse_cents(i18n.euros(cents)) == cents
        assert parse_cents(i18n.format_amount(cents)) == cents


@pytest.mark.parametrize(("locale", "shown"), [("fr", "16,68"), ("en", "16.68")])
def test_a_field_shows_an_amount_as_its_language_writes_it(one_app: Flask, locale: str, shown: str) -> None:
    with one_app.test_request_context(f"/?lang={locale}"):
        assert i18n.format_amount(1668) == shown


@pytest.mark.parametrize(
    ("locale", "text", "cents"),
    [
        ("fr", "12.5", 1250),
        ("fr", "1 245,00 €", 124_500),
        ("fr", "1245", 124_500),
        ("en", "12,5", 1250),
        ("en", "1,245", 124_500),
        ("en", " €1,245.50", 124_550),
    ],
)
def test_an_amount_is_read_as_the_language_writes_it(one_app: Flask, locale: str, text: str, cents: int) -> None:
    with one_app.test_request_context(f"/?lang={locale}"):
        assert parse_cents(text) == cents


@pytest.mark.parametrize("text", ["", "abc", "-5", "1,2,3", "12.345", "1.2.3", "١٢", "1e3", "99999999999", "NaN", "٫5"])
def test_what_is_no_amount_is_refused_in_both_languages(one_app: Flask, text: str) -> None:
    for locale in i18n.LOCALES:
        with one_app.test_request_context(f"/?lang={locale}"), pytest.raises(Invalid):
            parse_cents(text)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr-FR,en-US;q=0.7,en;q=0.3", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("de,en;q=0.5", "en"),
        ("de", "fr"),
        ("fr;q=0,en;q=0.1", "en"),
        ("", "fr"),
    ],
)
def test_a_page_is_in_the_language_that_the_browser_prefers(client: FlaskClient, header: str, language: str) -> None:
    page = client.get("/connexion", headers={"Accept-Language": header}).text
    assert f'<html lang="{language}">' in page


def test_no_page_joins_a_number_and_a_sign_by_hand() -> None:
    """Amounts and rates come from the formats, with their own spaces and signs."""
    by_hand = re.compile(r"\}\}\s*[€%]")
    assert [str(t) for t in PACKAGE.glob("templates/**/*.html") if by_hand.search(t.read_text())] == []


def test_every_message_in_the_code_is_a_literal() -> None:
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                literal = isinstance(node.args[0], ast.Constant)
                assert literal or module.name == "forms.py", f"{module.name}:{node.lineno}"
