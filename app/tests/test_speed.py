"""What keeps the service fast, without a clock: the statements of a request, and what a process loads to serve."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable

from flask.testing import FlaskClient
from sqlalchemy import event

from restaurant.database import Database
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, SECRET, STEW, TATIN, SignIn, add, billed, pay, place, post, seat


def statements(database: Database, act: Callable[[], int]) -> list[str]:
    """What a request sends to the database, without beginnings of transactions, when what can be is in memory."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        sent.append(statement)

    assert act() < 300
    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert act() < 300
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return [statement for statement in sent if not statement.startswith("BEGIN")]


def test_the_menu_page_takes_one_statement(client: FlaskClient, database: Database) -> None:
    sent = statements(database, lambda: client.get("/").status_code)
    assert len(sent) <= 1, sent


def test_an_order_takes_three_statements_where_one_can_write_several_tables(
    client: FlaskClient, database: Database, settings: Settings
) -> None:
    body = {"guest": "Ana", "lines": [{"dish": EGGS, "quantity": 1}, {"dish": TATIN, "quantity": 2}]}
    sent = statements(database, lambda: place(client, body, key=uuid.uuid4().hex).status_code)
    # The key, the order with its lines and the event for the kitchen, and the reply; SQLite writes row by row.
    assert len(sent) <= (6 if settings.sqlite_file() is not None else 3), sent


def test_a_bill_takes_one_statement_beside_that_of_the_session_until_something_is_paid(
    sign_in: SignIn, database: Database
) -> None:
    cashier = sign_in(Role.MANAGER)
    order = billed(cashier)
    path = f"/api/v1/orders/{order}/bill"
    sent = statements(database, lambda: cashier.get(path).status_code)
    assert len(sent) <= 2, sent
    assert pay(cashier, order, 100).status_code == 201
    sent = statements(database, lambda: cashier.get(path).status_code)
    assert len(sent) <= 4, sent


def test_reading_a_bill_finds_what_changing_it_answered(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    order = str(seat(manager)["reference"])
    path = f"/api/v1/orders/{order}/bill"
    assert manager.get(path).get_json()["total"] == 0
    add(manager, order, EGGS, STEW, seat=1)
    voided = add(manager, order, TATIN, quantity=2)["lines"][-1]["id"]
    assert post(manager, f"/orders/{order}/lines/{voided}/void", {"reason": "froid"}).status_code == 200
    for body in ({"percent": 10}, {"amount": 150}):
        given = post(manager, f"/orders/{order}/discounts", {**body, "reason": "geste"}).get_json()
        assert manager.get(path).get_json() == given
    removed = post(manager, f"/orders/{order}/discounts/{given['discounts'][0]['id']}/remove", {}).get_json()
    assert manager.get(path).get_json() == removed
    presented = post(manager, f"/orders/{order}/bill", None).get_json()
    assert manager.get(path).get_json() == presented
    assert presented["due"] == presented["total"] - 150
    paid = [pay(manager, order, amount).get_json() for amount in (100, presented["due"] - 100)]
    assert manager.get(path).get_json()["payments"] == paid
    assert manager.get(f"/api/v1/orders/{uuid.uuid4()}/bill").status_code == 404


def test_a_change_of_the_menu_is_seen_by_the_next_order(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    body = {"guest": "Ana", "lines": [{"dish": EGGS}]}
    assert post(manager, "/orders", body).status_code == 201
    version = manager.get(f"/api/v1/dishes/{EGGS}").headers["ETag"]
    change = manager.patch(f"/api/v1/dishes/{EGGS}", json={"out_of_stock": True}, headers={"If-Match": version})
    assert change.status_code == 200, change.text
    assert post(manager, "/orders", body).get_json()["type"].endswith("dish-unavailable")


def test_a_process_that_serves_loads_nothing_that_only_other_commands_need() -> None:
    program = (
        "import sys, restaurant.cli, restaurant.server\n"
        "from restaurant.app import create_app\n"
        "create_app(restaurant.server.Settings.load())\n"
        "print(*sys.modules)"
    )
    environment = {
        **os.environ, "RESTAURANT_DATABASE_URL": "postgresql://nobody@localhost/none", "RESTAURANT_SECRET_KEY": SECRET
    }  # fmt: skip
    loaded = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "restaurant.orders.api" in modules
    unneeded = {
        "alembic", "opentelemetry", "restaurant.billing.verification", "restaurant.menu.seeding",
        "restaurant.payments.simulator", "restaurant.tracing",
    }  # fmt: skip
    assert not modules & unneeded
