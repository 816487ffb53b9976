"""Signing in and out, and the list of people.

The protection against guessing (ASVS 6.3.1) counts in the database, so it holds however many pods there are: an
attempt is counted before the password is looked at: for the user name from this address, for the address, and for the
user name from anywhere. From the fifth failure of the first on (the 61st of an address, the 101st of a name), each one
blocks for twice as long as the one before, up to fifteen minutes. So a stranger who fails with a person's name blocks
only their own address, and failures from many addresses never block a device on which someone is signed in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload

from restaurant.database import Database, flush
from restaurant.errors import Conflict, NotFound, Problem
from restaurant.http.paging import PageQuery, read_page
from restaurant.i18n import gettext as _
from restaurant.i18n import ngettext
from restaurant.people.models import Approval, LoginAttempts, LoginSession, User
from restaurant.people.permissions import Permission, Role, permits
from restaurant.types import now

#: OWASP's floor for argon2id: 19 MiB, so that several sign-ins at once fit into a small pod.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: The hash of a random password, so that an unknown user name takes as long as a known one. A constant, because
#: hashing one at each start takes 0.1 s.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$jZcj+vcfmVK/WPBs6fHNAA$D6Zs+cjiG3NgD2/rXE6X7j9apQ6nYFjAiE88EnqkLaI"

PASSWORD_MINIMUM = 12
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
#: How long a manager's confirmation may wait to be used.
APPROVAL = timedelta(minutes=2)
_SEEN_STEP = timedelta(minutes=5)
#: Failures before blocking begins. Behind an untrusted proxy all of a restaurant's devices share one address.
_FREE_FAILURES = {"pair": 4, "address": 60, "user": 100}
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


@dataclass(frozen=True)
class SignedIn:
    """A new session: its token is shown once, to be kept in a cookie or sent as a bearer token."""

    token: str
    user: User


def hash_password(password: str) -> str:
    """The argon2id hash to keep of `password`."""
    return HASHER.hash(password)


def sign_in(database: Database, *, username: str, password: str, address: str) -> SignedIn:
    """Open a session. Raises `TooManyAttempts`, or `Unauthenticated` without saying which part was wrong."""
    user = check_password(database, username=username, password=password, address=address)
    with database.writing() as session:
        return _open_session(session, user)


def change_own_password(database: Database, user: User, *, current: str, new: str, address: str) -> SignedIn:
    """Give oneself a new password, which ends all one's sessions and opens another. Raises as `sign_in` does."""
    check_password(database, username=user.username, password=current, address=address, known_device=True)
    with database.writing() as session:
        changed = change_person(session, read_person(session, user.id), password=new)
        return _open_session(session, changed)


def _open_session(session: Session, user: User) -> SignedIn:
    token = secrets.token_urlsafe(32)
    session.add(LoginSession(token_hash=_digest(token), user_id=user.id))
    return SignedIn(token=token, user=user)


def check_password(
    database: Database, *, username: str, password: str, address: str, known_device: bool = False
) -> User:
    """The active person with this name and password; counts the attempt. Raises as `sign_in` does.

    On a `known_device`, on which someone is signed in, failures from other addresses do not block.
    """
    username = username.strip().lower()
    if not username.isprintable():
        raise Unauthenticated(_("The user name or the password is wrong."), code="wrong-credentials")
    subjects = [f"pair:{username[:40]}@{address[:70]}", f"address:{address[:100]}"]
    if not known_device:
        subjects.append(f"user:{username[:100]}")
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
    with database.reading() as session:
        user = session.scalar(select(User).where(User.username == username, User.active))
    try:
        HASHER.verify(user.password_hash if user is not None else _NOBODY, password)
    except (VerifyMismatchError, InvalidHashError):
        user = None
    if user is None:
        raise Unauthenticated(_("The user name or the password is wrong."), code="wrong-credentials")
    with database.writing() as session:
        session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(subjects)))
    return user


def _count_attempt(session: Session, *, subject: str) -> datetime | None:
    """Count an attempt of `subject`, or return until when it is blocked."""
    moment = now()
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(
        insert(LoginAttempts).values(subject=subject, failures=0, blocked_until=moment).on_conflict_do_nothing()
    )
    row = session.get_one(LoginAttempts, subject, with_for_update=True, populate_existing=True)
    if row.blocked_until > moment:
        return row.blocked_until
    row.failures += 1
    beyond = row.failures - _FREE_FAILURES[subject.partition(":")[0]]
    if beyond > 0:
        row.blocked_until = moment + min(_BLOCK * 2 ** min(beyond, 10), _LONGEST_BLOCK)
    return None


