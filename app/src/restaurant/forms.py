"""Reading what people type into pages' forms."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from restaurant.errors import Invalid
from restaurant.i18n import gettext as _

M = TypeVar("M", bound=BaseModel)


def read_form(model: type[M], values: dict[str, Any]) -> M:
    """The form's values as `model`. Raises `Invalid` naming the fields that are wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        fields = {".".join(str(part) for part in entry["loc"]): entry["msg"] for entry in faults}
        raise Invalid(_("Some values are missing or wrong."), fields=fields) from error


def parse_cents(text: str) -> int:
    """An amount as people type it, ``12,5`` or ``12.50``, as 1250. Raises `Invalid`."""
    found = re.fullmatch(r"(\d{1,7})(?:[.,](\d{1,2}))?", text.replace("€", "").strip())
    if found is None:
        raise Invalid(_("The amounts must be numbers such as 12.50."))
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))
