"""Guests order at their table by its QR code: nothing is cooked or charged before it should be, and each thing once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import Signer
from sqlalchemy import func, select, update

from restaurant.database import Database
from restaurant.floor.models import Table
from restaurant.orders.models import Order, OrderLine
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from restaurant.table_orders import codes, service
from restaurant.table_orders.models import TableOrder
from restaurant.types import now
from support import EGGS, SECRET, STEW, TATIN, SignIn, add, billed, post, seat, state

Say = Callable[..., Any]


@pytest.fixture
def rules(app: Flask) -> Iterator[Callable[..., None]]:
    """Change the settings of orders from tables."""
    before: Settings = app.extensions["settings"]

    def change(**values: object) -> None:
        settings = before.model_copy(update=values)
        app.extensions["settings"] = settings

    change(table_orders_per_address=0, table_orders_per_table=0)
    yield change
    app.extensions["settings"] = before


@pytest.fixture
def manager(sign_in: SignIn, rules: Callable[..., None]) -> FlaskClient:
    return sign_in(Role.MANAGER)


def code_of(manager: FlaskClient, table: int = 1) -> str:
    found: str = manager.get(f"/api/v1/tables/{table}/code").get_json()["code"]
    return found


def ask(client: FlaskClient, code: str, /, *dishes: int, key: str | None = None, **changes: object) -> Any:
    body = {"code": code, "guest": "Ana", "lines": [{"dish": dish} for dish in dishes or (EGGS,)], **changes}
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return client.post("/api/v1/table-orders", json=body, headers=headers)


def counts(database: Database) -> tuple[int, ...]:
    with database.reading() as session:
        return tuple(
            session.scalar(select(func.count()).select_from(kind)) or 0 for kind in (TableOrder, Order, OrderLine)
        )


def key_in(page: str) -> str:
    found = re.search(r'name="key" value="(\w+)"', page)
    assert found
    return found[1]


def test_what_a_guest_sends_waits_and_is_cooked_once_it_is_confirmed(client: FlaskClient, manager: FlaskClient) -> None:
    order = seat(manager, 1)["reference"]
    sent = ask(client, code_of(manager), EGGS, STEW, note="sans sel")
    assert sent.status_code == 201
    assert (sent.get_json()["status"], sent.get_json()["table"]) == ("to_be_confirmed", "1")
    assert manager.get(f"/api/v1/orders/{order}").get_json()["lines"] == []
    reference = sent.get_json()["reference"]
    waiting = manager.get("/api/v1/table-orders").get_json()["items"]
    assert [entry["reference"] for entry in waiting] == [reference]
    accepted = post(manager, f"/table-orders/{reference}/accept", {})
    assert accepted.status_code == 200, accepted.text
    lines = accepted.get_json()["lines"]
    assert [(line["dish_id"], line["status"], line["note"]) for line in lines] == [
        (EGGS, "fired", "Ana · sans sel"), (STEW, "fired", "Ana · sans sel"),
    ]  # fmt: skip
    assert accepted.get_json()["reference"] == order
    assert manager.get("/api/v1/table-orders").get_json()["items"] == []
    # The guest follows what becomes of each dish.
    post(manager, f"/kitchen/lines/{lines[0]['id']}/move", {"status": "ready"})
    seen = client.get(f"/api/v1/table-orders/{reference}").get_json()
    assert [(line["status"]) for line in seen["lines"]] == ["ready", "fired"]


def test_confirming_at_a_table_where_nobody_was_seated_opens_it(client: FlaskClient, manager: FlaskClient) -> None:
    reference = ask(client, code_of(manager, 3), EGGS).get_json()["reference"]
    assert state(manager, 3) == "free"
    accepted = post(manager, f"/table-orders/{reference}/accept", {"covers": 4, "hold": True}).get_json()
    assert (accepted["table_id"], accepted["covers"]) == (3, 4)
    assert accepted["lines"][0]["status"] == "held"


def test_a_table_that_is_joined_to_another_orders_on_its_bill(client: FlaskClient, manager: FlaskClient) -> None:
    order = seat(manager, 1)["reference"]
    manager.post("/api/v1/tables/2/join", json={"into": 1})
    reference = ask(client, code_of(manager, 2), EGGS).get_json()["reference"]
    assert post(manager, f"/table-orders/{reference}/accept", {}).get_json()["reference"] == order


def test_sent_directly_only_where_nothing_speaks_against_it(
    client: FlaskClient, manager: FlaskClient, rules: Callable[..., None]
) -> None:
    rules(table_orders="direct", table_orders_per_address=0, table_orders_per_table=0)
    assert ask(client, code_of(manager, 1)).get_json()["status"] == "to_be_confirmed", "nobody is seated there"
    order = seat(manager, 1, allergies=["gluten"])["reference"]
    sent = ask(client, code_of(manager, 1), EGGS).get_json()
    assert (sent["status"], sent["lines"][0]["status"]) == ("accepted", "fired")
    assert len(manager.get(f"/api/v1/orders/{order}").get_json()["lines"]) == 1
    tart = ask(client, code_of(manager, 1), TATIN).get_json()
    assert tart["lines"][0]["danger"] == ["gluten"]
    assert tart["status"] == "to_be_confirmed", "a dish with what a guest cannot eat is for a person to decide"
    eggs = ask(client, code_of(manager, 1), EGGS, allergies=["eggs"]).get_json()
    assert eggs["status"] == "to_be_confirmed"
    paying = billed(manager, EGGS, table=2)
    late = ask(client, code_of(manager, 2), EGGS).get_json()
    assert late["status"] == "to_be_confirmed", "the bill is presented"
    reply = post(manager, f"/table-orders/{late['reference']}/accept", {})
    assert (reply.status_code, reply.get_json()["type"]) == (409, "urn:restaurant:problem:order-settled")
    assert len(manager.get(f"/api/v1/orders/{paying}").get_json()["lines"]) == 1


def test_allergies_of_a_guest_go_to_the_kitchen_with_the_order(client: FlaskClient, manager: FlaskClient) -> None:
    order = seat(manager, 1, allergies=["gluten"])["reference"]
    add(manager, order, EGGS)
    reference = ask(client, code_of(manager), STEW, allergies=["eggs"]).get_json()["reference"]
    accepted = post(manager, f"/table-orders/{reference}/accept", {}).get_json()
    assert accepted["allergies"] == ["eggs", "gluten"]
    ticket = manager.get("/api/v1/kitchen/tickets").get_json()["tickets"][0]
    assert [change["change"] for change in ticket["changes"]] == ["allergies"]


@pytest.mark.parametrize("end", ["accept", "refuse", "withdraw"])
def test_each_is_decided_once(client: FlaskClient, manager: FlaskClient, database: Database, end: str) -> None:
    seat(manager, 1)
    reference = ask(client, code_of(manager)).get_json()["reference"]
    ends = {"accept": {}, "refuse": {"reason": "cuisine fermée"}, "withdraw": None}

    def decide(name: str) -> Any:
        return post(manager, f"/table-orders/{reference}/{name}", ends[name])

    assert decide(end).status_code == 200
    before = counts(database)
    for name in ends:
        reply = decide(name)
        assert (reply.status_code, reply.get_json()["type"]) == (409, "urn:restaurant:problem:already-decided")
    assert counts(database) == before


def test_one_key_sends_one_order_however_often_and_at_once(
    app: Flask, manager: FlaskClient, database: Database
) -> None:
    code = code_of(manager)
    seat(manager, 1)

    def send(_time: int) -> int:
        status: int = ask(app.test_client(), code, key="a key that is random").status_code
        return status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(send, range(8))) == {201}
    assert counts(database)[0] == 1
    reference = manager.get("/api/v1/table-orders").get_json()["items"][0]["reference"]

    session = manager.get_cookie("session")
    assert session is not None

    def accept(_time: int) -> int:
        server = app.test_client()
        server.set_cookie("session", session.value)
        status: int = post(server, f"/table-orders/{reference}/accept", {}).status_code
        return status

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(accept, range(4))) == [200, 409, 409, 409]
    assert counts(database)[2] == 1


def test_a_code_is_signed_and_can_be_revoked(client: FlaskClient, manager: FlaskClient, database: Database) -> None:
    code = code_of(manager)
    forged = Signer("another key that is long enough to be one", salt=b"table").sign("1.1").decode()
    elsewhere = Signer(SECRET, salt=b"device").sign("1.1").decode()
    for wrong in ("1.1", "1", forged, elsewhere, code[:-1], f"{code}x", "é" * 40, "%00", code.replace("1.", "2.", 1)):
        assert ask(client, wrong).status_code in {400, 404, 422}, wrong
        assert client.get(f"/table/{wrong}").status_code in {400, 404}
    assert client.get(f"/table/{code}").status_code == 200
    sent = ask(client, code).get_json()["reference"]
    fresh = post(manager, "/tables/1/code", None).get_json()
    assert fresh["code"] != code
    assert fresh["address"].endswith(f"/table/{fresh['code']}")
    reply = ask(client, code)
    assert reply.status_code == 404
    assert (
        reply.get_json()["detail"]
        == "Ce code n’est plus valable. Scannez celui de votre table, ou adressez-vous à nous."
    )
    page = client.get(f"/table/{code}?lang=en")
    assert page.status_code == 404
    assert "Please scan the one on your table" in page.text
    assert ask(client, fresh["code"]).status_code == 201
    # Who has ordered with it can still follow the order; nobody can with the code of another table.
    assert client.get(f"/table/{code}/{sent}").status_code == 200
    assert client.get(f"/table/{code_of(manager, 2)}/{sent}").status_code == 404
    assert client.post(f"/table/{code_of(manager, 2)}/{sent}/retrait").status_code == 404
    assert counts(database)[0] == 2


def test_a_code_is_valid_while_its_key_is_kept_as_a_retired_one(app: Flask, database: Database) -> None:
    with app.test_request_context(), database.reading() as session:
        table = session.get_one(Table, 1)
        code = codes.code_of(table, keys=("a first key",))
        assert codes.find_table(session, code, keys=("a second key", "a first key")) is table


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"lines": []}, 422, ""),
        ({"lines": [{"dish": 99999}]}, 422, "Ce plat n’est pas à la carte."),
        ({"lines": [{"dish": EGGS, "quantity": 21}]}, 422, ""),
        ({"lines": [{"dish": EGGS, "options": [9999]}]}, 422, "cette option n’existe pas"),
        ({"lines": [{"dish": EGGS}] * 31}, 422, ""),
        ({"note": "x" * 301}, 422, ""),
        ({"guest": "\u202eAna"}, 422, ""),
        ({"allergies": ["stones"]}, 422, ""),
        ({"code": ""}, 422, ""),
    ],
)
def test_what_is_wrong_with_an_order_is_said_and_nothing_is_changed(
    client: FlaskClient, manager: FlaskClient, database: Database, changes: dict[str, Any], status: int, text: str
) -> None:
    code = code_of(manager)
    reply = ask(client, code, **changes)
    assert reply.status_code == status
    problem = reply.get_json()
    assert text in problem["detail"]
    assert problem["detail"]
    assert counts(database) == (0, 0, 0)


def test_a_form_that_is_wrong_says_what_and_changes_nothing(
    client: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    code = code_of(manager)
    for form, text in (
        ({"key": "k" * 20}, "Choisissez au moins un plat."),
        ({"key": "k" * 20, f"quantity-{EGGS}": "99"}, "une quantité de 1 à 20"),
        ({f"quantity-{EGGS}": "1"}, "Rechargez"),
        ({"key": "k" * 20, f"quantity-{EGGS}": "1", "guest": "x" * 81}, "Des valeurs sont manquantes"),
    ):
        reply = client.post(f"/table/{code}", data=form)
        assert reply.status_code == 422
        assert text.lower() in reply.text.lower(), reply.text
    assert counts(database) == (0, 0, 0)


def test_sold_out_dishes_are_refused_to_the_guest_and_left_out_when_confirmed(
    client: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    seat(manager, 1)
    code = code_of(manager)
    waiting = [ask(client, code, EGGS, STEW).get_json()["reference"] for _time in range(2)]
    alone = ask(client, code, STEW).get_json()["reference"]
    ingredient = post(manager, "/ingredients", {"name": "Paleron", "unit": "gram", "quantity": 10}).get_json()["id"]
    recipe = {"items": [{"ingredient": ingredient, "quantity": 300}]}
    assert manager.put(f"/api/v1/dishes/{STEW}/recipe", json=recipe, headers={"If-Match": "*"}).status_code == 200
    # The stock is asked only once it is confirmed: the page leaves out the dish, and says so.
    page = manager.get("/service/demandes").text
    reply = manager.post(f"/service/demandes/{waiting[0]}/envoi", data={"key": key_in(page)})
    assert reply.status_code == 303
    assert f"absent={STEW}" in reply.headers["Location"]
    assert "Bœuf bourguignon" in manager.get(reply.headers["Location"]).text
    seen = client.get(f"/api/v1/table-orders/{waiting[0]}").get_json()
    assert [line["status"] for line in seen["lines"]] == ["fired", None]
    assert "Indisponible" in client.get(f"/table/{code}/{waiting[0]}").text
    before = counts(database)
    reply = manager.post(f"/service/demandes/{alone}/envoi", data={"key": "k" * 20})
    assert reply.status_code == 409
    assert "Bœuf bourguignon" in reply.text
    assert counts(database) == before
    for dish in (EGGS, STEW):
        etag = manager.get(f"/api/v1/dishes/{dish}").headers["ETag"]
        body = {"out_of_stock": True}
        assert manager.patch(f"/api/v1/dishes/{dish}", json=body, headers={"If-Match": etag}).status_code == 200
    refused = ask(client, code, EGGS)
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:restaurant:problem:dish-unavailable")
    before = counts(database)
    reply = post(manager, f"/table-orders/{waiting[1]}/accept", {})
    assert reply.get_json()["type"] == "urn:restaurant:problem:dish-unavailable"
    assert counts(database) == before


@pytest.mark.parametrize("how", ["confirm", "direct"])
def test_what_is_sold_out_is_left_out_of_what_a_guest_sends(
    client: FlaskClient, manager: FlaskClient, rules: Callable[..., None], how: str
) -> None:
    rules(table_orders=how, table_orders_per_address=0, table_orders_per_table=0)
    seat(manager, 1)
    code = code_of(manager)
    manager.post(f"/carte/plats/{EGGS}/rupture", data={"out_of_stock": "1"})
    salt = post(manager, "/ingredients", {"name": "Sel", "unit": "gram", "quantity": 1}).get_json()["id"]
    recipe = {"items": [{"ingredient": salt, "quantity": 5}]}
    assert manager.put(f"/api/v1/dishes/{TATIN}/recipe", json=recipe, headers={"If-Match": "*"}).status_code == 200
    form = {"key": uuid.uuid4().hex, "guest": "Ana", **{f"quantity-{dish}": "1" for dish in (EGGS, TATIN, STEW)}}
    sent = client.post(f"/table/{code}", data=form)
    assert sent.status_code == 303, sent.text
    page = client.get(sent.location).text
    eggs = page[page.index("Œuf mayonnaise") :]
    assert eggs.index("Indisponible") < eggs.index("Bœuf bourguignon"), "the guest sees at once what there is not"
    reference = sent.location.rpartition("/")[2]
    if how == "confirm":
        assert "27,40" in page.partition("<tfoot>")[2], "and what the rest comes to; the stock is asked later"
        assert "Indisponible pour l’instant" in manager.get("/service/demandes").text
        assert manager.post(f"/service/demandes/{reference}/envoi", data={"key": "k" * 20}).status_code == 303
    seen = client.get(f"/api/v1/table-orders/{reference}").get_json()
    assert [(line["dish"], line["status"]) for line in seen["lines"]] == [(EGGS, None), (TATIN, None), (STEW, "fired")]
    alone = {"key": uuid.uuid4().hex, f"quantity-{EGGS}": "1"}
    refused = client.post(f"/table/{code}", data=alone)
    assert (refused.status_code, "Œuf mayonnaise" in refused.text) == (409, True)


def test_an_order_that_nobody_confirmed_is_for_nobody_an_hour_later(
    client: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    code = code_of(manager)
    reference = ask(client, code).get_json()["reference"]
    with database.writing() as session:
        session.execute(update(TableOrder).values(created_at=now() - service.EXPIRES))
    assert manager.get("/api/v1/table-orders").get_json()["items"] == []
    reply = post(manager, f"/table-orders/{reference}/accept", {})
    assert reply.get_json()["type"] == "urn:restaurant:problem:expired"
    assert "n’a pas été confirmée" in client.get(f"/table/{code}/{reference}").text
    with database.writing() as session:
        service.purge(session, at=now() + service.KEPT - timedelta(minutes=59))
    assert counts(database)[0] == 0


def test_robots_are_limited_per_table_and_per_address(
    client: FlaskClient, manager: FlaskClient, database: Database, rules: Callable[..., None]
) -> None:
    rules(table_orders_per_table=2, table_orders_per_address=3)
    code, other = code_of(manager, 1), code_of(manager, 2)
    assert [ask(client, code).status_code for _time in range(3)] == [201, 201, 429]
    assert [ask(client, other).status_code for _time in range(2)] == [201, 429]
    refused = ask(client, other)
    assert refused.get_json()["type"] == "urn:restaurant:problem:too-many-table-orders"
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    # What was sent before is repeated to who sends it again; and bookings are counted apart.
    assert counts(database)[0] == 3
    form = {"key": "k" * 20, f"quantity-{EGGS}": "1"}
    page = client.post(f"/table/{code}", data=form)
    assert page.status_code == 429
    assert "Trop de commandes" in page.text


def test_switched_off_the_pages_say_whom_to_ask(
    client: FlaskClient, manager: FlaskClient, database: Database, rules: Callable[..., None]
) -> None:
    rules(table_orders="none")
    code = code_of(manager)
    assert ask(client, code).get_json()["type"] == "urn:restaurant:problem:table-orders-off"
    page = client.get(f"/table/{code}")
    assert page.status_code == 409
    assert "Notre équipe prend votre commande" in page.text
    assert "désactivées" in manager.get("/salle/codes").text
    assert counts(database)[0] == 0


def test_the_guest_and_the_staff_do_all_of_it_on_their_pages(
    client: FlaskClient, manager: FlaskClient, sign_in: SignIn
) -> None:
    order = seat(manager, 4)["reference"]
    code = code_of(manager, 4)
    page = client.get(f"/table/{code}").text
    assert "Commander à la table 4" in page
    assert 'data-allergens="eggs' in page
    form = {"key": key_in(page), f"quantity-{EGGS}": "2", "guest": "Zoé", "note": "vite", "allergies": "milk"}
    first, second = (client.post(f"/table/{code}", data=form) for _time in range(2))
    assert first.status_code == second.status_code == 303
    assert first.headers["Location"] == second.headers["Location"]
    followed = client.get(first.headers["Location"]).text
    assert 'aria-current="step">À confirmer' in followed
    # A guest who comes back to the menu finds the order again.
    assert first.headers["Location"] in client.get(f"/table/{code}").text
    server = sign_in(Role.SERVER)
    for address in ("/salle", "/service/demandes", f"/service/{order}"):
        assert "Zoé" in server.get(address).text or address == "/salle"
    floor = server.get("/salle").text
    assert "1 commande de table à confirmer" in floor
    assert "commande à confirmer" in floor
    cashier = sign_in(Role.CASHIER)
    assert "Confirmer et envoyer" not in cashier.get("/service/demandes").text
    reference = first.headers["Location"].rpartition("/")[2]
    assert cashier.post(f"/service/demandes/{reference}/envoi").status_code == 403
    form = {"key": key_in(server.get("/service/demandes").text)}
    for _time in range(2):
        assert server.post(f"/service/demandes/{reference}/envoi", data=form).status_code == 303
    assert [line["quantity"] for line in server.get(f"/api/v1/orders/{order}").get_json()["lines"]] == [2]
    assert 'aria-current="step">Envoyée' in client.get(first.headers["Location"]).text
    # Options are in the language of the page.
    option = next(dish for part in client.get("/api/v1/menu").get_json()["categories"] for dish in part["dishes"]
                  if dish["id"] == 6)["option_groups"]  # fmt: skip
    steak = {"dish": 6, "options": [group["options"][0]["id"] for group in option]}
    rare = ask(client, code, lines=[steak]).get_json()["reference"]
    for lang, name in (("fr", "Saignant"), ("en", "Rare")):
        assert name in client.get(f"/table/{code}/{rare}?lang={lang}").text
        assert name in server.get(f"/service/demandes?lang={lang}").text
    client.post(f"/table/{code}/{rare}/retrait")
    # Another one is refused, and one is withdrawn.
    sent = [ask(client, code).get_json()["reference"] for _time in range(2)]
    assert server.post(f"/service/demandes/{sent[0]}/refus", data={"reason": ""}).status_code == 422
    assert server.post(f"/service/demandes/{sent[0]}/refus", data={"reason": "Cuisine fermée"}).status_code == 303
    assert "Cuisine fermée" in client.get(f"/table/{code}/{sent[0]}").text
    assert client.post(f"/table/{code}/{sent[1]}/retrait").status_code == 303
    assert "Retirée" in client.get(f"/table/{code}/{sent[1]}").text


def test_each_table_has_a_code_to_print_that_leads_to_its_menu(
    client: FlaskClient, manager: FlaskClient, rules: Callable[..., None]
) -> None:
    page = manager.get("/salle/codes").text
    addresses = re.findall(r'href="(http://localhost/table/[^"]+)"', page)
    assert len(addresses) == page.count('class="qr"') == 16
    assert {client.get(address).status_code for address in addresses} == {200}
    assert manager.post("/salle/codes/1", data={"key": key_in(page)}).status_code == 303
    assert [client.get(address).status_code for address in addresses].count(404) == 1
    rules(public_url="https://resto.example/")
    assert f'href="https://resto.example/table/{code_of(manager, 5)}"' in manager.get("/salle/codes").text
