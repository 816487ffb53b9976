"""Every test that takes `app` or `settings` runs on SQLite and on PostgreSQL, on a freshly migrated database."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from postgresql import Cluster, cluster
from restaurant.app import connect, create_app
from restaurant.database import Database
from restaurant.floor.service import seed_floor
from restaurant.menu.seeding import seed_menu
from restaurant.people import attempts
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import make_settings

# Settings of the developer's own service must not reach the services that tests start.
for _name in [name for name in os.environ if name.startswith("RESTAURANT_")]:
    del os.environ[_name]


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """What passwords are really hashed with: tests have hundreds of people, so they get a cheap hash instead."""
    real = attempts.HASHER
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "HASHER", cheap)
        yield real


def _prepare(settings: Settings) -> None:
    database = Database(settings)
    database.migrate()
    with database.writing() as session:
        seed_menu(session, profile="bistro")
        seed_floor(session)
    database.engine.dispose()


def _keep(url: str) -> str:
    """Copy every row aside; returns what brings them back, many times faster than making and filling a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        tables = [name for (name,) in found]
        numbered = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_default LIKE 'nextval%'"
        ).fetchall()
        connection.execute("CREATE SCHEMA kept")
        for name in tables:
            connection.execute(f'CREATE TABLE kept."{name}" AS TABLE "{name}"'.encode())
    # As a replica's, these statements fire no trigger and check no foreign key.
    back = ["SET session_replication_role = replica"]
    back += [f'DELETE FROM "{name}"; INSERT INTO "{name}" SELECT * FROM kept."{name}"' for name in tables]
    back += [
        f"""SELECT setval(pg_get_serial_sequence('"{name}"', '{column}'),
            (SELECT coalesce(max("{column}"), 0) + 1 FROM "{name}"), false)"""
        for name, column in numbered
    ]
    return "; ".join(back)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_database(postgresql: Cluster) -> tuple[str, str]:
    """The address of a seeded database, and what brings it back to how it was."""
    url = postgresql.url(postgresql.create())
    _prepare(make_settings(url))
    return url, _keep(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "restaurant.sqlite3"
    _prepare(make_settings(f"sqlite:///{file}"))
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a seeded database of its own."""
    if request.param == "sqlite":
        file = tmp_path / "restaurant.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        yield make_settings(f"sqlite:///{file}")
        return
    url, back = request.getfixturevalue("postgresql_database")
    yield make_settings(url)
    with psycopg.connect(url) as connection:
        connection.execute(back)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database without any table."""
    if request.param == "sqlite":
        yield make_settings(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
        return
    server: Cluster = request.getfixturevalue("postgresql")
    yield make_settings(server.url(server.create()))


@pytest.fixture(scope="session")
def one_app(sqlite_template: Path) -> Flask:
    """An application, made once: its routes are the same whatever its database is."""
    return create_app(make_settings(f"sqlite:///{sqlite_template}"))


@pytest.fixture
def app(one_app: Flask, settings: Settings) -> Iterator[Flask]:
    database = connect(one_app, settings)
    yield one_app
    database.engine.dispose()


@pytest.fixture
def database(app: Flask) -> Database:
    found: Database = app.extensions["database"]
    return found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def sign_in(app: Flask) -> Callable[[Role], FlaskClient]:
    """A client signed in as a person with the given role."""

    def make(role: Role) -> FlaskClient:
        token = secrets.token_urlsafe()
        database: Database = app.extensions["database"]
        with database.writing() as session:
            name = f"{role.value}-{token[:8].lower()}"
            user = User(username=name, name=role.value.capitalize(), role=role, password_hash="none")
            session.add(user)
            session.flush()
            session.add(LoginSession(token_hash=hashlib.sha256(token.encode()).hexdigest(), user_id=user.id))
        client = app.test_client()
        client.set_cookie("session", token)
        return client

    return make
