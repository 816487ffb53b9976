"""Column types and validated text shared by the domains."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer
from sqlalchemy.types import TypeDecorator

E = TypeVar("E", bound=StrEnum)

#: The largest value of a 32-bit key or amount; larger numbers are refused before they reach the database.
LARGEST = 2**31 - 1

#: The largest amount in cents that anything may come to, and the largest quantity in stock: two of them still fit.
MOST = 1_000_000_000


class Fault(ValueError):  # noqa: N818  # it is about a value, and ends no program
    """What a validator says is wrong, in the user's language."""


class Labelled(StrEnum):
    """A choice with a name for people, which is also its English message for translation."""

    @property
    def label(self) -> str:
        """``in_preparation`` as ``In preparation``."""
        return self.value.replace("_", " ").capitalize()


class Moment(TypeDecorator[datetime]):
    """An instant, always aware and in UTC on the Python side, on both engines."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What values of the column are in Python."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store UTC. Raises `ValueError` for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite forgets the zone; it is always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The present instant in UTC."""
    return datetime.now(UTC)


def choice(kind: type[E]) -> Enum:
    """A column of one of `kind`'s values, stored as its text so that adding one needs no migration."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=24,
        values_callable=lambda members: [member.value for member in members],
    )


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: 1, 2, 10, T1, T2."""
    parts = re.findall(r"\d+|\D+", text.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


#: A sum of many amounts. SQLite has one kind of integers, which is as large.
LONG = BigInteger().with_variant(Integer(), "sqlite")

_NON_JOINER, _JOINER = "\u200c\u200d"

#: Letters and marks without any shape: the grapheme joiner and fillers of Hangul and Khmer.
_SHAPELESS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"

#: The mark above a key that ends an emoji such as that of a digit.
_KEYCAP = "\u20e3"


def _printable(given: object) -> object:
    """A text in its composed form; whatever else is `given` is left to what follows.

    Raises `ValueError` for characters that hide or reorder other characters, or that are not seen.
    """
    if not isinstance(given, str):
        return given
    text = unicodedata.normalize("NFC", given)
    for place, character in enumerate(text):
        kind = unicodedata.category(character)
        hidden = kind in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} and character not in "\n\t"
        if character in (_NON_JOINER, _JOINER):
            hidden = not _joins(text, place)
        elif _selects(character):
            before, after = text[:place][-1:], text[place + 1 : place + 2]
            kind = unicodedata.category(before) if before > "\x7f" else ""
            hidden = kind not in {"So", "Sm", "Sk", "Lo", "Po"} and after != _KEYCAP
        if hidden or character in _SHAPELESS:
            raise ValueError("control characters are not allowed")
    return text


def _joins(text: str, place: int) -> bool:
    """Whether the joiner at `place` changes how emoji or letters of a script that has such forms are written."""
    before, after = text[:place].rstrip("\ufe0f")[-1:], text[place + 1 : place + 2]
    if not before or not after:
        return False
    # Next to the virama of Indic scripts, as in RFC 5892, appendix A.
    if 9 in (unicodedata.combining(before), unicodedata.combining(after)):
        return True
    if text[place] == _NON_JOINER:
        return unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    return all(unicodedata.category(sign) in {"So", "Sm", "Sk"} and sign > "\u2000" for sign in (before, after))


def _selects(character: str) -> bool:
    """Whether `character` selects a variant of the one before: of an emoji or a Chinese or Japanese character."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _one_line(text: str) -> str:
    """`text` with single spaces, so that two names that look the same are the same."""
    return " ".join(text.split())


#: A day within what can be added to and subtracted from.
Day = Annotated[date, Field(ge=date(2020, 1, 1), le=date(2100, 1, 1))]
Key = Annotated[int, Field(ge=1, le=LARGEST)]
#: Acts first, whatever else a text must be: the length of a text is that of what is kept.
Printable = BeforeValidator(_printable)
OneLine = AfterValidator(_one_line)
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), Printable, OneLine]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Printable]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), Printable]
