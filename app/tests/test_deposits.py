"""Deposits for bookings: asked for, paid once, deducted from the bill, given back, kept, and right in every book."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select

from restaurant.app import connect
from restaurant.billing import accounting, verification
from restaurant.billing.models import Closing
from restaurant.database import Database
from restaurant.deposits.models import DepositMovement
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import Attempt, AttemptState, Channel
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, STEW, Direct, SignIn, add, billed, make_settings, pay, post, seat

SECRET = "a secret of the provider"


class House:
    """A restaurant that asks 10 euros of each guest of parties of four or more."""

    def __init__(self, app: Flask, database: Database, guest: FlaskClient, sign_in: SignIn) -> None:
        self.app, self.database, self.guest, self.sign_in = app, database, guest, sign_in
        self.provider = Direct()
        self.gateway = app.extensions["gateway"] = Gateway(database, {Channel.ONLINE: self.provider})
        moment = datetime.now(UTC)
        self.today = (moment + timedelta(days=3)).date()

    @property
    def manager(self) -> FlaskClient:
        """Signed in now: the tests travel further than a session lasts."""
        return self.sign_in(Role.MANAGER)

    def slots(self, covers: int = 4) -> list[str]:
        found: list[str] = self.guest.get(f"/api/v1/availability?day={self.today}&covers={covers}").get_json()["slots"]
        return found

    def book(self, covers: int = 4, *, slot: int = 0) -> str:
        body = {"starts_at": self.slots(covers)[slot], "covers": covers, "guest": "Ana"}
        body["contact"] = f"{uuid.uuid4().hex[:12]}@example.org"
        reply = post(self.guest, "/bookings", body)
        assert reply.status_code == 201, reply.text
        reference: str = reply.get_json()["reference"]
        return reference

    def deposit(self, booking: str) -> dict[str, Any]:
        found: dict[str, Any] = self.guest.get(f"/api/v1/bookings/{booking}").get_json()["deposit"]
        return found

    def begin(self, booking: str) -> uuid.UUID:
        reply = post(self.guest, f"/bookings/{booking}/deposit", None)
        assert reply.status_code == 202, reply.text
        return uuid.UUID(reply.get_json()["attempt"])

    def paid(self, covers: int = 4, *, slot: int = 0) -> str:
        booking = self.book(covers, slot=slot)
        attempt = self.begin(booking)
        self.gateway.advance(attempt)
        self.provider.book.decide(str(attempt), pays=True)
        assert self.gateway.advance(attempt) is AttemptState.DONE
        return booking

    def settle(self) -> None:
        for _time in range(4):
            self.gateway.resolve(patience=timedelta())

    def move(self, booking: str, status: str) -> Any:
        return post(self.manager, f"/bookings/{booking}/move", {"status": status})

    def check(self, taken: int) -> None:
        """The provider has what the books say, and the journal is right."""
        self.settle()
        assert self.provider.book.taken() == taken
        with self.database.snapshot() as session:
            assert verification.verify(session)[1] == []


@pytest.fixture
def house(app: Flask, settings: Settings, sign_in: SignIn, tmp_path: Path) -> Iterator[House]:
    (tmp_path / "secret").write_text(SECRET)
    before = app.extensions["gateway"], app.extensions["settings"], app.extensions["database"]
    rules = make_settings(
        settings.database_url, deposit_per_cover=1000, deposit_covers=4, online_url="http://pay.example",
        online_secret_file=tmp_path / "secret",
    )  # fmt: skip
    database = connect(app, rules)
    yield House(app, database, app.test_client(), sign_in)
    database.engine.dispose()
    app.extensions["gateway"], app.extensions["settings"], app.extensions["database"] = before


def at(house: House, booking: str, **before: int) -> Any:
    """The time that long before a booking begins."""
    start = datetime.fromisoformat(house.guest.get(f"/api/v1/bookings/{booking}").get_json()["starts_at"])
    return time_machine.travel(start - timedelta(**before))


def test_only_parties_of_a_size_pay_and_the_page_says_what_and_until_when(house: House) -> None:
    assert house.deposit(house.book(3)) is None
    booking = house.book(5, slot=1)
    deposit = house.deposit(booking)
    assert (deposit["state"], deposit["amount"], deposit["paid"]) == ("deposit_due", 5000, 0)
    page = house.guest.get(f"/reserver/{booking}").text
    assert "50,00" in page
    assert f"/reserver/{booking}/acompte" in page
    assert house.guest.post(f"/reserver/{booking}/acompte").status_code == 303
    assert "Page de paiement en préparation" in house.guest.get(f"/reserver/{booking}").text
    house.settle()
    assert "https://pay.example/" in house.guest.get(f"/reserver/{booking}").text
    house.check(0)


def test_a_deposit_is_paid_once_however_often_it_is_asked_for(house: House) -> None:
    booking = house.book()
    attempts = {house.begin(booking) for _time in range(3)}
    assert len(attempts) == 1
    (attempt,) = attempts
    house.gateway.advance(attempt)
    house.provider.book.decide(str(attempt), pays=True)
    house.settle()
    assert house.deposit(booking) | {"state": "deposit_paid", "paid": 4000} == house.deposit(booking)
    again = post(house.guest, f"/bookings/{booking}/deposit", None)
    assert (again.status_code, again.get_json()["type"]) == (409, "urn:restaurant:problem:no-deposit-due")
    house.check(4000)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_reply_is_found_out(house: House, lost: int) -> None:
    booking = house.book()
    attempt = house.begin(booking)
    house.provider.lost = lost
    house.gateway.advance(attempt)
    house.settle()
    house.provider.book.decide(str(attempt), pays=True)
    house.settle()
    assert house.deposit(booking)["paid"] == 4000
    house.check(4000)


def test_a_booking_whose_deposit_is_not_paid_is_released_and_its_table_free(house: House) -> None:
    booking = house.book()
    assert house.gateway.release() == 0
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=31)):
        attempt = house.begin(booking)
        # A payment that is under way is waited for.
        assert house.gateway.release() == 0
        house.gateway.cancel(attempt)
        assert house.gateway.release() == 1
        assert house.gateway.release() == 0
    found = house.guest.get(f"/api/v1/bookings/{booking}").get_json()
    assert found["status"] == "cancelled"
    assert "deposit not paid" not in house.manager.get(f"/reservations/{booking}").text
    assert "acompte non payé" in house.manager.get(f"/reservations/{booking}").text
    house.check(0)


@pytest.mark.parametrize(("hours", "state", "taken"), [(25, "given_back", 0), (23, "kept", 4000)])
def test_a_guest_who_cancels_in_time_gets_the_deposit_back(house: House, hours: int, state: str, taken: int) -> None:
    booking = house.paid()
    with at(house, booking, hours=hours):
        assert post(house.guest, f"/bookings/{booking}/cancel", None).status_code == 200
        house.settle()
        assert house.deposit(booking)["state"] == state
        assert house.guest.get(f"/reserver/{booking}").status_code == 200
        house.check(taken)


def test_a_no_show_keeps_the_deposit_and_undoing_it_gives_it_back_to_the_guest(house: House) -> None:
    booking = house.paid()
    with at(house, booking, hours=-1):
        assert house.move(booking, "no_show").status_code == 200
        assert (house.deposit(booking)["state"], house.deposit(booking)["kept"]) == ("kept", 4000)
        assert post(house.manager, f"/bookings/{booking}/undo", None).status_code == 200
        assert (house.deposit(booking)["state"], house.deposit(booking)["kept"]) == ("deposit_paid", 0)
        house.check(4000)


def test_a_manager_gives_a_kept_deposit_back_once(house: House, sign_in: SignIn) -> None:
    booking = house.paid()
    with at(house, booking, hours=-1):
        house.move(booking, "no_show")
        path = f"/bookings/{booking}/deposit/refund"
        assert post(sign_in(Role.HOST), path, {"reason": "malade"}).status_code == 403
        assert post(house.manager, path, {"reason": "malade"}).status_code == 200
        assert post(house.manager, path, {"reason": "malade"}).status_code == 409
        house.settle()
        assert house.deposit(booking)["state"] == "given_back"
        assert post(house.manager, path, {"reason": "malade"}).status_code == 409
        house.check(0)


def test_who_pays_while_the_booking_is_cancelled_gets_it_back(house: House) -> None:
    booking = house.book()
    attempt = house.begin(booking)
    house.gateway.advance(attempt)
    assert post(house.guest, f"/bookings/{booking}/cancel", None).status_code == 200
    house.provider.book.decide(str(attempt), pays=True)
    house.settle()
    assert house.deposit(booking)["paid"] == 0
    house.check(0)


def seated(house: House, booking: str) -> str:
    assert house.move(booking, "arrived").status_code == 200
    orders = house.manager.get("/api/v1/orders").get_json()["items"]
    reference: str = orders[0]["reference"]
    return reference


def test_a_deposit_is_deducted_from_the_bill_before_anything_else_is_paid(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        add(house.manager, order, EGGS, STEW, STEW, STEW)
        post(house.manager, f"/orders/{order}/bill", None)
        due = 620 + 3 * 1890
        page = house.manager.get(f"/caisse/{order}").text
        assert f"/caisse/{order}/acompte" in page
        assert f"/caisse/{order}/paiements" not in page
        assert pay(house.manager, order, due).get_json()["type"].endswith("deposit-first")
        charge = post(house.manager, f"/orders/{order}/payment-attempts", {"channel": "online_payment", "amount": 100})
        assert charge.get_json()["type"].endswith("deposit-first")
        refund = post(house.manager, f"/bookings/{booking}/deposit/refund", {"reason": "x"})
        assert refund.get_json()["type"].endswith("deposit-at-table")
        deducted = post(house.manager, f"/orders/{order}/deposit", None).get_json()
        assert (deducted["method"], deducted["amount"]) == ("deposit_deducted", 4000)
        assert post(house.manager, f"/orders/{order}/deposit", None).status_code == 409
        assert pay(house.manager, order, due - 4000, method="cash").status_code == 201
        assert house.deposit(booking)["state"] == "deducted"
        number = deducted["receipts"][0]["number"]
        assert "Acompte" in house.manager.get(f"/caisse/tickets/{number}").text
        house.check(4000)


def test_what_is_more_than_the_bill_stays_the_guests_and_is_given_back(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        add(house.manager, order, EGGS)
        post(house.manager, f"/orders/{order}/bill", None)
        assert post(house.manager, f"/orders/{order}/deposit", None).get_json()["amount"] == 620
        assert house.manager.get(f"/api/v1/orders/{order}").get_json()["status"] in {"paid", "closed"}
        assert post(house.manager, f"/bookings/{booking}/deposit/refund", {"reason": "reste"}).status_code == 200
        house.settle()
        deposit = house.deposit(booking)
        assert (deposit["used"], deposit["refunded"]) == (620, 3380)
        house.check(620)


def test_a_refund_of_what_was_deducted_is_a_deposit_again(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        add(house.manager, order, EGGS)
        post(house.manager, f"/orders/{order}/bill", None)
        payment = post(house.manager, f"/orders/{order}/deposit", None).get_json()["reference"]
        body = {"amount": 600, "reason": "froid"}
        assert post(house.manager, f"/payments/{payment}/refunds", body).status_code == 201
        assert house.deposit(booking)["used"] == 20
        assert post(house.manager, f"/bookings/{booking}/deposit/refund", {"reason": "froid"}).status_code == 200
        house.settle()
        assert house.deposit(booking)["refunded"] == 3980
        house.check(20)


def test_a_deposit_goes_with_the_guests_when_tables_are_merged_and_back_when_they_leave(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        assert post(house.manager, f"/bookings/{booking}/undo", None).status_code == 200
        assert house.deposit(booking)["state"] == "deposit_paid"
        order = seated(house, booking)
        other = seat(house.manager, 1)["reference"]
        add(house.manager, other, STEW, STEW, STEW)
        assert post(house.manager, f"/orders/{order}/merge", {"into": other}).status_code == 200
        post(house.manager, f"/orders/{other}/bill", None)
        assert post(house.manager, f"/orders/{other}/deposit", None).get_json()["amount"] == 4000
        pay(house.manager, other, 3 * 1890 - 4000)
        house.check(4000)


def begin_refund(house: House, booking: str) -> Any:
    return post(house.manager, f"/bookings/{booking}/deposit/refund", {"reason": "x"})


def test_a_refund_under_way_is_not_deducted_and_the_bill_is_paid(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        assert begin_refund(house, booking).status_code == 200
        order = seated(house, booking)
        add(house.manager, order, EGGS)
        post(house.manager, f"/orders/{order}/bill", None)
        assert post(house.manager, f"/orders/{order}/deposit", None).status_code == 409
        assert f"/caisse/{order}/paiements" in house.manager.get(f"/caisse/{order}").text
        assert pay(house.manager, order, 620).status_code == 201
        house.settle()
        deposit = house.deposit(booking)
        assert (deposit["used"], deposit["refunded"]) == (0, 4000)
        house.check(0)


@pytest.mark.parametrize("early", [True, False])
def test_a_refund_that_fails_is_a_deposit_again_at_the_table_or_afterwards(house: House, early: bool) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        assert begin_refund(house, booking).status_code == 200
        house.provider.refuses = True
        order = seated(house, booking)
        add(house.manager, order, STEW, STEW, STEW)
        post(house.manager, f"/orders/{order}/bill", None)
        if early:
            house.settle()
            assert pay(house.manager, order, 3 * 1890).get_json()["type"].endswith("deposit-first")
            assert post(house.manager, f"/orders/{order}/deposit", None).get_json()["amount"] == 4000
            assert pay(house.manager, order, 3 * 1890 - 4000).status_code == 201
            house.check(4000)
        else:
            assert pay(house.manager, order, 3 * 1890).status_code == 201
            house.settle()
            house.provider.refuses = False
            assert begin_refund(house, booking).status_code == 200
            house.settle()
            assert house.deposit(booking)["refunded"] == 4000
            house.check(0)


def test_a_deposit_that_is_paid_while_the_bill_is_on_the_table_is_deducted(house: House) -> None:
    booking = house.book()
    attempt = house.begin(booking)
    house.gateway.advance(attempt)
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        add(house.manager, order, STEW, STEW, STEW)
        post(house.manager, f"/orders/{order}/bill", None)
        assert pay(house.manager, order, 1000).status_code == 201
        house.provider.book.decide(str(attempt), pays=True)
        house.check(4000)
        assert post(house.manager, f"/orders/{order}/deposit", None).get_json()["amount"] == 4000
        assert pay(house.manager, order, 670).status_code == 201
        house.check(4000)


def test_a_deposit_is_refunded_once_and_the_page_offers_no_second_refund(house: House) -> None:
    booking = house.paid()
    path, manager = f"/reservations/{booking}/acompte/remboursement", house.manager
    assert path in manager.get(f"/reservations/{booking}").text
    sent = [manager.post(path, data={"key": key, "reason": "x"}).status_code for key in ("1", "1", "2")]
    assert sent == [303, 303, 409]
    assert path not in manager.get(f"/reservations/{booking}").text
    house.settle()
    assert house.deposit(booking)["refunded"] == 4000
    assert path not in manager.get(f"/reservations/{booking}").text
    house.check(0)


def test_a_booking_that_is_cancelled_in_two_tabs_is_given_back_once(house: House) -> None:
    booking = house.paid()
    tabs = [house.guest.post(f"/reserver/{booking}/annulation").status_code for _tab in range(2)]
    assert tabs == [303, 409]
    assert begin_refund(house, booking).status_code == 409
    house.settle()
    assert house.deposit(booking)["refunded"] == 4000
    house.check(0)


@pytest.mark.parametrize("late", [True, False])
def test_a_merged_bill_deducts_the_deposits_of_both_tables(house: House, late: bool) -> None:
    first, second = house.paid(), house.book()
    attempt = house.begin(second)
    house.gateway.advance(attempt)
    with at(house, first, minutes=5):
        if not late:
            house.provider.book.decide(str(attempt), pays=True)
            house.settle()
        target, order = seated(house, first), seated(house, second)
        for reference in (target, order):
            add(house.manager, reference, STEW, STEW, STEW)
        assert post(house.manager, f"/orders/{order}/merge", {"into": target}).status_code == 200
        if late:
            # These guests paid on their telephone while the tables were put together.
            house.provider.book.decide(str(attempt), pays=True)
            house.settle()
        for booking in (first, second):
            assert "/acompte/remboursement" not in house.manager.get(f"/reservations/{booking}").text
            assert begin_refund(house, booking).get_json()["type"].endswith("deposit-at-table")
        post(house.manager, f"/orders/{target}/bill", None)
        taken = [post(house.manager, f"/orders/{target}/deposit", None).get_json()["amount"] for _time in range(2)]
        assert taken == [4000, 4000]
        assert pay(house.manager, target, 6 * 1890 - 8000).status_code == 201
        assert [house.deposit(booking)["used"] for booking in (first, second)] == [4000, 4000]
        house.check(8000)


def test_the_deposit_of_an_order_that_is_cancelled_once_its_lines_moved_is_not_lost(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order, other = seated(house, booking), seat(house.manager, 1)["reference"]
        line = add(house.manager, order, STEW)["lines"][0]["id"]
        moved = post(house.manager, f"/orders/{order}/lines/transfer", {"into": other, "lines": [line]})
        assert moved.status_code == 200
        assert "40,00" in house.manager.get(f"/service/{order}").text
        assert post(house.manager, f"/orders/{order}/cancel", {"reason": "x"}).status_code == 200
        post(house.manager, f"/orders/{other}/bill", None)
        assert pay(house.manager, other, 1890).status_code == 201
        assert "/acompte/remboursement" in house.manager.get(f"/reservations/{booking}").text
        assert begin_refund(house, booking).status_code == 200
        house.check(0)


def test_a_deduction_that_is_refunded_before_the_bill_is_paid_is_deducted_again(house: House) -> None:
    booking = house.paid()
    with at(house, booking, minutes=5):
        order = seated(house, booking)
        add(house.manager, order, STEW, STEW, STEW)
        post(house.manager, f"/orders/{order}/bill", None)
        payment = post(house.manager, f"/orders/{order}/deposit", None).get_json()["reference"]
        body = {"amount": 3000, "reason": "froid"}
        assert post(house.manager, f"/payments/{payment}/refunds", body).status_code == 201
        assert begin_refund(house, booking).get_json()["type"].endswith("deposit-at-table")
        assert post(house.manager, f"/orders/{order}/deposit", None).get_json()["amount"] == 1670
        assert house.manager.get(f"/api/v1/orders/{order}").get_json()["status"] in {"paid", "closed"}
        assert begin_refund(house, booking).status_code == 200
        house.settle()
        deposit = house.deposit(booking)
        assert (deposit["used"], deposit["refunded"]) == (1000 + 1670, 1330)
        house.check(2670)


def test_a_host_waives_a_deposit_and_a_smaller_party_owes_less(house: House) -> None:
    booking = house.book(6)
    found = house.manager.get(f"/api/v1/bookings/{booking}")
    body = {"starts_at": found.get_json()["starts_at"], "covers": 4, "guest": "Ana", "contact": "0612345678"}
    changed = house.manager.put(f"/api/v1/bookings/{booking}", json=body, headers={"If-Match": found.headers["ETag"]})
    assert changed.status_code == 200, changed.text
    assert house.deposit(booking)["amount"] == 4000
    assert post(house.manager, f"/bookings/{booking}/deposit/waive", None).get_json()["deposit"]["state"] == "waived"
    assert post(house.manager, f"/bookings/{booking}/deposit/waive", None).status_code == 409
    assert post(house.guest, f"/bookings/{booking}/deposit", None).status_code == 409
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        assert house.gateway.release() == 0
    desk = {"starts_at": house.slots()[3], "covers": 8, "guest": "Bo", "override": "habitués"}
    assert post(house.manager, "/desk/bookings", desk).get_json()["deposit"] is None
    house.check(0)


def test_x_z_and_the_accounting_entries_have_deposits_beside_the_sales(house: House) -> None:
    kept, used, back = house.paid(), house.paid(5, slot=1), house.paid(6, slot=2)
    with at(house, kept, hours=25):
        post(house.guest, f"/bookings/{back}/cancel", None)
        house.settle()
        figures = house.manager.get("/api/v1/closings/next").get_json()
        assert figures["deposits"] == {"taken": 15000, "given_back": 6000}
        assert figures["total"] == 0
        assert "Acomptes" in house.manager.get("/clotures/x").text
        first = post(house.manager, "/closings", None).get_json()
        assert (first["total"], first["deposits"]) == (0, {"taken": 15000, "given_back": 6000})
        assert post(house.manager, "/closings", None).status_code == 409
        for page in ("/clotures", "/clotures/1", "/clotures/x"):
            assert house.manager.get(page).status_code == 200
    with at(house, used, minutes=0):
        house.move(kept, "no_show")
        order = seated(house, used)
        add(house.manager, order, STEW, STEW, STEW)
        post(house.manager, f"/orders/{order}/bill", None)
        post(house.manager, f"/orders/{order}/deposit", None)
        pay(house.manager, order, 3 * 1890 - 5000)
        second = post(house.manager, "/closings", None).get_json()
    assert second["deposits"] == {"deducted_from_a_bill": 5000, "kept": 4000}
    assert second["by_method"] == {"card": 670, "deposit_deducted": 5000}
    assert (second["total"], second["perpetual_total"]) == (5670, 5670)
    with house.database.reading() as session:
        closings = session.scalars(select(Closing).order_by(Closing.number)).all()
    balances: dict[str, int] = {}
    for closing in closings:
        entries = list(accounting.postings(closing))
        assert sum(entry.cents for entry in entries) == 0
        for entry in entries:
            balances[entry.account] = balances.get(entry.account, 0) + entry.cents
    # Nothing of the guests is left: one deposit was used, one kept, one given back.
    assert balances["419100"] == 0
    assert balances["758800"] == -4000
    assert balances["511500"] == 15000 - 6000 + 670
    text = accounting.fec(closings, house.app.extensions["settings"].business_day)
    rows = list(csv.reader(io.StringIO(text), delimiter="\t"))[1:]
    assert {row[4] for row in rows} >= {"419100", "758800", "511500"}
    house.check(9000)


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["pay", "cancel", "undo", "no_show", "arrive", "order", "bill", "deduct", "refund", "lose", "waive"]
        ),
        max_size=12,
    )
)
def test_whatever_happens_the_books_are_right(house: House, acts: list[str]) -> None:
    with time_machine.travel(datetime.now(UTC)) as traveller:
        day = house.today + timedelta(days=len(acts))
        slots = house.guest.get(f"/api/v1/availability?day={day}&covers=4").get_json()["slots"]
        if not slots:
            return
        body = {"starts_at": slots[0], "covers": 4, "guest": "Ana", "contact": f"{uuid.uuid4().hex[:8]}@example.org"}
        booking = post(house.guest, "/bookings", body).get_json()["reference"]
        traveller.move_to(datetime.fromisoformat(slots[0]) - timedelta(hours=25))
        with house.database.reading() as session:
            before = house.provider.book.taken()
        for act in acts:
            orders = [
                entry["reference"]
                for entry in house.manager.get("/api/v1/orders").get_json()["items"]
                if entry["closed_at"] is None
            ]
            if act == "pay":
                post(house.guest, f"/bookings/{booking}/deposit", None)
                house.settle()
                for key in list(house.provider.book.book):
                    house.provider.book.decide(key, pays=True)
            elif act == "lose":
                house.provider.lost = 2
            elif act in {"cancel", "no_show", "arrive"}:
                traveller.move_to(datetime.fromisoformat(slots[0]))
                house.move(booking, {"cancel": "cancelled", "arrive": "arrived"}.get(act, act))
            elif act in {"undo", "waive", "refund"}:
                path = {"undo": "undo"}.get(act, f"deposit/{act}")
                post(house.manager, f"/bookings/{booking}/{path}", {"reason": "x"} if act == "refund" else None)
            for order in orders[:1]:
                if act == "order":
                    post(house.manager, f"/orders/{order}/lines", {"lines": [{"dish": STEW}]})
                elif act == "bill":
                    post(house.manager, f"/orders/{order}/bill", None)
                elif act == "deduct":
                    post(house.manager, f"/orders/{order}/deposit", None)
            house.settle()
            with house.database.snapshot() as session:
                assert verification.verify(session)[1] == []
                movements = session.scalars(select(DepositMovement)).all()
                held = sum(
                    entry.amount * {"taken": 1, "given_back": -1}.get(entry.kind.value, 0) for entry in movements
                )
                unknown = session.scalars(select(Attempt.id).where(Attempt.state == AttemptState.UNKNOWN)).all()
            if not unknown:
                assert house.provider.book.taken() == held
        assert before >= 0
        for order in orders if acts else []:
            post(house.manager, f"/orders/{order}/cancel", {"reason": "fin"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"deposit_per_cover": 1000},
        {"deposit_fixed": 1},
        {"deposit_per_cover": -1},
        {"deposit_pay_minutes": 15},
        {"deposit_covers": 0},
    ],
)
def test_deposits_need_a_way_to_pay_them(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        make_settings(f"sqlite:///{tmp_path / 'x'}", **wrong)


def test_without_the_settings_nobody_pays_a_deposit(sign_in: SignIn, client: FlaskClient) -> None:
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    slot = client.get(f"/api/v1/availability?day={day}&covers=8").get_json()["slots"][0]
    body = {"starts_at": slot, "covers": 8, "guest": "Ana", "contact": "0612345678"}
    booking = post(client, "/bookings", body).get_json()
    assert booking["deposit"] is None
    assert post(client, f"/bookings/{booking['reference']}/deposit", None).status_code == 409
    assert pay(sign_in(Role.MANAGER), billed(sign_in(Role.MANAGER)), 100).status_code == 201
