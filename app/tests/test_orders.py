"""Placing orders in the browser and over REST."""

from __future__ import annotations

import io
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from restaurant.database import Database
from restaurant.orders.models import Order
from restaurant.people.permissions import Role
from support import EGGS, SignIn, order_body, place

STEAK = 6
CROQUE = 11
BRUNCH = 24


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalars(select(func.count()).select_from(Order)).one()


def options_of(client: FlaskClient, dish: int) -> list[list[int]]:
    menu = client.get("/api/v1/menu").get_json()
    found = next(entry for category in menu["categories"] for entry in category["dishes"] if entry["id"] == dish)
    return [[option["id"] for option in group["options"]] for group in found["option_groups"]]


def test_an_order_is_placed_priced_and_can_be_read_again(client: FlaskClient) -> None:
    cooking, side = options_of(client, STEAK)
    line = {"dish": STEAK, "quantity": 2, "options": [cooking[0], side[2]], "note": "sans sel"}
    placed = place(client, order_body(lines=[line, {"dish": EGGS}]))
    assert placed.status_code == 201
    reply = placed.get_json()
    assert [entry["total"] for entry in reply["lines"]] == [2 * (2490 + 200), 620]
    assert reply["total"] == 2 * 2690 + 620
    assert reply["status"] == "sent"
    assert [option["name"] for option in reply["lines"][0]["options"]] == ["Saignant", "Gratin dauphinois"]
    read = client.get(f"/api/v1/orders/{reply['reference']}")
    assert read.status_code == 200
    assert read.get_json() == reply


def test_the_same_key_and_body_place_one_order_and_get_the_same_reply(client: FlaskClient, database: Database) -> None:
    first, second = place(client, order_body()), place(client, order_body())
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.data == second.data
    assert second.headers["Idempotent-Replayed"] == "true"
    assert count(database) == 1


def test_the_same_key_with_another_body_is_refused(client: FlaskClient, database: Database) -> None:
    place(client, order_body())
    refused = place(client, order_body(guest="Léo"))
    assert refused.status_code == 422
    assert refused.get_json()["type"] == "urn:restaurant:problem:idempotency-key-reused"
    assert count(database) == 1


def test_many_posts_at_once_with_one_key_place_one_order(app: Flask, database: Database) -> None:
    def send(_number: int) -> tuple[int, bytes]:
        reply = place(app.test_client(), order_body())
        return reply.status_code, reply.data

    with ThreadPoolExecutor(8) as pool:
        replies = set(pool.map(send, range(24)))
    assert len(replies) == 1
    assert count(database) == 1


def test_a_refused_order_may_be_corrected_under_the_same_key(client: FlaskClient, database: Database) -> None:
    assert place(client, order_body(lines=[{"dish": 999}])).status_code == 422
    assert place(client, order_body()).status_code == 201
    assert count(database) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/guest"),
        (order_body(guest=""), "/guest"),
        (order_body(guest="x" * 81), "/guest"),
        (order_body(guest="a\x00b"), "/guest"),
        (order_body(lines=[]), "/"),  # dishes, or set menus
        (order_body(lines=[{"dish": EGGS}] * 61), "/lines"),
        (order_body(lines=[{"dish": EGGS, "quantity": 0}]), "/lines/0/quantity"),
        (order_body(lines=[{"dish": EGGS, "quantity": 51}]), "/lines/0/quantity"),
        (order_body(lines=[{"dish": EGGS, "quantity": 1.5}]), "/lines/0/quantity"),
        (order_body(lines=[{"dish": 2**63}]), "/lines/0/dish"),
        (order_body(lines=[{"dish": 999}]), "/lines/0/dish"),
        (order_body(lines=[{"dish": EGGS, "price": 1}]), "/lines/0/price"),
        (order_body(lines=[{"dish": EGGS, "options": [1]}]), "/lines/0/options"),
        (order_body(lines=[{"dish": STEAK}]), "/lines/0/options"),
        (order_body(kind="dine_in"), "/kind"),
        (order_body(status="paid"), "/status"),
        ([], "/"),
    ],
)
def test_a_wrong_order_is_refused_with_the_place_of_the_fault(
    client: FlaskClient, database: Database, body: object, pointer: str
) -> None:
    refused = place(client, body)
    assert refused.status_code == 422
    assert refused.content_type == "application/problem+json"
    assert pointer in [fault["pointer"] for fault in refused.get_json()["errors"]]
    assert count(database) == 0


