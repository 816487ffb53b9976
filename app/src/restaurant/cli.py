"""The command `restaurant`."""

from __future__ import annotations

import json
import secrets
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from restaurant import __version__, logs
from restaurant.billing import journal
from restaurant.billing import service as billing
from restaurant.billing.anchors import Anchor, read_anchor
from restaurant.billing.signing import public_pem, read_public_keys
from restaurant.database import Database
from restaurant.errors import Problem
from restaurant.floor.service import seed_floor
from restaurant.i18n import format_euros
from restaurant.people import service as people
from restaurant.people.models import User
from restaurant.people.permissions import Role
from restaurant.settings import Settings, SettingsError

if TYPE_CHECKING:
    from restaurant.billing import verification

P = ParamSpec("P")
T = TypeVar("T")

#: The journal in an export.
_JOURNAL = "journal.jsonl"


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
        _migrate(settings)
    # gunicorn reads sys.argv unless it is empty.
    sys.argv[1:] = []
    Server(settings).run()


@main.command()
@_with_settings
def migrate(settings: Settings) -> None:
    """Bring the database schema to this version. Safe to run from many pods at once."""
    _migrate(settings)


def _migrate(settings: Settings) -> None:
    with Database(settings) as database:
        database.migrate()
        with database.writing() as session:
            journal.introduce_key(session)


@main.command()
@click.option("--profile", type=click.Choice(["bistro"]), default="bistro", show_default=True)
@_with_settings
def seed(settings: Settings, profile: str) -> None:
    """Add an example menu and floor to an empty database. Existing data is not changed."""
    from restaurant.menu.seeding import seed_menu

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


@main.command("virtual-printer")
@click.option("--listen", default="127.0.0.1:9100", show_default=True, help="Address and port.")
@click.option(
    "--width", type=click.Choice(["58", "80"]), default="80", show_default=True, help="Width of the paper, mm."
)
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="For the pictures.")
def virtual_printer(listen: str, width: str, directory: Path) -> None:
    """Run a receipt printer without paper, which draws each paper as an SVG file. For tests and demonstrations."""
    from restaurant.printing.virtual import VirtualPrinter, draw, read

    numbers = count(1)

    def taken(data: bytes) -> None:
        file = directory / f"{next(numbers):04}.svg"
        file.write_text(draw(read(data, width=int(width))), encoding="utf-8")
        click.echo(str(file))

    directory.mkdir(parents=True, exist_ok=True)
    host, _colon, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise click.ClickException("--listen must be ADDRESS:PORT, such as 127.0.0.1:9100")
    try:
        printer = VirtualPrinter(host, int(port), taken=taken)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {listen}: {error.strerror}") from error
    click.echo(f"printing to {directory.resolve()}, listening on {listen}")
    printer.run()


@main.command("close-day")
@_with_settings
def close_day(settings: Settings) -> None:
    """Close the day (Z): add up the receipts since the last closing."""
    try:
        with Database(settings) as database, database.writing() as session:
            closing = billing.close_day(session, by="command", business_day=settings.business_day)
            kept = read_anchor(session, closing.number)
    except Problem as problem:
        raise click.ClickException(problem.detail) from problem
    click.echo(
        f"closing {closing.number} of {closing.day}: receipts {closing.first_receipt} to {closing.last_receipt}, "
        f"{format_euros(closing.total, locale='en')}\n{kept}"
    )


@main.command("verify-journal")
@click.option(
    "--export",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Verify this export alone, without a database.",
)
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file with a public key that must have signed; repeatable. By default the configured key.",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Anchor of a closing, to which the journal must lead; repeatable.",
)
def verify_journal(export: Path | None, public_keys: tuple[Path, ...], anchors: tuple[Path, ...]) -> None:
    """Verify the journal, and everything with money against it. Exits with 1 and lists what is wrong."""
    from restaurant.billing import verification

    trusted = [key for file in public_keys for key in _read_file(file, read_public_keys)]
    kept = [_read_file(file, Anchor.read) for file in anchors]
    if export is not None:
        _report(*verification.verify_export(_read_export(export), trusted=trusted, anchors=kept))
    else:
        _verify_database(trusted, kept)


@_with_settings
def _verify_database(settings: Settings, trusted: list[str], anchors: list[Anchor]) -> None:
    from restaurant.billing import verification

    signer = settings.signer()
    if signer is not None and not trusted:
        trusted = [signer.public_key]
    with Database(settings) as database, database.snapshot() as session:
        chain, faults = verification.verify_database(session, trusted=trusted, anchors=anchors)
    _report(chain, faults)


def _report(chain: verification.Chain, faults: list[str]) -> None:
    if faults:
        raise click.ClickException("\n".join(faults))
    signed = f", {chain.signed} of them signed, the last with key {chain.key}" if chain.signed else ", none signed"
    click.echo(f"{len(chain.hashes)} entries verified{signed}")


