"""floor and service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "room",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
        sa.UniqueConstraint("name", name=op.f("uq_room_name")),
    )
    op.create_table(
        "dining_table",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("room_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("shape", sa.String(length=24), nullable=False),
        sa.Column("seats_min", sa.Integer(), nullable=False),
        sa.Column("seats_max", sa.Integer(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("condition", sa.String(length=24), nullable=False),
        sa.Column("merged_into_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "merged_into_id IS NULL OR merged_into_id <> id", name=op.f("ck_dining_table_not_into_itself")
        ),
        sa.CheckConstraint("seats_min >= 1 AND seats_min <= seats_max", name=op.f("ck_dining_table_seats")),
        sa.ForeignKeyConstraint(
            ["merged_into_id"], ["dining_table.id"], name=op.f("fk_dining_table_merged_into_id_dining_table")
        ),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_dining_table_room_id_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dining_table")),
        sa.UniqueConstraint("name", name=op.f("uq_dining_table_name")),
    )
    op.create_index(op.f("ix_dining_table_merged_into_id"), "dining_table", ["merged_into_id"])
    op.create_index(op.f("ix_dining_table_room_id"), "dining_table", ["room_id"])
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_event_order_id_orders"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_created_at"), "event", ["created_at"])
    with op.batch_alter_table("order_line", schema=None) as batch_op:
        batch_op.add_column(sa.Column("allergens", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("seat", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("served_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("void_reason", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("voided_by_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(batch_op.f("fk_order_line_voided_by_id_staff"), "staff", ["voided_by_id"], ["id"])

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("table_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("server_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("covers", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("allergies", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("billed_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("cancel_reason", sa.String(length=200), nullable=True))
        batch_op.create_index(batch_op.f("ix_orders_server_id"), ["server_id"], unique=False)
        batch_op.create_index(
            "uq_orders_open_table",
            ["table_id"],
            unique=True,
            postgresql_where=sa.text("closed_at IS NULL"),
            sqlite_where=sa.text("closed_at IS NULL"),
        )
        batch_op.create_foreign_key(batch_op.f("fk_orders_server_id_staff"), "staff", ["server_id"], ["id"])
        batch_op.create_foreign_key(batch_op.f("fk_orders_table_id_dining_table"), "dining_table", ["table_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_orders_table_id_dining_table"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("fk_orders_server_id_staff"), type_="foreignkey")
        batch_op.drop_index(
            "uq_orders_open_table",
            postgresql_where=sa.text("closed_at IS NULL"),
            sqlite_where=sa.text("closed_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_orders_server_id"))
        batch_op.drop_column("cancel_reason")
        batch_op.drop_column("billed_at")
        batch_op.drop_column("allergies")
        batch_op.drop_column("covers")
        batch_op.drop_column("server_id")
        batch_op.drop_column("table_id")
    with op.batch_alter_table("order_line", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_order_line_voided_by_id_staff"), type_="foreignkey")
        batch_op.drop_column("voided_by_id")
        batch_op.drop_column("void_reason")
        batch_op.drop_column("served_at")
        batch_op.drop_column("ready_at")
        batch_op.drop_column("fired_at")
        batch_op.drop_column("seat")
        batch_op.drop_column("allergens")
    op.drop_table("event")
    op.drop_table("dining_table")
    op.drop_table("room")
