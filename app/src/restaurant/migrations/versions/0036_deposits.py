"""deposits for bookings."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

#: What of an attempt never changes, see 0025.
_BEFORE = "id reference order_id channel action amount tip seat line_ids reason back by_id created_at".split()
_AFTER = [*_BEFORE, "deposit_id"]


def _protections(table: str, changed: str) -> Iterator[str]:
    """Triggers that refuse to delete rows of `table`, and an update for which `changed` is true."""
    refusal = f"rows of {table} are kept as they are"
    if op.get_context().dialect.name == "sqlite":
        abort = f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        yield f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {abort}"
        yield f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} WHEN {changed} {abort}"
        return
    yield f"""
    CREATE OR REPLACE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
    IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{refusal}'; END IF;
    IF {changed} THEN RAISE EXCEPTION '{refusal}'; END IF;
    RETURN NEW; END $$
    """
    yield f"DROP TRIGGER IF EXISTS {table}_kept ON {table}"
    yield f"""
    CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_kept()
    """


def _changed(columns: list[str]) -> str:
    if op.get_context().dialect.name == "sqlite":
        return " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in columns)
    return " OR ".join(f'OLD."{name}"::text IS DISTINCT FROM NEW."{name}"::text' for name in columns)


def _protect(table: str, columns: list[str]) -> None:
    for statement in _protections(table, _changed(columns)):
        op.execute(statement)


def upgrade() -> None:
    op.execute(
        "ALTER TABLE orders ADD COLUMN deposit INTEGER DEFAULT '0' NOT NULL"
        " CONSTRAINT ck_orders_deposit_not_negative CHECK (deposit >= 0)"
    )
    op.add_column("closing", sa.Column("deposits", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("closing", sa.Column("last_deposit", sa.Integer(), server_default="0", nullable=False))
    op.add_column("period_closing", sa.Column("deposits", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "deposit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("booking_id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("paid", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refundable_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waived", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0 AND paid >= 0", name=op.f("ck_deposit_amount_positive")),
        sa.CheckConstraint(
            "used >= 0 AND refunded >= 0 AND kept >= 0 AND used + refunded + kept <= paid",
            name=op.f("ck_deposit_balance"),
        ),
        sa.ForeignKeyConstraint(["booking_id"], ["booking.id"], name=op.f("fk_deposit_booking_id_booking")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_deposit_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
        sa.UniqueConstraint("reference", name=op.f("uq_deposit_reference")),
        sa.UniqueConstraint("booking_id", name=op.f("uq_deposit_booking_id")),
    )
    op.create_table(
        "deposit_movement",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deposit_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("payment_id", sa.Integer(), nullable=True),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["deposit_id"], ["deposit.id"], name=op.f("fk_deposit_movement_deposit_id_deposit")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_deposit_movement_payment_id_payment")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deposit_movement")),
    )
    for table, columns in {"deposit": ("order_id", "due_at"), "deposit_movement": ("deposit_id", "payment_id")}.items():
        for column in columns:
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    with op.batch_alter_table("payment_attempt") as batch_op:
        batch_op.alter_column("order_id", existing_type=sa.Integer(), nullable=True)
        batch_op.alter_column("by_id", existing_type=sa.Integer(), nullable=True)
        batch_op.add_column(sa.Column("deposit_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_payment_attempt_deposit_id_deposit"), "deposit", ["deposit_id"], ["id"]
        )  # fmt: skip
        batch_op.create_check_constraint(
            op.f("ck_payment_attempt_order_or_deposit"), "(order_id IS NULL) <> (deposit_id IS NULL)"
        )
    op.create_index(op.f("ix_payment_attempt_deposit_id"), "payment_attempt", ["deposit_id"])
    _protect("payment_attempt", _AFTER)
    _protect("deposit", ["id", "reference", "booking_id", "created_at"])
    _protect("deposit_movement", "number deposit_id kind amount payment_id by created_at".split())


def downgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER payment_attempt_delete")
    else:
        op.execute("DROP TRIGGER payment_attempt_kept ON payment_attempt")
    # Without deposits there is nothing that these were about.
    op.execute("DELETE FROM payment_attempt WHERE order_id IS NULL")
    op.drop_index(op.f("ix_payment_attempt_deposit_id"), "payment_attempt")
    with op.batch_alter_table("payment_attempt") as batch_op:
        batch_op.drop_constraint(op.f("ck_payment_attempt_order_or_deposit"), type_="check")
        batch_op.drop_constraint(op.f("fk_payment_attempt_deposit_id_deposit"), type_="foreignkey")
        batch_op.drop_column("deposit_id")
        batch_op.alter_column("by_id", existing_type=sa.Integer(), nullable=False)
        batch_op.alter_column("order_id", existing_type=sa.Integer(), nullable=False)
    op.drop_table("deposit_movement")
    op.drop_table("deposit")
    op.execute("DELETE FROM counter WHERE name = 'deposit'")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION deposit_movement_kept(); DROP FUNCTION deposit_kept()")
    _protect("payment_attempt", _BEFORE)
    for table, column in (("period_closing", "deposits"), ("closing", "last_deposit"), ("closing", "deposits"),
                          ("orders", "deposit")):  # fmt: skip
        op.drop_column(table, column)
