"""An evening in the house: tables, orders by course, allergies, moves, and the kitchen's screen."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from restaurant.database import Database
from restaurant.orders.models import LineStatus, OrderStatus
from restaurant.orders.state_machine import MOVES, status_of
from restaurant.people import service as people
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, SNAILS, STEW, TATIN, SignIn, add, post, seat, serving, state


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


@pytest.fixture
def cook(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.KITCHEN)


def test_a_dinner_goes_from_seating_to_served_course_by_course(server: FlaskClient, cook: FlaskClient) -> None:
    order = seat(server)["reference"]
    assert state(server, 1) == "seated"
    assert add(server, order, EGGS)["status"] == "sent"
    held = add(server, order, STEW, TATIN, hold=True)
    assert [line["status"] for line in held["lines"]] == ["fired", "held", "held"]
    eggs, stew, _tatin = (line["id"] for line in held["lines"])
    tickets = cook.get("/api/v1/kitchen/tickets?station=cold").get_json()["tickets"]
    assert [line["id"] for line in tickets[0]["lines"]] == [eggs]
    for step in ("preparing", "ready"):
        moved = post(cook, f"/kitchen/lines/{eggs}/move", {"status": step})
    assert moved.get_json()["status"] == "in_preparation"
    fired = post(server, f"/orders/{order}/fire", {"course": "main"}).get_json()
    assert [line["status"] for line in fired["lines"]] == ["ready", "fired", "held"]
    assert post(server, f"/orders/{order}/lines/{eggs}/move", {"status": "served"}).status_code == 200
    assert post(server, f"/orders/{order}/lines/{stew}/move", {"status": "served"}).status_code == 409
    post(server, f"/orders/{order}/fire", {})
    for line in fired["lines"][1:]:
        post(cook, f"/kitchen/lines/{line['id']}/move", {"status": "ready"})
        served = post(server, f"/orders/{order}/lines/{line['id']}/move", {"status": "served"})
    assert served.get_json()["status"] == "served"
    assert state(server, 1) == "to_bill"


def test_a_table_is_late_when_its_dishes_are(server: FlaskClient) -> None:
    add(server, seat(server)["reference"], EGGS)
    assert state(server, 1) == "ordered"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=26)):
        assert state(server, 1) == "late"


def test_many_servers_at_once_open_one_order_per_table(app: Flask, sign_in: SignIn) -> None:
    clients = [sign_in(Role.SERVER) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda client: post(client, "/seatings", {"table": 3, "covers": 2}), clients))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 7
    assert {reply.get_json()["type"] for reply in replies if reply.status_code == 409} == {
        "urn:restaurant:problem:table-taken"
    }


def test_lines_added_at_once_are_all_kept(server: FlaskClient, sign_in: SignIn) -> None:
    order = seat(server)["reference"]
    clients = [sign_in(Role.SERVER) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda client: add(client, order, EGGS), clients))
    read = server.get(f"/api/v1/orders/{order}").get_json()
    assert (len(read["lines"]), read["total"], read["version"]) == (6, 6 * 620, 7)


def test_what_a_guest_cannot_eat_is_marked_on_each_line_and_in_the_kitchen(
    server: FlaskClient, cook: FlaskClient
) -> None:
    order = seat(server, allergies=["milk", "molluscs"])["reference"]
    lines = add(server, order, EGGS, SNAILS)["lines"]
    assert [line["danger"] for line in lines] == [[], ["milk", "molluscs"]]
    assert "danger-note" in server.get(f"/service/{order}").text
    page = cook.get("/cuisine").text
    assert page.count("danger-note") == 1
    assert "lait, mollusques" in page
    etag = server.get(f"/api/v1/orders/{order}").headers["ETag"]
    body = {"covers": 2, "allergies": ["eggs"]}
    changed = server.put(f"/api/v1/orders/{order}/guests", json=body, headers={"If-Match": etag})
    assert [line["danger"] for line in changed.get_json()["lines"]] == [["eggs"], []]
    stale = server.put(f"/api/v1/orders/{order}/guests", json=body, headers={"If-Match": etag})
    assert stale.status_code == 412


def test_voiding_needs_a_reason_and_a_manager(server: FlaskClient, manager: FlaskClient, database: Database) -> None:
    order = seat(server)["reference"]
    line = add(server, order, EGGS, STEW)["lines"][0]["id"]
    path = f"/orders/{order}/lines/{line}/void"
    assert post(server, path, {"reason": ""}).status_code == 422
    refused = post(server, path, {"reason": "renvoyé"})
    assert (refused.status_code, refused.get_json()["type"]) == (403, "urn:restaurant:problem:approval-needed")
    with database.writing() as session:
        people.add_person(session, username="max", name="Max", role=Role.MANAGER, password="une phrase assez longue")
    credentials = {"username": "max", "password": "une phrase assez longue", "permission": "void_lines"}
    approval = post(server, "/approvals", credentials).get_json()["approval"]
    voided = post(server, path, {"reason": "renvoyé", "approval": approval})
    assert voided.get_json()["total"] == 1890
    assert post(manager, path, {"reason": "renvoyé"}).status_code == 409
    other = add(server, order, TATIN)["lines"][-1]["id"]
    form = {"reason": "erreur", "manager": "max", "password": "une phrase assez longue"}
    assert server.post(f"/service/{order}/lignes/{other}/annulation", data=form).status_code == 303
    assert server.get(f"/api/v1/orders/{order}").get_json()["total"] == 1890


def test_orders_move_to_a_free_table_and_merge(server: FlaskClient) -> None:
    first, second = seat(server, 1)["reference"], seat(server, 2)["reference"]
    add(server, first, EGGS)
    add(server, second, STEW)
    assert post(server, f"/orders/{first}/transfer", {"table": 2}).status_code == 409
    assert post(server, f"/orders/{first}/transfer", {"table": 5}).get_json()["table_id"] == 5
    assert state(server, 1) == "free"
    assert post(server, f"/orders/{first}/merge", {"into": first}).status_code == 409
    merged = post(server, f"/orders/{first}/merge", {"into": second}).get_json()
    assert (merged["total"], merged["covers"], len(merged["lines"])) == (620 + 1890, 4, 2)
    assert state(server, 5) == "free"
    assert post(server, f"/orders/{first}/lines", {"lines": [{"dish": EGGS}]}).status_code == 409
    assert post(server, f"/orders/{first}/merge", {"into": second}).status_code == 409


def test_two_orders_merged_into_each_other_at_once_end_as_one(server: FlaskClient, sign_in: SignIn) -> None:
    first, second = seat(server, 1)["reference"], seat(server, 2)["reference"]
    add(server, first, EGGS)
    add(server, second, STEW)
    pairs = [(sign_in(Role.SERVER), first, second), (sign_in(Role.SERVER), second, first)]
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda p: post(p[0], f"/orders/{p[1]}/merge", {"into": p[2]}).status_code, pairs))
    assert sorted(replies) == [200, 409]


def test_a_cancelled_order_frees_its_table(server: FlaskClient, manager: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, EGGS)
    assert post(server, f"/orders/{order}/cancel", {"reason": "parti"}).status_code == 403
    assert post(manager, f"/orders/{order}/cancel", {"reason": "parti"}).get_json()["status"] == "cancelled"
    assert state(server, 1) == "free"
    assert post(manager, f"/orders/{order}/cancel", {"reason": "parti"}).status_code == 409


def test_tables_are_edited_joined_and_taken_out_of_use(server: FlaskClient, manager: FlaskClient) -> None:
    rooms = manager.get("/api/v1/floor").get_json()["rooms"]
    version = rooms[0]["tables"][0]["version"]
    match = {"If-Match": f'"{version}"'}
    moved = manager.patch("/api/v1/tables/1", json={"x": 500, "y": 300}, headers=match)
    assert (moved.get_json()["x"], moved.get_json()["y"]) == (500, 300)
    assert manager.patch("/api/v1/tables/1", json={"x": 0}, headers=match).status_code == 412
    new = {"room": 1, "name": "12", "seats_max": 2}
    assert post(manager, "/tables", new).status_code == 409
    assert post(manager, "/tables", {**new, "name": "99", "seats_min": 5}).status_code == 422
    assert post(manager, "/tables", {**new, "name": "99"}).status_code == 201
    seat(server, 2)
    assert post(manager, "/tables/2/join", {"into": 3}).status_code == 409
    assert post(manager, "/tables/3/join", {"into": 2}).get_json()["state"] == "seated"
    assert post(server, "/seatings", {"table": 3, "covers": 2}).status_code == 409
    assert post(manager, "/tables/3/join", {"into": None}).get_json()["state"] == "free"
    server.post("/salle/tables/4/etat", data={"condition": "cleaning"})
    assert state(server, 4) == "cleaning"
    assert post(server, "/seatings", {"table": 4, "covers": 2}).status_code == 409


def test_the_pages_of_the_floor_and_of_an_order_work_without_scripts(server: FlaskClient, cook: FlaskClient) -> None:
    assert 'class="table state-free"' in server.get("/salle").text
    form = server.get("/salle/tables/1")
    assert "Installer les convives" in form.text
    seated = server.post("/salle/tables/1", data={"covers": "3", "guest": "Ana", "allergies": ["milk"]})
    assert seated.status_code == 303
    page = seated.location
    assert server.get("/salle/tables/1").location == page
    added = server.post(f"{page}/lignes", data={"quantity-2": "1", "seat": "2", "key": "k"})
    assert added.status_code == 303
    assert server.post(f"{page}/lignes", data={"quantity-2": "1", "seat": "2", "key": "k"}).status_code == 303
    server.post(f"{page}/lignes", data={"quantity-7": "1", "hold": "1", "key": "k2"})
    order = server.get(f"/api/v1/orders/{page.rpartition('/')[2]}").get_json()
    assert [(line["status"], line["seat"]) for line in order["lines"]] == [("fired", 2), ("held", None)]
    assert server.post(f"{page}/envoi", data={"course": "main"}).status_code == 303
    line = order["lines"][0]["id"]
    assert cook.post(f"/cuisine/lignes/{line}", data={"status": "ready"}).status_code == 303
    assert server.post(f"{page}/lignes/{line}/servie").status_code == 303
    assert "Servie" in server.get(page).text
    seen = re.search(r'name="seen" value="(\w+)"', server.get(page).text)
    assert seen
    guests = {"seen": seen[1], "covers": "4", "note": "fenêtre"}
    assert [server.post(f"{page}/convives", data=guests).status_code for _ in range(2)] == [303, 412]
    assert server.post(f"{page}/transfert", data={"table": "2"}).status_code == 303
    for path, wrong in (("transfert", {"table": "x"}), ("fusion", {"into": "x"}), ("convives", {"covers": "0"})):
        assert server.post(f"{page}/{path}", data=wrong).status_code in {404, 422}


statuses = st.sampled_from(LineStatus)


@given(st.lists(statuses), st.booleans(), st.booleans())
def test_an_orders_status_follows_from_its_lines_and_bill(lines: list[LineStatus], billed: bool, paid: bool) -> None:
    status = status_of(lines, billed=billed, paid=paid)
    standing = [line for line in lines if line is not LineStatus.VOIDED]
    if paid:
        everything_out = all(line is LineStatus.SERVED for line in standing)
        assert status is (OrderStatus.CLOSED if everything_out else OrderStatus.PAID)
    elif billed:
        assert status is OrderStatus.BILLED
    elif standing and all(line is LineStatus.SERVED for line in standing):
        assert status is OrderStatus.SERVED
    else:
        assert status in {OrderStatus.DRAFT, OrderStatus.SENT, OrderStatus.IN_PREPARATION, OrderStatus.READY}
    assert status_of(reversed(lines), billed=billed, paid=paid) is status


def test_a_voided_line_is_the_end_and_every_other_line_can_be_voided() -> None:
    assert MOVES[LineStatus.VOIDED] == frozenset()
    assert all(LineStatus.VOIDED in targets for start, targets in MOVES.items() if start is not LineStatus.VOIDED)


def test_the_board_counts_and_sorts_what_is_to_cook(server: FlaskClient, cook: FlaskClient) -> None:
    first = seat(server, 1)["reference"]
    with time_machine.travel(datetime.now(UTC) - timedelta(minutes=21)):
        add(server, seat(server, 2)["reference"], EGGS, quantity=3)
    line = add(server, first, EGGS, quantity=2)["lines"][0]["id"]
    board = cook.get("/api/v1/kitchen/tickets").get_json()
    assert [(ticket["table"], ticket["urgency"]) for ticket in board["tickets"]] == [("2", "late"), ("1", "fresh")]
    assert board["all_day"] == [{"name": "Œuf mayonnaise", "quantity": 5}]
    post(cook, f"/kitchen/lines/{line}/move", {"status": "ready"})
    assert cook.get("/api/v1/kitchen/tickets").get_json()["all_day"][0]["quantity"] == 3
    recalled = post(cook, f"/kitchen/lines/{line}/move", {"status": "preparing"})
    assert recalled.get_json()["lines"][0]["status"] == "preparing"
    assert post(cook, f"/kitchen/lines/{line}/move", {"status": "served"}).status_code == 409


class Screen:
    """A kitchen screen's stream, read in a thread of its own."""

    def __init__(self, port: int, cookie: str, *, last: str | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        headers = {"Cookie": cookie} | ({} if last is None else {"Last-Event-ID": last})
        self.connection.request("GET", "/cuisine/flux", headers=headers)
        self.socket: socket.socket = self.connection.sock
        self.reply = self.connection.getresponse()
        self.events: list[tuple[str, str]] = []
        self.ended = threading.Event()
        self.heard = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        number = ""
        with suppress(OSError, ValueError):
            for raw in self.reply:
                name, _colon, value = raw.decode().strip().partition(": ")
                if name == "id":
                    number = value
                elif name == "event":
                    with self.heard:
                        self.events.append((value, number))
                        self.heard.notify_all()
        self.ended.set()

    def wait(self, count: int) -> list[tuple[str, str]]:
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.events) >= count, 5), self.events
            return self.events

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.reply.close()
        self.connection.close()


