"""Every test that takes `app` or `settings` runs on SQLite and on PostgreSQL, on a freshly migrated database."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, text

from postgresql import Cluster, cluster
from restaurant.app import create_app
from restaurant.database import Database
from restaurant.floor.service import seed_floor
from restaurant.menu.service import seed_menu
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from restaurant.settings import Settings

# What whoever runs the tests has set for a service of their own is not for the ones started here.
for _name in [name for name in os.environ if name.startswith("RESTAURANT_")]:
    del os.environ[_name]

SECRET = "a key for tests, which is long enough to be taken"


def make_settings(url: str, **values: object) -> Settings:
    return Settings.model_validate({"database_url": url, "secret_key": SECRET, "database_pool_size": 10, **values})


def _prepare(settings: Settings) -> None:
    database = Database(settings)
    database.migrate()
    with database.writing() as session:
        seed_menu(session, profile="bistro")
        seed_floor(session)
    database.engine.dispose()


def _restore(settings: Settings) -> None:
    """Bring a database back to how `_prepare` left it: ten times faster than a new one."""
    database = Database(settings)
    tables = [name for name in inspect(database.engine).get_table_names() if name != "alembic_version"]
    with database.writing() as session:
        names = ", ".join(tables)
        session.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        seed_menu(session, profile="bistro")
        seed_floor(session)
    database.engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_database(postgresql: Cluster) -> str:
    name = postgresql.create()
    _prepare(make_settings(postgresql.url(name)))
    return name


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
    server: Cluster = request.getfixturevalue("postgresql")
    found = make_settings(server.url(request.getfixturevalue("postgresql_database")))
    yield found
    _restore(found)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database without any table."""
    if request.param == "sqlite":
        yield make_settings(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
        return
    server: Cluster = request.getfixturevalue("postgresql")
    yield make_settings(server.url(server.create()))


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    flask = create_app(settings)
    yield flask
    flask.extensions["database"].engine.dispose()


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
