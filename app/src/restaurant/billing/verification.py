"""Compare the journal with itself and with what the other tables contain.

Entries carry the rows that they changed, so replaying them gives what each row must be. Rows that the journal does not
know, that are missing or that differ are reported, and so is a journal whose entries do not follow each other.
"""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session, selectinload

from restaurant.billing import journal
from restaurant.billing.anchors import Anchor
from restaurant.billing.journal import Entry
from restaurant.billing.models import Counter, EntryKind
from restaurant.billing.signing import fingerprint, is_valid
from restaurant.deposits.models import MovementKind
from restaurant.orders.models import Order, OrderStatus
from restaurant.orders.state_machine import status_of

Row = dict[str, Any]
#: Rows by table and primary key.
Rows = dict[str, dict[int, Row]]

#: What people call the rows of a table.
_NAMES = {"orders": "order", "order_line": "line"}
_KEYS = {model.__tablename__: inspect(model).primary_key[0].name for model in journal.MONEY}
#: Tables whose keys are a series without gaps, with the name of its counter.
_SERIES = {
    "receipt": "receipt",
    "closing": "closing",
    "period_closing": "period",
    "invoice": "invoice",
    "till_session": "till",
    "deposit_movement": "deposit",
}


@dataclass(frozen=True)
class Act:
    """What an entry records."""

    kind: str
    content: dict[str, Any]


class Chain:
    """Entries one after the other: their hashes, their signatures and what they record.

    With `trusted` public keys, only entries that lead to a signature with one of them are accepted: a key is trusted
    too once a trusted key endorses it. Without, the journal's own first key is trusted.
    """

    def __init__(self, trusted: Iterable[str] = (), *, part: bool = False) -> None:
        """With `part`, the entries may begin with any number, as those of a span of days do."""
        self.faults: list[str] = []
        self.acts: list[Act] = []
        self.last: Entry | None = None
        self.signed = 0
        self.hashes: dict[int, str] = {}
        self._part = part
        self._given = {fingerprint(key): key for key in trusted}
        self._keys = dict(self._given) if part else {}
        self._trusted = set(self._given)
        self._replaced: set[str] = set()
        self._expired: set[str] = set()

    @property
    def key(self) -> str:
        """The key of the last entry, empty without one."""
        return (self.last.key if self.last is not None else None) or ""

    def add(self, entry: Entry) -> None:
        """Take the next entry, and note what is wrong with it."""
        before = self.last
        expected = before.number + 1 if before else entry.number if self._part else 1
        previous = before.hash if before else entry.previous_hash if self._part else journal.GENESIS
        self._unless(entry.number == expected, f"entry {expected} is missing")
        self._unless(entry.previous_hash == previous, f"entry {entry.number} is not chained to the one before it")
        self._unless(entry.hash == entry.digest(), f"entry {entry.number} was changed")
        content: dict[str, Any] = {}
        with suppress(ValueError):  # then it was changed
            content = json.loads(entry.content)
            self.acts.append(Act(entry.kind, content))
        if entry.kind == EntryKind.KEY:
            self._learn(entry, content)
        self._check_signature(entry)
        if entry.kind == EntryKind.CLOSING:
            # Pods of both keys run side by side for as long as an update takes.
            self._expired |= self._replaced
        self.last = entry
        self.hashes[entry.number] = entry.hash

    def end(self) -> list[str]:
        """All faults, once the last entry is taken."""
        if self._given and self.last is not None:
            self._unless(
                self.key in self._trusted, f"the last entry is not signed with a trusted key ({', '.join(self._given)})"
            )
        return self.faults

    def check_anchor(self, anchor: Anchor) -> None:
        """Note it when the entry of an anchor, which was kept elsewhere, is missing or another one."""
        known = self._keys.get(anchor.key) or self._given.get(anchor.key)
        if known is None or not is_valid(known, anchor.hash, anchor.signature):
            self.faults.append(f"the signature of the anchor of closing {anchor.closing} is not valid")
        elif self.last is None or self.last.number < anchor.entry:
            self.faults.append(f"the journal ends before entry {anchor.entry}, which an anchor names: it was cut off")
        elif self.hashes.get(anchor.entry, anchor.hash) != anchor.hash:
            self.faults.append(f"entry {anchor.entry} is not the one that an anchor names: the journal was rewritten")

    def _learn(self, entry: Entry, content: Mapping[str, Any]) -> None:
        key, public = str(content.get("key")), str(content.get("public_key"))
        replaces = content.get("replaces")
        try:
            real = fingerprint(public) == key
        except ValueError:
            real = False
        if not real:
            self.faults.append(f"entry {entry.number} does not contain a public key")
            return
        endorsed = replaces in self._keys and is_valid(self._keys[replaces], public, content.get("endorsement"))
        if self._keys and not endorsed and key not in self._given:
            self.faults.append(f"key {key} of entry {entry.number} is not endorsed by the key before it")
        if endorsed and replaces in self._trusted:
            self._trusted.add(key)
        if replaces is not None:
            self._replaced.add(replaces)
        self._keys[key] = public

    def _check_signature(self, entry: Entry) -> None:
        if entry.key is None and entry.signature is None and not self._keys:
            return  # from before there was a key
        public = self._keys.get(entry.key or "")
        if public is None or not is_valid(public, entry.hash, entry.signature):
            self.faults.append(f"the signature of entry {entry.number} is not valid")
        elif entry.key in self._expired:
            self.faults.append(f"entry {entry.number} is signed with a key that was replaced")
        else:
            self.signed += 1

    def _unless(self, right: bool, fault: str) -> None:
        if not right:
            self.faults.append(fault)


