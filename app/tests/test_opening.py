"""Opening hours: how they are written, what they mean, and that bookings and take-away orders keep to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from restaurant.app import create_app
from restaurant.opening.hours import Calendar, Purpose, SpecialDays, parse_hours, write_hours
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import SignIn, order_body, place

PARIS = ZoneInfo("Europe/Paris")
CLOSED = ((),) * 7
ALL_DAY = parse_hours("00:00-24:00")


@pytest.fixture
def friday() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 4, 3, 8, tzinfo=UTC), tick=True):
        yield


def calendar(*, bookings: str = "", take_away: str = "", exceptions: tuple[SpecialDays, ...] = ()) -> Calendar:
    week = {Purpose.BOOKINGS: (parse_hours(bookings),) * 7, Purpose.TAKE_AWAY: (parse_hours(take_away),) * 7}
    return Calendar(zone=PARIS, week=week, exceptions=exceptions)


def is_open(found: Calendar, text: str) -> bool:
    return found.is_open(Purpose.TAKE_AWAY, datetime.fromisoformat(text).replace(tzinfo=PARIS))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("12:00-14:00", "12:00-14:00"),
        ("19h00 – 01h00; 9:30–11:00", "09:30-11:00,19:00-01:00"),
        ("00:00-24:00", "00:00-24:00"),
        ("23:00-23:00", "23:00-23:00"),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, written: str) -> None:
    assert write_hours(parse_hours(text)) == written
    assert parse_hours(written) == parse_hours(text)


@pytest.mark.parametrize(
    "text", ["12", "12:00", "12:00-", "24:00-25:00", "12:60-13:00", "-1:00-2:00", "12:00-15:00,14:00-16:00", "x",
             "12:00-13:00,13:00-14:00", ",".join(f"{hour:02}:00-{hour:02}:30" for hour in range(7)), "²1:00-2:00"]
)  # fmt: skip
def test_hours_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|within"):
        parse_hours(text)


@given(st.lists(st.integers(0, 24 * 60 - 1), min_size=2, max_size=12, unique=True).filter(lambda m: len(m) % 2 == 0))
def test_what_is_written_is_read_back(minutes: list[int]) -> None:
    clocks = [f"{minute // 60:02}:{minute % 60:02}" for minute in sorted(minutes)]
    text = ",".join(f"{start}-{end}" for start, end in zip(clocks[::2], clocks[1::2], strict=True))
    assert write_hours(parse_hours(text)) == text


def test_a_range_past_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    sunday_off = tuple(() if day == 6 else parse_hours("18:00-02:00") for day in range(7))
    found = Calendar(zone=PARIS, week={Purpose.BOOKINGS: CLOSED, Purpose.TAKE_AWAY: sunday_off})
    assert is_open(found, "2026-04-05T01:59")  # Sunday, in Saturday's hours
    assert not is_open(found, "2026-04-05T02:00")
    assert not is_open(found, "2026-04-05T20:00")
    assert not is_open(found, "2026-04-06T01:00")  # Monday: Sunday had none
    assert found.next_opening(Purpose.TAKE_AWAY, datetime(2026, 4, 5, 3, tzinfo=PARIS)) == datetime(
        2026, 4, 6, 18, tzinfo=PARIS
    )


def test_special_days_replace_the_week_and_the_later_of_two_applies() -> None:
    closed = {Purpose.BOOKINGS: (), Purpose.TAKE_AWAY: ()}
    summer = SpecialDays(date(2026, 8, 1), date(2026, 8, 31), "Congés", closed)
    fair = SpecialDays(date(2026, 8, 15), date(2026, 8, 15), "Fête", {**closed, Purpose.TAKE_AWAY: ALL_DAY})
    found = calendar(take_away="12:00-14:00", exceptions=(summer, fair))
    assert [is_open(found, f"2026-{day}T13:00") for day in ("07-31", "08-01", "08-15", "08-31", "09-01")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    assert found.next_opening(Purpose.TAKE_AWAY, datetime(2026, 8, 16, tzinfo=PARIS)) == datetime(
        2026, 9, 1, 12, tzinfo=PARIS
    )
    assert calendar().next_opening(Purpose.TAKE_AWAY, datetime(2026, 8, 16, tzinfo=PARIS)) is None


def test_the_times_of_bookings_follow_the_clock_through_the_change_of_the_hour() -> None:
    starts = calendar(bookings="01:45-03:15").starts(date(2026, 10, 25))
    assert [start.strftime("%H:%M") for start in starts] == [
        "01:45", "02:00", "02:15", "02:30", "02:45", "03:00", "03:15",
    ]  # fmt: skip


def edit(client: FlaskClient, *, bookings: str, take_away: str, version: int = 0) -> Any:
    week = {"bookings": [bookings] * 7, "take_away": [take_away] * 7}
    return client.put("/api/v1/opening/week", json=week, headers={"If-Match": f'"{version}"'})


def test_an_order_at_night_or_on_a_closed_day_does_not_reach_the_kitchen(
    settings: Settings, sign_in: SignIn, friday: None
) -> None:
    hours = {"take_away_times": "11:30-14:30,18:30-22:30", "closed_days": "sun"}
    app = create_app(settings.model_copy(update=hours))
    client = app.test_client()
    wanted = {"2026-04-03T02:10:00Z": 409, "2026-04-03T10:00:00Z": 201, "2026-04-05T10:00:00Z": 409}
    for moment, status in wanted.items():
        with time_machine.travel(moment):
            reply = place(client, order_body(), key=moment)
            assert reply.status_code == status, moment
            if status == 409:
                assert reply.get_json()["type"] == "urn:restaurant:problem:closed"
                assert (
                    client.post("/commandes", data={"key": "n", "guest": "Ana", "quantity-2": "1"}).status_code == 409
                )
                assert "Nous sommes fermés" in client.get("/").text
                assert client.get("/api/v1/opening").get_json()["take_away_now"] is False
            else:
                assert "Nous sommes fermés" not in client.get("/").text
    app.extensions["database"].engine.dispose()


def test_edited_hours_apply_at_once_and_the_staff_still_takes_orders(
    client: FlaskClient, sign_in: SignIn, friday: None
) -> None:
    manager, server = sign_in(Role.MANAGER), sign_in(Role.SERVER)
    assert place(client, order_body(), key="a").status_code == 201
    assert edit(manager, bookings="12:00-14:00", take_away="12:00-14:00").get_json()["version"] == 1
    refused = place(client, order_body(), key="b")
    assert (refused.status_code, "12:00" in refused.get_json()["detail"]) == (409, True)
    assert place(server, order_body(), key="c").status_code == 201
    assert edit(manager, bookings="", take_away="", version=0).status_code == 412
    assert edit(manager, bookings="", take_away="", version=1).get_json()["version"] == 2
    assert "ouvrons" not in place(client, order_body(), key="d").get_json()["detail"]


def test_christmas_is_closed_and_the_page_says_why(client: FlaskClient, sign_in: SignIn) -> None:
    with time_machine.travel("2026-12-01T12:00:00Z", tick=True):
        manager = sign_in(Role.MANAGER)
        day = {"first_day": "2026-12-24", "last_day": "2026-12-25", "name": "Noël"}
        added = manager.post("/api/v1/opening/days", json=day)
        assert added.status_code == 201
        assert manager.post("/api/v1/opening/days", json=day).status_code == 409
        assert client.get("/api/v1/availability?day=2026-12-25&covers=2").get_json()["slots"] == []
        assert client.get("/api/v1/availability?day=2026-12-26&covers=2").get_json()["slots"] != []
        assert "fermés ce jour-là\u00a0: Noël" in client.get("/reserver?jour=2026-12-25").text
        body = {"starts_at": "2026-12-25T12:00:00+01:00", "covers": 2, "guest": "Ana", "contact": "0612345678"}
        refused = client.post("/api/v1/bookings", json=body, headers={"Idempotency-Key": "k"})
        assert (refused.status_code, refused.get_json()["type"]) == (422, "urn:restaurant:problem:closed")
    with time_machine.travel("2026-12-25T12:00:00Z", tick=True):
        manager = sign_in(Role.MANAGER)
        assert place(client, order_body(), key="x").status_code == 409
        path = f"/api/v1/opening/days/{added.get_json()['id']}"
        assert manager.delete(path, headers={"If-Match": '"9"'}).status_code == 412
        assert manager.delete(path, headers={"If-Match": '"1"'}).status_code == 204
        assert place(client, order_body(), key="y").status_code == 201


def test_the_page_edits_the_week_and_special_days(sign_in: SignIn, friday: None) -> None:
    manager = sign_in(Role.MANAGER)
    page = manager.get("/horaires").text
    assert page.count('value="12:00–13:45, 19:00–22:00"') == 7
    assert "jour et nuit" in page
    week = {f"{name}-{day}": "12:00–14:00" for name in ("bookings", "take_away") for day in range(7)}
    form = {**week, "take_away-6": "", "version": "0"}
    assert manager.post("/horaires", data=form).status_code == 303
    page = manager.get("/horaires").text
    assert (page.count('value="12:00–14:00"'), "jour et nuit" in page) == (13, False)
    wrong = manager.post("/horaires", data={**form, "version": "1", "bookings-3": "midi"})
    assert (wrong.status_code, "12:00-14:00, 19:00-22:00" in wrong.text) == (422, True)
    assert manager.post("/horaires", data=form).status_code == 412
    days = {"first_day": "2026-05-01", "last_day": "", "name": "Fête du Travail", "bookings": "", "take_away": ""}
    assert manager.post("/horaires/jours", data=days).status_code == 303
    assert "Fête du Travail" in manager.get("/horaires").text
    wrong = manager.post("/horaires/jours", data={**days, "first_day": "2026-05-02", "last_day": "2026-05-01"})
    assert wrong.status_code == 422
    assert manager.post("/horaires/jours/1", data={"version": "1", "remove": "1"}).status_code == 303
    assert "Fête du Travail" not in manager.get("/horaires").text
    for role in (Role.HOST, Role.SERVER, Role.KITCHEN, Role.CASHIER):
        assert sign_in(role).get("/horaires").status_code == 403
