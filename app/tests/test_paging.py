"""Lists in pages: what is added or removed between two pages is not shown twice, nor does it hide anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from restaurant.people.permissions import Role
from support import COMMITTED, SignIn, post

PATHS = json.loads(COMMITTED.read_text(encoding="utf-8"))["paths"]
PAGED = sorted(
    path
    for path, methods in PATHS.items()
    if any(parameter["name"] == "after" for parameter in methods.get("get", {}).get("parameters", ()))
)


def walk(client: FlaskClient, path: str, between: Callable[[], None]) -> list[Any]:
    """The items of a list, of which something is changed after each page of two."""
    found, query = [], "?limit=2"
    while True:
        reply = client.get(f"/api/v1{path}{query}")
        assert reply.status_code == 200, reply.text
        found += reply.get_json()["items"]
        if reply.get_json()["next"] is None or len(found) > 200:
            return found
        between()
        query = f"?limit=2&after={reply.get_json()['next']}"


def test_every_list_with_a_limit_is_paged_by_keys() -> None:
    limited = {
        path
        for path, methods in PATHS.items()
        if any(
            parameter["name"] in {"limit", "page", "offset"}
            for parameter in methods.get("get", {}).get("parameters", ())
        )
    }
    assert limited == set(PAGED)
    assert len(PAGED) >= 9


def test_guests_who_join_between_two_pages_come_once(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)

    def join(name: str) -> int:
        reply = post(host, "/waiting-list", {"guest": name, "covers": 2, "quoted_minutes": 5})
        return int(reply.get_json()["id"])

    keys = [join(f"Ana {number}") for number in range(7)]
    leaving = iter(keys)
    joined: list[int] = []

    def leave_and_join() -> None:
        assert post(host, f"/waiting-list/{next(leaving)}/move", {"status": "left"}).status_code == 200
        if len(joined) < 2:
            joined.append(join("Bo"))

    found = [entry["id"] for entry in walk(host, "/waiting-list", leave_and_join)]
    assert found == keys + joined


def test_the_newest_movements_do_not_push_others_to_the_next_page(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    key = post(manager, "/ingredients", {"name": "Beurre", "unit": "gram"}).get_json()["id"]

    def deliver() -> None:
        reply = post(manager, f"/ingredients/{key}/movements", {"reason": "delivered", "quantity": 1})
        assert reply.status_code in {200, 201}

    for _time in range(7):
        deliver()
    moments = [entry["created_at"] for entry in walk(manager, f"/ingredients/{key}/movements", deliver)]
    assert len(moments) == 7
    assert moments == sorted(moments, reverse=True)


def test_a_dish_and_an_ingredient_that_are_added_between_two_pages_repeat_nothing(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    added = iter(range(100))

    def add() -> None:
        number = next(added)
        dish = {"category": 1, "name": f"Aa {number}", "price": 500, "vat_dine_in": 1000, "vat_take_away": 1000,
                "station": "cold", "course": "starter"}  # fmt: skip
        assert post(manager, "/dishes", dish).status_code == 201
        assert post(manager, "/ingredients", {"name": f"Aa {number}", "unit": "gram"}).status_code == 201

    before = {
        path: {entry["id"] for entry in walk(manager, path, lambda: None)} for path in ("/dishes", "/ingredients")
    }
    for path, known in before.items():
        found = [entry["id"] for entry in walk(manager, path, add)]
        assert len(found) == len(set(found))
        assert known <= set(found)


def test_people_of_one_name_are_all_listed(sign_in: SignIn) -> None:
    admin = sign_in(Role.ADMIN)
    for number in range(5):
        person = {"username": f"lea{number}", "name": "Léa", "role": "server", "password": "une phrase assez longue"}
        assert post(admin, "/people", person).status_code == 201
    found = [entry["username"] for entry in walk(admin, "/people", lambda: None)]
    assert len(found) == len(set(found)) == 6


def token(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


WRONG = {
    "no base64": "A",
    "no JSON": "AAAA",
    "nothing": token(),
    "a null": token(None),
    "a huge number": token(10**40),
    "a number for a text": token(1, 1, 1, 1, 1),
    "what is no text": token([]),
    "the end of the calendar": token("9999-12-31T23:59:59-14:00", 1),
    "the begin of the calendar": token("0001-01-01T00:00:00+14:00", 1),
    "no time zone": token("2026-04-03T18:00:00", 1),
    "a NUL": token("\0"),
    "half a character": token("\ud800"),
    "a number and a NUL": token(1, "a\0", 1),
    "too long": "A" * 700,
    "an SQL statement": "1;DROP TABLE orders",
}

MOMENTS = {WRONG[name] for name in ("the end of the calendar", "the begin of the calendar", "no time zone")}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_page_that_never_was_is_refused(sign_in: SignIn, wrong: str) -> None:
    admin = sign_in(Role.ADMIN)
    post(admin, "/ingredients", {"name": "Beurre", "unit": "gram"})
    for path in PAGED:
        if path.endswith("/guests") and wrong in MOMENTS:
            continue  # sorted by a name, which any text may be
        address = path.replace("{ingredient}", "1")
        query = {"after": wrong, **({"day": "2026-04-03"} if address.endswith("/bookings") else {})}
        reply = admin.get(address, query_string=query)
        assert reply.status_code == 422, (path, reply.status_code, reply.text)
        assert [entry["pointer"] for entry in reply.get_json()["errors"]] == ["/after"]
    for page in ("/caisse/factures", "/clotures", "/caisse/tiroir", "/stock/1"):
        assert admin.get(page, query_string={"suite": wrong}).status_code == 422, page


def test_a_page_leads_to_the_older_rows_and_back(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    key = post(manager, "/ingredients", {"name": "Beurre", "unit": "gram"}).get_json()["id"]
    for _time in range(51):
        post(manager, f"/ingredients/{key}/movements", {"reason": "delivered", "quantity": 1})
    first = manager.get(f"/stock/{key}").text
    assert "Plus anciennes" in first
    assert "Les plus récentes" not in first
    address = first.partition("suite=")[2].partition('"')[0]
    second = manager.get(f"/stock/{key}?suite={address}").text
    assert "Les plus récentes" in second
    assert "Plus anciennes" not in second
    assert f'href="/stock/{key}"' in second