def test_screens_hear_of_changes_resume_elsewhere_and_never_take_all_threads(
    settings: Settings, app: Flask, sign_in: SignIn, tmp_path: Path
) -> None:
    cook, server = sign_in(Role.KITCHEN), sign_in(Role.SERVER)
    found = cook.get_cookie("session")
    assert found
    cookie = f"session={found.value}"
    order = seat(server)["reference"]
    threads = {"RESTAURANT_THREADS": "4", "RESTAURANT_DRAIN_SECONDS": "0"}
    with serving(settings, tmp_path / "one", **threads) as (one, port, _probes):
        screens = [Screen(port, cookie) for _ in range(2)]
        for screen in screens:
            assert screen.wait(1)[0][0] == "hello"
        over = Screen(port, cookie)
        assert over.reply.status == 503
        over.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/cuisine/tableau", headers={"Cookie": cookie})
        assert connection.getresponse().read()
        connection.close()
        add(server, order, EGGS)
        events = screens[0].wait(2)
        assert events[1][0] == "change"
        one.terminate()
        assert screens[0].ended.wait(60)
        add(server, order, STEW)
        assert one.wait(60) == 0
        for screen in screens:
            screen.close()
    with serving(settings, tmp_path / "two", **threads) as (_two, port, _probes):
        resumed = Screen(port, cookie, last=events[1][1])
        assert resumed.wait(1)[0][0] == "change"
        assert int(resumed.events[0][1]) > int(events[1][1])
        resumed.close()


