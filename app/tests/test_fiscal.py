"""Fiscal completeness: whatever is altered, deleted or added where money is recorded, the journal shows."""

from __future__ import annotations

import json
import subprocess
import uuid
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from alembic import command
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import JSON, Column, Connection, Date, Integer, Uuid, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from restaurant.billing import accounting, journal, service, verification
from restaurant.billing.models import Counter, EntryKind, JournalEntry
from restaurant.billing.signing import Signer, new_key, public_pem
from restaurant.billing.siret import is_siret
from restaurant.cli import main
from restaurant.database import Database, alembic_config
from restaurant.deposits import service as deposits
from restaurant.deposits.models import Deposit
from restaurant.orders.models import Order
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import AttemptState
from restaurant.people.models import User
from restaurant.people.permissions import Role
from restaurant.reservations.models import Booking, BookingStatus
from restaurant.settings import Settings
from restaurant.types import Moment
from support import (
    EGGS,
    SECRET,
    STEW,
    WINE,
    Once,
    SignIn,
    add,
    billed,
    charged,
    make_settings,
    pay,
    post,
    seat,
    terminal,
)

TABLES = [model.__tablename__ for model in journal.MONEY]


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


@pytest.fixture
def till(
    app: Flask, server: FlaskClient, manager: FlaskClient, database: Database, settings: Settings, once: Once
) -> dict[str, int]:  # fmt: skip
    """A day with everything that money is recorded in; keys of a person and of an order that had no part in it."""
    return once("till", lambda: fill_till(app, server, manager, database, settings), server, manager)


def fill_till(
    app: Flask, server: FlaskClient, manager: FlaskClient, database: Database, settings: Settings
) -> dict[str, int]:  # fmt: skip
    post(manager, "/till/sessions", {"count": {"5000": 2}})
    post(manager, "/till/movements", {"kind": "expense", "amount": 850, "reason": "pain"})
    first, second = billed(server, EGGS, STEW), billed(server, EGGS, table=2)
    given = post(manager, f"/orders/{first}/discounts", {"percent": 10, "reason": "attente"}).get_json()["discounts"]
    post(manager, f"/orders/{first}/discounts/{given[0]['id']}/remove", {})
    post(manager, f"/orders/{first}/discounts", {"amount": 100, "reason": "attente"})
    paid = pay(server, first, 2410, tip=100).get_json()["reference"]
    pay(server, second, 620, method="cash", seat=1, tendered=1000)
    customer = {"customer": "Durand SARL", "address": "2 rue Neuve\n69001 Lyon", "siret": "732 829 320 00074"}
    assert post(server, f"/orders/{first}/invoices", customer).status_code == 201
    post(manager, f"/payments/{paid}/refunds", {"amount": 10, "tip": 10, "reason": "froid"})
    # A day of last year, whose month and year the next closing closes.
    with time_machine.travel(datetime.now(UTC) - timedelta(days=400), tick=True), database.writing() as session:
        service.close_day(session, by="boss", business_day=settings.business_day)
    pay(server, billed(server, EGGS, table=5), 620)
    with terminal(app) as gateway:
        charged(server, gateway, billed(server, EGGS, table=9), 620)
        deposited(server, gateway, database, billed(server, EGGS, table=10))
    assert post(server, "/receipts/1/copies", None).status_code == 201
    post(manager, "/closings", None)
    assert post(manager, "/till/closing", {"count": {"5000": 2}, "note": "x"}).get_json()["closing_expected"] == 9770
    free = seat(server, 3)["reference"]
    with database.reading() as session:
        people = {user.role: user.id for user in session.scalars(select(User))}
        order = session.scalars(select(Order.id).where(Order.reference == uuid.UUID(free))).one()
    return {"server": people[Role.SERVER], "manager": people[Role.MANAGER], "free": order}


