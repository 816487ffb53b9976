"""Passwords, and the protection against guessing them (ASVS 6.3.1).

It counts in the database, so it holds however many pods there are: an
attempt is counted before the password is looked at: for the user name from this address, for the address, and for the
user name from anywhere. From the fifth failure of the first on (the 61st of an address, the 101st of a name), each one
blocks for twice as long as the one before, up to fifteen minutes. So a stranger who fails with a person's name blocks
only their own address. A device that is known, because this person has signed in there before (`devices`) or somebody
is signed in there now, is counted for itself: a guest in the restaurant's own network blocks nobody on it.

PINs and badges (`quick`) are accepted only where someone is signed in. The fifth wrong PIN of a person blocks that PIN,
wherever it was typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from restaurant.database import Database
from restaurant.errors import Problem
from restaurant.i18n import gettext as _
from restaurant.i18n import ngettext
from restaurant.people.models import LoginAttempts, User
from restaurant.types import now

#: OWASP's floor for argon2id: 19 MiB, so that several sign-ins at once fit into a small pod.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: The hash of a random password, so that an unknown user name takes as long as a known one. A constant, because
#: hashing one at each start takes 0.1 s.
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$jZcj+vcfmVK/WPBs6fHNAA$D6Zs+cjiG3NgD2/rXE6X7j9apQ6nYFjAiE88EnqkLaI"


#: Failures before blocking begins. Behind an untrusted proxy all of a restaurant's devices share one address.
FREE_FAILURES = {"pair": 4, "device": 4, "pin": 4, "address": 60, "quick": 60, "user": 100}
_BLOCK = timedelta(seconds=15)
_LONGEST_BLOCK = timedelta(minutes=15)


class Unauthenticated(Problem):
    """No one is signed in, or the session has expired."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"


class Refused(Problem):
    """The person signed in may not do this."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class TooManyAttempts(Problem):
    """Signing in is blocked for `seconds`."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too-many-attempts"

    def __init__(self, detail: str, *, seconds: int) -> None:
        super().__init__(detail)
        self.headers["Retry-After"] = str(seconds)


def check_password(
    database: Database, *, username: str, password: str, address: str, device: str | None = None
) -> User:
    """The active person with this name and password; counts the attempt. Raises as `sign_in` does.

    On a known `device`, only its own failures block.
    """
    username = username.strip().lower()
    if not username.isprintable():
        raise Unauthenticated(_("The user name or the password is wrong."), code="wrong-credentials")
    if device is not None:
        subjects = [f"device:{username[:40]}@{device}"]
    else:
        subjects = [f"pair:{username[:40]}@{address[:70]}", f"address:{address[:100]}", f"user:{username[:100]}"]
    count_attempts(database, subjects)
    with database.reading() as session:
        user = session.scalar(select(User).where(User.username == username, User.active))
    try:
        HASHER.verify(user.password_hash if user is not None else NOBODY, password)
    except (VerifyMismatchError, InvalidHashError):
        user = None
    if user is None:
        raise Unauthenticated(_("The user name or the password is wrong."), code="wrong-credentials")
    forget_attempts(database, subjects)
    return user


def device_of(user: User) -> str:
    """The device on which `user` is signed in, as its attempts are counted: new sessions do not make it a new one."""
    return f"user-{user.id}"


def count_attempts(database: Database, subjects: Sequence[str]) -> None:
    """Count an attempt of each subject. Raises `TooManyAttempts` when one of them is blocked."""
    blocked = None
    with database.writing() as session:
        for subject in subjects:
            blocked = max(filter(None, (blocked, _count_attempt(session, subject=subject))), default=None)
    if blocked is not None:
        seconds = ceil((blocked - now()).total_seconds())
        detail = ngettext(
            "Too many attempts. Please wait {count} second.", "Too many attempts. Please wait {count} seconds.", seconds
        )
        raise TooManyAttempts(detail, seconds=seconds)


def forget_attempts(database: Database, subjects: Sequence[str]) -> None:
    """Forget the failures of these subjects after a success."""
    with database.writing() as session:
        session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(subjects)))


def _count_attempt(session: Session, *, subject: str) -> datetime | None:
    """Count an attempt of `subject`, or return until when it is blocked."""
    moment = now()
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    # The update locks a row that exists, which someone who signs in would delete otherwise.
    session.execute(
        insert(LoginAttempts)
        .values(subject=subject, failures=0, blocked_until=moment)
        .on_conflict_do_update(index_elements=[LoginAttempts.subject], set_={"failures": LoginAttempts.failures})
    )
    row = session.get_one(LoginAttempts, subject, populate_existing=True)
    if row.blocked_until > moment:
        return row.blocked_until
    row.failures += 1
    beyond = row.failures - FREE_FAILURES[subject.partition(":")[0]]
    if beyond > 0:
        row.blocked_until = moment + min(_BLOCK * 2 ** min(beyond, 10), _LONGEST_BLOCK)
    return None
