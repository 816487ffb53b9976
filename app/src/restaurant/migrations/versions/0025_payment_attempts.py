"""attempts to charge and to refund at payment providers."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0032"
branch_labels = None
depends_on = None

#: What of an attempt never changes.
_KEPT = "id reference order_id channel action amount tip seat line_ids reason back by_id created_at".split()
_REFUSAL = "rows of payment_attempt are kept as they are"


def _protections() -> Iterator[str]:
    """Triggers that refuse to delete attempts, and to change what was asked for."""
    if op.get_context().dialect.name == "sqlite":
        abort = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        changed = " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in _KEPT)
        yield f"CREATE TRIGGER payment_attempt_delete BEFORE DELETE ON payment_attempt {abort}"
        yield f"CREATE TRIGGER payment_attempt_update BEFORE UPDATE ON payment_attempt WHEN {changed} {abort}"
        return
    changed = " OR ".join(f'OLD."{name}"::text IS DISTINCT FROM NEW."{name}"::text' for name in _KEPT)
    yield f"""
    CREATE FUNCTION payment_attempt_kept() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
    IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{_REFUSAL}'; END IF;
    IF {changed} THEN RAISE EXCEPTION '{_REFUSAL}'; END IF;
    RETURN NEW; END $$
    """
    yield """
    CREATE TRIGGER payment_attempt_kept BEFORE UPDATE OR DELETE ON payment_attempt
    FOR EACH ROW EXECUTE FUNCTION payment_attempt_kept()
    """


def upgrade() -> None:
    op.create_table(
        "payment_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("payment_id", sa.Integer(), nullable=True),
        sa.Column("channel", sa.String(length=24), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("tip", sa.Integer(), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=True),
        sa.Column("line_ids", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("back", sa.String(length=500), nullable=False),
        sa.Column("page", sa.String(length=500), nullable=True),
        sa.Column("provider_reference", sa.String(length=100), nullable=True),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "amount >= 0 AND tip >= 0 AND amount + tip > 0", name=op.f("ck_payment_attempt_amount_positive")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payment_attempt_order_id_orders")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_payment_attempt_payment_id_payment")),
        sa.ForeignKeyConstraint(["by_id"], ["staff.id"], name=op.f("fk_payment_attempt_by_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempt")),
        sa.UniqueConstraint("reference", name=op.f("uq_payment_attempt_reference")),
    )
    for column in ("order_id", "payment_id", "state"):
        op.create_index(op.f(f"ix_payment_attempt_{column}"), "payment_attempt", [column])
    for statement in _protections():
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("payment_attempt")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION payment_attempt_kept()")
