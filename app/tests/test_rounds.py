"""What makes a server's evening short: rounds, courses, lines that move, and a kitchen that hears of changes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient

from restaurant.people.permissions import Role
from support import COFFEE, EGGS, STEW, TATIN, WINE, SignIn, add, order_body, place, post, seat

SCRIPT = {"Accept": "application/problem+json"}


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def cook(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.KITCHEN)


def lines_of(client: FlaskClient, order: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/api/v1/orders/{order}").get_json()["lines"]
    return found


def send(client: FlaskClient, path: str, **fields: object) -> Any:
    return client.post(path, data={"key": uuid.uuid4().hex, **fields})


def tickets(cook: FlaskClient, station: str = "") -> list[dict[str, Any]]:
    path = "/api/v1/kitchen/tickets" + (f"?station={station}" if station else "")
    found: list[dict[str, Any]] = cook.get(path).get_json()["tickets"]
    return found


def test_a_round_is_the_drinks_that_were_sent_last(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, WINE)
    add(server, order, WINE, EGGS, quantity=3, note="frais")
    assert send(server, f"/service/{order}/tournee").status_code == 303
    drinks = [line for line in lines_of(server, order) if line["dish_id"] == WINE]
    assert [(line["quantity"], line["note"]) for line in drinks] == [(1, ""), (3, "frais"), (3, "frais")]
    assert post(server, f"/orders/{order}/repeat", None).status_code == 200
    other = seat(server, 2)["reference"]
    assert send(server, f"/service/{other}/tournee").status_code == 409


def test_one_more_of_a_line_is_one_portion_with_its_options(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    form = {"quantity-6": "2", "options-6-1": "2", "options-6-2": "4", "note-6": "sans sel"}
    assert send(server, f"/service/{order}/lignes", **form).status_code == 303
    line = lines_of(server, order)[0]
    assert send(server, f"/service/{order}/lignes/{line['id']}/encore").status_code == 303
    first, again = lines_of(server, order)
    assert again["quantity"] == 1
    assert (again["options"], again["note"]) == (first["options"], "sans sel")


def test_portions_of_a_dish_have_options_and_notes_of_their_own(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    form = {
        "quantity-6": "1", "options-6-1": "1", "options-6-2": "4", "note-6": "",
        "quantity-6.1": "2", "options-6.1-1": "3", "options-6.1-2": "5", "note-6.1": "sans sauce",
        "quantity-6.f": "0", "options-6.f-1": "1", "options-6.f-2": "4",
    }  # fmt: skip
    assert send(server, f"/service/{order}/lignes", **form).status_code == 303
    first, second = lines_of(server, order)
    assert (first["quantity"], second["quantity"]) == (1, 2)
    assert first["options"] != second["options"]
    assert second["note"] == "sans sauce"


def test_a_dish_that_is_sold_out_does_not_refuse_the_others(server: FlaskClient, sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    order = seat(server)["reference"]
    manager.post(f"/carte/plats/{EGGS}/rupture", data={"out_of_stock": "1"})
    salt = post(manager, "/ingredients", {"name": "Sel", "unit": "gram", "quantity": 1}).get_json()["id"]
    version = manager.get(f"/api/v1/dishes/{TATIN}/recipe").headers["ETag"]
    recipe = {"items": [{"ingredient": salt, "quantity": 5}]}
    written = manager.put(f"/api/v1/dishes/{TATIN}/recipe", json=recipe, headers={"If-Match": version})
    assert written.status_code == 200, written.text
    form = {f"quantity-{EGGS}": "1", f"quantity-{TATIN}": "1", f"quantity-{STEW}": "2"}
    reply = send(server, f"/service/{order}/lignes", **form)
    assert reply.status_code == 303
    assert [line["dish_id"] for line in lines_of(server, order)] == [STEW]
    page = server.get(reply.location).text
    assert "Œuf mayonnaise, Tarte Tatin" in page
    assert send(server, f"/service/{order}/lignes", **{f"quantity-{TATIN}": "1"}).status_code == 409
    assert len(lines_of(server, order)) == 1


def test_a_course_and_a_round_are_sent_without_what_has_run_out(server: FlaskClient, sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    order = seat(server)["reference"]
    add(server, order, WINE, COFFEE)
    add(server, order, EGGS, TATIN, STEW, hold=True)
    grape = post(manager, "/ingredients", {"name": "Sel", "unit": "gram", "quantity": 1}).get_json()["id"]
    recipe = {"items": [{"ingredient": grape, "quantity": 5}]}
    for dish in (TATIN, WINE):
        written = manager.put(f"/api/v1/dishes/{dish}/recipe", json=recipe, headers={"If-Match": "*"})
        assert written.status_code == 200, written.text
    sent = send(server, f"/service/{order}/envoi")
    assert (sent.status_code, f"absent={TATIN}" in sent.location) == (303, True)
    states = {line["dish_id"]: line["status"] for line in lines_of(server, order)}
    assert (states[EGGS], states[STEW], states[TATIN]) == ("fired", "fired", "held")
    assert "Tarte Tatin" in server.get(sent.location).text
    # Alone it is refused, and named.
    alone = send(server, f"/service/{order}/envoi")
    assert (alone.status_code, "Tarte Tatin" in alone.text) == (409, True)
    again = send(server, f"/service/{order}/tournee")
    assert (again.status_code, f"absent={WINE}" in again.location) == (303, True)
    drinks = [line["dish_id"] for line in lines_of(server, order) if line["course"] == "drink"]
    assert drinks == [WINE, COFFEE, COFFEE]


@pytest.mark.parametrize("wanted", ["x", "²", "9" * 5000, ",,", "-1"])
def test_a_page_with_an_odd_address_names_no_dish(server: FlaskClient, wanted: str) -> None:
    order = seat(server)["reference"]
    assert server.get(f"/service/{order}", query_string={"absent": wanted}).status_code == 200


def test_a_held_line_changes_its_course_until_it_is_sent(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    line = add(server, order, EGGS, hold=True)["lines"][0]["id"]
    assert send(server, f"/service/{order}/lignes/{line}/suite", course="main").status_code == 303
    assert lines_of(server, order)[0]["course"] == "main"
    assert send(server, f"/service/{order}/envoi").status_code == 303
    assert send(server, f"/service/{order}/lignes/{line}/suite", course="dessert").status_code == 409


def test_lines_move_to_another_table_with_their_state(server: FlaskClient, cook: FlaskClient) -> None:
    order, other = seat(server)["reference"], seat(server, 2)["reference"]
    stew, eggs = (line["id"] for line in add(server, order, STEW, EGGS)["lines"])
    post(cook, f"/kitchen/lines/{stew}/move", {"status": "preparing"})
    assert send(server, f"/service/{order}/lignes/transfert", into=other, lines=stew).status_code == 303
    assert [line["id"] for line in lines_of(server, order)] == [eggs]
    assert [(line["id"], line["status"]) for line in lines_of(server, other)] == [(stew, "preparing")]
    told = next(ticket for ticket in tickets(cook) if ticket["order"] == other)["changes"]
    assert [(change["change"], change["text"]) for change in told] == [("line", "1 × Bœuf bourguignon ← 1")]
    # Not a line of another order, not to itself, not to a settled order.
    assert send(server, f"/service/{order}/lignes/transfert", into=other, lines=stew).status_code == 404
    assert send(server, f"/service/{order}/lignes/transfert", into=order, lines=eggs).status_code == 409
    post(server, f"/orders/{other}/bill", None)
    assert send(server, f"/service/{order}/lignes/transfert", into=other, lines=eggs).status_code == 409
    assert [line["id"] for line in lines_of(server, order)] == [eggs]


def test_changes_are_announced_to_each_station_until_it_has_seen_them(server: FlaskClient, cook: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, STEW, WINE)
    post(server, f"/orders/{order}/transfer", {"table": 5})
    version = server.get(f"/api/v1/orders/{order}").headers["ETag"]
    guests = {"covers": 2, "guest": "", "note": "pressés", "allergies": ["milk"]}
    changed = server.put(f"/api/v1/orders/{order}/guests", json=guests, headers={"If-Match": version})
    assert changed.status_code == 200, changed.text
    for station in ("hot", "bar", ""):
        (ticket,) = tickets(cook, station)
        assert [change["change"] for change in ticket["changes"]] == ["table", "note", "allergies"]
    assert "Vient de la table 1" in cook.get("/cuisine").text
    seen = last_seen(cook, "hot")
    # What changes after the cook looked stays to be seen.
    post(server, f"/orders/{order}/transfer", {"table": 6})
    assert send(cook, f"/cuisine/commandes/{order}/vu", station="hot", until=seen).status_code == 303
    assert [(change["change"], change["text"]) for change in tickets(cook, "hot")[0]["changes"]] == [("table", "5")]
    assert len(tickets(cook, "bar")[0]["changes"]) == 4
    seen = last_seen(cook)
    assert send(cook, f"/cuisine/commandes/{order}/vu", until=seen).status_code == 303
    assert tickets(cook)[0]["changes"] == []
    post(server, f"/orders/{order}/transfer", {"table": 5})
    assert post(cook, f"/kitchen/orders/{order}/acknowledge?until={seen}", None).status_code == 200
    assert len(tickets(cook)[0]["changes"]) == 1
    assert post(cook, f"/kitchen/orders/{order}/acknowledge", None).status_code == 200
    assert tickets(cook)[0]["changes"] == []


def last_seen(cook: FlaskClient, station: str = "") -> str:
    """The last change on the first ticket, as its form has it."""
    page = cook.get(f"/cuisine?station={station}").text
    return page.partition('name="until" value="')[2].partition('"')[0]


def test_a_take_away_order_under_another_name_is_announced(server: FlaskClient, cook: FlaskClient) -> None:
    order = place(server, order_body(lines=[{"dish": STEW}])).get_json()["reference"]
    version = server.get(f"/api/v1/orders/{order}").headers["ETag"]
    guests = {"covers": 1, "guest": "Zoé", "note": "", "allergies": []}
    changed = server.put(f"/api/v1/orders/{order}/guests", json=guests, headers={"If-Match": version})
    assert changed.status_code == 200, changed.text
    (ticket,) = tickets(cook)
    assert [(change["change"], change["text"]) for change in ticket["changes"]] == [("guest", "Ana")]
    assert "S’appelait Ana" in cook.get("/cuisine").text


def test_what_is_not_in_the_kitchen_is_no_news_to_it(server: FlaskClient, cook: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, STEW, hold=True)
    post(server, f"/orders/{order}/transfer", {"table": 5})
    post(server, f"/orders/{order}/fire", {})
    assert tickets(cook)[0]["changes"] == []


def test_a_merged_table_is_announced(server: FlaskClient, cook: FlaskClient) -> None:
    order, other = seat(server)["reference"], seat(server, 2)["reference"]
    add(server, order, STEW)
    post(server, f"/orders/{order}/merge", {"into": other})
    (ticket,) = tickets(cook)
    assert [(change["change"], change["text"]) for change in ticket["changes"]] == [("merge", "1")]


def test_what_was_not_seen_of_a_table_is_news_of_the_table_that_takes_it_over(
    server: FlaskClient, cook: FlaskClient
) -> None:
    order, other = seat(server)["reference"], seat(server, 2)["reference"]
    add(server, order, STEW)
    version = server.get(f"/api/v1/orders/{order}").headers["ETag"]
    guests = {"covers": 2, "guest": "", "note": "sans sel", "allergies": []}
    server.put(f"/api/v1/orders/{order}/guests", json=guests, headers={"If-Match": version})
    post(server, f"/orders/{order}/merge", {"into": other})
    (ticket,) = tickets(cook)
    assert [change["change"] for change in ticket["changes"]] == ["note", "merge"]


def test_a_station_finishes_its_part_of_a_ticket_at_once(server: FlaskClient, cook: FlaskClient) -> None:
    order = seat(server)["reference"]
    seen = [line["id"] for line in add(server, order, STEW, STEW, WINE)["lines"]]
    # Ordered after the cook looked.
    add(server, order, STEW)
    key, page = uuid.uuid4().hex, f"/cuisine/commandes/{order}/prete"
    for _twice in range(2):
        assert cook.post(page, data={"key": key, "station": "hot", "lines": seen}).status_code == 303
    assert [line["status"] for line in lines_of(server, order)] == ["ready", "ready", "fired", "fired"]
    assert send(cook, page, station="hot", lines=seen).status_code == 409
    assert send(cook, page, lines=["x", ""]).status_code == 409
    assert post(cook, f"/kitchen/orders/{order}/ready", None).status_code == 200
    assert {line["status"] for line in lines_of(server, order)} == {"ready"}


def test_a_form_that_a_script_sends_gets_where_it_leads_or_why_not(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    path = f"/service/{order}/lignes"
    done = server.post(path, data={"key": "a", f"quantity-{EGGS}": "1"}, headers=SCRIPT)
    assert (done.status_code, done.location, done.data) == (204, f"/service/{order}", b"")
    refused = server.post(path, data={"key": "b", f"quantity-{EGGS}": "-1"}, headers=SCRIPT)
    assert (refused.status_code, refused.content_type) == (422, "application/problem+json")
    assert refused.get_json()["detail"]


def test_an_act_that_is_sent_again_with_its_key_is_done_once(server: FlaskClient, cook: FlaskClient) -> None:
    order = seat(server)["reference"]
    line = add(server, order, STEW)["lines"][0]["id"]
    acts = [
        (server, f"/service/{order}/lignes", {f"quantity-{EGGS}": "1", "hold": "1"}),
        (server, f"/service/{order}/envoi", {}),
        (cook, f"/cuisine/lignes/{line}", {"status": "preparing"}),
        (cook, f"/cuisine/lignes/{line}", {"status": "ready"}),
        (server, f"/service/{order}/lignes/{line}/servie", {}),
        (server, f"/service/{order}/lignes/{line}/encore", {}),
    ]
    for number, (client, path, fields) in enumerate(acts):
        for _twice in range(2):
            reply = client.post(path, data={"key": f"k{number}", **fields}, headers=SCRIPT)
            assert reply.status_code == 204, (path, reply.text)
    assert [(line["dish_id"], line["status"]) for line in lines_of(server, order)] == [
        (STEW, "served"), (EGGS, "fired"), (STEW, "fired"),
    ]  # fmt: skip
    other = server.post(acts[0][1], data={"key": "k0", f"quantity-{EGGS}": "2"}, headers=SCRIPT)
    assert other.status_code == 422, "one key, two orders"


def test_pages_reach_the_service_without_its_database(client: FlaskClient, server: FlaskClient) -> None:
    for somebody in (client, server):
        assert somebody.get("/pouls").status_code == 204
        assert somebody.get("/hors-ligne").status_code == 200
        with somebody.get("/sw.js") as worker:
            assert worker.headers["Cache-Control"] == "no-cache"
            assert worker.mimetype == "text/javascript"


def test_a_guest_follows_the_kitchen_whether_the_order_is_paid_or_not(
    client: FlaskClient, cook: FlaskClient, server: FlaskClient
) -> None:
    placed = place(client, order_body()).get_json()
    page = f"/commandes/{placed['reference']}"
    screen = server.get("/retraits").text
    assert screen.index("En préparation") < screen.index("Ana") < screen.index("Prêt, au comptoir")
    assert 'aria-current="step">Envoyée en cuisine' in client.get(page).text
    post(server, f"/orders/{placed['reference']}/bill", None)
    post(cook, f"/kitchen/lines/{placed['lines'][0]['id']}/move", {"status": "ready"})
    assert 'aria-current="step">Prête' in client.get(page).text
    screen = server.get("/retraits").text
    assert screen.index("Prêt, au comptoir") < screen.index("Ana")