def _read_export(file: Path) -> list[journal.Entry]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            try:
                text = archive.read(_JOURNAL).decode()
            except (KeyError, ValueError, zipfile.BadZipFile) as error:
                raise click.ClickException(f"{file}: not an export of the journal") from error
    else:
        text = _read_file(file, str)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.append(journal.Entry.read(line))
        except (ValueError, TypeError) as error:
            raise click.ClickException(f"{file}, line {number}: not an entry of the journal") from error
    return found


def _read_file(file: Path, read: Callable[[str], T]) -> T:
    try:
        return read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot read {file}: {error}") from error


@main.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, in the restaurant's time zone.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Day after the last one.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="ZIP file to write, with the public keys.",
)
@_with_settings
def export(settings: Settings, since: datetime | None, until: datetime | None, output: Path | None) -> None:
    """Print the journal, one JSON object per line, for the archive or the tax office."""
    start, end = (day.replace(tzinfo=settings.zone) if day is not None else None for day in (since, until))
    with Database(settings) as database, database.snapshot() as session:
        entries = journal.entries(session, since=start, until=end)
        if output is None:
            for entry in entries:
                click.echo(entry.line())
            return
        keys = journal.public_keys(session)
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("public-keys.pem", "".join(map(public_pem, keys)))
            with archive.open(_JOURNAL, "w", force_zip64=True) as file:
                for entry in entries:
                    file.write(f"{entry.line()}\n".encode())


@main.command()
@click.argument("closing", type=click.IntRange(min=1), required=False)
@_with_settings
def anchor(settings: Settings, closing: int | None) -> None:
    """Print the anchor of a closing, by default of the last one, to keep elsewhere: it shows if entries are cut off."""
    with Database(settings) as database, database.reading() as session:
        number = closing or billing.last_closing(session)
        found = read_anchor(session, number)
    if found is None:
        raise click.ClickException(f"closing {number} does not exist" if number else "no day was closed yet")
    click.echo(str(found), nl=False)


@main.command("resolve-payments")
@_with_settings
def resolve_payments(settings: Settings) -> None:
    """Ask the payment providers about every charge and refund whose outcome is unknown; exits with 1 if any remains."""
    from restaurant.payments.gateway import Gateway

    with Database(settings) as database:
        left = Gateway.of(database, settings).resolve(patience=timedelta())
    click.echo("the outcome of every payment is known" if not left else f"{left} payments are still unresolved")
    if left:
        sys.exit(1)


@main.command("simulate-provider")
@click.option("--listen", default="127.0.0.1:9898", show_default=True, help="ADDRESS:PORT to serve on.")
@click.option("--online", is_flag=True, help="Guests pay on a page, rather than at a terminal.")
@click.option("--secret-file", type=click.Path(dir_okay=False, exists=True, path_type=Path), required=True)
def simulate_provider(listen: str, online: bool, secret_file: Path) -> None:
    """Run a payment provider that takes no money, to try the application and for tests."""
    from restaurant.payments.simulator import Simulator, serve

    host, _colon, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.ClickException("--listen must be ADDRESS:PORT, such as 127.0.0.1:9898")
    secret = secret_file.read_text(encoding="utf-8").strip()
    with serve(Simulator(online=online, delay=30), secret=secret, host=host, port=int(port)) as server:
        click.echo(f"simulating a payment provider on http://{host}:{server.server_port}")
        server.serve_forever()


@main.command("public-key")
@_with_settings
def public_key(settings: Settings) -> None:
    """Print the public key that verifies the journal, as PEM."""
    signer = settings.signer()
    if signer is None:
        raise click.ClickException("set RESTAURANT_JOURNAL_KEY_FILE: there is no key")
    click.echo(public_pem(signer.public_key), nl=False)


@main.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), required=True, help="First business day.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), required=True, help="Last business day.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=".",
    show_default=True,
    help="Where to write the file.",
)
@_with_settings
def fec(settings: Settings, since: datetime, until: datetime, directory: Path) -> None:
    """Write the accounting entries of the closings of a period (FEC) to a file with the name that the law gives."""
    from restaurant.billing import accounting

    if not settings.siren:
        raise click.ClickException("set RESTAURANT_SIREN: the name of the file begins with it")
    if since > until:
        raise click.ClickException("--until is before --since")
    with Database(settings) as database, database.reading() as session:
        closings = accounting.read_closings(session, since=since.date(), until=until.date())
    file = directory / accounting.fec_name(settings.siren, until.date())
    file.write_text(accounting.fec(closings, settings.business_day), encoding="ascii", newline="")
    click.echo(f"{len(closings)} closings written to {file}")
