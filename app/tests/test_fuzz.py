"""Schemathesis asks the API everything its document allows and much it does not."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks

from postgresql import Cluster
from restaurant.app import create_app
from restaurant.database import Database
from restaurant.floor.service import seed_floor
from restaurant.menu.seeding import seed_menu
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from support import COMMITTED, make_settings

OPERATIONS = [
    (path, method)
    for path, methods in json.loads(COMMITTED.read_text(encoding="utf-8"))["paths"].items()
    for method in methods
]


@pytest.fixture(scope="module")
def service(postgresql: Cluster) -> Iterator[Flask]:
    """A service on a database of its own."""
    found = make_settings(postgresql.url(postgresql.create()))
    with Database(found) as database:
        database.migrate()
        with database.writing() as session:
            seed_menu(session, profile="bistro")
            seed_floor(session)
    app = create_app(found)
    yield app
    app.extensions["database"].engine.dispose()


@pytest.fixture(scope="module")
def document(service: Flask) -> BaseSchema:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", service)


@pytest.fixture
def token(service: Flask) -> str:
    """A session of an administrator, for one operation: one of them ends the session it is sent with."""
    secret = uuid.uuid4().hex
    with service.extensions["database"].writing() as session:
        user = User(username=f"fuzz-{secret}", name="Fuzz", role=Role.ADMIN, password_hash="none")
        session.add(user)
        session.flush()
        session.add(LoginSession(token_hash=hashlib.sha256(secret.encode()).hexdigest(), user_id=user.id))
    return secret


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_a_documented_one(document: BaseSchema, token: str, path: str, method: str) -> None:
    @settings(
        max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
    )
    @given(case=document[path][method].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        # What is well-formed may still name a table that is taken or a dish that does not exist.
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"}, excluded_checks=[checks.positive_data_acceptance]
        )

    ask()
