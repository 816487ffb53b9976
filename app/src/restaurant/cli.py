"""The command `restaurant`."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec

import click
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from restaurant import __version__, logs
from restaurant.billing import journal
from restaurant.billing import service as billing
from restaurant.database import Database
from restaurant.errors import Problem
from restaurant.floor.service import seed_floor
from restaurant.i18n import format_euros
from restaurant.menu.service import seed_menu
from restaurant.people import service as people
from restaurant.people.models import User
from restaurant.people.permissions import Role
from restaurant.settings import Settings, SettingsError

P = ParamSpec("P")


@click.group()
@click.version_option(__version__, prog_name="restaurant")
def main() -> None:
    """Gestion Restaurant, a web application for one restaurant. Settings are RESTAURANT_* environment variables."""


def _with_settings(command: Callable[Concatenate[Settings, P], None]) -> Callable[P, None]:
    """Run `command` with the settings of the environment; known failures become one readable message."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            settings = Settings.load()
        except SettingsError as error:
            raise click.ClickException(f"invalid settings:\n{error}") from error
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        try:
            command(settings, *args, **kwargs)
        except OperationalError as error:
            raise click.ClickException(f"the database is not available: {error.orig}") from error

    return run


@main.command()
@_with_settings
def serve(settings: Settings) -> None:
    """Serve until SIGTERM. With SQLite, migrate the schema first."""
    from restaurant.server import Server

    if settings.sqlite_file() is not None:
        with Database(settings) as database:
            database.migrate()
    # gunicorn reads sys.argv unless it is empty.
    sys.argv[1:] = []
    Server(settings).run()


@main.command()
@_with_settings
def migrate(settings: Settings) -> None:
    """Bring the database schema to this version. Safe to run from many pods at once."""
    with Database(settings) as database:
        database.migrate()


@main.command()
@click.option("--profile", type=click.Choice(["bistro"]), default="bistro", show_default=True)
@_with_settings
def seed(settings: Settings, profile: str) -> None:
    """Add an example menu and floor to an empty database. Existing data is not changed."""
    with (
        Database(settings) as database,
        database.migration_lock() as connection,
        Session(connection) as session,
        session.begin(),
    ):
        dishes, tables = seed_menu(session, profile=profile), seed_floor(session)
    click.echo(f"{dishes} dishes added" if dishes else "the menu is not empty: no dishes added")
    click.echo(f"{tables} tables added" if tables else "the floor is not empty: no tables added")


@main.command("create-admin")
@click.option("--username", default="admin", show_default=True)
@_with_settings
def create_admin(settings: Settings, username: str) -> None:
    """Add an administrator, or restore the role of an existing person, and print a new random password once."""
    password = secrets.token_urlsafe(15)
    with Database(settings) as database, database.writing() as session:
        found = session.scalar(select(User).where(User.username == username))
        if found is None:
            people.add_person(session, username=username, name=username, role=Role.ADMIN, password=password)
        else:
            people.change_person(session, found, role=Role.ADMIN, active=True, password=password)
    click.echo(f"user name: {username}\npassword:  {password}\nIt is not shown again.")


@main.command()
@_with_settings
def openapi(settings: Settings) -> None:
    """Print the OpenAPI document of /api/v1."""
    from restaurant.app import create_app
    from restaurant.http.openapi import document

    click.echo(json.dumps(document(create_app(settings)), ensure_ascii=False, indent=1))


@main.command("close-day")
@_with_settings
def close_day(settings: Settings) -> None:
    """Close the day (Z): add up the receipts since the last closing."""
    try:
        with Database(settings) as database, database.writing() as session:
            closing = billing.close_day(session, by="command", business_day=settings.business_day)
    except Problem as problem:
        raise click.ClickException(problem.detail) from problem
    click.echo(
        f"closing {closing.number} of {closing.day}: receipts {closing.first_receipt} to {closing.last_receipt}, "
        f"{format_euros(closing.total, locale='en')}"
    )


@main.command("verify-journal")
@_with_settings
def verify_journal(settings: Settings) -> None:
    """Verify the journal's chain, the receipts and the closings. Exits with 1 and lists what is wrong."""
    with Database(settings) as database, database.snapshot() as session:
        count, faults = journal.verify(session)
    if faults:
        raise click.ClickException("\n".join(faults))
    click.echo(f"{count} entries verified")


@main.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, in the restaurant's time zone.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Day after the last one.")
@_with_settings
def export(settings: Settings, since: datetime | None, until: datetime | None) -> None:
    """Print the journal, one JSON object per line, for the archive or the tax office."""
    start, end = (day.replace(tzinfo=settings.zone) if day is not None else None for day in (since, until))
    with Database(settings) as database, database.snapshot() as session:
        for entry in journal.entries(session, since=start, until=end):
            click.echo(
                json.dumps(
                    {
                        "number": entry.number,
                        "kind": entry.kind.value,
                        "recorded_at": entry.recorded_at.isoformat(),
                        "content": json.loads(entry.content),
                        "previous_hash": entry.previous_hash,
                        "hash": entry.hash,
                    },
                    ensure_ascii=False,
                )
            )
