"""French and English: messages, dates, numbers and money, by Babel's data.

Messages in the code are English; `locales/fr/LC_MESSAGES/restaurant.po` has the French ones. Babel itself is used
rather than Flask-Babel, whose messages are formatted with ``%`` and which brings a second time zone database.
"""

from __future__ import annotations

import gettext as catalogs
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.dates import format_time as babel_time
from babel.numbers import (
    NumberFormatError,
    format_currency,
    format_decimal,
    format_percent,
    parse_decimal,
)
from flask import Flask, current_app, g, has_request_context, request

from restaurant.types import Labelled, now

#: The formats of each language. A French house counts the hours to 24 and writes the day first, so its English is
#: British.
FORMATS: Final = {"fr": Locale("fr"), "en": Locale("en", "GB")}
LOCALES: Final = tuple(FORMATS)
COOKIE: Final = "lang"


@cache
def catalog(locale: str) -> catalogs.NullTranslations:
    """Translations of `locale`; English messages are their own."""
    if locale == "en":
        return catalogs.NullTranslations()
    return catalogs.translation("restaurant", Path(__file__).with_name("locales"), [locale])


#: The language of what is printed; None for that of the request.
_PRINTED: ContextVar[str | None] = ContextVar("language", default=None)


@contextmanager
def in_french() -> Iterator[None]:
    """Write what is for the house, and not for the user of this request, in French."""
    token = _PRINTED.set("fr")
    try:
        yield
    finally:
        _PRINTED.reset(token)


def current_locale() -> str:
    """The language of this request: what the user chose, what the browser prefers, else French.

    Commands, which have no request, are English.
    """
    if (fixed := _PRINTED.get()) is not None:
        return fixed
    if not has_request_context():
        return "en"
    if "locale" not in g:
        chosen = request.args.get("lang") or request.cookies.get(COOKIE)
        g.locale = chosen if chosen in LOCALES else _preferred()
    return str(g.locale)


def _preferred() -> str:
    # Any French is French: a browser that sends "fr-FR, en-US;q=0.7, en;q=0.3" wants French.
    for tag, quality in request.accept_languages:
        language = tag.partition("-")[0].lower()
        if quality > 0 and language in LOCALES:
            return language
    return LOCALES[0]


def gettext(message: str, **values: object) -> str:
    """`message` in the language of this request, with `values` put into its ``{name}`` places."""
    text = catalog(current_locale()).gettext(message)
    return text.format(**values) if values else text


def ngettext(singular: str, plural: str, count: int, **values: object) -> str:
    """As `gettext`, in the form that `count` needs, which fills the place ``{count}``."""
    text = catalog(current_locale()).ngettext(singular, plural, count)
    return text.format(count=format_number(count), **values)


def pgettext(context: str, message: str) -> str:
    """As `gettext`, for a message that has several meanings: `context` says which."""
    return catalog(current_locale()).pgettext(context, message)


def label(choice: Labelled) -> str:
    """The name of a choice; the kind of choice is its context, as the role and the place are both “Kitchen”."""
    return pgettext(type(choice).__name__, choice.label)


def local(moment: datetime) -> datetime:
    """`moment` in the restaurant's time zone."""
    zone: ZoneInfo = current_app.extensions["settings"].zone
    return moment.astimezone(zone)


def format_day(day: date) -> str:
    """``vendredi 3 avril`` or ``Friday 3 April``."""
    return _format_date(day, "EEEE d MMMM")


def format_full_day(day: date) -> str:
    """``vendredi 3 avril 2026`` or ``Friday 3 April 2026``."""
    return _format_date(day, "EEEE d MMMM y")


def format_short_day(day: date) -> str:
    """``03/04`` in both languages."""
    return _format_date(day, "dd/MM")


def format_numeric_day(day: date) -> str:
    """``03/04/2026`` in both languages."""
    return _format_date(day, "dd/MM/y")


def weekdays() -> list[str]:
    """The names of the weekdays, Monday first."""
    return [format_date(date(2024, 1, day), "EEEE", locale=FORMATS[current_locale()]) for day in range(1, 8)]


def abbreviated_weekdays() -> list[str]:
    """The short names of the weekdays, Monday first."""
    return [format_date(date(2024, 1, day), "EEE", locale=FORMATS[current_locale()]) for day in range(1, 8)]


def _format_date(day: date, pattern: str) -> str:
    if isinstance(day, datetime):
        day = local(day)
    locale = current_locale()
    if locale == "fr" and day.day == 1:
        # "1er avril": CLDR has no ordinal day.
        pattern = pattern.replace("d MMMM", "d'er' MMMM")
    return format_date(day, pattern, locale=FORMATS[locale])


def format_time(moment: datetime) -> str:
    """The time of day in the restaurant's time zone: ``20:15``."""
    return babel_time(local(moment).time(), "short", locale=FORMATS[current_locale()])


@lru_cache(maxsize=4096)
def format_euros(cents: int, *, locale: str) -> str:
    """`1234` as ``12,34 €`` in French and ``€12.34`` in English. Cached: menus show the same prices again."""
    return format_currency(Decimal(cents) / 100, "EUR", locale=FORMATS[locale])


def euros(cents: int) -> str:
    """An amount in the language of this request."""
    return format_euros(cents, locale=current_locale())


def format_amount(cents: int) -> str:
    """An amount to be edited in a form, as `parse_amount` reads it: ``12,50`` in French, ``12.50`` in English."""
    return format_decimal(Decimal(cents) / 100, "#0.00", locale=FORMATS[current_locale()])


def parse_amount(text: str) -> Decimal | None:
    """The number a person typed the way this language writes one, thousands grouped or not; None for anything else."""
    try:
        return parse_decimal(text, locale=FORMATS[current_locale()], strict=True)
    except NumberFormatError:
        return None


def format_number(number: float) -> str:
    """``1 500`` or ``1,500``."""
    return format_decimal(number, locale=FORMATS[current_locale()])


def format_rate(rate: int) -> str:
    """A VAT rate in hundredths of a percent: 550 as ``5,5 %`` or ``5.5%``."""
    return format_percent(Decimal(rate) / 10_000, locale=FORMATS[current_locale()], decimal_quantization=False)


def register(app: Flask) -> None:
    """Give templates ``_`` and the formats."""
    app.jinja_env.globals.update(
        _=gettext, ngettext=ngettext, pgettext=pgettext, locale=current_locale, locales=LOCALES, moment=now
    )
    app.jinja_env.filters.update(
        euros=euros,
        clock=format_time,
        day=format_day,
        full_day=format_full_day,
        short_day=format_short_day,
        numeric_day=format_numeric_day,
        percent=format_rate,
        amount=format_amount,
        number=format_number,
        label=label,
    )
