"""PINs and badges: to approve something, or to change the person, on a device on which someone is signed in.

A PIN is hashed together with a signing key, which is not in the database: a copy of the database alone does not tell
the few digits. A badge is a long random text, to be written to a card or printed as a code that a reader types.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from itertools import pairwise

from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import select
from sqlalchemy.orm import Session

from restaurant.billing import journal
from restaurant.billing.models import EntryKind
from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.i18n import gettext as _
from restaurant.people import attempts
from restaurant.people.attempts import Unauthenticated, check_password, count_attempts, forget_attempts
from restaurant.people.models import User
from restaurant.types import now

PASSWORD, PIN, BADGE = "password", "pin", "badge"  # names of ways, not secrets
#: A PIN has so many digits. Passwords are longer.
SHORTEST, LONGEST = 4, 8
_BADGE_PREFIX = "badge-"


def check(database: Database, *, username: str, secret: str, device: str) -> tuple[User, str]:
    """The active person with this PIN, badge or password, and which of them it was; counts the attempt on `device`.

    A badge says whose it is, whatever the `username`. Raises as `check_password` does.
    """
    secret = secret.strip()
    if secret.startswith(_BADGE_PREFIX):
        return _check_badge(database, secret, device=device), BADGE
    if _is_pin(secret):
        return _check_pin(database, username.strip().lower(), secret, device=device), PIN
    return check_password(database, username=username, password=secret, address="", device=device), PASSWORD


def set_pin(session: Session, user: User, pin: str | None, *, keys: Sequence[str], by: User) -> None:
    """Give a person a PIN, or with None withdraw it. Raises `Invalid` for one that is guessed first."""
    if pin is not None:
        refuse_obvious(pin)
    user.pin_hash = attempts.HASHER.hash(_keyed(user, pin, keys[0])) if pin is not None else None
    _record(session, user, PIN, given=pin is not None, by=by)


def refuse_obvious(pin: str) -> None:
    """Raise `Invalid` for a PIN that is guessed first, or is none."""
    if not _is_pin(pin) or _is_obvious(pin):
        detail = _("Choose {least} to {most} digits that are not all equal or in sequence.", least=SHORTEST,
                   most=LONGEST)  # fmt: skip
        raise Invalid(detail, fields={"/pin": detail})


def set_badge(session: Session, user: User, *, given: bool, by: User) -> str | None:
    """Give a person a new badge, whose text is returned and not kept, or withdraw it."""
    text = _BADGE_PREFIX + secrets.token_urlsafe(18) if given else None
    user.badge_hash = _digest(text) if text is not None else None
    _record(session, user, BADGE, given=given, by=by)
    return text


def _record(session: Session, user: User, what: str, *, given: bool, by: User) -> None:
    content = {"person": user.username, "what": what, "given": given, "by": by.username, "at": now().isoformat()}
    journal.record(session, EntryKind.CREDENTIAL, content)


def _check_pin(database: Database, username: str, pin: str, *, device: str) -> User:
    if not username.isprintable():
        raise _wrong()
    subjects = [f"pin:{username[:100]}", f"quick:{device}"]
    count_attempts(database, subjects)
    with database.reading() as session:
        user = session.scalar(select(User).where(User.username == username, User.active))
    known = user if user is not None and user.pin_hash is not None else None
    if not any(_matches(known, pin, key) for key in database.signing_keys) or known is None:
        raise _wrong()
    forget_attempts(database, subjects)
    return known


def _matches(user: User | None, pin: str, key: str) -> bool:
    try:
        if user is None or user.pin_hash is None:
            return attempts.HASHER.verify(attempts.NOBODY, pin)
        return attempts.HASHER.verify(user.pin_hash, _keyed(user, pin, key))
    except (VerifyMismatchError, InvalidHashError):
        return False


def _check_badge(database: Database, text: str, *, device: str) -> User:
    subjects = [f"quick:{device}"]
    count_attempts(database, subjects)
    with database.reading() as session:
        user = session.scalar(select(User).where(User.badge_hash == _digest(text), User.active))
    if user is None:
        raise _wrong()
    forget_attempts(database, subjects)
    return user


def _wrong() -> Unauthenticated:
    return Unauthenticated(_("The PIN, the badge or the password is wrong."), code="wrong-credentials")


def _is_pin(text: str) -> bool:
    return text.isascii() and text.isdecimal() and SHORTEST <= len(text) <= LONGEST


def _is_obvious(pin: str) -> bool:
    return {int(after) - int(before) for before, after in pairwise(pin)} in ({0}, {1}, {-1})


def _keyed(user: User, pin: str, key: str) -> str:
    return hmac.new(key.encode(), f"pin:{user.id}:{pin}".encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
