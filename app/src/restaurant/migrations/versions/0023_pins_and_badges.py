"""PINs and badges of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("staff", sa.Column("pin_hash", sa.String(length=200), nullable=True))
    op.add_column("staff", sa.Column("badge_hash", sa.String(length=64), nullable=True))
    op.create_index("uq_staff_badge_hash", "staff", ["badge_hash"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_staff_badge_hash", "staff")
    op.drop_column("staff", "badge_hash")
    op.drop_column("staff", "pin_hash")
