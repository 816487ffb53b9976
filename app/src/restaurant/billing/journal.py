"""The journal: entries chained by SHA-256, so that a changed, missing or added one shows (CGI 286-I-3 bis)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import String, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from restaurant.billing.models import (
    CashMovement,
    Closing,
    Counter,
    Discount,
    EntryKind,
    Invoice,
    JournalEntry,
    Payment,
    PeriodClosing,
    Receipt,
    TillSession,
)
from restaurant.billing.signing import Signer, fingerprint
from restaurant.database import Base, on_commit
from restaurant.deposits.models import Deposit, DepositMovement
from restaurant.orders.models import LineStatus, Order, OrderLine
from restaurant.payments.models import Attempt
from restaurant.types import now

#: What has columns with money, in the sequence in which the rows depend on each other.
MONEY: tuple[type[Base], ...] = (
    Order, OrderLine, Discount, Payment, Receipt, Closing, PeriodClosing, Invoice, TillSession, CashMovement,
    Attempt, Deposit, DepositMovement,
)  # fmt: skip

#: Columns of these tables that are the kitchen's and the floor's, and change without an entry. All others are recorded.
OPERATIONAL: dict[str, frozenset[str]] = {
    # Of deposits their movements are recorded, from which follows what is left of them for a bill.
    "orders": frozenset({"status", "closed_at", "allergies", "deposit", "version"}),
    "deposit": frozenset({"order_id", "due_at", "refundable_until", "waived"}),
    "payment_attempt": frozenset({"changed_at"}),
    "order_line": frozenset(
        {"station", "course", "status", "allergens", "ready_at", "served_at", "void_acknowledged_at"}
    ),
}

#: What the first entry is chained to.
GENESIS = "0" * 64


def next_number(session: Session, series: str) -> int:
    """The next number of a series without gaps: a unit of work that fails gives its number back."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(Counter).values(name=series, value=0).on_conflict_do_nothing())
    statement = update(Counter).where(Counter.name == series).values(value=Counter.value + 1).returning(Counter.value)
    return session.scalars(statement, execution_options={"synchronize_session": False}).one()


def canonical(content: dict[str, Any]) -> str:
    """The text of an entry's content, which is hashed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def snapshot(row: Base) -> dict[str, Any]:
    """The recorded columns of a row, as JSON has them."""
    operational = OPERATIONAL.get(row.__tablename__, frozenset())
    names = [name for name in row.__table__.columns.keys() if name not in operational]  # noqa: SIM118
    found = {name: _plain(getattr(row, name)) for name in names}
    if isinstance(row, OrderLine):
        found["voided"] = row.status is LineStatus.VOIDED
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID | StrEnum) else value


def record(session: Session, kind: EntryKind, content: dict[str, Any], rows: Iterable[Base] = ()) -> None:
    """Add an entry to the end of the chain, with the state of the `rows` that it changed.

    Others wait until this unit of work ends.
    """
    session.flush()
    recorded: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        recorded.setdefault(row.__tablename__, []).append(snapshot(row))
    if recorded:
        content = {**content, "rows": recorded}
    _append(session, introduce(session), kind, content)


def record_copy(session: Session, document: Receipt | Invoice, *, by: str) -> int:
    """Count a copy of a document, and return which it is: all but the first are duplicates."""
    document.copies += 1
    content = {
        document.__tablename__: document.number, "copy": document.copies, "by": by, "at": now().isoformat(),
    }  # fmt: skip
    record(session, EntryKind.PRINT, content, [document])
    return document.copies


def introduce(session: Session) -> int:
    """Take the number of the next entry, after one with the public key unless the journal has it."""
    number = next_number(session, "journal")
    signer: Signer | None = session.info.get("signer")
    if signer is None or signer.introduced:
        return number
    known = [fingerprint(key) for key in public_keys(session)]
    on_commit(session, signer.remember)
    if signer.key in known:
        return number
    _append(session, number, EntryKind.KEY, signer.introduction(known[-1] if known else None))
    return next_number(session, "journal")


def introduce_key(session: Session) -> None:
    """Record the public key now unless the journal has it, so that an entry without a signature shows."""
    signer: Signer | None = session.info.get("signer")
    if signer is None:
        return
    number = introduce(session)
    # No entry takes this number yet.
    session.execute(update(Counter).where(Counter.name == "journal").values(value=number - 1))


def public_keys(session: Session) -> list[str]:
    """The public keys that the journal records, in the order in which they signed."""
    query = select(JournalEntry.content).where(JournalEntry.kind == EntryKind.KEY).order_by(JournalEntry.number)
    return [json.loads(content)["public_key"] for content in session.scalars(query)]


def _append(session: Session, number: int, kind: EntryKind, content: dict[str, Any]) -> None:
    signer: Signer | None = session.info.get("signer")
    previous = session.scalar(select(JournalEntry.hash).where(JournalEntry.number == number - 1))
    unsigned = Entry(number, kind.value, now(), canonical(content), previous or GENESIS, "", None, None)
    found = unsigned.digest()
    entry = JournalEntry(**asdict(replace(unsigned, hash=found)) | {"kind": kind})
    if signer is not None:
        entry.key, entry.signature = signer.key, signer.sign(found)
    session.add(entry)
    session.flush()


@dataclass(frozen=True)
class Entry:
    """An entry as it was stored, in the database or in an export."""

    number: int
    kind: str
    recorded_at: datetime
    content: str
    previous_hash: str
    hash: str
    key: str | None
    signature: str | None

    def digest(self) -> str:
        """What the hash of the entry must be: it covers the entry before."""
        at = self.recorded_at.astimezone(UTC).isoformat(timespec="microseconds")
        text = "\n".join((self.previous_hash, str(self.number), self.kind, at, self.content))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def read(cls, line: str) -> Entry:
        """The entry on a line of an export. Raises `ValueError` when it is not one."""
        found = json.loads(line)
        if not isinstance(found, dict) or set(found) - {"key", "signature"} != _LINE:
            raise ValueError("not an entry of the journal")
        moment = datetime.fromisoformat(found["recorded_at"])
        text = canonical(found["content"])
        return cls(**{"key": None, "signature": None, **found, "recorded_at": moment, "content": text})

    def line(self) -> str:
        """The entry as a line of an export."""
        found = asdict(self) | {"recorded_at": self.recorded_at.isoformat(), "content": json.loads(self.content)}
        return json.dumps(found, ensure_ascii=False)


_LINE = {"number", "kind", "recorded_at", "content", "previous_hash", "hash"}


def entries(session: Session, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
    """The entries in their order, without holding all of them in memory."""
    columns = [
        # Someone may have changed the kind to one that does not exist.
        type_coerce(JournalEntry.kind, String) if field.name == "kind" else getattr(JournalEntry, field.name)
        for field in fields(Entry)
    ]
    query = select(*columns).order_by(JournalEntry.number).execution_options(yield_per=500)
    if since is not None:
        query = query.where(JournalEntry.recorded_at >= since)
    if until is not None:
        query = query.where(JournalEntry.recorded_at < until)
    with session.execute(query) as found:
        for row in found:
            yield Entry(*row)
