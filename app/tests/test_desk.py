"""The host's desk: bookings that are changed, undone and taken against the rules, the guest file, and robots."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from restaurant.app import create_app
from restaurant.database import Database
from restaurant.people.permissions import Role
from restaurant.reservations.guests import contact_key
from restaurant.reservations.models import BookedTable
from restaurant.settings import Settings
from restaurant.types import natural
from support import EGGS, SignIn, add, post, seat, state

MORNING = datetime(2026, 4, 3, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _morning() -> Iterator[None]:
    with time_machine.travel(MORNING, tick=True):
        yield


def body(clock: str = "20:00", covers: int = 2, *, day: str = "2026-04-03", **changes: Any) -> dict[str, Any]:
    return {
        "starts_at": f"{day}T{clock}:00+02:00", "covers": covers, "guest": "Ana", "contact": "0612345678", **changes,
    }  # fmt: skip


def take(host: FlaskClient, clock: str = "20:00", covers: int = 2, **changes: Any) -> Any:
    return post(host, "/desk/bookings", body(clock, covers, **changes))


def taken(host: FlaskClient, clock: str = "20:00", covers: int = 2, **changes: Any) -> dict[str, Any]:
    reply = take(host, clock, covers, **{"contact": f"c-{uuid.uuid4()}", **changes})
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def change(host: FlaskClient, booking: dict[str, Any], clock: str = "20:00", covers: int = 2, **changes: Any) -> Any:
    version = changes.pop("version", None) or host.get(f"/api/v1/bookings/{booking['reference']}").get_json()["version"]
    wanted = body(clock, covers, **{"contact": f"c-{booking['reference']}", **changes})
    return host.put(f"/api/v1/bookings/{booking['reference']}", json=wanted, headers={"If-Match": f'"{version}"'})


def go(host: FlaskClient, booking: dict[str, Any], status: str) -> Any:
    return host.post(f"/api/v1/bookings/{booking['reference']}/move", json={"status": status})


def undo(host: FlaskClient, booking: dict[str, Any]) -> Any:
    return host.post(f"/api/v1/bookings/{booking['reference']}/undo")


def loads(database: Database) -> dict[str, int]:
    with database.reading() as session:
        rows = session.execute(text("SELECT starts_at, covers FROM slot_load WHERE covers > 0"))
        return {str(start)[11:16]: covers for start, covers in rows}


def test_a_booking_moves_in_time_size_and_table_and_frees_what_it_leaves(sign_in: SignIn, database: Database) -> None:
    host = sign_in(Role.HOST)
    booking = taken(host, "20:00", 2)
    assert booking["tables"] == ["1"]
    later = change(host, booking, "21:00").get_json()
    assert (later["tables"], later["starts_at"][11:16], loads(database)) == (["1"], "21:00", {"19:00": 2})
    larger = change(host, booking, "21:00", 4).get_json()
    assert (larger["tables"], loads(database)) == (["6"], {"19:00": 4})
    named = change(host, booking, "21:00", 4, tables=[8]).get_json()
    assert named["tables"] == ["8"]
    both = change(host, booking, "21:00", 8, tables=[8, 9]).get_json()
    assert both["tables"] == ["8", "9"]
    with database.reading() as session:
        held = session.scalars(select(BookedTable)).all()
        assert [(place.table_id, place.starts_at.hour, place.active) for place in held] == [
            (8, 19, True),
            (9, 19, True),
        ]
    page = host.get(f"/reservations/{booking['reference']}").text
    assert "2026-04-03 20:00, 2, 1 → 2026-04-03 21:00, 2, 1" in page


def test_a_change_that_is_refused_changes_nothing(sign_in: SignIn, database: Database) -> None:
    host = sign_in(Role.HOST)
    booking, other = taken(host, "20:00"), taken(host, "21:00", tables=[2])
    before = host.get(f"/api/v1/bookings/{booking['reference']}").get_json()
    for status, changes in [
        (409, {"tables": [2]}),  # held by the other one
        (409, {"covers": 4}),  # more guests than seats
        (404, {"tables": [999]}),
        (422, {"clock": "16:00"}),
        (422, {"clock": "20:05"}),
        (422, {"day": "2026-08-03"}),
        (412, {"version": 9}),
        (409, {"contact": "c-taken"}),
    ]:
        if changes.get("contact"):
            taken(host, "20:15", contact="c-taken")
        named = {"tables": [1, 3]} if changes.get("covers") else {}
        if named:
            changes = {"covers": 5}
        assert change(host, booking, **{**named, **changes}).status_code == status, changes
        assert host.get(f"/api/v1/bookings/{booking['reference']}").get_json() == before, changes
    assert loads(database)["18:00"] == 2
    go(host, other, "cancelled")
    assert change(host, other).status_code == 409


def test_many_hosts_who_move_to_the_last_place_get_it_once(app: Flask, sign_in: SignIn, database: Database) -> None:
    host = sign_in(Role.HOST)
    clocks = ["12:00", "12:15", "12:30", "12:45", "13:00", "13:15"]
    bookings = [taken(host, clock, tables=[number]) for number, clock in enumerate(clocks, 1)]
    versions = [booking["version"] for booking in bookings]
    token = host.get_cookie("session")
    assert token

    def move(booking: dict[str, Any], version: int) -> int:
        client = app.test_client()
        client.set_cookie("session", token.value)
        status: int = change(client, booking, "20:00", tables=[7], version=version).status_code
        return status

    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(move, bookings, versions))
    assert sorted(replies) == [200] + [409] * 5
    assert loads(database)["18:00"] == 2
    assert sum(loads(database).values()) == 12


def test_seating_by_mistake_is_undone_until_something_is_ordered(sign_in: SignIn) -> None:
    host, server = sign_in(Role.HOST), sign_in(Role.SERVER)
    booking = taken(host)
    assert go(host, booking, "arrived").status_code == 200
    assert state(host, 1) == "seated"
    assert undo(host, booking).get_json()["status"] == "confirmed"
    assert state(host, 1) == "free"
    assert undo(host, booking).status_code == 409
    assert go(host, booking, "arrived").status_code == 200
    order = next(entry for entry in server.get("/api/v1/orders").get_json()["items"] if entry["closed_at"] is None)
    add(server, order["reference"], EGGS)
    assert undo(host, booking).status_code == 409
    assert go(host, booking, "completed").status_code == 200
    assert undo(host, booking).get_json()["status"] == "arrived"


@pytest.mark.parametrize("status", ["cancelled", "no_show"])
def test_what_took_a_booking_off_is_undone_at_its_table_or_another(
    sign_in: SignIn, database: Database, status: str
) -> None:
    host = sign_in(Role.HOST)
    booking = taken(host)
    for others, table in (([], ["1"]), ([1], ["2"])):
        with time_machine.travel("2026-04-03T18:20:00Z"):
            assert go(host, booking, status).status_code == 200
        assert loads(database) == {}
        for number in others:
            taken(host, tables=[number])
        again = undo(host, booking).get_json()
        assert (again["status"], again["tables"]) == ("confirmed", table)
        assert loads(database) == {"18:00": 2 + 2 * len(others)}
    with time_machine.travel("2026-04-03T18:20:00Z"):
        assert go(host, booking, status).status_code == 200
    for number in range(2, 17):
        reply = take(host, tables=[number], contact=f"guest-{number}", override="complet")
        assert reply.status_code == 201, reply.text
    assert undo(host, booking).status_code == 409
    assert host.get(f"/api/v1/bookings/{booking['reference']}").get_json()["status"] == status


def test_guests_of_another_day_are_neither_seated_nor_missed_today(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    booking = taken(host, day="2026-04-17")
    for status in ("arrived", "no_show"):
        refused = go(host, booking, status)
        assert (refused.status_code, "17" in refused.get_json()["detail"]) == (409, True)
    page = host.get("/reservations?jour=2026-04-17").text
    assert 'value="arrived"' not in page
    assert 'value="cancelled"' in page


def test_a_host_overrides_the_rules_with_a_reason_but_never_holds_a_table_twice(
    sign_in: SignIn, database: Database
) -> None:
    host = sign_in(Role.HOST)
    for changes in ({"clock": "16:07"}, {"day": "2026-09-01"}, {"covers": 6, "tables": [1]}):
        assert take(host, **changes).status_code in {409, 422}
        reply = take(host, **changes, override="habitué")
        assert reply.status_code == 201, reply.text
        assert go(host, reply.get_json(), "cancelled").status_code == 200
    for _number in range(5):
        taken(host, "20:00", 4)
    full = take(host, "20:00", 4, contact="guest-1")
    assert (full.status_code, full.get_json()["type"]) == (409, "urn:restaurant:problem:fully-booked")
    assert take(host, "20:00", 4, contact="guest-1", override="critique").status_code == 201
    assert loads(database)["18:00"] == 24
    held = take(host, "20:00", 2, contact="guest-2", tables=[6], override="x")
    assert (held.status_code, held.get_json()["type"]) == (409, "urn:restaurant:problem:table-taken")
    for number in (1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16):
        take(host, "20:00", 2, contact=f"guest-t{number}", tables=[number], override="banquet")
    without = take(host, "20:00", 4, contact="guest-3", override="ministre").get_json()
    assert without["tables"] == []
    page = host.get("/reservations").text
    assert "sans table" in page
    assert "Hors règles\u00a0: ministre" in page
    refused = go(host, without, "arrived")
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:restaurant:problem:no-table")


def test_the_guest_file_knows_allergies_and_who_does_not_come(client: FlaskClient, sign_in: SignIn) -> None:
    host, server = sign_in(Role.HOST), sign_in(Role.SERVER)
    first = post(client, "/bookings", body("12:00", allergies=["milk"])).get_json()
    with time_machine.travel("2026-04-03T10:30:00Z"):
        assert go(host, first, "no_show").status_code == 200
    second = post(client, "/bookings", body("20:00", contact="+33 (0)6 12.34.56.78", allergies=["nuts"])).get_json()
    assert second["allergies"] == ["nuts"]
    [guest] = host.get("/api/v1/guests?search=06 12 34 56 78").get_json()["items"]
    assert (guest["no_shows"], guest["visits"], guest["allergies"]) == (1, 0, ["milk", "nuts"])
    page = host.get("/reservations").text
    assert "1\u00a0absence" in page or "1 absence" in page
    assert go(host, second, "arrived").status_code == 200
    assert server.get("/api/v1/orders").get_json()["items"][0]["allergies"] == ["milk", "nuts"]
    path = f"/api/v1/guests/{guest['id']}"
    wanted = {"name": "Ana B.", "contact": "ana@example.org", "allergies": ["nuts"], "note": "près de la fenêtre"}
    changed = host.put(path, json=wanted, headers={"If-Match": f'"{host.get(path).get_json()["version"]}"'})
    assert (changed.get_json()["visits"], changed.get_json()["allergies"]) == (1, ["nuts"])
    assert "Ana B." in host.get(f"/reservations/clients/{guest['id']}").text
    assert "Ana B." in host.get("/reservations/clients?q=EXAMPLE").text
    assert "Ana B." not in host.get("/reservations/clients?q=%25zz").text
    taken(host, "21:30", contact="other@example.org")
    refused = host.put(path, json={**wanted, "contact": "OTHER@example.org"},
                       headers={"If-Match": f'"{changed.get_json()["version"]}"'})  # fmt: skip
    assert refused.status_code == 409


def test_a_guest_is_forgotten_and_past_bookings_still_count(sign_in: SignIn, database: Database) -> None:
    host = sign_in(Role.HOST)
    booking = taken(host, contact="ana@example.org", note="anniversaire")
    [guest] = host.get("/api/v1/guests?search=ana@").get_json()["items"]
    path, tag = f"/api/v1/guests/{guest['id']}", {"If-Match": f'"{guest["version"]}"'}
    assert host.delete(path, headers=tag).status_code == 409
    go(host, booking, "cancelled")
    assert host.delete(path, headers=tag).status_code == 204
    assert host.get(path).status_code == 404
    found = host.get(f"/api/v1/bookings/{booking['reference']}").get_json()
    assert (found["guest"], found["note"], found["covers"]) == ("—", "", 2)
    with database.reading() as session:
        for table in ("booking", "booking_change", "guest"):
            assert "ana@example.org" not in str(session.execute(text(f"SELECT * FROM {table}")).all())


def test_one_contact_has_one_booking_at_a_time(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    contacts = ["06 12 34 56 78", "+33612345678", "0033 6 12 34 56 78", "06.12.34.56.78"]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda c: post(app.test_client(), "/bookings", body(contact=c)).status_code, contacts))
    assert sorted(replies) == [201, 409, 409, 409]
    assert post(client, "/bookings", body("21:15")).status_code == 409
    assert post(client, "/bookings", body("21:30")).status_code == 201
    assert post(client, "/bookings", body(day="2026-04-04")).status_code == 201
    host = sign_in(Role.HOST)
    assert take(host).status_code == 409
    assert take(host, override="deux tables").status_code == 201


def test_robots_do_not_fill_the_book(settings: Settings, sign_in: SignIn) -> None:
    app = create_app(settings.model_copy(update={"bookings_per_address": 10, "bookings_per_contact": 2,
                                                 "trusted_proxies": 1}))  # fmt: skip

    def attempt(number: int, *, address: str = "192.0.2.1", day: str = "2026-04-03") -> int:
        headers = {"Idempotency-Key": uuid.uuid4().hex, "X-Forwarded-For": address}
        clock = f"{19 + number // 4 % 3}:{number % 4 * 15:02}"
        wanted = body(clock, day=day, contact=f"robot-{number}")
        status: int = app.test_client().post("/api/v1/bookings", json=wanted, headers=headers).status_code
        return status

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(attempt, range(60)))
    assert replies.count(201) == 10
    assert set(replies) == {201, 429}
    assert attempt(70, address="192.0.2.2") == 201
    assert [attempt(71 + n, address=f"2001:db8::{n}") for n in range(11)] == [201] * 10 + [429]
    assert attempt(90, address="2001:db8:0:1::1") == 201
    with app.extensions["database"].reading() as session:
        assert "192.0.2" not in str(session.execute(text("SELECT * FROM booking_address")).all())
    with time_machine.travel("2026-04-03T09:01:00Z"):
        assert attempt(95) == 201
    same = [attempt(96, address="192.0.2.9", day=f"2026-04-{day}") for day in ("10", "11", "12")]
    assert same == [201, 201, 429]
    page = app.test_client().post(
        "/reserver", data=body(day="2026-04-13", contact="robot-96"), headers={"X-Forwarded-For": "192.0.2.9"}
    )
    assert (page.status_code, "appeler" in page.text) == (429, True)
    app.extensions["database"].engine.dispose()


def test_a_blocked_guest_books_by_telephone_only(client: FlaskClient, sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    taken(host, "12:00", contact="ana@example.org")
    [guest] = host.get("/api/v1/guests?search=ana@").get_json()["items"]
    form = {"version": str(guest["version"]), "name": "Ana", "contact": "ana@example.org", "note": "", "blocked": "1"}
    assert host.post(f"/reservations/clients/{guest['id']}", data=form).status_code == 303
    assert post(client, "/bookings", body(contact="Ana@Example.org")).status_code == 409
    assert take(host, contact="ana@example.org").status_code == 201


def test_the_desks_pages_take_change_and_undo_without_scripts(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    new = host.get("/reservations/nouvelle?jour=2026-04-10").text
    assert 'value="2026-04-10"' in new
    found = re.search(r'name="key" value="(\w+)"', new)
    assert found
    form = {"key": found[1], "day": "2026-04-03", "clock": "20:00", "covers": "2", "guest": "Ana", "contact": "",
            "note": "", "tables": ["3"], "override": ""}  # fmt: skip
    assert [host.post("/reservations/nouvelle", data=form).status_code for _ in range(2)] == [303, 303]
    assert host.get("/reservations").text.count(">Ana<") == 1
    [booking] = host.get("/api/v1/bookings?day=2026-04-03").get_json()["items"]
    page = f"/reservations/{booking['reference']}"
    assert re.search(r'name="tables" value="3" checked', host.get(page).text)
    wrong = host.post(f"{page}/fiche", data={**form, "version": "1", "clock": "16:00"})
    assert wrong.status_code == 422
    assert host.post(f"{page}/fiche", data={**form, "version": "1", "covers": "4", "tables": []}).status_code == 303
    assert host.post(f"{page}/fiche", data={**form, "version": "1"}).status_code == 412
    assert host.post(page, data={"status": "cancelled"}).status_code == 303
    assert f'action="{page}/retour"' in host.get("/reservations").text
    assert host.post(f"{page}/retour", data={"status": "no_show"}).status_code == 412
    assert host.post(f"{page}/retour", data={"status": "cancelled"}).status_code == 303
    assert "Ana" in host.get(page).text
    assert host.get("/reservations/nouvelle?jour=x").status_code == 404
    assert host.get("/reservations/clients?suite=x").status_code == 422


def test_tables_are_in_the_order_of_their_numbers(client: FlaskClient, sign_in: SignIn) -> None:
    assert sorted(["10", "T2", "2", "1", "T10", "11", "t1"], key=natural) == ["1", "2", "10", "11", "t1", "T2", "T10"]
    host = sign_in(Role.HOST)
    rooms = host.get("/api/v1/floor").get_json()["rooms"]
    assert [table["name"] for table in rooms[0]["tables"]] == [str(number) for number in range(1, 13)]
    page = sign_in(Role.MANAGER).get("/salle/plan").text
    assert re.findall(r'name="name" value="(\d+)"', page) == [str(number) for number in range(1, 13)]
    seat(host, 10)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("06 12 34 56 78", "+33 6 12 34 56 78", True),
        ("Ana@Example.org", " ana@example.org", True),
        ("+32 2 123 45 67", "02 123 45 67", False),
        ("+33 1", "01", False),
    ],
)
def test_contacts_are_told_apart_however_they_are_written(one: str, other: str, same: bool) -> None:
    assert (contact_key(one) == contact_key(other)) is same


def test_after_midnight_the_desk_still_shows_the_evening(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    taken(host, guest="Soiree")
    taken(host, day="2026-04-04", guest="Lendemain")
    # Paris: 01:10, and 05:10 when the next business day has begun.
    for moment, shown in (("2026-04-03T23:10Z", "Soiree"), ("2026-04-04T03:10Z", "Lendemain")):
        with time_machine.travel(datetime.fromisoformat(moment), tick=False):
            # The session of the morning has expired by then.
            reply = sign_in(Role.HOST).get("/reservations")
        assert reply.status_code == 200, reply.location
        assert ("Soiree" in reply.text, "Lendemain" in reply.text) == (shown == "Soiree", shown == "Lendemain"), moment