def deposited(client: FlaskClient, gateway: Gateway, database: Database, order: str) -> None:
    """Deduct from the bill of an order a deposit that was paid for a booking, and keep a part of it."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    with database.writing() as session:
        booking = Booking(
            guest="Ana", contact="0612345678", covers=2, starts_at=start, ends_at=start + timedelta(hours=2),
            status=BookingStatus.CONFIRMED, note="", allergies=[],
        )  # fmt: skip
        session.add(booking)
        session.flush()
        session.add(Deposit(booking_id=booking.id, amount=1000, refundable_until=start))
        reference = booking.reference
    attempt = post(client, f"/bookings/{reference}/deposit", None).get_json()["attempt"]
    assert gateway.advance(uuid.UUID(attempt)) is AttemptState.DONE
    with database.writing() as session:
        found = session.scalars(select(Booking).where(Booking.reference == reference)).one()
        deposits.seated(session, found, session.scalars(select(Order).where(Order.reference == uuid.UUID(order))).one())
    assert post(client, f"/orders/{order}/deposit", None).status_code == 201


def faults(connection: Connection) -> list[str]:
    with Session(connection) as session:
        return verification.verify(session)[1]


@contextmanager
def as_owner(database: Database) -> Iterator[Connection]:
    """A connection of someone who owns the database: its own rules are switched off. Nothing is kept of it."""
    with database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.execute("PRAGMA ignore_check_constraints=ON")
            for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
            for table in TABLES:
                for constraint in inspect(connection).get_check_constraints(table):
                    connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{constraint["name"]}"'))
        assert faults(connection) == []
        yield connection
        connection.rollback()
        connection.invalidate()


def altered(column: Column[Any], till: dict[str, int], dialect: str) -> str:
    """What the first row of a column's table could be changed to, as SQL."""
    name = column.name
    if name in {"by_id", "server_id", "voided_by_id"}:
        return str(till["server"] if column.table.name == "discount" else till["manager"])
    if name == "order_id":
        return str(till["free"])
    match column.type:
        case Integer():
            # Another row may have the next number, and no constraint of the table may be what refuses it.
            return "2" if name == "payment_id" else f"coalesce({name}, 0) + {1000 if column.primary_key else -1}"
        case Date():
            return "'2020-01-01'"
        case Moment():
            return "'2020-01-01 00:00:00'" if dialect == "sqlite" else "'2020-01-01 00:00:00+00'::timestamptz"
        case JSON():
            return "'[1]'"
        case Uuid():
            return f"'{uuid.uuid4().hex}'" if dialect == "sqlite" else f"'{uuid.uuid4()}'::uuid"
    return {"method": "'transfer'", "kind": "'take_away'", "status": "'voided'"}.get(name, "'changed'")


COLUMNS = [
    column
    for model in journal.MONEY
    for column in model.__table__.columns
    # The state of an order is not recorded, but follows from its lines and its bill.
    if column.name not in journal.OPERATIONAL.get(model.__tablename__, frozenset()) - {"status"}
]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_a_change_of_any_column_with_money_shows(till: dict[str, int], database: Database, column: Column[Any]) -> None:
    table, key = column.table.name, column.table.primary_key.columns[0].name
    with as_owner(database) as connection:
        value = altered(column, till, connection.dialect.name)
        if (table, column.name) == ("orders", "status"):
            value = "'billed'"
        first = f"WHERE {key} = (SELECT min({key}) FROM {table})"
        assert connection.execute(text(f'UPDATE {table} SET "{column.name}" = {value} {first}')).rowcount == 1
        assert faults(connection) != []


@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_and_an_added_row_show(till: dict[str, int], database: Database, table: str) -> None:
    model = next(model for model in journal.MONEY if model.__tablename__ == table)
    key = model.__table__.primary_key.columns[0].name  # type: ignore[attr-defined]
    names = {"orders": "order", "order_line": "line"}
    with as_owner(database) as connection:
        connection.execute(text(f"DELETE FROM {table} WHERE {key} = (SELECT min({key}) FROM {table})"))
        assert any(f"{names.get(table, table)} 1 is missing" in fault for fault in faults(connection))
    with as_owner(database) as connection:
        other = {
            key: f"{key} + 900",
            "booking_id": "booking_id + 900",
            "period": "'1999'",
            "reference": f"'{uuid.uuid4().hex}'",
            "closed_at": "opened_at",
        }
        if connection.dialect.name == "postgresql":
            other["reference"] += "::uuid"
        columns = [column.name for column in model.__table__.columns]
        values = ", ".join(
            other.get(name, f'"{name}"') if table == "orders" or name != "closed_at" else name for name in columns
        )
        quoted = ", ".join(f'"{name}"' for name in columns)
        connection.execute(text(f"INSERT INTO {table} ({quoted}) SELECT {values} FROM {table} WHERE {key} = 1"))
        assert any(f"{names.get(table, table)} 901 has no journal entry" in fault for fault in faults(connection))


