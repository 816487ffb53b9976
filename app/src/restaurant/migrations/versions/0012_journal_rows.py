"""the journal records rows: adopt those from before, and keep what has a receipt."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
#: The columns whose values are not numbers or text.
_TYPES: dict[str, Any] = {
    "reference": sa.Uuid(), "line_ids": sa.JSON(), "shares": sa.JSON(), "options": sa.JSON(), "by_method": sa.JSON(),
    "tips_by_method": sa.JSON(), "by_rate": sa.JSON(), "day": sa.Date(),
    **dict.fromkeys(
        "opened_at billed_at paid_at fired_at created_at removed_at issued_at closed_at".split(), _MOMENT
    ),
}  # fmt: skip
_RECORDED = {
    "orders": (
        "id reference kind table_id server_id covers guest note opened_at billed_at due paid paid_at cancel_reason"
    ),
    "order_line": (
        "id order_id dish_id name name_en quantity unit_price vat_rate note options seat fired_at void_reason "
        "voided_by_id status"
    ),
    "discount": "id order_id amount percent reason by_id created_at removed_at",
    "payment": ("id reference order_id method amount tip refunded tip_refunded seat line_ids by_id created_at"),
    "receipt": "number payment_id amount tip shares issued_at",
    "closing": (
        "number day closed_at by first_receipt last_receipt total tips perpetual_total by_method tips_by_method by_rate"
    ),
}
#: What is never deleted, nor changed except for the named columns; `*` is all of them.
_KEPT = {
    "receipt": "",
    "closing": "",
    "payment": "refunded tip_refunded",
    "discount": "order_id amount percent removed_at",
    "orders": "*",
    "order_line": "*",
}
_CHUNK = 100


def upgrade() -> None:
    if op.get_context().as_sql:
        return
    _adopt(op.get_bind())
    for statement in _protections():
        op.execute(statement)


def downgrade() -> None:
    for table, changing in _KEPT.items():
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {table}_delete")
            if changing != "*":
                op.execute(f"DROP TRIGGER {table}_update")
        else:
            op.execute(f"DROP TRIGGER {table}_kept ON {table}")
            op.execute(f"DROP FUNCTION {table}_kept()")


def _protections() -> Iterator[str]:
    """Triggers: the database itself refuses to delete what is recorded, and to change what is final of it."""
    connection = op.get_bind()
    for table, changing in _KEPT.items():
        columns = [column["name"] for column in sa.inspect(connection).get_columns(table)]
        final = [] if changing == "*" else [name for name in columns if name not in changing.split()]
        refusal = f"rows of {table} are kept as they are"
        if connection.dialect.name == "sqlite":
            abort = f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            yield f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {abort}"
            if final:
                changed = " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in final)
                yield f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} WHEN {changed} {abort}"
            continue
        changed = " OR ".join(f'OLD."{name}"::text IS DISTINCT FROM NEW."{name}"::text' for name in final) or "false"
        yield f"""
        CREATE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
        IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{refusal}'; END IF;
        IF {changed} THEN RAISE EXCEPTION '{refusal}'; END IF;
        RETURN NEW; END $$
        """
        yield f"""
        CREATE TRIGGER {table}_kept BEFORE {"UPDATE OR DELETE" if final else "DELETE"} ON {table}
        FOR EACH ROW EXECUTE FUNCTION {table}_kept()
        """


def _adopt(connection: sa.Connection) -> None:
    entry = sa.table(
        "journal_entry", sa.column("number"), sa.column("kind"), sa.column("recorded_at", _MOMENT),
        sa.column("content"), sa.column("previous_hash"), sa.column("hash"),
    )  # fmt: skip
    last = connection.execute(sa.select(entry.c.number, entry.c.hash).order_by(entry.c.number.desc()).limit(1)).first()
    number, previous = (last.number, last.hash) if last is not None else (0, "0" * 64)
    before = number
    for name, columns in _RECORDED.items():
        for rows in _chunks(connection, name, columns.split()):
            number += 1
            at = datetime.now(UTC)
            content = json.dumps({"rows": {name: rows}}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            text = "\n".join((previous, str(number), "adoption", at.isoformat(timespec="microseconds"), content))
            values = {
                "number": number, "kind": "adoption", "recorded_at": at, "content": content,
                "previous_hash": previous, "hash": hashlib.sha256(text.encode()).hexdigest(),
            }  # fmt: skip
            connection.execute(sa.insert(entry).values(values))
            previous = values["hash"]
    if number == before:
        return
    counter = sa.table("counter", sa.column("name"), sa.column("value"))
    if connection.execute(sa.update(counter).where(counter.c.name == "journal").values(value=number)).rowcount == 0:
        connection.execute(sa.insert(counter).values(name="journal", value=number))


def _chunks(connection: sa.Connection, name: str, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    table = sa.table(name, *(sa.column(column, _TYPES.get(column)) for column in columns))
    found = connection.execute(sa.select(table).order_by(table.c[columns[0]])).mappings().all()
    for start in range(0, len(found), _CHUNK):
        yield [_row(row) for row in found[start : start + _CHUNK]]


def _row(found: sa.RowMapping) -> dict[str, Any]:
    row = {name: _plain(value) for name, value in found.items()}
    if "fired_at" in row:
        row["voided"] = row.pop("status") == "voided"
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value
