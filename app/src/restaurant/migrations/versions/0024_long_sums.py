"""sums of closings and of the till that are larger than an amount."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0030"
branch_labels = None
depends_on = None

_SUMS = {
    "closing": ("total", "tips", "perpetual_total"),
    "period_closing": ("total", "tips", "perpetual_total"),
    "till_session": ("opening_expected", "closing_expected"),
}


def _change(kind: sa.types.TypeEngine[int]) -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite's integers are large enough
        for table, columns in _SUMS.items():
            for column in columns:
                op.alter_column(table, column, type_=kind)


def upgrade() -> None:
    _change(sa.BigInteger())


def downgrade() -> None:
    _change(sa.Integer())
