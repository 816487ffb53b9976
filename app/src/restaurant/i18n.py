"""Two languages, French first. Messages in the code are English; `locales/fr.json` has the French ones."""

from __future__ import annotations

import json
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from flask import Flask, current_app, g, has_request_context, request

from restaurant.money import format_euros

LOCALES: Final = ("fr", "en")
COOKIE: Final = "lang"

_MONTHS = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
    "en": "January February March April May June July August September October November December".split(),
}
_DAYS = {
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
}


@cache
def catalogue(locale: str) -> dict[str, str]:
    """Translations of `locale` by English message; empty for English."""
    path = Path(__file__).with_name("locales") / f"{locale}.json"
    if not path.exists():
        return {}
    messages: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return messages


def current_locale() -> str:
    """The language of this request: what the user chose, what the browser prefers, else French."""
    if not has_request_context():
        return LOCALES[0]
    if "locale" not in g:
        chosen = request.args.get("lang") or request.cookies.get(COOKIE)
        g.locale = chosen if chosen in LOCALES else request.accept_languages.best_match(LOCALES, LOCALES[0])
    return str(g.locale)


def gettext(message: str, **values: object) -> str:
    """`message` in the language of this request, with `values` put into its ``{name}`` places."""
    text = catalogue(current_locale()).get(message, message)
    return text.format(**values) if values else text


def local(moment: datetime) -> datetime:
    """`moment` in the restaurant's time zone."""
    zone: ZoneInfo = current_app.extensions["settings"].zone
    return moment.astimezone(zone)


def format_day(day: date) -> str:
    """``vendredi 3 avril`` or ``Friday 3 April``."""
    locale = current_locale()
    if isinstance(day, datetime):
        day = local(day)
    return f"{_DAYS[locale][day.weekday()]} {day.day} {_MONTHS[locale][day.month - 1]}"


def format_time(moment: datetime) -> str:
    """The time of day in the restaurant's time zone: ``20:15``."""
    return f"{local(moment):%H:%M}"


def euros(cents: int) -> str:
    """An amount in the language of this request."""
    return format_euros(cents, locale=current_locale())


def format_amount(cents: int) -> str:
    """An amount to be edited in a form, as `forms.parse_cents` reads it: ``12.50``."""
    return f"{cents // 100}.{cents % 100:02d}"


def format_rate(rate: int) -> str:
    """A VAT rate in hundredths of a percent: 550 as ``5,5`` or ``5.5``."""
    text = f"{rate / 100:g}"
    return text.replace(".", ",") if current_locale() == "fr" else text


def register(app: Flask) -> None:
    """Give templates ``_`` and the formats."""
    app.jinja_env.globals.update(_=gettext, locale=current_locale, locales=LOCALES)
    app.jinja_env.filters.update(
        euros=euros, clock=format_time, day=format_day, percent=format_rate, amount=format_amount
    )
