"""Signing in and out, approvals, and the list of people."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import Table, bindparam, case, delete, select, update
from sqlalchemy.orm import Session, make_transient_to_detached

from restaurant.billing import journal
from restaurant.billing.models import EntryKind
from restaurant.database import Database, flush, has_key
from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.people import attempts, quick
from restaurant.people.attempts import Refused, Unauthenticated, check_password, device_of
from restaurant.people.models import Approval, LoginAttempts, LoginSession, User
from restaurant.people.permissions import Permission, Role, permits
from restaurant.types import now

PASSWORD_MINIMUM = 12
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
#: How long a manager's confirmation may wait to be used.
APPROVAL = timedelta(minutes=2)
_SEEN_STEP = timedelta(minutes=5)

_STAFF: Table = User.__table__  # type: ignore[assignment]  # a declarative table is a Table
# Every request of someone who is signed in waits for this one.
_SESSION = (
    select(LoginSession.id, LoginSession.seen_at, LoginSession.created_at, *_STAFF.c)
    .join(User)
    .where(LoginSession.token_hash == bindparam("token"))
)


@dataclass(frozen=True)
class SignedIn:
    """A new session: its token is shown once, to be kept in a cookie or sent as a bearer token."""

    token: str
    user: User


def hash_password(password: str) -> str:
    """The argon2id hash to keep of `password`."""
    return attempts.HASHER.hash(password)


def sign_in(database: Database, *, username: str, password: str, address: str, device: str | None = None) -> SignedIn:
    """Open a session. Raises `TooManyAttempts`, or `Unauthenticated` without saying which part was wrong."""
    user = check_password(database, username=username, password=password, address=address, device=device)
    with database.writing() as session:
        return _open_session(session, user)


def change_own_password(database: Database, user: User, *, current: str, new: str) -> SignedIn:
    """Give oneself a new password, which ends all one's sessions and opens another. Raises as `sign_in` does."""
    check_password(database, username=user.username, password=current, address="", device=device_of(user))
    with database.writing() as session:
        changed = change_person(session, read_person(session, user.id), password=new)
        return _open_session(session, changed)


def _open_session(session: Session, user: User) -> SignedIn:
    token = secrets.token_urlsafe(32)
    session.add(LoginSession(token_hash=_digest(token), user_id=user.id))
    return SignedIn(token=token, user=user)


def session_user(database: Database, token: str) -> User:
    """The person whose session has `token`. Raises `Unauthenticated` when it has ended."""
    moment = now()
    with database.connection() as connection:
        found = connection.execute(_SESSION, {"token": _digest(token)}).first()
    if found is None:
        raise Unauthenticated(_("Please sign in."))
    key, seen_at, created_at, *columns = found
    user = _person(tuple(columns))
    if not user.active or seen_at < moment - IDLE or created_at < moment - ABSOLUTE:
        raise Unauthenticated(_("Please sign in."))
    if seen_at < moment - _SEEN_STEP:
        with database.writing() as session:
            has_key(session)
            session.execute(update(LoginSession).where(LoginSession.id == key).values(seen_at=moment))
    return user


@lru_cache(maxsize=256)
def _person(columns: tuple[object, ...]) -> User:
    """The person with exactly these columns, detached and for reading only: requests share it."""
    user = User(**dict(zip(_STAFF.c.keys(), columns, strict=True)))
    make_transient_to_detached(user)
    return user


def change_person_here(database: Database, *, actor: User, token: str | None, username: str, secret: str) -> SignedIn:
    """Let another person use a device on which `actor` is signed in, which ends that session.

    Raises `Refused` for a person who manages people and did not give the password, and what `check_password` raises.
    """
    user, how = quick.check(database, username=username, secret=secret, device=device_of(actor))
    if how != quick.PASSWORD and user.may(Permission.MANAGE_PEOPLE):
        raise Refused(_("Administrators sign in with their password."), code="password-needed")
    with database.writing() as session:
        if token:
            sign_out(session, token)
        content = {"from": actor.username, "by": user.username, "with": how, "at": now().isoformat()}
        journal.record(session, EntryKind.PERSON, content)
        return _open_session(session, user)


def sign_out(session: Session, token: str) -> None:
    """End the session that has `token`."""
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _digest(token)))


def give_approval(database: Database, *, permission: Permission, username: str, password: str, actor: User) -> str:
    """Let the named person confirm one action of `actor` that needs `permission`; returns the token to do it with.

    `password` is a password, a PIN or a badge. Raises `Refused` when that person may not do it either, and what
    `check_password` raises.
    """
    approver, how = quick.check(database, username=username, secret=password, device=device_of(actor))
    if not approver.may(permission):
        raise _needs_approval()
    token = secrets.token_urlsafe(24)
    with database.writing() as session:
        session.execute(delete(Approval).where(Approval.created_at < now() - APPROVAL))
        session.add(Approval(token_hash=_digest(token), permission=permission, approver_id=approver.id))
        content = {
            "permission": permission.value, "by": approver.username, "for": actor.username, "with": how,
            "at": now().isoformat(),
        }  # fmt: skip
        journal.record(session, EntryKind.APPROVAL, content)
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


def list_people(session: Session, page: PageQuery) -> tuple[Sequence[User], str | None]:
    """A page of everybody, by name, and where the following page begins."""
    columns = (case((User.active, 0), else_=1), User.name, User.id)
    return read_page(session, select(User), page, by=[Sort(column) for column in columns])


def list_servers(session: Session) -> Sequence[User]:
    """Everybody who can take orders, by name."""
    return _list_permitted(session, Permission.TAKE_ORDERS)


def list_people_with_pin(session: Session) -> Sequence[User]:
    """Everybody who can use a shared device by a PIN, by name."""
    query = select(User).where(User.active, User.pin_hash.is_not(None)).order_by(User.name, User.id)
    return [user for user in session.scalars(query) if not user.may(Permission.MANAGE_PEOPLE)]


def list_approvers(session: Session) -> Sequence[User]:
    """Everybody who can approve what others may not do, by name."""
    return _list_permitted(session, Permission.REFUND)


def _list_permitted(session: Session, permission: Permission) -> Sequence[User]:
    roles = [role for role in Role if permits(role, permission)]
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