def read_chain(
    entries: Iterable[Entry], *, trusted: Iterable[str] = (), anchors: Iterable[Anchor] = (), part: bool = False
) -> Chain:
    """The entries of a journal or of an export, checked one after the other and against anchors."""
    chain = Chain(trusted, part=part)
    for entry in entries:
        chain.add(entry)
    for anchor in anchors:
        chain.check_anchor(anchor)
    chain.end()
    return chain


def verify_export(
    entries: Iterable[Entry], *, trusted: Iterable[str] = (), anchors: Iterable[Anchor] = ()
) -> tuple[Chain, list[str]]:
    """The chain of an export alone, and everything that is wrong with it."""
    found = list(entries)
    part = bool(found) and found[0].number != 1
    chain = read_chain(found, trusted=trusted, anchors=anchors, part=part)
    # The closings of a part have receipts that are not in it.
    return chain, chain.faults + ([] if part else list(_sums(replay(chain.acts))))


def verify(session: Session) -> tuple[int, list[str]]:
    """How many entries there are, and every difference between the journal and what the other tables contain."""
    chain, faults = verify_database(session)
    return len(chain.hashes), faults


def verify_database(
    session: Session, *, trusted: Iterable[str] = (), anchors: Iterable[Anchor] = ()
) -> tuple[Chain, list[str]]:
    """The chain of the journal, and everything that is wrong with it and with the other tables."""
    chain = read_chain(journal.entries(session), trusted=trusted, anchors=anchors)
    faults = list(chain.faults)
    rows = replay(chain.acts)
    faults += _numbers(session, rows, last_entry=chain.last.number if chain.last is not None else 0)
    faults += _sums(rows)
    try:
        faults += _compare(session, rows)
    except (LookupError, ValueError) as error:
        # A value that this column cannot have.
        faults.append(f"a table cannot be read: {error}")
    return chain, faults


def replay(acts: Iterable[Act]) -> Rows:
    """What each row was after the last entry about it."""
    rows: Rows = defaultdict(dict)
    for act in acts:
        recorded = act.content.get("rows") or _from_older(act)
        for table, changed in recorded.items():
            for row in changed:
                known = rows[table].setdefault(row[_KEYS[table]], {})
                # What the migration found does not contradict what was recorded before it.
                known.update({**row, **known} if act.kind == EntryKind.ADOPTION else row)
    for receipt in rows["receipt"].values():
        # Entries of older versions have no count: nothing was printed as a copy then.
        receipt.setdefault("copies", 0)
    for payment in rows["payment"].values():
        payment.setdefault("tendered", None)
    for order in rows["orders"].values():
        # Entries of older versions have what was to be deducted, which follows from the movements of deposits.
        order.pop("deposit", None)
    # Nor were there deposits.
    for closing in rows["closing"].values():
        closing.setdefault("deposits", {})
        closing.setdefault("last_deposit", 0)
    for period in rows["period_closing"].values():
        period.setdefault("deposits", {})
    return rows


def _from_older(act: Act) -> dict[str, list[Row]]:
    """The rows in an entry of a version that did not record rows as such."""
    content = act.content
    match act.kind:
        case EntryKind.PAYMENT | EntryKind.REFUND:
            receipt = {"number": content["receipt"], "issued_at": content.get("at"), **content}
            return {"receipt": [_only(receipt, "number amount tip shares issued_at payment_id")]}
        case EntryKind.DISCOUNT if "discount" in content:
            given = {"id": content["discount"], "created_at": content["at"], **content}
            return {"discount": [_only(given, "id reason created_at")]}
        case EntryKind.CLOSING:
            names = (
                "number day closed_at by first_receipt last_receipt total tips perpetual_total by_method by_rate "
                "tips_by_method"
            )
            return {"closing": [_only(content, names)]}
    return {}


def _only(content: Mapping[str, Any], names: str) -> Row:
    return {name: content[name] for name in names.split() if content.get(name) is not None}


def _numbers(session: Session, rows: Rows, *, last_entry: int) -> Iterator[str]:
    """Series of numbers have no gap, and the last number that was given is the last that was recorded."""
    last = {series: max(rows[table], default=0) for table, series in _SERIES.items()}
    counted: dict[str, int] = dict(session.execute(select(Counter.name, Counter.value)).all())
    for series, number in {"journal": last_entry, **last}.items():
        if counted.pop(series, 0) != number:
            yield f"the last number of the series {series} is not {number}: entries are missing"
    yield from (f"the series {series} is not the journal's" for series in counted)
    for table, series in _SERIES.items():
        gaps = set(range(1, last[series])) - rows[table].keys()
        yield from (f"{table} {number} has no journal entry" for number in sorted(gaps))


