"""revision of the menu."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What the menu consists of. A later migration that re-creates one of these (SQLite's way to alter a table) has to
# create its triggers again.
_TABLES = ("category", "dish", "dish_allergen", "option_group", "option", "recipe_line")
_COUNT = "INSERT INTO revision (name, number) VALUES ('menu', 1) ON CONFLICT (name) DO UPDATE SET number = {number} + 1"


def _upgrade_postgresql() -> None:
    op.execute(
        f"""CREATE FUNCTION count_menu_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {_COUNT.format(number="revision.number")}; RETURN NULL; END $$"""
    )
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER menu_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_menu_change()"
        )


def _upgrade_sqlite() -> None:
    for table in _TABLES:
        for action in ("insert", "update", "delete"):
            op.execute(
                f'CREATE TRIGGER menu_{table}_{action} AFTER {action} ON "{table}" BEGIN '
                f"{_COUNT.format(number='number')}; END"
            )


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revision")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION count_menu_change() CASCADE")
    else:
        for table in _TABLES:
            for action in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER menu_{table}_{action}")
    op.drop_table("revision")
