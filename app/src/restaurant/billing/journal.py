"""The journal: entries chained by SHA-256, so that a changed, missing or added one shows (CGI 286-I-3 bis)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from restaurant.billing.models import Closing, Counter, EntryKind, JournalEntry, Receipt
from restaurant.types import now

#: What the first entry is chained to.
GENESIS = "0" * 64


def next_number(session: Session, series: str) -> int:
    """The next number of a series without gaps: a unit of work that fails gives its number back."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(Counter).values(name=series, value=0).on_conflict_do_nothing())
    statement = update(Counter).where(Counter.name == series).values(value=Counter.value + 1).returning(Counter.value)
    return session.scalars(statement, execution_options={"synchronize_session": False}).one()


def record(session: Session, kind: EntryKind, content: dict[str, Any]) -> JournalEntry:
    """Add an entry to the end of the chain. Others wait until this unit of work ends."""
    number = next_number(session, "journal")
    previous = session.scalar(select(JournalEntry.hash).where(JournalEntry.number == number - 1))
    entry = JournalEntry(
        number=number,
        kind=kind,
        recorded_at=now(),
        content=json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        previous_hash=previous if previous is not None else GENESIS,
    )
    entry.hash = _hash(entry)
    session.add(entry)
    session.flush()
    return entry


def entries(
    session: Session, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[JournalEntry]:
    """The entries in their order, without holding all of them in memory."""
    query = select(JournalEntry).order_by(JournalEntry.number).execution_options(yield_per=500)
    if since is not None:
        query = query.where(JournalEntry.recorded_at >= since)
    if until is not None:
        query = query.where(JournalEntry.recorded_at < until)
    yield from session.scalars(query)


def verify(session: Session) -> tuple[int, list[str]]:
    """How many entries there are, and what is wrong with the chain, the receipts and the closings."""
    faults: list[str] = []
    previous, expected = GENESIS, 1
    paid: dict[int, int] = {}
    closings: dict[int, int] = {}
    for entry in entries(session):
        if entry.number != expected:
            faults.append(f"entry {expected} is missing")
        if entry.previous_hash != previous:
            faults.append(f"entry {entry.number} is not chained to the one before it")
        if entry.hash != _hash(entry):
            faults.append(f"entry {entry.number} was changed")
        content = json.loads(entry.content)
        if entry.kind in {EntryKind.PAYMENT, EntryKind.REFUND}:
            paid[content["receipt"]] = content["amount"]
        elif entry.kind is EntryKind.CLOSING:
            closings[content["number"]] = content["total"]
        previous, expected = entry.hash, entry.number + 1
    counted = session.get(Counter, "journal")
    if (counted.value if counted is not None else 0) != expected - 1:
        faults.append(f"entries after {expected - 1} are missing")
    receipts: dict[int, int] = dict(session.execute(select(Receipt.number, Receipt.amount)).all())
    faults += [
        f"receipt {number} is not what the journal says"
        for number in sorted(receipts.keys() | paid.keys())
        if receipts.get(number) != paid.get(number)
    ]
    faults += [f"receipt {n} is missing" for n in range(1, max(receipts, default=0) + 1) if n not in receipts]
    for closing in session.scalars(select(Closing)):
        if closings.get(closing.number) != closing.total:
            faults.append(f"closing {closing.number} is not what the journal says")
        within = range(closing.first_receipt, closing.last_receipt + 1)
        if sum(receipts.get(number, 0) for number in within) != closing.total:
            faults.append(f"closing {closing.number} does not add up to its receipts")
    return expected - 1, faults


def _hash(entry: JournalEntry) -> str:
    at = entry.recorded_at.astimezone(UTC).isoformat(timespec="microseconds")
    text = "\n".join((entry.previous_hash, str(entry.number), entry.kind.value, at, entry.content))
    return hashlib.sha256(text.encode()).hexdigest()
