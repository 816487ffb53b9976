"""set menus and happy hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

#: Tables whose changes count as changes of the menu, see 0007.
_TABLES = ("set_menu", "menu_course", "menu_choice", "happy_hour", "happy_hour_item")
_COUNT = "INSERT INTO revision (name, number) VALUES ('menu', 1) ON CONFLICT (name) DO UPDATE SET number = number + 1"


def _count_changes() -> None:
    for table in _TABLES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER menu_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION count_menu_change()"
            )
            continue
        for action in ("insert", "update", "delete"):
            op.execute(f'CREATE TRIGGER menu_{table}_{action} AFTER {action} ON "{table}" BEGIN {_COUNT}; END')


def _key(table: str, column: str, other: str, *, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete=ondelete)


def upgrade() -> None:
    for column in (
        sa.Column("offer", sa.String(length=80), nullable=True),
        sa.Column("offer_en", sa.String(length=80), nullable=True),
        sa.Column("portion", sa.String(length=32), nullable=True),
    ):
        op.add_column("order_line", column)
    op.execute(
        "ALTER TABLE order_line ADD COLUMN regular_price INTEGER"
        " CONSTRAINT ck_order_line_regular_price_not_negative CHECK (regular_price >= 0)"
    )
    op.create_table(
        "set_menu",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=80), nullable=True),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("description_en", sa.String(length=500), nullable=True),
        sa.Column("price", sa.Integer(), nullable=False),
        sa.Column("days", sa.JSON(), nullable=False),
        sa.Column("starts", sa.Time(), nullable=True),
        sa.Column("ends", sa.Time(), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_set_menu_price_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_menu")),
        sa.UniqueConstraint("name", name=op.f("uq_set_menu_name")),
    )
    op.create_table(
        "menu_course",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_menu_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=80), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("course", sa.String(length=24), nullable=False),
        _key("menu_course", "set_menu_id", "set_menu", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_menu_course")),
    )
    op.create_table(
        "menu_choice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("dish_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("supplement", sa.Integer(), nullable=False),
        sa.CheckConstraint("supplement >= 0", name=op.f("ck_menu_choice_supplement_not_negative")),
        _key("menu_choice", "course_id", "menu_course", ondelete="CASCADE"),
        _key("menu_choice", "dish_id", "dish"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_menu_choice")),
    )
    op.create_table(
        "happy_hour",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=80), nullable=True),
        sa.Column("percent", sa.Integer(), nullable=True),
        sa.Column("days", sa.JSON(), nullable=False),
        sa.Column("starts", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("percent > 0 AND percent <= 100", name=op.f("ck_happy_hour_percent_within_hundred")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_happy_hour")),
        sa.UniqueConstraint("name", name=op.f("uq_happy_hour_name")),
    )
    op.create_table(
        "happy_hour_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("happy_hour_id", sa.Integer(), nullable=False),
        sa.Column("dish_id", sa.Integer(), nullable=True),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column("price", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(dish_id IS NULL) <> (category_id IS NULL)", name=op.f("ck_happy_hour_item_dish_or_category")
        ),
        sa.CheckConstraint(
            "price IS NULL OR (price >= 0 AND dish_id IS NOT NULL)", name=op.f("ck_happy_hour_item_price_of_a_dish")
        ),
        _key("happy_hour_item", "happy_hour_id", "happy_hour", ondelete="CASCADE"),
        _key("happy_hour_item", "dish_id", "dish"),
        _key("happy_hour_item", "category_id", "category", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_happy_hour_item")),
    )
    for table, columns in {
        "menu_course": ("set_menu_id",),
        "menu_choice": ("course_id", "dish_id"),
        "happy_hour_item": ("happy_hour_id", "dish_id", "category_id"),
    }.items():
        for name in columns:
            op.create_index(op.f(f"ix_{table}_{name}"), table, [name])
    _count_changes()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    # Nothing but this column's own check names it, so it can go alone.
    for column in ("regular_price", "portion", "offer_en", "offer"):
        op.drop_column("order_line", column)
