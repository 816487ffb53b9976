"""Set up the primary: its users and their passwords, the database, and the settings that all servers share.

Patroni calls this whenever a server starts or its role changes, with the action, the role and the cluster's name. It may
end it at any time and call it again, so everything here can be repeated. A changed Secret takes effect with a restart.
"""

# ruff: noqa: INP001 - a script of the chart
from __future__ import annotations

import base64
import os
import sys
import time
import urllib.request
from pathlib import Path

import psycopg
from psycopg import sql

ATTEMPTS = 30
"""Attempts, a second apart, while the server is starting."""

SECRETS = Path("/run/secrets/restaurant-database")
SETTINGS = Path("/etc/restaurant-database/shared.json")
REWINDS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
"""The functions that pg_rewind calls."""


def configure(connection: psycopg.Connection, name: str, user: str) -> None:
    """Create what is missing, and set the passwords."""
    # No replica exists before its user does, so these commits must not wait for one.
    connection.execute("SET synchronous_commit = local")
    passwords = {"replication": read("replication-password"), "user": read("password")}
    for role, attributes, password in (
        ("replicator", "LOGIN REPLICATION", passwords["replication"]),
        ("rewinder", "LOGIN", passwords["replication"]),
        (user, "LOGIN", passwords["user"]),
    ):
        verb = "ALTER" if exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", role) else "CREATE"
        connection.execute(
            sql.SQL("{} ROLE {} {} PASSWORD {}").format(
                sql.SQL(verb), sql.Identifier(role), sql.SQL(attributes), sql.Literal(password)
            )
        )
    for function in REWINDS:
        connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION pg_catalog.{} TO rewinder").format(sql.SQL(function)))
    if not exists(connection, "SELECT FROM pg_database WHERE datname = %s", name):
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(user)))


def exists(connection: psycopg.Connection, query: str, name: str) -> bool:
    """Whether a query finds the name."""
    return connection.execute(query.encode(), [name]).fetchone() is not None


def share_settings() -> None:
    """Give all servers the settings of this chart that must be the same on each. Patroni keeps them in the cluster."""
    credentials = base64.b64encode(f"patroni:{read('replication-password')}".encode()).decode()
    request = urllib.request.Request(
        "http://127.0.0.1:8008/config",
        data=SETTINGS.read_bytes(),
        method="PATCH",
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - Patroni of this pod
        pass


def read(key: str) -> str:
    """Return a password."""
    return (SECRETS / key).read_text(encoding="utf-8").strip()


def main(role: str) -> None:
    """Set up the server if it is the primary."""
    if role != "primary":
        return
    for attempt in range(ATTEMPTS):
        try:
            with psycopg.connect(
                host="/var/run/postgresql", user="postgres", dbname="postgres", autocommit=True
            ) as connection:
                configure(connection, os.environ["DATABASE_NAME"], os.environ["DATABASE_USER"])
            share_settings()
        except (psycopg.Error, OSError) as error:
            if attempt == ATTEMPTS - 1:
                raise
            print(f"not set up yet: {type(error).__name__}", file=sys.stderr)  # noqa: T201 - the log of the pod
            time.sleep(1)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[2])
