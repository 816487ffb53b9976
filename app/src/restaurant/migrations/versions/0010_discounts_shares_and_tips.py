"""discounts that can be removed, what a payment is for, and tips by method."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("discount") as batch:
        batch.add_column(sa.Column("percent", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("payment") as batch:
        batch.add_column(sa.Column("seat", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("line_ids", sa.JSON(), server_default="[]", nullable=False))
        batch.add_column(sa.Column("tip_refunded", sa.Integer(), server_default="0", nullable=False))
        batch.create_check_constraint(
            op.f("ck_payment_tip_refunded_within_tip"), "tip_refunded >= 0 AND tip_refunded <= tip"
        )
    op.add_column("closing", sa.Column("tips_by_method", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("closing") as batch:
        batch.drop_column("tips_by_method")
    with op.batch_alter_table("payment") as batch:
        batch.drop_constraint(op.f("ck_payment_tip_refunded_within_tip"), type_="check")
        batch.drop_column("tip_refunded")
        batch.drop_column("line_ids")
        batch.drop_column("seat")
    with op.batch_alter_table("discount") as batch:
        batch.drop_column("removed_at")
        batch.drop_column("percent")
