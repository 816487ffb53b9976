"""signatures of journal entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("journal_entry", sa.Column("key", sa.String(length=16), nullable=True))
    op.add_column("journal_entry", sa.Column("signature", sa.String(length=88), nullable=True))
    op.create_index(op.f("ix_journal_entry_kind"), "journal_entry", ["kind"])


def downgrade() -> None:
    op.drop_index(op.f("ix_journal_entry_kind"), "journal_entry")
    op.drop_column("journal_entry", "signature")
    op.drop_column("journal_entry", "key")