def test_too_many_or_repeated_options_are_refused(client: FlaskClient) -> None:
    (extras,) = options_of(client, CROQUE)
    for chosen in (extras, [extras[0], extras[0]]):
        refused = place(client, order_body(lines=[{"dish": CROQUE, "options": chosen}]))
        assert refused.status_code == 422


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"", "application/json", 400),
        (b"guest=Ana", "application/x-www-form-urlencoded", 415),
        (b"x" * 300_000, "application/json", 413),
    ],
)
def test_a_body_that_is_not_acceptable_json_is_refused(
    client: FlaskClient, data: bytes, content_type: str, status: int
) -> None:
    headers = {"Idempotency-Key": "k"}
    reply = client.post("/api/v1/orders", data=data, content_type=content_type, headers=headers)
    assert reply.status_code == status
    assert reply.content_type == "application/problem+json"


@pytest.mark.parametrize("key", [None, "", "x" * 101, "clé"])
def test_an_order_without_a_usable_key_is_refused(client: FlaskClient, key: str | None) -> None:
    reply = place(client, order_body(), key=key)
    assert reply.status_code == 400
    assert reply.get_json()["type"] == "urn:restaurant:problem:idempotency-key-missing"


def test_unknown_orders_and_addresses_are_not_found(client: FlaskClient) -> None:
    for path in ("/api/v1/orders/00000000-0000-0000-0000-000000000000", "/api/v1/orders/1", "/api/v1/nothing"):
        reply = client.get(path)
        assert reply.status_code == 404
        assert reply.content_type == "application/problem+json"


def test_the_menu_page_lists_every_dish_in_both_languages(client: FlaskClient) -> None:
    french = client.get("/").text
    english = client.get("/", headers={"Accept-Language": "en-GB,en;q=0.9"}).text
    assert "Notre carte" in french
    assert "Crème brûlée" in french
    assert "Our menu" in english
    assert "Apple tarte Tatin" in english
    assert 'lang="en"' in english


def form_key(client: FlaskClient) -> str:
    found = re.search(r'name="key" value="(\w+)"', client.get("/").text)
    assert found
    return found[1]


def test_the_form_places_one_order_even_when_sent_twice(client: FlaskClient, database: Database) -> None:
    cooking, side = options_of(client, STEAK)
    form = {
        "key": form_key(client),
        "guest": "Ana",
        f"quantity-{EGGS}": "1",
        f"quantity-{STEAK}": "1",
        f"options-{STEAK}-1": str(cooking[1]),
        f"options-{STEAK}-2": str(side[0]),
    }
    first, second = client.post("/commandes", data=form), client.post("/commandes", data=form)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location
    assert count(database) == 1
    page = client.get(first.location).text
    assert "Merci, Ana" in page
    assert "31,10\u00a0€" in page


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"guest": "Ana"},
        {"guest": "Ana", "quantity-2": "0"},
        {"guest": "Ana", "quantity-2": "-1"},
        {"guest": "Ana", "quantity-2": "1000"},
        {"guest": "Ana", "quantity-2": "many"},
        {"guest": "Ana", "quantity-99999999999": "1"},
        {"guest": "", "quantity-2": "1"},
        {"guest": "Ana", "quantity-2": "1", "key": ""},
    ],
)
def test_a_wrong_form_is_answered_by_one_page_and_places_nothing(
    client: FlaskClient, database: Database, form: dict[str, str]
) -> None:
    reply = client.post("/commandes", data={"key": "k", **form})
    assert reply.status_code == 422
    assert reply.content_type.startswith("text/html")
    assert count(database) == 0


