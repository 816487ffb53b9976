"""longer addresses of the pages on which guests pay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

#: What of an attempt never changes, see 0025.
_KEPT = "id reference order_id channel action amount tip seat line_ids reason back by_id created_at".split()
_REFUSAL = "BEGIN SELECT RAISE(ABORT, 'rows of payment_attempt are kept as they are'); END"


def _resize(before: int, after: int) -> None:
    with op.batch_alter_table("payment_attempt") as batch_op:
        batch_op.alter_column("page", existing_type=sa.String(length=before), type_=sa.String(length=after))
    if op.get_context().dialect.name == "sqlite":
        # The table was copied, without its triggers.
        changed = " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in _KEPT)
        op.execute(f"CREATE TRIGGER payment_attempt_delete BEFORE DELETE ON payment_attempt {_REFUSAL}")
        op.execute(f"CREATE TRIGGER payment_attempt_update BEFORE UPDATE ON payment_attempt WHEN {changed} {_REFUSAL}")


def upgrade() -> None:
    _resize(500, 2000)


def downgrade() -> None:
    _resize(2000, 500)
