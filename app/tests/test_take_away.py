"""Take-away orders of strangers: closed at night unless told otherwise, limited per address, without what is sold out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from restaurant.database import Database
from restaurant.orders.models import Order
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, STEW, TATIN, SignIn, order_body, place, post

#: A Friday, 14:00 in Paris.
NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)


@pytest.fixture
def change(app: Flask) -> Iterator[Callable[..., None]]:
    """Change the settings of the service."""
    before: Settings = app.extensions["settings"]

    def make(**values: object) -> None:
        app.extensions["settings"] = before.model_copy(update=values)

    yield make
    app.extensions["settings"] = before


@pytest.fixture
def _limited(change: Callable[..., None]) -> None:
    """Three orders from an address within an hour, at any time of the day."""
    change(orders_per_address=3)


def order(client: FlaskClient, address: str, **headers: str) -> Any:
    return client.post(
        "/api/v1/orders", json=order_body(), headers={"Idempotency-Key": uuid.uuid4().hex, **headers},
        environ_base={"REMOTE_ADDR": address},
    )  # fmt: skip


def count(app: Flask) -> int:
    database: Database = app.extensions["database"]
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Order)) or 0


@pytest.mark.usefixtures("_limited")
def test_an_address_sends_a_few_orders_and_a_robot_no_more(app: Flask, client: FlaskClient) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        assert [order(client, "192.0.2.1").status_code for _time in range(5)] == [201, 201, 201, 429, 429]
        refused = order(client, "192.0.2.1", **{"Accept-Language": "fr"})
        assert refused.get_json()["type"] == "urn:restaurant:problem:too-many-orders"
        assert "Trop de commandes" in refused.get_json()["detail"]
        assert refused.headers["Retry-After"] == "3600"
        form = {"key": uuid.uuid4().hex, "guest": "Ana", f"quantity-{EGGS}": "1"}
        page = client.post("/commandes", data=form, environ_base={"REMOTE_ADDR": "192.0.2.1"})
        assert (page.status_code, "Trop de commandes" in page.text) == (429, True)
        assert count(app) == 3
        # Another address is not meant; all of one IPv6 network is.
        assert order(client, "192.0.2.2").status_code == 201
        sent = [order(client, f"2001:db8::{number}").status_code for number in range(1, 5)]
        assert sent == [201, 201, 201, 429]
        # An hour after its first order the address may order again.
        clock.shift(3599)
        assert order(client, "192.0.2.1").status_code == 429
        clock.shift(1)
        assert [order(client, "192.0.2.1").status_code for _time in range(4)] == [201, 201, 201, 429]


@pytest.mark.usefixtures("_limited")
def test_an_order_that_is_sent_again_is_counted_once_and_a_refused_one_not_at_all(client: FlaskClient) -> None:
    for _again in range(5):
        assert place(client, order_body(), key="k" * 20).status_code == 201
    for _wrong in range(5):
        assert place(client, order_body(lines=[{"dish": 999}]), key=uuid.uuid4().hex).status_code == 422
    assert [place(client, order_body(), key=uuid.uuid4().hex).status_code for _time in range(3)] == [201, 201, 429]


@pytest.mark.usefixtures("_limited")
def test_the_staff_orders_for_as_many_guests_as_there_are(sign_in: SignIn, app: Flask) -> None:
    server = sign_in(Role.SERVER)
    for _time in range(6):
        assert order(server, "192.0.2.1").status_code == 201
    # Who is signed in but takes no orders is a guest.
    cook = sign_in(Role.KITCHEN)
    assert [order(cook, "192.0.2.1").status_code for _time in range(4)] == [201, 201, 201, 429]
    assert count(app) == 9


@pytest.mark.parametrize(
    ("clock", "status"),
    [("04:10", 409), ("11:29", 409), ("11:30", 201), ("13:59", 201), ("14:00", 409), ("18:30", 201), ("23:50", 409)],
)
def test_without_settings_take_away_is_open_at_lunch_and_dinner(
    client: FlaskClient, change: Callable[..., None], clock: str, status: int
) -> None:
    change(take_away_times=Settings.model_fields["take_away_times"].default)
    with time_machine.travel(f"2026-04-03T{clock}:00+02:00"):
        reply = place(client, order_body(), key=uuid.uuid4().hex)
        assert reply.status_code == status
        assert ("Nous sommes fermés" in client.get("/").text) is (status == 409)


def sell_out(manager: FlaskClient, *, hidden: int, empty: int) -> None:
    """Have one dish switched off on the menu, and an ingredient of another one run out."""
    manager.post(f"/carte/plats/{hidden}/rupture", data={"out_of_stock": "1"})
    salt = post(manager, "/ingredients", {"name": "Sel", "unit": "gram", "quantity": 1}).get_json()["id"]
    recipe = {"items": [{"ingredient": salt, "quantity": 5}]}
    assert manager.put(f"/api/v1/dishes/{empty}/recipe", json=recipe, headers={"If-Match": "*"}).status_code == 200


def test_a_guests_order_is_placed_without_what_is_sold_out(client: FlaskClient, sign_in: SignIn, app: Flask) -> None:
    sell_out(sign_in(Role.MANAGER), hidden=EGGS, empty=TATIN)
    form = {"key": uuid.uuid4().hex, "guest": "Ana", **{f"quantity-{dish}": "1" for dish in (EGGS, STEW, TATIN)}}
    replies = [client.post("/commandes", data=form) for _twice in range(2)]
    assert [reply.status_code for reply in replies] == [303, 303]
    assert replies[0].location == replies[1].location, "also who sends it again reads what is missing"
    page = client.get(replies[0].location).text
    assert "Œuf mayonnaise, Tarte Tatin" in page
    assert page.index("Indisponible") < page.index("Bœuf bourguignon")
    assert count(app) == 1
    for dish in (EGGS, TATIN):
        alone = client.post("/commandes", data={"key": uuid.uuid4().hex, "guest": "Ana", f"quantity-{dish}": "1"})
        assert alone.status_code == 409
        assert "Œuf mayonnaise" in alone.text or "Tarte Tatin" in alone.text
    assert count(app) == 1
    # A program is refused, and decides.
    assert place(client, order_body(lines=[{"dish": EGGS}, {"dish": STEW}]), key="p" * 20).status_code == 409