def test_a_form_sent_by_another_site_is_refused(client: FlaskClient, database: Database) -> None:
    form = {"key": "k", "guest": "Ana", "quantity-2": "1"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}, {"Origin": "null"}):
        assert client.post("/commandes", data=form, headers=headers).status_code == 403
    assert count(database) == 0


def test_characters_no_database_holds_are_refused_wherever_they_come(client: FlaskClient) -> None:
    for reply in (
        client.get("/?lang=%00"),
        client.post("/commandes", data={"guest": "a\0b", "key": "k", "quantity-2": "1"}),
        client.post("/connexion", data={"username": "a\0b", "password": "x"}),
    ):
        assert reply.status_code == 400
    credentials = {"username": "a\0b", "password": "x"}
    assert client.post("/api/v1/sessions", json=credentials).status_code == 401


def test_a_guests_text_is_shown_as_text(client: FlaskClient) -> None:
    reference = place(client, order_body(guest="<script>alert(1)</script>")).get_json()["reference"]
    page = client.get(f"/commandes/{reference}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_a_dish_outside_its_hours_cannot_be_ordered(client: FlaskClient, app: Flask) -> None:

    with time_machine.travel("2026-04-03T18:00:00Z", tick=False):
        refused = place(client, order_body(lines=[{"dish": BRUNCH}]))
        assert refused.status_code == 409
        assert refused.get_json()["type"] == "urn:restaurant:problem:dish-unavailable"
    with time_machine.travel("2026-04-03T08:00:00Z", tick=False):
        assert place(client, order_body(lines=[{"dish": BRUNCH}])).status_code == 201


def test_problem_details_carry_the_id_of_the_request(client: FlaskClient) -> None:
    reply = client.get("/api/v1/nothing", headers={"X-Request-ID": "abc-123"})
    assert reply.headers["X-Request-ID"] == "abc-123"
    assert json.loads(reply.data)["request_id"] == "abc-123"


@pytest.mark.parametrize(
    "name",
    [
        "12\u202e7 elbaT", "A\u2066b", "A\ufeffb", "A\u200bb", "A\u2028b", "A\x07b", "A\u200db", "A\u200cb", "Ab\u200d",
        "\u200d", "A\u200d\U0001f525", "\U0001f525\u200db", "\u0915\u200d\u0916", "A\ufe0f", "A\U000e0100", "A\u034fb",
        "\u3164", "\u115f",
    ],
)  # fmt: skip
def test_a_name_that_reads_as_another_one_is_refused(client: FlaskClient, name: str) -> None:
    refused = place(client, order_body(guest=name))
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/guest")


@pytest.mark.parametrize(
    "name",
    [
        "\U0001f9d1\U0001f3fd\u200d\U0001f373", "\U0001f642\u200d\u2194\ufe0f", "1\ufe0f\u20e3",  # emoji
        "\u0915\u094d\u200d\u0937", "\u09b0\u200d\u09cd\u09af", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u845b\U000e0100\u57ce",  # Hindi, Bengali, Persian, Japanese
    ],
)  # fmt: skip
def test_emoji_and_scripts_that_join_letters_are_kept(client: FlaskClient, name: str) -> None:
    assert place(client, order_body(guest=name)).get_json()["guest"] == name


def test_a_text_that_composing_makes_longer_is_measured_as_it_is_kept(client: FlaskClient) -> None:
    # Three characters when composed; the column has room for 80.
    assert place(client, order_body(guest="\ufb2c" * 80)).status_code == 422


def test_a_name_is_kept_in_its_composed_form(client: FlaskClient) -> None:
    placed = place(client, order_body(guest="  Zoe\u0301   \u2764\ufe0f\u200d\U0001f525 ")).get_json()
    assert placed["guest"] == "Zo\u00e9 \u2764\ufe0f\u200d\U0001f525"


def test_a_body_sent_in_chunks_is_whole_or_refused(client: FlaskClient, database: Database) -> None:
    for size, status in ((300 * 1024, 413), (10, 201)):
        body = json.dumps(order_body(note="x" * 10)).encode() + b" " * size
        headers = {"Idempotency-Key": f"chunks-{size}", "Transfer-Encoding": "chunked"}
        reply = client.post(
            "/api/v1/orders", input_stream=io.BytesIO(body), headers=headers, content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True},
        )  # fmt: skip
        assert reply.status_code == status, reply.text
    assert count(database) == 1


