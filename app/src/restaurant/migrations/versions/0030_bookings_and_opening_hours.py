"""opening hours, the guest file, and what was done to bookings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "opening_week",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bookings", sa.JSON(), nullable=False),
        sa.Column("take_away", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_opening_week_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opening_week")),
    )
    op.create_table(
        "special_period",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("bookings", sa.String(length=120), nullable=False),
        sa.Column("take_away", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("first_day <= last_day", name=op.f("ck_special_period_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_special_period")),
    )
    op.create_index(op.f("ix_special_period_last_day"), "special_period", ["last_day"])
    op.create_table(
        "guest",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_key", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("contact", sa.String(length=120), nullable=False),
        sa.Column("allergies", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guest")),
        sa.UniqueConstraint("contact_key", name=op.f("uq_guest_contact_key")),
    )
    op.create_index(op.f("ix_guest_name"), "guest", ["name"])
    op.create_table(
        "booking_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("booking_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("by", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["booking.id"], name=op.f("fk_booking_change_booking_id_booking"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking_change")),
    )
    op.create_index(op.f("ix_booking_change_booking_id"), "booking_change", ["booking_id"])
    op.create_table(
        "booking_address",
        sa.Column("address_hash", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bookings", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("address_hash", name=op.f("pk_booking_address")),
    )
    with op.batch_alter_table("booking") as booking:
        booking.add_column(sa.Column("guest_id", sa.Integer(), nullable=True))
        booking.add_column(sa.Column("override_reason", sa.String(length=200), nullable=True))
        booking.create_foreign_key(op.f("fk_booking_guest_id_guest"), "guest", ["guest_id"], ["id"])
        booking.create_index(op.f("ix_booking_guest_id"), ["guest_id"])


def downgrade() -> None:
    with op.batch_alter_table("booking") as booking:
        booking.drop_index(op.f("ix_booking_guest_id"))
        booking.drop_constraint(op.f("fk_booking_guest_id_guest"), type_="foreignkey")
        booking.drop_column("override_reason")
        booking.drop_column("guest_id")
    for table in ("booking_address", "booking_change", "guest", "special_period", "opening_week"):
        op.drop_table(table)
    op.execute("DELETE FROM revision WHERE name = 'opening'")
