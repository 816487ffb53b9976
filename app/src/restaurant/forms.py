"""Reading what people type into pages' forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.orm import Session

from restaurant.errors import Invalid
from restaurant.http import idempotency
from restaurant.i18n import gettext as _
from restaurant.i18n import parse_amount
from restaurant.types import Fault

M = TypeVar("M", bound=BaseModel)

#: Fields that do not say what a form is to do.
_NOT_CONTENT = frozenset({"key", "manager", "password"})


#: What pages call the fields of forms, as messages to translate.
LABELS = {
    "address": "Address", "allergies": "Allergies", "amount": "Amount", "category": "Category",
    "contact": "Telephone or e-mail", "first_day": "First day", "last_day": "Last day", "note": "Note",
    "override": "Override the rules, because", "tables": "Tables",
    "choices": "Dish", "courses": "Courses", "days": "When", "dish": "Dish", "ends": "Until", "items": "Prices",
    "starts": "From", "supplement": "Supplement, €",
    "course": "Course", "covers": "Guests", "customer": "Customer", "description": "Description",
    "guest": "Name", "height": "Depth, cm",
    "low_at": "Low-stock threshold", "method": "Payment method", "name": "Name", "name_en": "Name in English",
    "new": "New password", "parts": "Number of parts", "percent": "Percentage", "price": "Price",
    "quantity": "Quantity", "reason": "Reason", "role": "Role", "room": "Room", "seats_max": "Seats, maximum",
    "seats_min": "Seats, minimum", "shape": "Shape",
    "siret": "SIRET", "starts_at": "Time", "station": "Station", "tendered": "Given in cash", "tip": "Tip",
    "unit": "Unit", "username": "User name", "width": "Width, cm",
}  # fmt: skip


def typed(*names: str) -> dict[str, Any]:
    """What the form that was sent has in these fields; nothing where one is missing."""
    return {name: request.form.get(name, "") for name in names}


def read_form(model: type[M], values: dict[str, Any]) -> M:
    """The form's values as `model`. Raises `Invalid` naming the fields that are wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fields = {".".join(str(part) for part in entry["loc"]): _fault(entry) for entry in error.errors()}
        raise Invalid(_("Some values are missing or invalid."), fields=fields) from error


def _fault(entry: ErrorDetails) -> str:
    """What is wrong with a field, in the language and with the label of the page."""
    names = [part for part in entry["loc"] if isinstance(part, str)]
    label = _(LABELS.get(names[-1], names[-1])) if names else ""
    if entry["type"] in {"missing", "string_too_short"} and not entry["input"]:
        return _("{field}: required.", field=label)
    if entry["type"] == "value_error" and isinstance(entry["ctx"]["error"], Fault):
        return str(entry["ctx"]["error"])
    return _("{field}: invalid value.", field=label) if label else _("Some values are missing or invalid.")


def first_time(session: Session, *, scope: str | None = None, content: BaseModel | None = None) -> bool:
    """Whether this form is sent for the first time: each page carries a key of its own, which is claimed here.

    A form without a key, which no page of the application sends, is never taken for a repetition. Raises `KeyReused`
    when the key comes with other values: those of `content`, or else of the whole form.
    """
    key = request.form.get("key", "")[:100]
    if not key:
        return True
    if content is not None:
        values = content.model_dump_json()
    else:
        values = repr(sorted(entry for entry in request.form.items(multi=True) if entry[0] not in _NOT_CONTENT))
    claimed = idempotency.claim(session, scope=scope or f"web:{request.path}", key=key, content=values.encode())
    if claimed.replay is None:
        idempotency.keep(session, claimed, status=303, body="")
    return claimed.replay is None


def read_version(form: Mapping[str, str]) -> int:
    """The version that a form was made from; one that never was, if the form does not say."""
    text = form.get("version", "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else -1


def read_switch(form: Mapping[str, str], name: str) -> bool:
    """What a button that says ``1`` or ``0`` wants: sent twice it wants the same twice. Raises `Invalid`."""
    wanted = form.get(name, "")
    if wanted not in {"0", "1"}:
        raise Invalid(_("Some values are missing or invalid."))
    return wanted == "1"


def parse_cents(text: str) -> int:
    """An amount as people type it or as a page shows it: ``12,5``, ``12.50``, ``1 245,00 €``. Raises `Invalid`."""
    bare = "".join(text.replace("€", "").split())
    if not re.fullmatch(r"[0-9.,]{1,15}", bare):
        raise _no_amount()
    # Telephones have one decimal separator, whatever the language: either is taken where it cannot group thousands.
    plain = re.fullmatch(r"\d{1,7}([.,]\d{1,2})?", bare)
    amount = Decimal(bare.replace(",", ".")) if plain is not None else parse_amount(text.replace("€", "").strip())
    cents = None if amount is None else amount * 100
    if cents is None or not 0 <= cents < 10**9 or cents != int(cents):
        raise _no_amount()
    return int(cents)


def _no_amount() -> Invalid:
    return Invalid(_("Enter an amount such as 12.50."))
