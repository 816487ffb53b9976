"""till sessions, movements of cash, and what guests tendered."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_PAYMENT = "id reference order_id method amount tip seat line_ids by_id created_at".split()
_OPENING = "number opened_at opened_by opening_count opening_total opening_expected first_receipt".split()
_MOVEMENT = "id session_number kind amount reason by created_at".split()


def _changed(columns: list[str]) -> str:
    if op.get_context().dialect.name == "sqlite":
        return " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in columns)
    return " OR ".join(f'OLD."{name}"::text IS DISTINCT FROM NEW."{name}"::text' for name in columns)


def _protections(table: str, changed: str, *, new: bool = True) -> Iterator[str]:
    """Triggers that refuse to delete rows of `table`, and an update for which `changed` is true."""
    refusal = f"rows of {table} are kept as they are"
    if op.get_context().dialect.name == "sqlite":
        abort = f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        if new:
            yield f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {abort}"
        else:
            yield f"DROP TRIGGER {table}_update"
        yield f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} WHEN {changed} {abort}"
        return
    yield f"""
    CREATE OR REPLACE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
    IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{refusal}'; END IF;
    IF {changed} THEN RAISE EXCEPTION '{refusal}'; END IF;
    RETURN NEW; END $$
    """
    if new:
        yield f"""
        CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {table}_kept()
        """


def upgrade() -> None:
    op.create_table(
        "till_session",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_by", sa.String(length=80), nullable=False),
        sa.Column("opening_count", sa.JSON(), nullable=False),
        sa.Column("opening_total", sa.Integer(), nullable=False),
        sa.Column("opening_expected", sa.Integer(), nullable=True),
        sa.Column("first_receipt", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.String(length=80), nullable=True),
        sa.Column("closing_count", sa.JSON(), nullable=True),
        sa.Column("closing_total", sa.Integer(), nullable=True),
        sa.Column("closing_expected", sa.Integer(), nullable=True),
        sa.Column("last_receipt", sa.Integer(), nullable=True),
        sa.Column("by_method", sa.JSON(), nullable=True),
        sa.Column("tips_by_method", sa.JSON(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_till_session")),
    )
    op.create_table(
        "cash_movement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_cash_movement_amount_positive")),
        sa.ForeignKeyConstraint(
            ["session_number"], ["till_session.number"], name=op.f("fk_cash_movement_session_number_till_session")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_movement")),
    )
    op.create_index(op.f("ix_cash_movement_session_number"), "cash_movement", ["session_number"])
    op.add_column("payment", sa.Column("tendered", sa.Integer(), nullable=True))
    for table, changed, new in (
        ("till_session", f"OLD.closed_at IS NOT NULL OR {_changed(_OPENING)}", True),
        ("cash_movement", _changed(_MOVEMENT), True),
        ("payment", _changed([*_PAYMENT, "tendered"]), False),
    ):
        for statement in _protections(table, changed, new=new):
            op.execute(statement)


def downgrade() -> None:
    for statement in _protections("payment", _changed(_PAYMENT), new=False):
        op.execute(statement)
    op.drop_column("payment", "tendered")
    op.drop_table("cash_movement")
    op.drop_table("till_session")
    op.execute("DELETE FROM counter WHERE name = 'till'")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION cash_movement_kept()")
        op.execute("DROP FUNCTION till_session_kept()")
