"""voids that the kitchen has to acknowledge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("order_line", sa.Column("void_acknowledged_at", sa.DateTime(timezone=True), nullable=True))
    # What was voided before is no news to the kitchen.
    op.execute("UPDATE order_line SET void_acknowledged_at = CURRENT_TIMESTAMP WHERE status = 'voided'")


def downgrade() -> None:
    op.drop_column("order_line", "void_acknowledged_at")
