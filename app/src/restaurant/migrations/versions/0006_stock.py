"""stock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ingredient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("unit", sa.String(length=24), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("low_at", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity >= 0 AND low_at >= 0", name=op.f("ck_ingredient_quantity_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingredient")),
        sa.UniqueConstraint("name", name=op.f("uq_ingredient_name")),
    )
    op.create_table(
        "recipe_line",
        sa.Column("dish_id", sa.Integer(), nullable=False),
        sa.Column("ingredient_id", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_recipe_line_quantity_positive")),
        sa.ForeignKeyConstraint(["dish_id"], ["dish.id"], name=op.f("fk_recipe_line_dish_id_dish"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["ingredient_id"], ["ingredient.id"], name=op.f("fk_recipe_line_ingredient_id_ingredient")
        ),
        sa.PrimaryKeyConstraint("dish_id", "ingredient_id", name=op.f("pk_recipe_line")),
    )
    op.create_index(op.f("ix_recipe_line_ingredient_id"), "recipe_line", ["ingredient_id"])
    op.create_table(
        "stock_movement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ingredient_id", sa.Integer(), nullable=False),
        sa.Column("delta", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=True),
        sa.Column("by_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["staff.id"], name=op.f("fk_stock_movement_by_id_staff")),
        sa.ForeignKeyConstraint(
            ["ingredient_id"], ["ingredient.id"], name=op.f("fk_stock_movement_ingredient_id_ingredient")
        ),
        sa.ForeignKeyConstraint(
            ["line_id"], ["order_line.id"], name=op.f("fk_stock_movement_line_id_order_line"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_movement")),
    )
    op.create_index(op.f("ix_stock_movement_ingredient_id"), "stock_movement", ["ingredient_id"])
    op.create_index(op.f("ix_stock_movement_line_id"), "stock_movement", ["line_id"])


def downgrade() -> None:
    op.drop_table("stock_movement")
    op.drop_table("recipe_line")
    op.drop_table("ingredient")
