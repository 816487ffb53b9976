"""billing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The database itself refuses to change or delete what the journal holds.
_KEEP_JOURNAL = {
    "sqlite": [
        f"""
        CREATE TRIGGER journal_entry_{verb.lower()} BEFORE {verb} ON journal_entry
        BEGIN SELECT RAISE(ABORT, 'journal entries are kept as they are'); END
        """
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        """
        CREATE FUNCTION journal_entry_kept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'journal entries are kept as they are'; END $$
        """,
        """
        CREATE TRIGGER journal_entry_kept BEFORE UPDATE OR DELETE ON journal_entry
        FOR EACH ROW EXECUTE FUNCTION journal_entry_kept()
        """,
    ],
}
_LET_JOURNAL_GO = {
    "sqlite": ["DROP TRIGGER journal_entry_update", "DROP TRIGGER journal_entry_delete"],
    "postgresql": ["DROP TRIGGER journal_entry_kept ON journal_entry", "DROP FUNCTION journal_entry_kept()"],
}


def upgrade() -> None:
    op.create_table(
        "closing",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("first_receipt", sa.Integer(), nullable=False),
        sa.Column("last_receipt", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("tips", sa.Integer(), nullable=False),
        sa.Column("perpetual_total", sa.Integer(), nullable=False),
        sa.Column("by_method", sa.JSON(), nullable=False),
        sa.Column("by_rate", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_closing")),
    )
    op.create_index(op.f("ix_closing_day"), "closing", ["day"])
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "journal_entry",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_journal_entry")),
    )
    op.create_table(
        "discount",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_discount_amount_positive")),
        sa.ForeignKeyConstraint(["by_id"], ["staff.id"], name=op.f("fk_discount_by_id_staff")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_discount_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discount")),
    )
    op.create_index(op.f("ix_discount_order_id"), "discount", ["order_id"])
    op.create_table(
        "payment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=24), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("tip", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0 AND tip >= 0", name=op.f("ck_payment_amount_positive")),
        sa.CheckConstraint("refunded >= 0 AND refunded <= amount", name=op.f("ck_payment_refunded_within_amount")),
        sa.ForeignKeyConstraint(["by_id"], ["staff.id"], name=op.f("fk_payment_by_id_staff")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payment_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("reference", name=op.f("uq_payment_reference")),
    )
    op.create_index(op.f("ix_payment_order_id"), "payment", ["order_id"])
    op.create_table(
        "receipt",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("payment_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("tip", sa.Integer(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_receipt_payment_id_payment")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_receipt")),
    )
    op.create_index(op.f("ix_receipt_issued_at"), "receipt", ["issued_at"])
    op.create_index(op.f("ix_receipt_payment_id"), "receipt", ["payment_id"])
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("due", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("paid", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_check_constraint(op.f("ck_orders_paid_within_due"), "paid >= 0 AND paid <= due")
        batch_op.create_check_constraint(op.f("ck_orders_covers_not_negative"), "covers >= 0")
    for statement in _KEEP_JOURNAL[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in _LET_JOURNAL_GO[op.get_bind().dialect.name]:
        op.execute(statement)
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_orders_covers_not_negative"), type_="check")
        batch_op.drop_constraint(op.f("ck_orders_paid_within_due"), type_="check")
        batch_op.drop_column("paid_at")
        batch_op.drop_column("paid")
        batch_op.drop_column("due")
    op.drop_table("receipt")
    op.drop_table("payment")
    op.drop_table("discount")
    op.drop_table("journal_entry")
    op.drop_table("counter")
    op.drop_table("closing")