def test_what_is_wrong_is_said_in_the_users_language(client: FlaskClient) -> None:
    body = {"guest": "x" * 81, "kind": "flying", "lines": [{"dish": "1", "quantity": 51}], "more": 1}
    for language, words in (
        (
            "fr",
            {
                "Saisissez au plus 80 caractères.",
                "Ce champ est inconnu.",
                "La valeur doit être au plus 50.",
                "La valeur doit être l’une des suivantes\u00a0: take_away.",
            },
        ),
        ("en", {"Enter at most 80 characters.", "This field is unknown.", "The value must be at most 50."}),
    ):
        reply = client.post("/api/v1/orders", json=body, headers={"Idempotency-Key": "k", "Accept-Language": language})
        said = {entry["detail"] for entry in reply.get_json()["errors"]}
        assert words <= said
        assert not any("Input" in text or "OrderKind" in text for text in said)


def test_what_the_client_has_is_not_sent_again(client: FlaskClient) -> None:
    path = f"/api/v1/orders/{place(client, order_body()).get_json()['reference']}"
    etag = client.get(path).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        assert client.get(path, headers={"If-None-Match": known}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"999"'}).status_code == 200


def test_a_refused_form_leads_back_to_where_it_was(client: FlaskClient, sign_in: SignIn) -> None:
    refused = client.post("/commandes", data={"key": "k"}, headers={"Referer": "http://localhost/?lang=fr"})
    assert refused.status_code == 422
    assert 'href="/?lang=fr" data-back' in refused.text
    elsewhere = client.post("/commandes", data={"key": "k"}, headers={"Referer": "http://evil.example/x"})
    assert "evil" not in elsewhere.text
    assert 'href="/">Retour à la carte' in elsewhere.text
    # The staff begins elsewhere than guests.
    staff = sign_in(Role.SERVER).post(f"/service/{uuid.uuid4()}/envoi", data={"key": "k"})
    assert (staff.status_code, 'href="/accueil">Retour à l’accueil' in staff.text) == (404, True)


def test_strangers_who_send_the_same_key_get_what_is_their_own(app: Flask) -> None:
    def send(key: str, address: str) -> str:
        headers, sender = {"Idempotency-Key": key}, {"REMOTE_ADDR": address}
        stranger = app.test_client()
        reply = stranger.post("/api/v1/orders", json=order_body(), headers=headers, environ_overrides=sender)
        assert reply.status_code == 201, reply.text
        return str(reply.get_json()["reference"])

    first = send("1", "203.0.113.1")
    assert send("1", "203.0.113.2") != first
    assert send("1", "203.0.113.1") == first
    # A random key is sent again from another network when a telephone leaves the house.
    key = uuid.uuid4().hex
    assert send(key, "203.0.113.1") == send(key, "198.51.100.1")


def test_a_key_of_one_person_is_not_anothers(client: FlaskClient, sign_in: SignIn) -> None:
    replies = [place(one, order_body(), key="1") for one in (client, sign_in(Role.SERVER), sign_in(Role.HOST))]
    assert len({reply.get_json()["reference"] for reply in replies}) == 3


def test_strangers_forms_with_the_same_key_are_two_orders(app: Flask) -> None:
    form = {"key": "1", "guest": "Ana", f"quantity-{EGGS}": "1"}
    found = {
        app.test_client().post("/commandes", data=form, environ_overrides={"REMOTE_ADDR": address}).headers["Location"]
        for address in ("203.0.113.1", "203.0.113.2", "203.0.113.1")
    }
    assert len(found) == 2
