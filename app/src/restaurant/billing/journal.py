"""The journal: entries chained by SHA-256, so that a changed, missing or added one shows (CGI 286-I-3 bis)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload

from restaurant.billing.models import Closing, Counter, Discount, EntryKind, JournalEntry, Payment, Receipt
from restaurant.orders.models import LineStatus, Order, OrderLine
from restaurant.people.models import User
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


@dataclass(frozen=True)
class Recorded:
    """An entry of the chain, read."""

    number: int
    kind: EntryKind
    content: dict[str, Any]


def verify(session: Session) -> tuple[int, list[str]]:
    """How many entries there are, and every difference between the journal and what the other tables say.

    What an older version did not record is not compared.
    """
    faults: list[str] = []
    recorded: list[Recorded] = []
    previous, expected = GENESIS, 1
    for entry in entries(session):
        if entry.number != expected:
            faults.append(f"entry {expected} is missing")
        if entry.previous_hash != previous:
            faults.append(f"entry {entry.number} is not chained to the one before it")
        if entry.hash != _hash(entry):
            faults.append(f"entry {entry.number} was changed")
        recorded.append(Recorded(entry.number, entry.kind, json.loads(entry.content)))
        previous, expected = entry.hash, entry.number + 1
    for series, last in (("journal", expected - 1), *_last_numbers(recorded)):
        counted = session.get(Counter, series)
        if (counted.value if counted is not None else 0) != last:
            faults.append(f"the last number of the series {series} is not {last}: entries are missing")
    faults += _compare_receipts(session, recorded)
    faults += _compare_discounts(session, recorded)
    faults += _compare_voids(session, recorded)
    faults += _compare_closings(session, recorded)
    return expected - 1, faults


def _last_numbers(recorded: Sequence[Recorded]) -> Iterator[tuple[str, int]]:
    for series, name in (("receipt", "receipt"), ("closing", "number")):
        kinds = _PAID if series == "receipt" else {EntryKind.CLOSING}
        yield series, max((entry.content[name] for entry in recorded if entry.kind in kinds), default=0)


_PAID = {EntryKind.PAYMENT, EntryKind.REFUND}


def _differences(what: str, actual: dict[str, Any] | None, content: dict[str, Any]) -> Iterator[str]:
    if actual is None:
        yield f"{what} is missing"
        return
    changed = [name for name in actual if name in content and actual[name] != content[name]]
    if changed:
        yield f"{what} is not what the journal says: {', '.join(changed)}"


def _compare_receipts(session: Session, recorded: Sequence[Recorded]) -> Iterator[str]:
    receipts = {receipt.number: receipt for receipt in session.scalars(select(Receipt))}
    payments = {found.id: found for found in session.scalars(select(Payment).options(joinedload(Payment.order)))}
    names: dict[int, str] = dict(session.execute(select(User.id, User.username)).all())
    said = {entry.content["receipt"]: entry for entry in recorded if entry.kind in _PAID}
    yield from (f"receipt {number} has no journal entry" for number in sorted(receipts.keys() - said.keys()))
    kept: dict[int, list[Receipt]] = {}
    for number, entry in sorted(said.items()):
        receipt = receipts.get(number)
        actual = None
        payment = payments.get(receipt.payment_id) if receipt is not None else None
        if receipt is not None and payment is not None:
            kept.setdefault(payment.id, []).append(receipt)
            actual = {
                "order": str(payment.order.reference), "payment": str(payment.reference), "amount": receipt.amount,
                "tip": receipt.tip, "method": payment.method.value, "shares": receipt.shares,
                "at": receipt.issued_at.isoformat(), "payment_id": payment.id, "order_id": payment.order_id,
            }  # fmt: skip
            if entry.kind is EntryKind.PAYMENT:
                actual |= {"by": names.get(payment.by_id), "seat": payment.seat, "lines": payment.line_ids}
        yield from _differences(f"receipt {number}", actual, entry.content)
    for payment in payments.values():
        taken = [receipt for receipt in kept.get(payment.id, []) if receipt.amount > 0]
        back = [receipt for receipt in kept.get(payment.id, []) if receipt not in taken]
        sums = (payment.amount, payment.tip, payment.refunded, payment.tip_refunded, [payment.created_at])
        receipted = (
            sum(receipt.amount for receipt in taken), sum(receipt.tip for receipt in taken),
            -sum(receipt.amount for receipt in back), -sum(receipt.tip for receipt in back),
            [receipt.issued_at if "at" in said[receipt.number].content else payment.created_at for receipt in taken],
        )  # fmt: skip
        if sums != receipted:
            yield f"payment {payment.id} is not what its receipts say"
    paid: dict[int, int] = dict(
        session.execute(select(Payment.order_id, func.sum(Payment.amount)).group_by(Payment.order_id)).all()
    )
    for order in session.scalars(select(Order).where(or_(Order.paid != 0, Order.id.in_(list(paid))))):
        if order.paid != paid.get(order.id, 0) or (order.paid_at is not None and order.paid != order.due):
            yield f"order {order.reference} is not paid what its payments say"


def _compare_discounts(session: Session, recorded: Sequence[Recorded]) -> Iterator[str]:
    names: dict[int, str] = dict(session.execute(select(User.id, User.username)).all())
    references: dict[int, uuid.UUID] = dict(session.execute(select(Order.id, Order.reference)).all())
    said: dict[int, dict[str, Any]] = {}
    older: Tally[tuple[str, int, str]] = Tally()
    for entry in recorded:
        content = entry.content
        if entry.kind is EntryKind.DISCOUNT and "discount" in content:
            said[content["discount"]] = {**content, "removed": None}
        elif entry.kind is EntryKind.DISCOUNT:
            older[(content["order"], content["amount"], content["reason"])] += 1
        elif entry.kind is EntryKind.DISCOUNT_REMOVAL:
            said.setdefault(content["discount"], {})["removed"] = content["at"]
        elif entry.kind is EntryKind.MERGE:
            for moved in content["discounts"]:
                change = {"order": content["into"], "amount": moved["amount"], "percent": None}
                said.setdefault(moved["discount"], {}).update(change)
            for key in content["dropped"]:
                said.setdefault(key, {})["removed"] = content["at"]
    rows = {row.id: row for row in session.scalars(select(Discount))}
    for key, content in sorted(said.items()):
        row = rows.get(key)
        actual = None if row is None else {
            "order": str(references.get(row.order_id)), "amount": row.amount, "percent": row.percent,
            "reason": row.reason, "by": names.get(row.by_id), "at": row.created_at.isoformat(),
            "removed": row.removed_at.isoformat() if row.removed_at is not None else None,
        }  # fmt: skip
        yield from _differences(f"discount {key}", actual, content)
    for key in sorted(rows.keys() - said.keys()):
        row = rows[key]
        older[(str(references.get(row.order_id)), row.amount, row.reason)] -= 1
    yield from (f"discounts of order {order} are not what the journal says" for (order, _, _), n in older.items() if n)


def _compare_voids(session: Session, recorded: Sequence[Recorded]) -> Iterator[str]:
    voids = {entry.content["line"]: entry.content for entry in recorded if entry.kind is EntryKind.VOID}
    lines = {line.id: line for line in session.scalars(select(OrderLine).where(OrderLine.id.in_(list(voids))))}
    for key, content in sorted(voids.items()):
        line = lines.get(key)
        actual = None if line is None or line.status is not LineStatus.VOIDED else {
            "name": line.name, "quantity": line.quantity, "amount": line.quantity * line.unit_price,
            "reason": line.void_reason or "",
        }  # fmt: skip
        yield from _differences(f"void of line {key}", actual, content)


def _compare_closings(session: Session, recorded: Sequence[Recorded]) -> Iterator[str]:
    amounts: dict[int, int] = dict(session.execute(select(Receipt.number, Receipt.amount)).all())
    said = {entry.content["number"]: entry.content for entry in recorded if entry.kind is EntryKind.CLOSING}
    rows = {row.number: row for row in session.scalars(select(Closing))}
    yield from (f"closing {number} has no journal entry" for number in sorted(rows.keys() - said.keys()))
    perpetual = 0
    for number, content in sorted(said.items()):
        row = rows.get(number)
        actual = None if row is None else {
            "day": row.day.isoformat(), "first_receipt": row.first_receipt, "last_receipt": row.last_receipt,
            "by": row.by, "total": row.total, "perpetual_total": row.perpetual_total, "by_rate": row.by_rate,
            "by_method": row.by_method, "tips": row.tips, "tips_by_method": row.tips_by_method,
            "closed_at": row.closed_at.isoformat(),
        }  # fmt: skip
        yield from _differences(f"closing {number}", actual, content)
        within = range(content["first_receipt"], content["last_receipt"] + 1)
        perpetual += content["total"]
        if sum(amounts.get(key, 0) for key in within) != content["total"] or content["perpetual_total"] != perpetual:
            yield f"closing {number} does not add up to its receipts"


def _hash(entry: JournalEntry) -> str:
    at = entry.recorded_at.astimezone(UTC).isoformat(timespec="microseconds")
    text = "\n".join((entry.previous_hash, str(entry.number), entry.kind.value, at, entry.content))
    return hashlib.sha256(text.encode()).hexdigest()
