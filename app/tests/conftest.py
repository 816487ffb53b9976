"""Every test that takes `app` or `settings` runs on SQLite and on PostgreSQL, on a freshly migrated database.

What takes long is done once per process and brought back for each test: migrations, the rows that many tests of a module
need (`once`), and the compilation of SQL.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from sqlalchemy.engine.default import DefaultDialect

from postgresql import Cluster, Rows, cluster
from restaurant.app import connect, create_app
from restaurant.database import Database
from restaurant.floor.service import seed_floor
from restaurant.menu.seeding import seed_menu
from restaurant.people import attempts
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from restaurant.types import now
from support import Once, T, make_settings

# Settings of the developer's own service must not reach the services that tests start.
for _name in [name for name in os.environ if name.startswith("RESTAURANT_")]:
    del os.environ[_name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that no process ends long after the other one."""
    items.sort(key=lambda item: item.path.name != "test_states.py")


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """What passwords are really hashed with: tests have hundreds of people, so they get a cheap hash instead."""
    real = attempts.HASHER
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "HASHER", cheap)
        yield real


@pytest.fixture(scope="session", autouse=True)
def _compiled_sql() -> Iterator[None]:
    """Keep the SQL that SQLAlchemy has compiled, as a service does: each test has an engine, which would do it again.

    It is kept by dialect, of which each engine has its own too; those of one class compile alike.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultDialect, "__eq__", lambda self, other: type(self) is type(other))
        patch.setattr(DefaultDialect, "__hash__", lambda self: hash(type(self)))
        keeping = partial(create_engine, execution_options={"compiled_cache": {}})
        patch.setattr("restaurant.database.create_engine", keeping)
        yield


def _prepare(settings: Settings) -> None:
    database = Database(settings)
    database.migrate()
    with database.writing() as session:
        seed_menu(session, profile="bistro")
        seed_floor(session)
    database.engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_database(postgresql: Cluster) -> Iterator[Rows]:
    """A database, and the rows it was seeded with."""
    url = postgresql.url(postgresql.create())
    _prepare(make_settings(url))
    with Rows(url) as rows:
        rows.keep("seeded")
        yield rows


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
    rows: Rows = request.getfixturevalue("postgresql_database")
    yield make_settings(rows.url)
    rows.bring_back("seeded")


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


@dataclass(frozen=True)
class Kept:
    """What filled a database returned, and who was signed in then; its rows are kept too."""

    returned: Any
    sessions: list[str]
    made_at: datetime
    file: Path | None
    """A copy of the SQLite database."""

    def is_recent(self) -> bool:
        """Whether nothing in the rows has grown old: bookings and sessions end, and days begin at a whole hour."""
        return now() - self.made_at < timedelta(minutes=5) and now().hour == self.made_at.hour


@pytest.fixture(scope="session")
def kept() -> dict[tuple[str, str], Kept]:
    return {}


@pytest.fixture
def once(
    database: Database,
    settings: Settings,
    kept: dict[tuple[str, str], Kept],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Once:
    file = settings.sqlite_file()
    rows: Rows | None = request.getfixturevalue("postgresql_database") if file is None else None

    def fill_once(name: str, fill: Callable[[], T], *clients: FlaskClient) -> T:
        key = (name, database.engine.dialect.name)
        found = kept.get(key)
        # Every connection to a SQLite database is closed before its file is copied.
        database.engine.dispose()
        if found is not None and found.is_recent():
            if rows is not None:
                rows.bring_back(name)
            elif file is not None and found.file is not None:
                shutil.copy(found.file, file)
            for client, session in zip(clients, found.sessions, strict=True):
                client.set_cookie("session", session)
            before: T = found.returned
            return before
        made_at, returned = now(), fill()
        cookies = [client.get_cookie("session") for client in clients]
        sessions = [cookie.value for cookie in cookies if cookie is not None]
        copy = None
        if rows is not None:
            rows.keep(name)
        elif file is not None:
            database.engine.dispose()
            copy = Path(shutil.copy(file, tmp_path_factory.mktemp(name)))
        kept[key] = Kept(returned, sessions, made_at, copy)
        return returned

    return fill_once