def test_the_journal_shows_what_was_changed_in_it_and_counters_too(till: dict[str, int], database: Database) -> None:
    columns = [column for column in JournalEntry.__table__.columns if column.name != "content"]
    with database.reading() as session:
        last = session.scalars(select(JournalEntry.number).order_by(JournalEntry.number.desc())).first()
        series = session.scalars(select(Counter.name)).all()
    changes = [f"UPDATE journal_entry SET \"{column.name}\" = {value} WHERE number = 2" for column in columns
               for value in [altered(column, till, database.engine.dialect.name)]]  # fmt: skip
    changes += [
        "UPDATE journal_entry SET content = replace(content, 'expense', 'deposit') WHERE kind = 'cash_movement'",
        "DELETE FROM journal_entry WHERE number = 2", f"DELETE FROM journal_entry WHERE number = {last}",
        "INSERT INTO journal_entry SELECT number + 900, kind, recorded_at, content, previous_hash, hash, key, signature"
        " FROM journal_entry WHERE number = 1",
        "INSERT INTO counter VALUES ('other', 1)",
    ]  # fmt: skip
    changes += [f"UPDATE counter SET value = value + 1 WHERE name = '{name}'" for name in series]
    changes += [f"DELETE FROM counter WHERE name = '{name}'" for name in series]
    for change in changes:
        with as_owner(database) as connection:
            assert connection.execute(text(change)).rowcount == 1, change
            assert faults(connection) != [], change


def test_every_column_is_recorded_or_the_kitchens() -> None:
    """A new column of these tables must be decided on: what is not money goes to `journal.OPERATIONAL`."""
    found = {model.__tablename__: set(model.__table__.columns.keys()) for model in journal.MONEY}
    assert all(names <= found[table] for table, names in journal.OPERATIONAL.items())
    assert set(journal.snapshot(Order())) == found["orders"] - journal.OPERATIONAL["orders"]


@pytest.mark.parametrize("table", TABLES)
def test_the_database_refuses_to_delete_what_is_recorded(till: dict[str, int], database: Database, table: str) -> None:
    with pytest.raises(DBAPIError, match="kept as they are"), database.writing() as session:
        session.execute(text(f"DELETE FROM {table}"))
    if table not in {"orders", "order_line"}:
        names = {"discount": "id", "till_session": "closing_total", "closing": "total", "period_closing": "total",
                 "invoice": "total", "deposit": "booking_id"}  # fmt: skip
        name = names.get(table, "amount")
        with pytest.raises(DBAPIError, match="kept as they are"), database.writing() as session:
            session.execute(text(f"UPDATE {table} SET {name} = {name} + 5"))


