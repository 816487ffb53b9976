"""How the service runs: settings, migrations, probes, metrics, headers, and its end under load."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import signal
import socket
import threading
import time
from contextlib import ExitStack
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, inspect

from restaurant.app import create_app
from restaurant.cli import main
from restaurant.database import HEAD, Database, alembic_config
from restaurant.lifecycle import Lifecycle
from restaurant.menu.seeding import seed_menu
from restaurant.settings import Settings, SettingsError
from support import SECRET, get, make_settings, serving


def test_settings_name_every_missing_or_wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", "mysql://localhost/x")
    monkeypatch.setenv("RESTAURANT_THREADS", "none")
    monkeypatch.setenv("RESTAURANT_TIMEZONE", "Mars/Olympus")
    monkeypatch.setenv("RESTAURANT_LISTEN", "8080")
    monkeypatch.setenv("RESTAURANT_BOOKING_TIMES", "12:00-13:45,22:00")
    monkeypatch.setenv("RESTAURANT_CLOSED_DAYS", "sun,lundi")
    with pytest.raises(SettingsError) as problem:
        Settings.load()
    for name in ("DATABASE_URL", "THREADS", "TIMEZONE", "LISTEN", "BOOKING_TIMES", "CLOSED_DAYS"):
        assert f"RESTAURANT_{name}: " in str(problem.value)


@pytest.mark.parametrize("stays", ["", "90,", "2:90", "4:90,2:60,120", "0:30,90", "2:5,90", "2:90,1000", "two:90,120"])
def test_stays_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, stays: str) -> None:
    monkeypatch.setenv("RESTAURANT_BOOKING_STAYS", stays)
    with pytest.raises(SettingsError, match=r"^RESTAURANT_BOOKING_STAYS: must "):
        Settings.load()


def test_a_dish_is_soon_late_before_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAURANT_KITCHEN_WARNING_MINUTES", "20")
    with pytest.raises(SettingsError, match="must be less than RESTAURANT_KITCHEN_LATE_MINUTES"):
        Settings.load()


def test_there_is_no_default_signing_key_on_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", "postgresql://restaurant@localhost/restaurant")
    with pytest.raises(SettingsError, match="RESTAURANT_SECRET_KEY_FILE"):
        Settings.load()
    monkeypatch.setenv("RESTAURANT_SECRET_KEY", "short")
    with pytest.raises(SettingsError, match="at least 32"):
        Settings.load()


def test_sqlite_keeps_its_own_signing_key_readable_by_its_owner_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'r.sqlite3'}"
    first, second = Settings(database_url=url), Settings(database_url=url)
    assert first.signing_keys == second.signing_keys
    assert (tmp_path / "data" / "r.sqlite3.key").stat().st_mode & 0o777 == 0o600


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    key, old, password = tmp_path / "key", tmp_path / "old", tmp_path / "password"
    key.write_text(SECRET + "\n")
    old.write_text("one\ntwo\n")
    password.write_text("p@ss/word\n")
    settings = Settings(
        database_url="postgresql://restaurant@db/restaurant",
        database_password_file=password,
        secret_key_file=key,
        secret_key_fallbacks_file=old,
    )
    assert settings.signing_keys == (SECRET, "one", "two")
    assert settings.engine_url().password == "p@ss/word"
    assert "p@ss" not in repr(settings)
    with pytest.raises(ValueError, match="cannot read the secret file"):
        Settings(database_url="sqlite://", secret_key_file=tmp_path / "missing")


def migrate_together(url: str, start: Barrier, done: SimpleQueue[tuple[bool, bool]]) -> None:
    """What each process of the following test does."""
    with Database(make_settings(url)) as database:
        start.wait(120)
        done.put((database.migrate(), database.at_head()))


def test_of_processes_that_start_together_one_migrates_and_the_others_wait(empty_settings: Settings) -> None:
    count = 4
    # New processes without anything of this one; what they import is imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start, done = context.Barrier(count), context.SimpleQueue()
    arguments = (empty_settings.database_url, start, done)
    processes = [context.Process(target=migrate_together, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    assert [process.exitcode for process in processes] == [0] * count
    migrated, ready = zip(*(done.get() for _ in range(count)), strict=True)
    assert (sorted(migrated), set(ready)) == ([False, False, False, True], {True})


def test_models_and_migrations_agree(settings: Settings) -> None:
    database = Database(settings)
    with database.migration_lock() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.check(config)
    database.engine.dispose()


def test_migrations_can_be_undone_and_done_again(empty_settings: Settings) -> None:
    database = Database(empty_settings)
    database.migrate()
    with database.writing() as session:
        seed_menu(session, profile="bistro")
    with database.migration_lock() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.migrate()
    assert database.at_head()
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD
    database.engine.dispose()


def test_readiness_follows_the_schema_and_the_drain(empty_settings: Settings) -> None:
    database = Database(empty_settings)
    assert "schema" in (Lifecycle(database).problem() or "")
    database.migrate()
    lifecycle = Lifecycle(database)
    assert lifecycle.problem() is None
    lifecycle.drain()
    assert lifecycle.problem() == "draining"
    database.engine.dispose()


def test_a_database_that_is_away_is_a_readable_503(tmp_path: Path) -> None:
    settings = make_settings(f"postgresql://nobody@/nothing?host={tmp_path}")
    app = create_app(settings)
    client = app.test_client()
    client.set_cookie("session", "somebody")
    page = client.get("/")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"
    assert "indisponible" in page.text
    assert (app.extensions["lifecycle"].problem() or "").startswith("database")


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_database_whose_name_is_not_found_is_where_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def lost(*_arguments: object, **_more: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    def found(*_arguments: object, **_more: object) -> list[Any]:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*tcp, ("10.9.8.7", 0)), (*tcp, ("10.9.8.8", 0))]

    named = make_settings(f"postgresql://postgres@the-database/{settings.engine_url().database}")
    with Database(named) as database:

        @event.listens_for(database.engine, "do_connect")
        def instead(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> Any:
            asked.append((parameters["host"], parameters.get("hostaddr")))
            return psycopg.connect(settings.database_url)

        for resolve in (lost, found, lost):
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            database.ping()
            database.engine.dispose()
    there = ("the-database,the-database", "10.9.8.7,10.9.8.8")
    assert asked == [("the-database", None), there, there]


def test_pages_carry_the_headers_that_protect_them(app: Flask, client: FlaskClient) -> None:
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Strict-Transport-Security" not in headers


def test_versioned_assets_are_kept_by_browsers(client: FlaskClient) -> None:
    import re

    page = client.get("/").text
    assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(assets) >= 3
    for address in assets:
        with client.get(address) as reply:
            assert reply.status_code == 200
            assert "immutable" in reply.headers["Cache-Control"]
    assert not re.findall(r'(?:href|src)="https?://', page)


def test_seed_fills_an_empty_menu_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", f"sqlite:///{tmp_path / 'r.sqlite3'}")
    runner = CliRunner()
    assert runner.invoke(main, ["migrate"]).exit_code == 0
    assert "24 dishes added" in runner.invoke(main, ["seed", "--profile", "bistro"]).output
    assert "no dishes added" in runner.invoke(main, ["seed"]).output


def test_wrong_settings_are_one_readable_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", "nonsense")
    result = CliRunner().invoke(main, ["migrate"])
    assert result.exit_code == 1
    assert "RESTAURANT_DATABASE_URL: not a database URL" in result.output
    assert "Traceback" not in result.output


def test_no_request_fails_while_the_service_drains_and_stops(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(settings, log, RESTAURANT_DRAIN_SECONDS="1.5") as (process, port, probes):
        failures: list[str] = []
        answered = 0
        stop = threading.Event()

        def load(number: int) -> None:
            nonlocal answered
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            body = json.dumps({"guest": "Ana", "lines": [{"dish": 2}]})
            turn = 0
            while not stop.is_set():
                turn += 1
                headers = {"Content-Type": "application/json", "Idempotency-Key": f"{number}-{turn}"}
                try:
                    connection.request("POST", "/api/v1/orders", body, headers)
                    reply = connection.getresponse()
                    reply.read()
                    if reply.status != 201:
                        failures.append(f"status {reply.status}")
                    answered += 1
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    break
                time.sleep(0.01)
            connection.close()

        clients = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 30
        while answered < 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        drain = threading.Thread(target=get, args=(probes, "/drain"))
        drain.start()
        time.sleep(0.5)
        assert get(probes, "/readyz") == (503, b'{"status": "draining"}')
        assert get(probes, "/healthz")[0] == 200
        stop.set()
        for client in clients:
            client.join()
        drain.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert failures == []
        assert answered >= 20
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["event"] for line in lines} >= {"serving", "draining", "request"}
    assert all("request_id" in line for line in lines if line["event"] == "request")


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_metrics_name_routes_by_template_and_probes_have_their_own_port(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "log") as (_process, port, probes):
        assert get(port, "/commandes/00000000-0000-0000-0000-000000000000")[0] == 404
        assert get(port, "/metrics")[0] == 404
        text = get(probes, "/metrics")[1].decode()
        assert 'route="/commandes/<uuid:reference>",status="404"' in text
        assert "restaurant_http_threads 8.0" in text
        assert "restaurant_database_checkout_seconds_count" in text
        for gauge in ("http_saturation_ratio", "database_pool_size", "streams_capacity", "tickets_late", "stock_low"):
            assert f"restaurant_{gauge} " in text
        assert "restaurant_build_info{" in text
        assert get(probes, "/anything")[0] == 404


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_faults_befall_requests_only_where_they_are_allowed(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "off") as (_process, _port, probes):
        assert get(probes, "/faults?unready=1")[0] == 404
    with serving(settings, tmp_path / "on", RESTAURANT_FAULT_INJECTION="true") as (_process, port, probes):
        assert get(probes, "/faults?error=1&slow=0.2&slow_database=0.2&unready=1")[0] == 200
        start = time.monotonic()
        assert get(port, "/")[0] == 500
        assert time.monotonic() - start >= 0.4
        assert get(probes, "/readyz") == (503, b'{"status": "fault: unready"}')
        assert get(probes, "/healthz")[0] == 200
        assert get(probes, "/faults?nonsense=1")[0] == 422
        assert get(probes, "/faults")[0] == 200
        assert get(port, "/")[0] == 200
        assert get(probes, "/readyz")[0] == 200


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_request_in_flight_is_finished_after_sigterm(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "log") as (process, port, _probes):
        body = json.dumps({"guest": "Ana", "lines": [{"dish": 2}]}).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            head = (
                "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Idempotency-Key: slow\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:5])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[5:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 201")
        assert process.wait(60) == 0


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_connections_over_which_nothing_comes_take_no_thread(settings: Settings, tmp_path: Path) -> None:
    with ExitStack() as stack:
        _process, port, _probes = stack.enter_context(serving(settings, tmp_path / "log", RESTAURANT_THREADS="4"))
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        began = time.monotonic()
        assert get(port, "/")[0] == 200
        assert time.monotonic() - began < 3, "a thread waits five seconds for each of them"


@pytest.mark.parametrize(
    ("former", "name", "value"),
    [
        ("STREAMS", "max_streams", "3"),
        ("KITCHEN_SOON_MINUTES", "kitchen_warning_minutes", "7"),
        ("FAULTS", "fault_injection", "true"),
    ],
)
def test_a_renamed_variable_is_still_read_under_its_former_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, former: str, name: str, value: str
) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", f"sqlite:///{tmp_path / 'r.sqlite3'}")
    monkeypatch.setenv(f"RESTAURANT_{former}", value)
    assert str(getattr(Settings.load(), name)).lower() == value
    monkeypatch.setenv(f"RESTAURANT_{name.upper()}", "nonsense")
    with pytest.raises(SettingsError, match=f"^RESTAURANT_{name.upper()}: "):
        Settings.load()
