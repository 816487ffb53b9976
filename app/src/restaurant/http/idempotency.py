"""Replies kept under the client's `Idempotency-Key`, in the transaction of the effect they describe.

The key's row is inserted first. On PostgreSQL a second request with the same key waits there until the first has
ended, on SQLite it waits for the one writer; so exactly one of them has the effect and the others get its reply.
A request that fails changes nothing and keeps nothing: it may be sent again with the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from flask import has_request_context, request
from sqlalchemy import String, Table, Text, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from restaurant.database import Base, has_key
from restaurant.errors import Problem
from restaurant.http.guard import current_user
from restaurant.i18n import gettext as _
from restaurant.menu.models import Revision
from restaurant.types import Moment, now

#: How long a reply is kept.
KEPT = timedelta(hours=24)

#: A key of so many characters is taken to be random. Shorter ones occur to several people.
RANDOM_LENGTH = 16


class KeyReused(Problem):
    """One key was sent with two different requests."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency-key-reused"


class StoredReply(Base):
    """A key, what it was sent with, and the reply."""

    __tablename__ = "stored_reply"

    scope: Mapped[str] = mapped_column(String(120), primary_key=True)
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)


# Made once, and run without the ORM: every order, payment and booking waits for these two.
_TABLE: Table = StoredReply.__table__  # type: ignore[assignment]  # a declarative table is a Table
_REVISIONS = [
    select(Revision.number).where(Revision.name == name).scalar_subquery().label(name)
    for name in ("menu", "opening", "printers")
]
_CLAIM = {
    "sqlite": sqlite.insert(_TABLE).on_conflict_do_nothing().returning(*_REVISIONS),
    "postgresql": postgresql.insert(_TABLE).on_conflict_do_nothing().returning(*_REVISIONS),
}
#: Where a session keeps the revisions that were read with its claim.
_READ = "revisions"
_KEEP = (
    update(_TABLE)
    .where(_TABLE.c.scope == bindparam("of_scope"), _TABLE.c.key == bindparam("of_key"))
    .values(status=bindparam("status"), body=bindparam("body"))
)


@dataclass(frozen=True)
class Claim:
    """The outcome of claiming a key: `replay` is the earlier reply, None for the first request."""

    scope: str
    key: str
    replay: tuple[int, str] | None


def claim(session: Session, *, scope: str, key: str, content: bytes) -> Claim:
    """Claim `key` for this transaction or find the reply it has. Raises `KeyReused` for other content.

    A key belongs to the person signed in. Of others, a random one belongs to the client that knows it, whose address
    changes when a telephone changes its network; a short one belongs to an address.
    """
    has_key(session)
    digest = hashlib.sha256(content).hexdigest()
    scope = f"{_owner(key)}:{scope}"
    connection = session.connection()
    values = {"scope": scope, "key": key, "request_hash": digest, "created_at": now()}
    if (found := connection.execute(_CLAIM[connection.dialect.name], values).mappings().first()) is not None:
        session.info[_READ] = {name: number or 0 for name, number in found.items()}
        return Claim(scope=scope, key=key, replay=None)
    kept = session.scalars(select(StoredReply).where(StoredReply.scope == scope, StoredReply.key == key)).one()
    if kept.request_hash != digest:
        raise KeyReused(_("This Idempotency-Key was already used for another request."))
    assert kept.status is not None and kept.body is not None, "committed with its reply"  # noqa: S101, PT018
    return Claim(scope=scope, key=key, replay=(kept.status, kept.body))


def revisions(session: Session) -> Mapping[str, int] | None:
    """The revisions of what is kept in memory, as they were when a key was claimed in this unit of work.

    Most requests that claim one need them: so they are read without a statement of their own.
    """
    found: Mapping[str, int] | None = session.info.get(_READ)
    return found


def _owner(key: str) -> str:
    if not has_request_context():
        return ""
    if (user := current_user()) is not None:
        return str(user.id)
    return "" if len(key) >= RANDOM_LENGTH else hashlib.sha256((request.remote_addr or "").encode()).hexdigest()[:16]


def keep(session: Session, claimed: Claim, *, status: int, body: str) -> None:
    """Store the reply of a claimed key."""
    session.connection().execute(
        _KEEP, {"of_scope": claimed.scope, "of_key": claimed.key, "status": status, "body": body}
    )


def purge(session: Session) -> None:
    """Forget replies older than `KEPT`."""
    session.execute(delete(StoredReply).where(StoredReply.created_at < now() - KEPT))
