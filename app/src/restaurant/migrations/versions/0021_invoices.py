"""invoices and credit notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_REFUSAL = "rows of invoice are kept as they are"
#: All but `copies`.
_FINAL = (
    "number order_id corrects reason seller customer address siret lines discount refunded total shares by_method "
    "served_on issued_at by_id"
).split()
_SQLITE = " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in _FINAL)
_POSTGRESQL = " OR ".join(f'OLD."{name}"::text IS DISTINCT FROM NEW."{name}"::text' for name in _FINAL)
_KEEP = {
    "sqlite": [
        f"CREATE TRIGGER invoice_delete BEFORE DELETE ON invoice BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
        f"""
        CREATE TRIGGER invoice_update BEFORE UPDATE ON invoice WHEN {_SQLITE}
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
        """,
    ],
    "postgresql": [
        f"""
        CREATE FUNCTION invoice_kept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
        IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{_REFUSAL}'; END IF;
        IF {_POSTGRESQL} THEN RAISE EXCEPTION '{_REFUSAL}'; END IF;
        RETURN NEW; END $$
        """,
        """
        CREATE TRIGGER invoice_kept BEFORE UPDATE OR DELETE ON invoice
        FOR EACH ROW EXECUTE FUNCTION invoice_kept()
        """,
    ],
}


def upgrade() -> None:
    op.create_table(
        "invoice",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("corrects", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("seller", sa.String(length=600), nullable=False),
        sa.Column("customer", sa.String(length=80), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("siret", sa.String(length=14), nullable=True),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("discount", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("by_method", sa.JSON(), nullable=False),
        sa.Column("served_on", sa.Date(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_invoice_order_id_orders")),
        sa.ForeignKeyConstraint(["corrects"], ["invoice.number"], name=op.f("fk_invoice_corrects_invoice")),
        sa.ForeignKeyConstraint(["by_id"], ["staff.id"], name=op.f("fk_invoice_by_id_staff")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_invoice")),
    )
    for column in ("order_id", "corrects", "issued_at"):
        op.create_index(op.f(f"ix_invoice_{column}"), "invoice", [column])
    for statement in _KEEP[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("invoice")
    op.execute("DELETE FROM counter WHERE name = 'invoice'")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION invoice_kept()")
