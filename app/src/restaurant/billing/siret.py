"""SIREN and SIRET, the numbers of French companies and of their establishments."""

from __future__ import annotations

#: The post office, whose establishments have numbers with a check of their own.
_LA_POSTE = "356000000"


def is_siret(text: str) -> bool:
    """Whether `text` is 14 digits whose check digits are right."""
    if len(text) != 14 or not (text.isascii() and text.isdigit()) or not is_siren(text[:9]):
        return False
    return _luhn(text) or (text.startswith(_LA_POSTE) and sum(map(int, text)) % 5 == 0)


def is_siren(text: str) -> bool:
    """Whether `text` is nine digits whose check digit is right."""
    return len(text) == 9 and text.isascii() and text.isdigit() and text != "0" * 9 and _luhn(text)


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
