"""Alembic's environment: runs on the connection that `Database.migrate` hands over, under its lock."""

from __future__ import annotations

from typing import Literal

from alembic import context
from sqlalchemy import Connection, Enum, text

from restaurant import models
from restaurant.database import Base
from restaurant.types import Moment

#: How long a migration may wait for a table lock before it gives up and leaves the service running, in ms.
LOCK_TIMEOUT_MS = 5_000


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our column types into migrations as what they are in the database, whatever becomes of the classes."""
    if kind == "type" and isinstance(item, Moment):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    return False


def run() -> None:
    """Upgrade (or downgrade) with one transaction per migration."""
    assert models.ALL, "all models must be imported before their tables are compared"  # noqa: S101
    connection: Connection = context.config.attributes["connection"]
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
        connection.commit()
    else:
        # Altering a table on SQLite copies and drops it; with foreign keys on, the drop would delete its children.
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        transactional_ddl=True,
        render_as_batch=True,
        render_item=_render,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
