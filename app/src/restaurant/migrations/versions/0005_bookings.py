"""bookings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


# Two active bookings of one table never overlap: the end of one may be the start of the next.
_OVERLAP = """
    SELECT 1 FROM booked_table AS other
    WHERE other.active AND other.table_id = NEW.table_id AND other.id IS NOT NEW.id
    AND other.starts_at < NEW.ends_at AND NEW.starts_at < other.ends_at
"""
_REFUSE_OVERLAP = {
    "sqlite": [
        f"""
        CREATE TRIGGER ex_booked_table_overlap_{verb.lower()} BEFORE {verb} ON booked_table
        WHEN NEW.active AND EXISTS ({_OVERLAP})
        BEGIN SELECT RAISE(ABORT, 'ex_booked_table_overlap'); END
        """
        for verb in ("INSERT", "UPDATE")
    ],
    "postgresql": [
        "CREATE EXTENSION IF NOT EXISTS btree_gist",
        """
        ALTER TABLE booked_table ADD CONSTRAINT ex_booked_table_overlap
        EXCLUDE USING gist (table_id WITH =, tstzrange(starts_at, ends_at, '[)') WITH &&) WHERE (active)
        """,
    ],
}


def upgrade() -> None:
    op.create_table(
        "slot_load",
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("covers", sa.Integer(), nullable=False),
        sa.CheckConstraint("covers >= 0", name=op.f("ck_slot_load_covers_not_negative")),
        sa.PrimaryKeyConstraint("starts_at", name=op.f("pk_slot_load")),
    )
    op.create_table(
        "wait_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("guest", sa.String(length=80), nullable=False),
        sa.Column("contact", sa.String(length=120), nullable=False),
        sa.Column("covers", sa.Integer(), nullable=False),
        sa.Column("quoted_minutes", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("covers > 0", name=op.f("ck_wait_entry_covers_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wait_entry")),
    )
    op.create_index(op.f("ix_wait_entry_created_at"), "wait_entry", ["created_at"])
    op.create_table(
        "booking",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=False),
        sa.Column("guest", sa.String(length=80), nullable=False),
        sa.Column("contact", sa.String(length=120), nullable=False),
        sa.Column("covers", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("allergies", sa.JSON(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("covers > 0 AND ends_at > starts_at", name=op.f("ck_booking_sensible")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_booking_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking")),
        sa.UniqueConstraint("reference", name=op.f("uq_booking_reference")),
    )
    op.create_index(op.f("ix_booking_starts_at"), "booking", ["starts_at"])
    op.create_table(
        "booked_table",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("booking_id", sa.Integer(), nullable=False),
        sa.Column("table_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["booking.id"], name=op.f("fk_booked_table_booking_id_booking"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["table_id"], ["dining_table.id"], name=op.f("fk_booked_table_table_id_dining_table")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booked_table")),
    )
    op.create_index(op.f("ix_booked_table_booking_id"), "booked_table", ["booking_id"])
    op.create_index(op.f("ix_booked_table_table_id"), "booked_table", ["table_id"])
    for statement in _REFUSE_OVERLAP[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("booked_table")
    op.drop_table("booking")
    op.drop_table("wait_entry")
    op.drop_table("slot_load")