def _sums(rows: Rows) -> Iterator[str]:
    """Closings add up to their receipts, and grand totals to the closings."""
    perpetual = counted = 0
    for number, closing in sorted(rows["closing"].items()):
        within = range(closing["first_receipt"], closing["last_receipt"] + 1)
        perpetual += closing["total"]
        total = sum(rows["receipt"][key]["amount"] for key in within if key in rows["receipt"])
        if total != closing["total"] or closing["perpetual_total"] != perpetual:
            yield f"closing {number} does not add up to its receipts"
        moved: Tally[str] = Tally()
        for key in range(counted + 1, closing["last_deposit"] + 1):
            movement = rows["deposit_movement"].get(key)
            if movement is not None:
                moved[movement["kind"]] += movement["amount"]
        counted = closing["last_deposit"]
        if {kind: cents for kind, cents in moved.items() if cents} != closing["deposits"]:
            yield f"closing {number} does not add up to the movements of deposits"
    for key, deposit in sorted(rows["deposit"].items()):
        sums = dict.fromkeys(MovementKind, 0)
        for movement in rows["deposit_movement"].values():
            if movement["deposit_id"] == key:
                sums[MovementKind(movement["kind"])] += movement["amount"]
        if [sums[kind] for kind in MovementKind] != [deposit[name] for name in ("paid", "used", "refunded", "kept")]:
            yield f"deposit {key} does not add up to its movements"
    for number, period in sorted(rows["period_closing"].items()):
        days = [rows["closing"].get(key) for key in range(period["first_closing"], period["last_closing"] + 1)]
        total = sum(day["total"] for day in days if day is not None)
        last = days[-1]["perpetual_total"] if days and days[-1] is not None else None
        if (total, last) != (period["total"], period["perpetual_total"]):
            yield f"the closing of {period['period']} ({number}) does not add up to those of its days"
    for number, invoice in sorted(rows["invoice"].items()):
        if invoice["total"] != sum(share["total"] for share in invoice["shares"]):
            yield f"invoice {number} does not add up"


def _compare(session: Session, rows: Rows) -> Iterator[str]:
    orders = {order.id: order for order in session.scalars(select(Order).options(selectinload(Order.lines)))}
    for model in journal.MONEY:
        table: str = model.__tablename__
        actual = {row[_KEYS[table]]: row for row in map(journal.snapshot, session.scalars(select(model)))}
        for key, row in sorted(rows[table].items()):
            yield from _differences(table, key, actual.get(key), _final(table, row, rows))
        for key in sorted(actual.keys() - rows[table].keys()):
            if not _may_be_unknown(table, actual[key], orders, rows):
                yield f"{_NAMES.get(table, table)} {key} has no journal entry"
    for order in orders.values():
        cancelled = order.cancel_reason is not None
        standing = status_of(
            (line.status for line in order.lines), billed=order.billed_at is not None, paid=order.paid_at is not None
        )
        if order.status is not (OrderStatus.CANCELLED if cancelled else standing):
            yield f"order {order.id} is not in the state of its lines and its bill: status"


def _differences(table: str, key: int, actual: Row | None, expected: Row) -> Iterator[str]:
    if not expected:
        return
    if actual is None:
        yield f"{_NAMES.get(table, table)} {key} is missing"
        return
    changed = [name for name, value in expected.items() if actual.get(name) != value]
    if changed:
        yield f"{_NAMES.get(table, table)} {key} is not what the journal says: {', '.join(changed)}"


def _final(table: str, row: Row, rows: Rows) -> Row:
    """What of a recorded row cannot have changed since: an order that was reopened can be changed again."""
    if table == "orders" and not _is_final(row):
        return {name: row[name] for name in ("id", "reference", "due", "paid", "billed_at", "paid_at") if name in row}
    if table == "order_line" and not _is_final(rows["orders"].get(row["order_id"], {})):
        return {name: value for name, value in row.items() if name != "order_id"} if row["voided"] else {}
    return row


def _is_final(order: Row) -> bool:
    return order.get("billed_at") is not None or order.get("cancel_reason") is not None


def _may_be_unknown(table: str, row: Row, orders: Mapping[int, Order], rows: Rows) -> bool:
    """Whether a row without an entry is one of an order that is still open, of which nothing was voided once sent."""
    if table == "orders":
        sent = any(line.fired_at is not None for line in orders[row["id"]].lines)
        return row["billed_at"] is None and row["paid"] == row["due"] == 0 and not (row["cancel_reason"] and sent)
    if table == "deposit":
        # It was asked for, and not paid yet.
        return not any(row[name] for name in ("paid", "used", "refunded", "kept"))
    if table == "order_line":
        unsent = row["voided"] and row["fired_at"] is None
        return unsent or not (row["voided"] or _is_final(rows["orders"].get(row["order_id"], {})))
    return False