def test_every_act_on_a_presented_bill_is_in_the_journal(
    server: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    order = seat(server)["reference"]
    lines = add(server, order, EGGS, STEW, WINE)["lines"]
    post(manager, f"/orders/{order}/lines/{lines[2]['id']}/void", {"reason": "bouchonné"})
    post(server, f"/orders/{order}/bill", None)
    with database.reading() as session:
        boss = session.scalars(select(User).where(User.role == Role.MANAGER)).one()
    assert server.put(f"/api/v1/orders/{order}/server", json={"server": boss.id}).status_code == 200
    assert server.delete(f"/api/v1/orders/{order}/bill").status_code == 200
    assert post(manager, f"/orders/{order}/cancel", {"reason": "partis"}).status_code == 200
    with database.snapshot() as session:
        entries = [(entry.kind, json.loads(entry.content)) for entry in journal.entries(session)]
        assert verification.verify(session)[1] == []
    assert [kind for kind, _content in entries] == [
        "key", "void", "presentation", "handover", "reopening", "void", "void", "cancellation",
    ]  # fmt: skip
    assert all(content["by"] and content["at"] for _kind, content in entries[1:])
    assert [content["reason"] for kind, content in entries if kind in {EntryKind.VOID, EntryKind.CANCELLATION}] == [
        "bouchonné", "partis", "partis", "partis",
    ]  # fmt: skip
    presented = entries[2][1]
    assert presented["due"] == 2510
    assert [row["unit_price"] for row in presented["rows"]["order_line"]] == [620, 1890, 690]


@pytest.mark.parametrize("billed_after", [False, True])
def test_a_voided_line_goes_along_when_orders_are_merged(
    server: FlaskClient, manager: FlaskClient, database: Database, billed_after: bool
) -> None:
    order, target, last = (seat(server, table)["reference"] for table in (1, 2, 3))
    lines = add(server, order, EGGS, STEW)["lines"]
    assert post(manager, f"/orders/{order}/lines/{lines[0]['id']}/void", {"reason": "froid"}).status_code == 200
    for one, into in ((order, target), (target, last)):
        assert post(server, f"/orders/{one}/merge", {"into": into}).status_code == 200
    if billed_after:
        post(server, f"/orders/{last}/bill", None)
    with database.snapshot() as session:
        assert verification.verify(session)[1] == []


def test_rows_from_before_the_journal_recorded_them_are_adopted_by_the_migration(
    till: dict[str, int], server: FlaskClient, database: Database, settings: Settings
) -> None:
    billed(server, EGGS, table=6)
    with database.migration_lock() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
        # The previous version recorded no rows, nor any of the newer kinds.
        if connection.dialect.name == "sqlite":
            for name in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER journal_entry_{name}"))
        connection.execute(text("DELETE FROM counter WHERE name = 'journal'"))
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text("DELETE FROM journal_entry"))
        connection.commit()
        command.upgrade(config, "head")
    with database.writing() as session:
        session.info["signer"].introduced = False
    with database.snapshot() as session:
        count, found = verification.verify(session)
    assert (count, found) == (6, [])
    order = billed(server, STEW, table=7)
    pay(server, order, 1890)
    for change in (
        "UPDATE order_line SET unit_price = 1 WHERE id = 1",
        "UPDATE discount SET reason = '' WHERE id = 1",
        "UPDATE payment SET tip = 0, tip_refunded = 0 WHERE id = 1",
        "UPDATE closing SET total = 1 WHERE number = 1",
    ):
        with as_owner(database) as connection:
            connection.execute(text(change))
            assert len(faults(connection)) == 1


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command `restaurant` with the settings of this test."""
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("RESTAURANT_SECRET_KEY", SECRET)
    monkeypatch.setenv("RESTAURANT_JOURNAL_KEY_FILE", str(settings.journal_key_file))
    monkeypatch.setenv("RESTAURANT_LOG_LEVEL", "error")
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


def test_an_export_is_verified_alone_with_the_public_key_and_an_anchor(
    till: dict[str, int], manager: FlaskClient, run: Callable[..., Result], tmp_path: Path
) -> None:
    public, anchor, lines, whole = (tmp_path / name for name in ("key.pem", "anchor.txt", "journal.jsonl", "all.zip"))
    public.write_text(run("public-key").output)
    anchor.write_text(run("anchor").output)
    assert manager.get("/clotures/2/ancre.txt").text == anchor.read_text()
    said = manager.get("/api/v1/closings/2/anchor").get_json()
    assert f"signature: {said['signature']}" in anchor.read_text()
    assert manager.get("/api/v1/closings/3/anchor").status_code == 404
    assert run("anchor", 3).exit_code == 1
    lines.write_text(run("export").output)
    assert run("export", "--output", whole).exit_code == 0
    with zipfile.ZipFile(whole) as archive:
        assert archive.read("public-keys.pem").decode() == public.read_text()
    verify = ("verify-journal", "--public-key", public, "--anchor", anchor)
    for words in ((), ("--export", lines), ("--export", whole)):
        assert "33 entries verified, 33 of them signed" in run(*verify, *words).output
    # What the anchor names is missing at the end, or somebody else signed everything.
    entries = lines.read_text().splitlines()
    for count, fault in ((8, "it was cut off"), (0, "it was cut off")):
        lines.write_text("\n".join(entries[:count]))
        assert fault in run(*verify, "--export", lines).output
    lines.write_text("\n".join(line.replace("620", "621") for line in entries))
    assert "was changed" in run("verify-journal", "--export", lines).output
    forged = Signer(new_key())
    chain = [journal.Entry.read(line) for line in entries]
    previous, found = journal.GENESIS, []
    for entry in chain:
        content = journal.canonical(forged.introduction(None)) if entry.kind == "key" else entry.content
        entry = replace(entry, content=content, previous_hash=previous, key=forged.key)
        entry = replace(entry, hash=entry.digest(), signature=forged.sign(entry.digest()))
        previous = entry.hash
        found.append(entry.line())
    lines.write_text("\n".join(found))
    assert run("verify-journal", "--export", lines).exit_code == 0
    assert "not signed with a trusted key" in run(*verify[:3], "--export", lines).output
    assert (
        "the signature of the anchor of closing 2 is not valid"
        in run("verify-journal", "--export", lines, "--anchor", anchor).output
    )
    # A part of the journal needs the key.
    lines.write_text("\n".join(entries[4:]))
    assert "29 entries verified" in run(*verify, "--export", lines).output
    for file, wrong in (
        (lines, "{}"),
        (lines, "x"),
        (public, "x"),
        (anchor, "x"),
        (anchor, "restaurant journal anchor"),
    ):
        file.write_text(wrong)
        refused = run(*verify, "--export", lines)
        assert (refused.exit_code, "Traceback" in refused.output) == (1, False)


def _sign_with(settings: Settings, key: str, previous: str | None, tmp_path: Path) -> Settings:
    new = tmp_path / f"{uuid.uuid4().hex}.pem"
    new.write_text(key)
    old = None if previous is None else tmp_path / f"{uuid.uuid4().hex}.pem"
    if old is not None and previous is not None:
        old.write_text(previous)
    return make_settings(settings.database_url, journal_key_file=new, journal_previous_key_file=old)


def _record(settings: Settings) -> None:
    with Database(settings) as database, database.writing() as session:
        journal.record(session, EntryKind.REOPENING, {"by": "x"})


def test_a_key_is_replaced_by_one_that_it_endorses(
    server: FlaskClient, manager: FlaskClient, settings: Settings, database: Database, tmp_path: Path
) -> None:
    first = Path(str(settings.journal_key_file)).read_text()
    trusted = [Signer(first).public_key]

    def found(keys: list[str]) -> list[str]:
        with database.snapshot() as session:
            return verification.verify_database(session, trusted=keys)[1]

    order = billed(server, EGGS)
    second, third = new_key(), new_key()
    renewed = _sign_with(settings, second, first, tmp_path)
    _record(renewed)
    assert found(trusted) == found([]) == []
    # Pods with both keys run side by side during an update, until the day is closed.
    pay(server, order, 620)
    assert "is not signed with a trusted key" in found([Signer(second).public_key])[0]
    _record(renewed)
    assert found([Signer(second).public_key]) == []
    post(manager, "/closings", None)
    assert found(trusted) == []
    billed(server, STEW, table=2)
    assert found(trusted) == ["entry 8 is signed with a key that was replaced"]
    _record(_sign_with(settings, third, None, tmp_path))
    wrong = found(trusted)
    assert any("is not endorsed by the key before it" in fault for fault in wrong)
    assert any("the last entry is not signed with a trusted key" in fault for fault in wrong)
    # The operator who lost a key accepts the new one by name.
    assert found([*trusted, Signer(third).public_key]) == ["entry 8 is signed with a key that was replaced"]


def test_an_entry_without_a_signature_shows_once_there_is_a_key(
    server: FlaskClient, settings: Settings, database: Database, run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run("migrate").exit_code == 0
    assert "1 entries verified, 1 of them signed" in run("verify-journal").output
    assert run("migrate").exit_code == 0
    billed(server, EGGS)
    with database.writing() as session:
        session.info.pop("signer")
        journal.record(session, EntryKind.REOPENING, {"by": "x"})
    assert "the signature of entry 3 is not valid" in run("verify-journal").output
    for text_, fault in (("", "not an Ed25519"), ("x", "not an Ed25519")):
        key = tmp_path / "wrong.pem"
        key.write_text(text_)
        with pytest.raises(ValueError, match=fault):
            make_settings(settings.database_url, journal_key_file=key)


def test_openssl_verifies_an_entry(server: FlaskClient, database: Database, settings: Settings, tmp_path: Path) -> None:
    billed(server, EGGS)
    with database.snapshot() as session:
        entry = list(journal.entries(session))[-1]
        key = journal.public_keys(session)[-1]
    files = [tmp_path / name for name in ("key.pem", "signature", "hash")]
    for file, content in zip(
        files, (public_pem(key).encode(), b64decode(entry.signature or ""), entry.hash.encode()), strict=True
    ):
        file.write_bytes(content)
    words = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        files[0],
        "-rawin",
        "-sigfile",
        files[1],
        "-in",
        files[2],
    ]
    assert "Verified Successfully" in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_the_x_report_adds_up_and_closes_nothing(
    till: dict[str, int], server: FlaskClient, manager: FlaskClient
) -> None:
    assert manager.get("/api/v1/closings/next").get_json()["count"] == 0
    assert "Il n’y a rien à clôturer" in manager.get("/clotures/x").text
    pay(server, billed(server, WINE, table=6), 690, method="cash", tip=10)
    said = manager.get("/api/v1/closings/next").get_json()
    assert (said["count"], said["total"], said["tips"], said["by_method"]) == (1, 690, 10, {"cash": 690})
    assert "6,90" in manager.get("/clotures/x").text
    assert manager.get("/api/v1/closings/next").get_json() == said
    assert len(manager.get("/api/v1/closings").get_json()["items"]) == 2
    assert server.get("/clotures/x").status_code == 403


def test_the_fec_has_18_columns_and_is_balanced(
    till: dict[str, int], server: FlaskClient, manager: FlaskClient, run: Callable[..., Result], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("RESTAURANT_SIREN", "732 829 320")
    pay(server, billed(server, WINE, table=6), 690, method="cash", tip=10)
    post(manager, "/closings", None)
    written = run("fec", "--since", "2020-01-01", "--until", "2099-12-31", "--directory", tmp_path)
    assert "3 closings" in written.output
    text = (tmp_path / "732829320FEC20991231.txt").read_bytes().decode("ascii")
    header, *lines = [line.split("\t") for line in text.split("\r\n")[:-1]]
    assert header == list(accounting.COLUMNS)
    assert {len(line) for line in [header, *lines]} == {18}
    for number in ("1", "2", "3"):
        of_entry = [dict(zip(header, line, strict=True)) for line in lines if line[2] == number]
        debit, credit = (sum(int(line[side].replace(",", "")) for line in of_entry) for side in ("Debit", "Credit"))
        assert debit == credit > 0
        assert all((line["Debit"] == "0,00") != (line["Credit"] == "0,00") for line in of_entry)
    assert ("530000", "7,00") in [(line[4], line[10]) for line in lines if line[2] == "3"]
    for wrong in (("2021-01-01", "2020-01-01"), ("x", "2020-01-01")):
        assert run("fec", "--since", wrong[0], "--until", wrong[1]).exit_code != 0
    monkeypatch.setenv("RESTAURANT_SIREN", "732829321")
    assert "is not a SIREN" in run("fec", "--since", "2020-01-01", "--until", "2099-12-31").output
    monkeypatch.setenv("RESTAURANT_SIREN", "")
    assert "set RESTAURANT_SIREN" in run("fec", "--since", "2020-01-01", "--until", "2099-12-31").output


def test_the_accountants_exports_of_the_page(till: dict[str, int], manager: FlaskClient, server: FlaskClient) -> None:
    period = "du=2020-01-01&au=2099-12-31"
    found = manager.get(f"/clotures/export?{period}&format=csv")
    assert 'filename="ventes-2020-01-01-2099-12-31.csv"' in found.headers["Content-Disposition"]
    rows = found.text.splitlines()
    # Spreadsheets need the mark to read the accents of what follows.
    assert rows[0] == "\ufeffDate;Cloture;Premier ticket;Dernier ticket;Taux TVA;HT;TVA;TTC"
    assert rows[1].split(";")[1:] == ["Z1", "1", "3", "10", "27,46", "2,74", "30,20"]
    refused = manager.get(f"/clotures/export?{period}&format=fec")
    assert (refused.status_code, "SIREN" in refused.text) == (409, True)
    for wrong in ("", "du=x&au=2020-01-01&format=csv", f"{period}&format=pdf", "du=2021-01-01&au=2020-01-01&format=csv",
                  f"du={'9' * 5000}&au=2020-01-01&format=csv"):  # fmt: skip
        assert manager.get(f"/clotures/export?{wrong}").status_code == 422, wrong
    assert server.get(f"/clotures/export?{period}&format=csv").status_code == 403


@pytest.mark.parametrize(
    ("text_", "right"),
    [("73282932000074", True), ("73282932000075", False), ("35600000000048", True), ("35600000049837", True),
     ("7328293200007", False), ("x" * 14, False), ("٧٣٢٨٢٩٣٢٠٠٠٠٧٤", False), ("0" * 14, False)],
)  # fmt: skip
def test_a_siret_has_check_digits(text_: str, right: bool) -> None:
    assert is_siret(text_) is right


def test_the_first_closing_after_a_period_closes_it(till: dict[str, int], manager: FlaskClient) -> None:
    year, month = manager.get("/api/v1/closings/periods").get_json()["items"]
    assert month["period"].startswith(year["period"])
    assert (len(month["period"]), len(year["period"])) == (7, 4)
    for period in (month, year):
        assert (period["first_closing"], period["last_closing"], period["total"]) == (1, 1, 3020)
        assert (period["perpetual_total"], period["tips_by_method"]) == (3020, {"card": 90})
        assert sum(share["total"] for share in period["by_rate"]) == 3020
        assert period["period"] in manager.get(f"/clotures/periodes/{period['number']}").text
    assert year["period"] in manager.get("/clotures").text
    assert manager.get("/clotures/periodes/99").status_code == 404


def test_copies_of_a_receipt_are_counted_and_duplicates_marked(
    till: dict[str, int], server: FlaskClient, database: Database
) -> None:
    page = "/caisse/tickets/2"
    assert "DUPLICATA" not in server.get(page).text
    first = server.post(f"{page}/copies", data={"key": "a"})
    assert server.post(f"{page}/copies", data={"key": "a"}).location == first.location == f"{page}?impression=1"
    assert "data-print" in server.get(first.location).text
    assert "DUPLICATA" not in server.get(first.location).text
    assert "Imprimer un duplicata" in server.get(page).text
    second = server.post(f"{page}/copies", data={"key": "b"})
    assert "DUPLICATA 1" in server.get(second.location).text
    # A copy that was not counted cannot be printed.
    for wrong in ("?impression=3", "?impression=x", "?impression=-1", f"?impression={'9' * 400}", ""):
        assert "data-print" not in server.get(page + wrong).text
    assert post(server, "/receipts/2/copies", None).get_json()["copies"] == 3
    assert post(server, "/receipts/99/copies", None).status_code == 404
    with database.snapshot() as session:
        assert verification.verify(session)[1] == []
        printed = [json.loads(entry.content)["copy"] for entry in journal.entries(session) if entry.kind == "print"]
    assert printed == [1, 1, 2, 3]
