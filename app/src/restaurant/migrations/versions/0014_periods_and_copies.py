"""closings of months and years, and counted copies of receipts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_REFUSAL = "rows of period_closing are kept as they are"
_KEEP = {
    "sqlite": [
        f"""
        CREATE TRIGGER period_closing_{verb.lower()} BEFORE {verb} ON period_closing
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
        """
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        f"""
        CREATE FUNCTION period_closing_kept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$
        """,
        """
        CREATE TRIGGER period_closing_kept BEFORE UPDATE OR DELETE ON period_closing
        FOR EACH ROW EXECUTE FUNCTION period_closing_kept()
        """,
    ],
}


def upgrade() -> None:
    op.create_table(
        "period_closing",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("first_closing", sa.Integer(), nullable=False),
        sa.Column("last_closing", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("tips", sa.Integer(), nullable=False),
        sa.Column("perpetual_total", sa.Integer(), nullable=False),
        sa.Column("by_method", sa.JSON(), nullable=False),
        sa.Column("tips_by_method", sa.JSON(), nullable=False),
        sa.Column("by_rate", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_period_closing")),
        sa.UniqueConstraint("period", name=op.f("uq_period_closing_period")),
    )
    op.add_column("receipt", sa.Column("copies", sa.Integer(), server_default="0", nullable=False))
    for statement in _KEEP[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_column("receipt", "copies")
    op.drop_table("period_closing")
    op.execute("DELETE FROM counter WHERE name = 'period'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION period_closing_kept()")
