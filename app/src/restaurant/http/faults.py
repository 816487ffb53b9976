"""What is wrong with a value, in the user's language: pydantic's own words are for programmers."""

from __future__ import annotations

import re

from pydantic_core import ErrorDetails

from restaurant.i18n import gettext as _
from restaurant.i18n import ngettext
from restaurant.types import Fault


def describe(entry: ErrorDetails) -> str:
    """One sentence about a validation error."""
    context = entry.get("ctx", {})
    match entry["type"]:
        case "missing":
            return _("This value is required.")
        case "string_too_short" if not entry["input"]:
            return _("This value is required.")
        case "extra_forbidden":
            return _("This field is unknown.")
        case "string_too_short":
            count = int(context["min_length"])
            return ngettext("Enter at least {count} character.", "Enter at least {count} characters.", count)
        case "string_too_long":
            count = int(context["max_length"])
            return ngettext("Enter at most {count} character.", "Enter at most {count} characters.", count)
        case "greater_than_equal":
            return _("The value must be at least {limit}.", limit=context["ge"])
        case "less_than_equal":
            return _("The value must be at most {limit}.", limit=context["le"])
        case "enum" | "literal_error":
            # Members of an enumeration are named as Python shows them: their values are what is quoted.
            values = ", ".join(re.findall(r"'([^']*)'", context["expected"]))
            return _("The value must be one of: {values}.", values=values)
        case "value_error" if isinstance(context["error"], Fault):
            return str(context["error"])
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return _("The value must be a whole number.")
        case "too_long":
            return _("The list must have at most {limit} entries.", limit=context["max_length"])
        case "too_short":
            return _("The list must have at least {limit} entries.", limit=context["min_length"])
        case _:
            return _("This value is not valid.")