def session_user(database: Database, token: str) -> User:
    """The person whose session has `token`. Raises `Unauthenticated` when it has ended."""
    moment = now()
    with database.reading() as session:
        found = session.scalar(
            select(LoginSession).where(LoginSession.token_hash == _digest(token)).options(joinedload(LoginSession.user))
        )
    if found is None or not found.user.active or found.seen_at < moment - IDLE or found.created_at < moment - ABSOLUTE:
        raise Unauthenticated(_("Please sign in."))
    if found.seen_at < moment - _SEEN_STEP:
        with database.writing() as session:
            session.execute(update(LoginSession).where(LoginSession.id == found.id).values(seen_at=moment))
    return found.user


def sign_out(session: Session, token: str) -> None:
    """End the session that has `token`."""
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _digest(token)))


def give_approval(database: Database, *, permission: Permission, username: str, password: str, address: str) -> str:
    """Let the named person confirm one action that needs `permission`; returns the token to do it with.

    Raises `Refused` when that person may not do it either, and what `check_password` raises.
    """
    approver = check_password(database, username=username, password=password, address=address, known_device=True)
    if not approver.may(permission):
        raise _needs_approval()
    token = secrets.token_urlsafe(24)
    with database.writing() as session:
        session.execute(delete(Approval).where(Approval.created_at < now() - APPROVAL))
        session.add(Approval(token_hash=_digest(token), permission=permission, approver_id=approver.id))
    return token


def answer_for(session: Session, *, actor: User, permission: Permission, approval: str | None) -> User:
    """Who is responsible for an action: `actor` if permitted, otherwise who gave `approval`. Raises `Refused`."""
    if actor.may(permission):
        return actor
    if not approval:
        raise _needs_approval()
    found = session.scalar(
        delete(Approval)
        .where(
            Approval.token_hash == _digest(approval),
            Approval.permission == permission,
            Approval.created_at >= now() - APPROVAL,
        )
        .returning(Approval.approver_id)
    )
    if found is None:
        raise _needs_approval()
    return session.get_one(User, found)


def _needs_approval() -> Refused:
    return Refused(_("A manager must approve this."), code="approval-needed")


def purge(session: Session) -> None:
    """Delete sign-in attempts that block no one, and expired sessions."""
    session.execute(delete(LoginAttempts).where(LoginAttempts.blocked_until < now() - timedelta(days=1)))
    session.execute(delete(LoginSession).where(LoginSession.created_at < now() - ABSOLUTE))


def list_people(session: Session, page: PageQuery) -> tuple[Sequence[User], int | None]:
    """A page of everybody, by name, and the number of the following page."""
    return read_page(session, select(User).order_by(case((User.active, 0), else_=1), User.name, User.id), page)


def list_servers(session: Session) -> Sequence[User]:
    """Everybody who can take orders, by name."""
    roles = [role for role in Role if permits(role, Permission.TAKE_ORDERS)]
    return session.scalars(select(User).where(User.active, User.role.in_(roles)).order_by(User.name, User.id)).all()


def read_person(session: Session, key: int) -> User:
    """One person. Raises `NotFound`."""
    user = session.get(User, key)
    if user is None:
        raise NotFound(_("This person does not exist."))
    return user


def add_person(session: Session, *, username: str, name: str, role: Role, password: str) -> User:
    """Add a person. Raises `Conflict` when the user name is taken."""
    user = User(username=username, name=name, role=role, password_hash=hash_password(password))
    session.add(user)
    flush(
        session,
        conflicts={
            ("uq_staff_username", "staff.username"): lambda: Conflict(
                _("This user name is taken."), code="username-taken"
            )
        },
    )
    return user


def change_person(
    session: Session,
    user: User,
    *,
    name: str | None = None,
    role: Role | None = None,
    active: bool | None = None,
    password: str | None = None,
) -> User:
    """Change the given values. A new password, role or deactivation ends the person's sessions.

    Raises `Conflict` rather than leave no active administrator.
    """
    loses_admin = user.role is Role.ADMIN and (active is False or (role is not None and role is not Role.ADMIN))
    if loses_admin:
        # All administrators are locked in one order, so that two of them cannot remove each other at once.
        admins = select(User.id).where(User.role == Role.ADMIN, User.active).order_by(User.id).with_for_update()
        if not set(session.scalars(admins)) - {user.id}:
            raise Conflict(_("At least one administrator must remain."), code="last-administrator")
    if name is not None:
        user.name = name
    if password is not None:
        user.password_hash = hash_password(password)
    if role is not None:
        user.role = role
    if active is not None:
        user.active = active
    if password is not None or role is not None or active is False:
        session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    session.flush()
    return user


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
