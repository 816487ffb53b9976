"""orders that guests send from their table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dining_table", sa.Column("code_number", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "table_order",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("table_id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("guest", sa.String(length=80), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("allergies", sa.JSON(), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["table_id"], ["dining_table.id"], name=op.f("fk_table_order_table_id_dining_table")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_table_order_order_id_orders")),
        sa.ForeignKeyConstraint(["decided_by_id"], ["staff.id"], name=op.f("fk_table_order_decided_by_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_table_order")),
        sa.UniqueConstraint("reference", name=op.f("uq_table_order_reference")),
    )
    for column in ("table_id", "order_id"):
        op.create_index(op.f(f"ix_table_order_{column}"), "table_order", [column])
    op.create_index(
        "ix_table_order_waiting",
        "table_order",
        ["created_at"],
        postgresql_where=sa.text("status = 'to_be_confirmed'"),
        sqlite_where=sa.text("status = 'to_be_confirmed'"),
    )


def downgrade() -> None:
    op.drop_table("table_order")
    op.drop_column("dining_table", "code_number")