def test_events_that_are_numbered_before_but_committed_after_others_are_told(
    app: Flask, server: FlaskClient, database: Database
) -> None:
    from restaurant.kitchen.models import Event
    from restaurant.kitchen.outbox import Hub

    seat(server)
    hub = Hub(database, capacity=1)
    with hub.screen() as changes:
        time.sleep(0.3)
        with database.writing() as session:
            session.add(Event(id=50, order_id=1))
        assert changes.get(timeout=3) == 50
        with database.writing() as session:
            session.add(Event(id=40, order_id=1))
        assert changes.get(timeout=3) == 50
    # The watcher ends by itself once no screen is left; its connection must not outlive the database.
    watcher = next((thread for thread in threading.enumerate() if thread.name == "outbox"), None)
    if watcher is not None:
        watcher.join(5)


def test_a_host_seats_guests_but_takes_no_orders(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    order = seat(host, 2)["reference"]
    assert state(host, 2) == "seated"
    seated = host.post("/salle/tables/1", data={"covers": "2"})
    assert seated.status_code == 303
    assert "Table 1" in host.get(seated.location).text
    assert post(host, f"/orders/{order}/lines", {"lines": [{"dish": EGGS}]}).status_code == 403
    assert host.post("/salle/tables/4/reunion", data={"into": "3"}).status_code == 303
    assert post(host, "/seatings", {"table": 4, "covers": 2}).status_code == 409
    assert host.post("/salle/tables/4/reunion", data={}).status_code == 303
    assert post(host, "/seatings", {"table": 4, "covers": 2}).status_code == 201


def test_guests_are_not_seated_at_a_table_that_is_pushed_away_meanwhile(sign_in: SignIn) -> None:
    host, other = sign_in(Role.HOST), sign_in(Role.HOST)

    def act(number: int) -> int:
        if number:
            return int(post(host, "/tables/1/join", {"into": 2}).status_code)
        return int(post(other, "/seatings", {"table": 1, "covers": 2}).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(act, (0, 1))) in ([200, 409], [201, 409])


def test_rooms_and_tables_are_added_changed_and_removed(manager: FlaskClient, server: FlaskClient) -> None:
    assert post(server, "/rooms", {"name": "Véranda"}).status_code == 403
    added = post(manager, "/rooms", {"name": "Véranda"})
    room, match = added.get_json()["id"], {"If-Match": added.headers["ETag"]}
    assert post(manager, "/rooms", {"name": "Véranda"}).status_code == 409
    assert manager.patch(f"/api/v1/rooms/{room}", json={"name": "Salle"}, headers=match).status_code == 409
    renamed = manager.patch(f"/api/v1/rooms/{room}", json={"name": "Jardin d’hiver"}, headers=match)
    assert renamed.get_json()["name"] == "Jardin d’hiver"
    assert manager.delete(f"/api/v1/rooms/{room}", headers=match).status_code == 412
    table = post(manager, "/tables", {"room": 1, "name": "V1", "seats_max": 2})
    address, match = f"/api/v1/tables/{table.get_json()['id']}", {"If-Match": table.headers["ETag"]}
    assert manager.patch(address, json={"seats_min": 3}, headers=match).status_code == 422
    moved = manager.patch(address, json={"room": room, "seats_max": 6}, headers=match)
    assert (moved.get_json()["room_id"], moved.get_json()["seats_max"]) == (room, 6)
    fresh = {"If-Match": renamed.headers["ETag"]}
    assert manager.delete(f"/api/v1/rooms/{room}", headers=fresh).status_code == 409
    assert manager.delete(address, headers=match).status_code == 412
    assert manager.delete(address, headers={"If-Match": moved.headers["ETag"]}).status_code == 204
    assert manager.delete(f"/api/v1/rooms/{room}", headers=fresh).status_code == 204
    seat(server, 1)
    used = manager.delete("/api/v1/tables/1", headers={"If-Match": '"1"'})
    assert (used.status_code, used.get_json()["type"]) == (409, "urn:restaurant:problem:table-in-use")


def test_the_pages_of_the_plan_work_without_scripts(manager: FlaskClient) -> None:
    assert manager.post("/salle/plan/pieces", data={"name": "Cave"}).status_code == 303
    room = manager.get("/api/v1/floor").get_json()["rooms"][-1]["id"]
    table = {"room": str(room), "name": "C1", "shape": "round", "seats_min": "1", "seats_max": "4", "width": "90",
             "height": "90"}  # fmt: skip
    assert manager.post("/salle/plan/tables", data=table).status_code == 303
    assert 'value="C1"' in manager.get("/salle/plan").text
    found = manager.get("/api/v1/floor").get_json()["rooms"][-1]["tables"][0]
    page = f"/salle/plan/tables/{found['id']}"
    wrong = manager.post(page, data={**table, "version": "1", "seats_max": "x"})
    assert (wrong.status_code, "Places max.\u00a0: valeur incorrecte." in wrong.text) == (422, True)
    assert manager.post(page, data={**table, "version": "1", "seats_max": "6"}).status_code == 303
    assert manager.post(page, data={**table, "version": "1", "remove": "1"}).status_code == 412
    assert manager.post(page, data={"version": "2", "remove": "1"}).status_code == 303
    address = f"/salle/plan/pieces/{room}"
    assert manager.post(address, data={"version": "1", "name": "Caveau"}).status_code == 303
    assert "Caveau" in manager.get("/salle/plan").text
    assert manager.post(address, data={"version": "2", "remove": "1"}).status_code == 303
    assert "Caveau" not in manager.get("/salle/plan").text


def test_a_void_is_shown_to_the_kitchen_until_it_is_seen(
    server: FlaskClient, manager: FlaskClient, cook: FlaskClient
) -> None:
    order = seat(server)["reference"]
    held = add(server, order, TATIN, hold=True)["lines"][0]["id"]
    eggs, stew = (line["id"] for line in add(server, order, EGGS, STEW)["lines"][1:])
    post(cook, f"/kitchen/lines/{stew}/move", {"status": "preparing"})
    for line in (held, eggs, stew):
        assert post(manager, f"/orders/{order}/lines/{line}/void", {"reason": "erreur"}).status_code == 200

    def shown(station: str) -> list[tuple[int, str]]:
        tickets = cook.get(f"/api/v1/kitchen/tickets?station={station}").get_json()["tickets"]
        return [(line["id"], line["status"]) for ticket in tickets for line in ticket["lines"]]

    assert shown("hot") == [(stew, "voided")]
    assert cook.get("/api/v1/kitchen/tickets").get_json()["all_day"] == []
    page = cook.get("/cuisine").text
    assert page.count("Supprimée") == 2
    assert cook.post(f"/cuisine/lignes/{stew}/vu", data={"station": "hot"}).location == "/cuisine?station=hot"
    assert shown("hot") == []
    assert post(cook, f"/kitchen/lines/{eggs}/acknowledge", None).status_code == 200
    assert "Rien à préparer" in cook.get("/cuisine").text
    kept = add(server, order, EGGS)["lines"][-1]["id"]
    assert post(cook, f"/kitchen/lines/{kept}/acknowledge", None).status_code == 409
    assert server.post(f"/cuisine/lignes/{eggs}/vu").status_code == 403


def test_the_name_of_a_table_is_one_that_no_other_only_looks_like(manager: FlaskClient) -> None:
    new = {"room": 1, "shape": "round", "seats_max": 2}
    assert post(manager, "/tables", new | {"name": "Cafe\u0301  2"}).get_json()["name"] == "Café 2"
    assert post(manager, "/tables", new | {"name": "Café 2"}).status_code == 409
    for wrong in ("1\u200d0", "1\u200c0", "1\ufe0f", "T\u202e1", "T\n1"):
        assert post(manager, "/tables", new | {"name": wrong}).status_code == 422, ascii(wrong)
