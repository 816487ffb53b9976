"""Booking tables: what is free, what the database refuses, and the day at the desk."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from restaurant.app import create_app
from restaurant.database import Database
from restaurant.floor.models import Condition, Table
from restaurant.people.permissions import Role
from restaurant.reservations.models import BookedTable
from restaurant.settings import Settings
from support import SignIn, seat, state

MORNING = datetime(2026, 4, 3, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _morning() -> Iterator[None]:
    with time_machine.travel(MORNING, tick=True):
        yield


def book(client: FlaskClient, clock: str = "20:00", covers: int = 2, *, day: str = "2026-04-03", **changes: Any) -> Any:
    # Another guest each time: one contact has one booking at a time.
    contact = f"06{random.randrange(10**8):08}"
    body = {"starts_at": f"{day}T{clock}:00+02:00", "covers": covers, "guest": "Ana", "contact": contact}
    return client.post("/api/v1/bookings", json=body | changes, headers={"Idempotency-Key": uuid.uuid4().hex})


def only_table(database: Database, key: int) -> None:
    with database.writing() as session:
        session.execute(update(Table).where(Table.id != key).values(condition=Condition.OUT_OF_SERVICE))


def free(client: FlaskClient, covers: int = 2) -> list[str]:
    found = client.get(f"/api/v1/availability?day=2026-04-03&covers={covers}").get_json()["slots"]
    return [datetime.fromisoformat(slot).strftime("%H:%M") for slot in found]


def test_the_smallest_table_that_fits_is_held_for_as_long_as_the_party_stays(client: FlaskClient) -> None:
    booked = book(client, covers=4).get_json()
    assert (booked["tables"], booked["status"]) == (["6"], "confirmed")
    length = datetime.fromisoformat(booked["ends_at"]) - datetime.fromisoformat(booked["starts_at"])
    assert length == timedelta(minutes=105)
    assert book(client, covers=4).get_json()["tables"] == ["7"]


def test_a_large_party_gets_several_tables_of_one_room(client: FlaskClient) -> None:
    assert book(client, covers=12).get_json()["tables"] == ["10", "11"]


def test_many_guests_who_want_the_last_table_at_once_get_it_once(app: Flask, database: Database) -> None:
    only_table(database, 1)
    times = ["19:15", "19:30", "19:45", "20:00", "20:15", "20:30"] * 4
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda clock: book(app.test_client(), clock), times))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 23
    with database.reading() as session:
        assert len(session.scalars(select(BookedTable)).all()) == 1


def test_the_database_itself_refuses_an_overlap_and_allows_neighbors(client: FlaskClient, database: Database) -> None:
    only_table(database, 1)
    first = book(client, "19:00")
    assert first.status_code == 201
    assert book(client, "20:15").status_code == 409
    assert book(client, "20:30").status_code == 201
    again = select(BookedTable).order_by(BookedTable.starts_at)
    with pytest.raises(IntegrityError, match="ex_booked_table_overlap"), database.writing() as session:
        place = session.scalars(again).first()
        assert place is not None
        session.add(
            BookedTable(
                booking_id=place.booking_id, table_id=1, starts_at=place.starts_at, ends_at=place.ends_at, active=True
            )
        )
    with pytest.raises(IntegrityError, match="ex_booked_table_overlap"), database.writing() as session:
        places = session.scalars(again).all()
        places[1].starts_at = places[0].starts_at


def test_a_cancelled_booking_leaves_its_table_to_others(client: FlaskClient, database: Database) -> None:
    only_table(database, 1)
    reference = book(client).get_json()["reference"]
    assert book(client).status_code == 409
    assert client.post(f"/api/v1/bookings/{reference}/cancel").get_json()["status"] == "cancelled"
    assert client.post(f"/api/v1/bookings/{reference}/cancel").status_code == 409
    assert book(client).status_code == 201


def test_the_kitchen_gets_twenty_guests_a_quarter_of_an_hour_at_most(app: Flask, client: FlaskClient) -> None:
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _n: book(app.test_client(), covers=4).status_code, range(9)))
    assert replies.count(201) == 5
    assert "20:00" not in free(client)
    assert "20:15" in free(client)


def test_availability_is_what_can_be_booked(client: FlaskClient, database: Database) -> None:
    only_table(database, 1)
    assert free(client)[0] == "12:00"
    book(client, "20:00")
    evening = [clock for clock in free(client) if clock > "18:00"]
    assert evening == ["21:30", "21:45", "22:00"]
    assert free(client, covers=3) == []
    with time_machine.travel(MORNING + timedelta(hours=3), tick=False):
        assert free(client)[0] == "13:30"


@pytest.mark.parametrize(
    "changes",
    [
        {"clock": "20:07"},
        {"clock": "16:00"},
        {"day": "2026-04-02"},
        {"day": "2026-07-03"},
        {"covers": 0},
        {"covers": 21},
        {"guest": ""},
        {"contact": "1"},
        {"starts_at": "2026-04-03T20:00:00"},
        {"starts_at": "9999-12-31T23:59:59Z"},
        {"allergies": ["sugar"]},
    ],
)
def test_a_wrong_booking_is_refused(client: FlaskClient, changes: dict[str, Any]) -> None:
    assert book(client, **changes).status_code == 422


def test_the_hour_follows_summer_time(client: FlaskClient) -> None:
    assert book(client, day="2026-04-03").status_code == 201
    with time_machine.travel("2026-10-24T08:00:00Z"):
        winter = {"starts_at": "2026-10-25T19:00:00Z"}
        assert book(client, **winter).status_code == 201
        assert book(client, starts_at="2026-10-25T18:00:00+02:00").status_code == 422


def test_guests_arrive_and_their_allergies_with_them(client: FlaskClient, sign_in: SignIn) -> None:
    host, server = sign_in(Role.HOST), sign_in(Role.SERVER)
    reference = book(client, "20:00", allergies=["milk"]).get_json()["reference"]
    with time_machine.travel("2026-04-03T17:30:00Z"):
        assert state(host, 1) == "reserved_soon"
        assert host.get("/salle").text.count(">20:00<") == 1
        moved = host.post(f"/api/v1/bookings/{reference}/move", json={"status": "arrived"})
        assert moved.get_json()["status"] == "arrived"
        assert state(host, 1) == "seated"
        orders = server.get("/api/v1/orders").get_json()["items"]
        assert [(order["guest"], order["allergies"]) for order in orders] == [("Ana", ["milk"])]
        assert host.post(f"/api/v1/bookings/{reference}/move", json={"status": "no_show"}).status_code == 409
        assert host.post(f"/api/v1/bookings/{reference}/move", json={"status": "completed"}).status_code == 200
    assert len(host.get("/api/v1/bookings?day=2026-04-03").get_json()["items"]) == 1
    assert host.get("/api/v1/bookings?day=2026-04-04").get_json()["items"] == []


def test_guests_cannot_be_seated_where_others_sit(client: FlaskClient, sign_in: SignIn) -> None:
    server = sign_in(Role.SERVER)
    reference = book(client).get_json()["reference"]
    seat(server, 1)
    assert server.post(f"/api/v1/bookings/{reference}/move", json={"status": "arrived"}).status_code == 409
    read = client.get(f"/api/v1/bookings/{reference}").get_json()
    assert read["status"] == "confirmed"


def test_the_waiting_list_calls_and_places(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    headers = {"Idempotency-Key": "w"}
    body = {"guest": "Zoé", "covers": 3, "quoted_minutes": 20}
    entry = host.post("/api/v1/waiting-list", json=body, headers=headers).get_json()["id"]
    assert host.post("/api/v1/waiting-list", json=body, headers=headers).get_json()["id"] == entry
    for status, answer in (("called", 200), ("placed", 200), ("left", 409)):
        reply = host.post(f"/api/v1/waiting-list/{entry}/move", json={"status": status})
        assert reply.status_code == answer
    assert host.get("/api/v1/waiting-list").get_json()["items"] == []


def test_the_pages_to_book_and_the_desk_work_without_scripts(client: FlaskClient, sign_in: SignIn) -> None:
    page = client.get("/reserver?jour=2026-04-03&couverts=2").text
    found = re.search(r'value="(2026-04-03T20:00[^"]+)"', page)
    assert found
    form = {"starts_at": found[1], "covers": "2", "guest": "Ana", "contact": "ana@example.org", "key": "k"}
    first, second = client.post("/reserver", data=form), client.post("/reserver", data=form)
    assert first.location == second.location
    assert "vendredi 3 avril, 20:00" in client.get(first.location).text
    host = sign_in(Role.HOST)
    day = host.get("/reservations?jour=2026-04-03").text
    assert day.count("Ana") == 1
    assert (
        host.post("/reservations/attente", data={"guest": "Zoé", "covers": "2", "quoted_minutes": "5"}).status_code
        == 303
    )
    assert "Zoé" in host.get("/reservations").text
    assert host.post("/reservations/attente/1", data={"status": "called"}).status_code == 303
    reference = first.location.rpartition("/")[2]
    seated = host.post(f"/reservations/{reference}", data={"status": "arrived"})
    assert seated.location.startswith("/service/")
    second_booking = book(client).get_json()["reference"]
    assert client.post(f"/reserver/{second_booking}/annulation").status_code == 303
    for address in (
        "/reserver?jour=x",
        "/reserver?couverts=99",
        "/reservations?jour=x",
        "/reservations?jour=9999-12-31",
    ):
        assert host.get(address).status_code in {404, 422}
    assert client.post("/reserver", data={**form, "contact": ""}).status_code == 422


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12), st.booleans()), max_size=14))
def test_whatever_is_booked_and_cancelled_no_table_is_held_twice(
    app: Flask, database: Database, wishes: list[tuple[int, int, bool]]
) -> None:
    client = app.test_client()
    for slot, covers, cancels in wishes:
        clock = (datetime(2026, 4, 3, 19) + slot * timedelta(minutes=15)).strftime("%H:%M")
        reply = book(client, clock, covers)
        assert reply.status_code in {201, 409}
        if cancels and reply.status_code == 201:
            client.post(f"/api/v1/bookings/{reply.get_json()['reference']}/cancel")
    with database.writing() as session:
        held = session.scalars(select(BookedTable).where(BookedTable.active)).all()
        for one in held:
            for other in held:
                if one.id < other.id and one.table_id == other.table_id:
                    assert one.ends_at <= other.starts_at or other.ends_at <= one.starts_at
        loads = session.execute(text("SELECT covers FROM slot_load")).scalars().all()
        assert all(0 <= load <= 20 for load in loads)
        for table in ("booking_change", "booked_table", "booking", "slot_load", "guest"):
            session.execute(text(f"DELETE FROM {table}"))


def test_guests_cancel_by_themselves_until_two_hours_before_and_the_desk_at_any_time(
    client: FlaskClient, sign_in: SignIn
) -> None:
    reference = book(client, "12:00").get_json()["reference"]
    with time_machine.travel(datetime(2026, 4, 3, 8, 1, tzinfo=UTC)):  # 10:01 in Paris
        refused = client.post(f"/api/v1/bookings/{reference}/cancel")
        assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:restaurant:problem:too-late-to-cancel")
        assert client.post(f"/reserver/{reference}/annulation").status_code == 409
        assert "trop tard" in client.get(f"/reserver/{reference}").text
        moved = sign_in(Role.HOST).post(f"/api/v1/bookings/{reference}/move", json={"status": "cancelled"})
        assert moved.get_json()["status"] == "cancelled"


def test_the_expected_wait_counts_guests_bookings_and_who_waits_already(
    client: FlaskClient, sign_in: SignIn, database: Database
) -> None:
    host, server = sign_in(Role.HOST), sign_in(Role.SERVER)

    def expected(covers: int = 2) -> int | None:
        found: int | None = host.get(f"/api/v1/waiting-list/expected?covers={covers}").get_json()["minutes"]
        return found

    only_table(database, 1)
    assert expected() == 0
    assert expected(12) is None
    seat(server, 1)
    assert expected() == 90
    # Whole minutes, rounded up: the guests sat down some moments after the morning began. The clock stands still, so
    # that a slow machine does not make it a minute less.
    with time_machine.travel(MORNING + timedelta(minutes=31), tick=False):
        assert expected() == 60
        # They leave at 11:30: a booking at 12:00, for an hour and a half, leaves no time to eat before it.
        assert book(client, "12:00").status_code == 201
        assert expected() == 179
        body = {"guest": "Léo", "covers": 2, "quoted_minutes": 60}
        host.post("/api/v1/waiting-list", json=body, headers={"Idempotency-Key": "w1"})
        assert expected() == 179 + 90


def test_lists_come_in_pages_that_hold_everything_once(client: FlaskClient, sign_in: SignIn) -> None:
    for clock in ("19:00", "19:15", "19:30", "20:00", "20:30"):
        assert book(client, clock).status_code == 201
    host = sign_in(Role.HOST)
    found, after = [], ""
    while True:
        reply = host.get(f"/api/v1/bookings?day=2026-04-03&limit=2{after}").get_json()
        assert len(reply["items"]) <= 2
        found += [entry["starts_at"] for entry in reply["items"]]
        if reply["next"] is None:
            break
        after = f"&after={reply['next']}"
    assert (len(found), found) == (5, sorted(set(found)))
    for wrong in ("after=", "limit=0", "limit=101", "after=x", "page=2"):
        assert host.get(f"/api/v1/waiting-list?{wrong}").status_code == 422


def test_a_large_party_sits_at_all_its_tables_until_it_is_moved_or_has_paid(
    client: FlaskClient, sign_in: SignIn
) -> None:
    host = sign_in(Role.HOST)
    reference = book(client, "20:00", covers=12).get_json()["reference"]
    with time_machine.travel("2026-04-03T18:00:00Z"):
        seat(host, 11)
        assert host.post(f"/api/v1/bookings/{reference}/move", json={"status": "arrived"}).status_code == 409
        assert (state(host, 10), state(host, 11)) == ("reserved_soon", "seated")
        manager = sign_in(Role.MANAGER)
        walk_in = manager.get("/api/v1/orders").get_json()["items"][0]["reference"]
        headers = {"Idempotency-Key": "m"}
        manager.post(f"/api/v1/orders/{walk_in}/cancel", json={"reason": "autre table"}, headers=headers)
        assert host.post(f"/api/v1/bookings/{reference}/move", json={"status": "arrived"}).status_code == 200
        assert (state(host, 10), state(host, 11)) == ("seated", "seated")
        order = manager.get("/api/v1/orders").get_json()["items"][0]["reference"]
        assert host.get("/salle/tables/11").location == f"/service/{order}"
        refused = host.post("/api/v1/seatings", json={"table": 11, "covers": 2}, headers={"Idempotency-Key": "s"})
        assert refused.status_code == 409
        assert manager.post(f"/api/v1/orders/{order}/transfer", json={"table": 12}).status_code == 200
        assert (state(host, 10), state(host, 11), state(host, 12)) == ("free", "free", "seated")


def test_a_wait_sent_twice_is_one_wait(sign_in: SignIn) -> None:
    host = sign_in(Role.HOST)
    found = re.search(r'name="key" value="(\w+)"', host.get("/reservations").text)
    assert found
    form = {"key": found[1], "guest": "Ana", "covers": "2", "quoted_minutes": "20"}
    assert [host.post("/reservations/attente", data=form).status_code for _ in range(2)] == [303, 303]
    assert len(host.get("/api/v1/waiting-list").get_json()["items"]) == 1


def test_a_house_says_how_long_parties_of_each_size_stay(settings: Settings) -> None:
    opening = settings.model_copy(update={"booking_stays": "2:60,8:90,180"}).opening
    stays = {covers: int(opening.stay(covers).total_seconds() / 60) for covers in (1, 2, 3, 8, 9, 40)}
    assert stays == {1: 60, 2: 60, 3: 90, 8: 90, 9: 180, 40: 180}
    app = create_app(settings.model_copy(update={"booking_stays": "2:60,8:90,180"}))
    booked = book(app.test_client(), "19:00", covers=2).get_json()
    lasting = datetime.fromisoformat(booked["ends_at"]) - datetime.fromisoformat(booked["starts_at"])
    assert lasting == timedelta(minutes=60)
    app.extensions["database"].engine.dispose()


def test_a_house_says_when_guests_may_come_and_how_many_at_once(settings: Settings) -> None:
    hours = {"booking_times": "18:30-19:00", "booking_covers": 5, "closed_days": "Sat, mon"}
    app = create_app(settings.model_copy(update=hours))
    client = app.test_client()
    assert free(client) == ["18:30", "18:45", "19:00"]
    assert free(client, covers=6) == []
    assert book(client, "18:45", covers=4).status_code == 201
    assert book(client, "18:45", covers=2).status_code == 409
    refused = book(client, "20:00")
    assert (refused.status_code, "18:30–19:00" in refused.get_json()["detail"]) == (422, True)
    closed = book(client, "18:45", day="2026-04-04")
    assert (closed.status_code, closed.get_json()["type"]) == (422, "urn:restaurant:problem:closed")
    assert "Nous sommes fermés ce jour-là" in client.get("/reserver?jour=2026-04-04").text
    app.extensions["database"].engine.dispose()
