"""Bills to the cent: parts, payments at once, refunds, receipts without gaps, the journal and the closing."""

from __future__ import annotations

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from datetime import time as clock
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from restaurant.app import create_app
from restaurant.billing import journal, verification
from restaurant.billing.split import Item, apportion, by_rate, equal_shares, owed, take
from restaurant.business_day import BusinessDay
from restaurant.cli import main
from restaurant.database import Database
from restaurant.money import VAT_RATES
from restaurant.orders.models import Order, OrderLine
from restaurant.people.models import User
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, SECRET, STEW, WINE, SignIn, add, billed, order_body, pay, place, post, seat, state

cents = st.integers(0, 10**7)


@given(cents, st.integers(1, 60))
def test_equal_shares_add_up_and_differ_by_one_cent_at_most(total: int, parts: int) -> None:
    shares = equal_shares(total, parts)
    assert sum(shares) == total
    assert len(shares) == parts
    assert max(shares) - min(shares) <= 1


@given(st.dictionaries(st.integers(), cents, min_size=1, max_size=8), st.data())
def test_what_is_apportioned_adds_up_and_takes_no_more_than_there_is(weights: dict[int, int], data: Any) -> None:
    total = data.draw(st.integers(0, sum(weights.values())))
    shares = apportion(weights, total)
    assert sum(shares.values()) == total
    assert all(0 <= shares[key] <= weights[key] for key in weights)


@given(st.dictionaries(st.integers(), cents, min_size=1, max_size=4), st.lists(cents, max_size=12))
def test_payments_one_after_the_other_use_up_every_vat_rate_exactly(left: dict[int, int], wanted: list[int]) -> None:
    left = dict(left)
    for amount in [*wanted, 10**9]:
        taken = apportion(left, min(amount, sum(left.values())))
        left = {key: left[key] - taken[key] for key in left}
        assert all(value >= 0 for value in left.values())
    assert set(left.values()) == {0}


ITEMS = st.lists(st.tuples(st.none() | st.integers(1, 6), st.sampled_from(VAT_RATES), cents), min_size=1, max_size=12)


@given(ITEMS, st.data())
def test_what_is_owed_adds_up_by_seat_and_by_rate_after_every_payment(
    lines: list[tuple[int | None, int, int]], data: Any
) -> None:
    items = [Item(line, seat, rate, amount) for line, (seat, rate, amount) in enumerate(lines)]
    due = data.draw(st.integers(0, sum(item.amount for item in items)))
    left = owed(items, due)
    rates = by_rate(items, due)
    assert sum(left.values()) == due
    for rate, total in rates.items():
        assert sum(cents for cell, cents in left.items() if cell.rate == rate) == total
    paid: dict[int, int] = dict.fromkeys(rates, 0)
    while sum(left.values()):
        seat = data.draw(st.sampled_from(sorted({cell.seat for cell in left})))
        whole = sum(cents for cell, cents in left.items() if cell.seat == seat)
        amount = whole or data.draw(st.integers(1, sum(left.values())))
        others = {cell: cents for cell, cents in left.items() if cell.seat != seat}
        for cell, cents in take(left, amount, lambda cell, seat=seat: cell.seat == seat).items():
            assert 0 <= cents <= left[cell]
            left[cell] -= cents
            paid[cell.rate] += cents
        if whole:
            # Who has paid owes nothing, and nobody else owes more or less than before.
            assert all(left[cell] == 0 for cell in left if cell.seat == seat)
            assert {cell: cents for cell, cents in left.items() if cell.seat != seat} == others
    assert paid == rates


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def bill(client: FlaskClient, order: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/orders/{order}/bill").get_json()
    return found


def test_a_bill_split_in_three_is_settled_by_its_last_cent(server: FlaskClient) -> None:
    order = billed(server)
    assert post(server, f"/orders/{order}/lines", {"lines": [{"dish": EGGS}]}).status_code == 409
    split = server.get(f"/api/v1/orders/{order}/split?by=equal&parts=3").get_json()["shares"]
    assert [share["amount"] for share in split] == [1067, 1067, 1066]
    rates: dict[int, int] = {}
    for share in split:
        paid = pay(server, order, share["amount"], tip=100).get_json()
        for entry in paid["receipts"][0]["shares"]:
            rates[entry["rate"]] = rates.get(entry["rate"], 0) + entry["total"]
    assert rates == {1000: 620 + 1890, 2000: 690}
    done = bill(server, order)
    assert (done["left"], done["status"]) == (0, "paid")
    assert [payment["receipts"][0]["number"] for payment in done["payments"]] == [1, 2, 3]
    assert pay(server, order, 1).status_code == 409
    read = server.get(f"/api/v1/orders/{order}").get_json()
    for line in read["lines"]:
        for step in ("ready", "served"):
            moved = post(server, f"/orders/{order}/lines/{line['id']}/move", {"status": step})
    assert moved.get_json()["status"] == "closed"
    assert state(server, 1) == "free"


def test_a_bill_is_divided_by_seat_and_by_lines(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, EGGS, seat=1)
    add(server, order, STEW, seat=2)
    lines = add(server, order, WINE)["lines"]
    path = f"/api/v1/orders/{order}/split"
    seats = server.get(f"{path}?by=seat").get_json()["shares"]
    assert [share["amount"] for share in seats] == [620 + 345, 1890 + 345]
    parts = server.get(f"{path}?by=lines&lines={lines[0]['id']},{lines[2]['id']}").get_json()["shares"]
    assert [share["amount"] for share in parts] == [620 + 690, 1890]
    for wrong in ("by=lines", "by=lines&lines=x", "by=lines&lines=999", "by=equal&parts=0", "by=magic"):
        assert server.get(f"{path}?{wrong}").status_code == 422


def test_payments_at_once_never_exceed_the_bill(server: FlaskClient, sign_in: SignIn) -> None:
    order = billed(server)
    clients = [sign_in(Role.CASHIER) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda client: pay(client, order, 1000).status_code, clients))
    assert sorted(answers) == [201] * 3 + [409] * 5
    assert bill(server, order)["left"] == 200
    assert pay(server, order, 201).status_code == 409


def test_a_payment_sent_many_times_with_one_key_is_taken_once(app: Flask, server: FlaskClient) -> None:
    order = billed(server)
    token = server.get_cookie("session")
    assert token

    def send(_number: int) -> bytes:
        client = app.test_client()
        client.set_cookie("session", token.value)
        body = {"amount": 500, "method": "cash"}
        headers = {"Idempotency-Key": "one"}
        return client.post(f"/api/v1/orders/{order}/payments", json=body, headers=headers).data

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(send, range(12)))) == 1
    assert bill(server, order)["paid"] == 500


def test_discounts_need_a_manager_and_lower_every_rate(server: FlaskClient, manager: FlaskClient) -> None:
    order = billed(server)
    path = f"/orders/{order}/discounts"
    assert post(server, path, {"percent": 10, "reason": "attente"}).status_code == 403
    assert post(manager, path, {"reason": "attente"}).status_code == 422
    assert post(manager, path, {"amount": 99999, "reason": "attente"}).status_code == 409
    given = post(manager, path, {"percent": 10, "reason": "attente"}).get_json()
    assert (given["total"], given["due"]) == (3200, 2880)
    assert sum(share["total"] for share in given["shares"]) == 2880
    pay(server, order, 1000)
    assert post(manager, path, {"percent": 10, "reason": "encore"}).status_code == 409
    assert server.delete(f"/api/v1/orders/{order}/bill").status_code == 409


def test_a_bill_can_be_reopened_until_something_is_paid(server: FlaskClient) -> None:
    order = billed(server)
    assert server.delete(f"/api/v1/orders/{order}/bill").get_json()["status"] == "sent"
    add(server, order, EGGS)
    assert post(server, f"/orders/{order}/bill", None).get_json()["due"] == 3820
    assert post(server, f"/orders/{order}/bill", None).status_code == 409


def test_held_lines_and_unpresented_bills_are_refused(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, EGGS, hold=True)
    assert pay(server, order, 100).get_json()["type"] == "urn:restaurant:problem:not-billed"
    assert post(server, f"/orders/{order}/bill", None).get_json()["type"] == "urn:restaurant:problem:lines-held"


def test_an_order_given_away_is_closed_without_a_receipt(server: FlaskClient, manager: FlaskClient) -> None:
    order = billed(server, EGGS)
    given = post(manager, f"/orders/{order}/discounts", {"percent": 100, "reason": "offert"})
    assert given.get_json()["status"] == "paid"
    assert bill(server, order)["payments"] == []


def test_refunds_at_once_never_exceed_the_payment(server: FlaskClient, manager: FlaskClient, sign_in: SignIn) -> None:
    order = billed(server)
    payment = pay(server, order, 3200).get_json()["reference"]
    path = f"/payments/{payment}/refunds"
    assert post(server, path, {"amount": 100, "reason": "plat froid"}).status_code == 403
    clients = [sign_in(Role.MANAGER) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda c: post(c, path, {"amount": 1000, "reason": "plat froid"}).status_code, clients))
    assert sorted(answers) == [201] * 3 + [409] * 3
    last = post(manager, path, {"amount": 200, "reason": "le reste"}).get_json()
    assert last["amount"] == -200
    receipts = bill(server, order)["payments"][0]["receipts"]
    assert sum(receipt["amount"] for receipt in receipts) == 0
    totals: dict[int, int] = {}
    for receipt in receipts:
        for share in receipt["shares"]:
            totals[share["rate"]] = totals.get(share["rate"], 0) + share["total"]
    assert totals == {1000: 0, 2000: 0}
    assert [receipt["number"] for receipt in receipts] == [1, 2, 3, 4, 5]


def test_receipts_of_many_tables_paid_at_once_have_no_gap(
    server: FlaskClient, sign_in: SignIn, database: Database
) -> None:
    orders = [billed(server, EGGS, table=table) for table in range(1, 7)]
    clients = [sign_in(Role.CASHIER) for _ in orders]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda pair: pay(pair[0], pair[1], 620), zip(clients, orders, strict=True)))
    numbers = sorted(reply.get_json()["receipts"][0]["number"] for reply in replies)
    assert numbers == [1, 2, 3, 4, 5, 6]
    with database.snapshot() as session:
        assert verification.verify(session) == (13, [])


def test_the_day_is_closed_once_and_the_grand_total_continues(server: FlaskClient, manager: FlaskClient) -> None:
    assert post(manager, "/closings", None).status_code == 409
    pay(server, billed(server), 3200, tip=300)
    pay(server, billed(server, EGGS, table=2), 620, method="cash")
    first = post(manager, "/closings", None).get_json()
    assert (first["number"], first["first_receipt"], first["last_receipt"]) == (1, 1, 2)
    assert (first["total"], first["tips"], first["by_method"]) == (3820, 300, {"card": 3200, "cash": 620})
    assert sum(share["total"] for share in first["by_rate"]) == 3820
    assert post(manager, "/closings", None).status_code == 409
    pay(server, billed(server, EGGS, table=3), 620)
    second = post(manager, "/closings", None).get_json()
    assert (second["number"], second["total"], second["perpetual_total"]) == (2, 620, 4440)
    assert len(manager.get("/api/v1/closings").get_json()["items"]) == 2


def test_the_database_refuses_to_change_the_journal(server: FlaskClient, database: Database) -> None:
    pay(server, billed(server), 1000)
    for statement in ("UPDATE journal_entry SET content = '{}'", "DELETE FROM journal_entry"):
        with pytest.raises(DBAPIError, match="kept as they are"), database.writing() as session:
            session.execute(text(statement))


def test_the_commands_close_verify_and_export(
    server: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("RESTAURANT_SECRET_KEY", SECRET)
    monkeypatch.setenv("RESTAURANT_JOURNAL_KEY_FILE", str(settings.journal_key_file))
    monkeypatch.setenv("RESTAURANT_LOG_LEVEL", "error")
    runner = CliRunner()
    assert runner.invoke(main, ["close-day"]).exit_code == 1
    pay(server, billed(server), 3200)
    assert "receipts 1 to 1, €32.00" in runner.invoke(main, ["close-day"]).output
    assert "4 entries verified, 4 of them signed" in runner.invoke(main, ["verify-journal"]).output
    lines = [json.loads(line) for line in runner.invoke(main, ["export", "--since", "2020-01-01"]).output.splitlines()]
    assert [line["kind"] for line in lines] == ["key", "presentation", "payment", "closing"]
    assert runner.invoke(main, ["export", "--until", "2020-01-01"]).output == ""


def test_the_pages_of_the_cash_desk_work_without_scripts(server: FlaskClient, manager: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, EGGS, STEW, WINE)
    assert order in server.get("/caisse").text
    page = f"/caisse/{order}"
    assert server.post(f"{page}/addition").status_code == 303
    for query in ("by=equal&parts=3", "by=seat", "by=lines&lines=1&lines=2"):
        assert "Encaisser" in server.get(f"{page}?{query}").text
    assert manager.post(f"{page}/remises", data={"amount": "2,00", "reason": "geste", "key": "d"}).status_code == 303
    form = {"amount": "10,50", "tip": "1", "method": "card", "key": uuid.uuid4().hex}
    assert server.post(f"{page}/paiements", data=form).status_code == 303
    assert server.post(f"{page}/paiements", data=form).status_code == 303
    assert bill(server, order)["left"] == 3000 - 1050
    for wrong in ({"amount": "x"}, {"amount": "-1"}, {"amount": "1", "method": "gold"}, {"amount": "0"}):
        assert server.post(f"{page}/paiements", data={"method": "card", **wrong}).status_code == 422
    server.post(f"{page}/paiements", data={"amount": "19.50", "method": "cash"})
    assert "réglée" in server.get(page).text
    assert "10,50 €" in server.get("/caisse/tickets/1").text.replace("\u202f", " ").replace("\u00a0", " ")
    found = re.search(r"/caisse/paiements/([\w-]{36})/remboursements", manager.get(page).text)
    assert found
    refund = {"amount": "5", "reason": "froid", "key": "r"}
    assert manager.post(f"/caisse/paiements/{found[1]}/remboursements", data=refund).status_code == 303
    assert "3 tickets à clôturer" in manager.get("/clotures").text
    assert manager.post("/clotures").status_code == 303
    assert "Z 1" in manager.get("/clotures").text


def test_a_receipt_says_whose_it_is(server: FlaskClient, settings: Settings) -> None:
    order = billed(server)
    pay(server, order, 3200)
    said = {"address": "1 rue du Four, Paris", "registration": "SIRET 123 456 789 00012"}
    app = create_app(settings.model_copy(update=said))
    client, token = app.test_client(), server.get_cookie("session")
    assert token
    client.set_cookie("session", token.value)
    page = client.get("/caisse/tickets/1").text
    assert all(text in page for text in said.values())
    app.extensions["database"].engine.dispose()


def test_a_void_after_a_discount_never_leaves_less_than_nothing(server: FlaskClient, manager: FlaskClient) -> None:
    order = seat(server)["reference"]
    eggs, stew = (line["id"] for line in add(server, order, EGGS, STEW)["lines"])
    post(manager, f"/orders/{order}/discounts", {"amount": 1500, "reason": "attente"})
    assert post(manager, f"/orders/{order}/lines/{stew}/void", {"reason": "froid"}).status_code == 200
    assert (bill(server, order)["total"], bill(server, order)["due"]) == (620, 0)
    assert server.get(f"/caisse/{order}?by=seat").status_code == 200
    add(server, order, STEW)
    # The discount applies in full again to later orders.
    assert bill(server, order)["due"] == 2510 - 1500
    assert post(manager, f"/orders/{order}/lines/{eggs}/void", {"reason": "froid"}).status_code == 200
    assert post(server, f"/orders/{order}/bill", None).get_json()["due"] == 390


def test_a_discount_of_a_percentage_follows_the_order_and_can_be_removed(
    server: FlaskClient, manager: FlaskClient
) -> None:
    order = billed(server, EGGS)
    path = f"/orders/{order}/discounts"
    given = post(manager, path, {"percent": 50, "reason": "geste"}).get_json()
    assert given["due"] == 310
    assert server.delete(f"/api/v1/orders/{order}/bill").status_code == 200
    add(server, order, STEW)
    assert post(server, f"/orders/{order}/bill", None).get_json()["due"] == 1255
    key = given["discounts"][0]["id"]
    assert post(server, f"{path}/{key}/remove", {}).status_code == 403
    removed = post(manager, f"{path}/{key}/remove", {}).get_json()
    assert (removed["due"], removed["discounts"]) == (2510, [])
    assert post(manager, f"{path}/{key}/remove", {}).status_code == 404


@pytest.mark.parametrize(
    ("given", "moved", "left", "there"),
    [
        # 6.20 + 18.90; what was taken off each line goes along with it.
        ({"amount": 1500}, [STEW], 620 - 371, 1890 - 1129),
        ({"amount": 1500}, [EGGS, STEW], 0, 2510 - 1500),
        ({"percent": 10}, [STEW], 620 - 62, 1890 - 189),
        ({"percent": 100}, [EGGS], 0, 0),
        ({"percent": 33}, [EGGS, STEW], 0, 2510 - 828),
    ],
)
def test_lines_that_move_take_their_part_of_the_discount_along(
    server: FlaskClient, manager: FlaskClient, database: Database, given: dict[str, int], moved: list[int], left: int,
    there: int,
) -> None:  # fmt: skip
    one, two = (seat(server, table)["reference"] for table in (1, 2))
    keys = {line["dish_id"]: line["id"] for line in add(server, one, EGGS, STEW)["lines"]}
    assert bill(server, one)["total"] == 2510
    assert post(manager, f"/orders/{one}/discounts", given | {"reason": "attente"}).status_code == 201
    wanted = {"into": two, "lines": [keys[dish] for dish in moved]}
    assert post(server, f"/orders/{one}/lines/transfer", wanted).status_code == 200
    assert (bill(server, one)["due"], bill(server, two)["due"]) == (left, there)
    for order in (one, two):
        assert {entry["reason"] for entry in bill(server, order)["discounts"] if entry["amount"]} <= {"attente"}
        assert manager.get(f"/caisse/{order}?by=seat").status_code == 200
    post(server, f"/orders/{two}/bill", None)
    if there:
        assert pay(server, two, there).status_code == 201
    with database.snapshot() as session:
        assert verification.verify(session)[1] == []


def test_a_merge_keeps_the_discounts_of_both_tables(server: FlaskClient, manager: FlaskClient) -> None:
    one, two = (seat(server, table)["reference"] for table in (1, 2))
    add(server, one, EGGS)
    add(server, two, STEW)
    post(manager, f"/orders/{one}/discounts", {"percent": 50, "reason": "geste"})
    post(manager, f"/orders/{two}/discounts", {"amount": 100, "reason": "geste"})
    assert post(server, f"/orders/{one}/merge", {"into": two}).status_code == 200
    assert bill(server, two)["due"] == 2510 - 310 - 100


def test_a_seat_that_has_paid_owes_nothing_and_the_others_what_they_owed(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    add(server, order, EGGS, seat=1)
    add(server, order, STEW, seat=2)
    add(server, order, WINE, seat=3)
    post(server, f"/orders/{order}/bill", None)
    split = f"/api/v1/orders/{order}/split?by=seat"
    shares = server.get(split).get_json()["shares"]
    assert [(share["seat"], share["amount"]) for share in shares] == [(1, 620), (2, 1890), (3, 690)]
    receipt = pay(server, order, 690, seat=3).get_json()["receipts"][0]
    assert [(share["rate"], share["total"]) for share in receipt["shares"]] == [(2000, 690)]
    shares = server.get(split).get_json()["shares"]
    assert [(share["seat"], share["amount"]) for share in shares] == [(1, 620), (2, 1890), (3, 0)]
    page = server.get(f"/caisse/{order}?by=seat").text
    assert 'name="seat" value="1"' in page
    assert 'name="seat" value="3"' not in page
    for wrong in ({"seat": 9}, {"lines": [999]}, {"seat": 1, "lines": [1]}, {"seat": 0}):
        assert pay(server, order, 10, **wrong).status_code == 422, wrong
    # What is more than the seat owes lowers what the others owe.
    assert pay(server, order, 720, seat=1).status_code == 201
    assert [share["amount"] for share in server.get(split).get_json()["shares"]] == [0, 1790, 0]


def test_a_line_that_is_paid_owes_nothing_and_is_not_offered_again(server: FlaskClient) -> None:
    order = seat(server)["reference"]
    eggs, stew, wine = (line["id"] for line in add(server, order, EGGS, STEW, WINE)["lines"])
    post(server, f"/orders/{order}/bill", None)

    def offered() -> set[int]:
        return set(
            map(int, re.findall(r'type="checkbox" name="lines" value="(\d+)"', server.get(f"/caisse/{order}").text))
        )

    assert offered() == {eggs, stew, wine}
    assert pay(server, order, 620, lines=[eggs]).status_code == 201
    split = f"/api/v1/orders/{order}/split?by=lines&lines="
    assert [share["amount"] for share in server.get(f"{split}{eggs}").get_json()["shares"]] == [0, 1890 + 690]
    assert [share["amount"] for share in server.get(f"{split}{eggs},{wine}").get_json()["shares"]] == [690, 1890]
    assert offered() == {stew, wine}
    # A line of which a part is paid still owes the rest.
    assert pay(server, order, 600, lines=[wine]).status_code == 201
    assert offered() == {stew, wine}
    assert [share["amount"] for share in server.get(f"{split}{wine}").get_json()["shares"]] == [90, 1890]


def test_equal_parts_stay_equal_while_they_are_paid_one_by_one(server: FlaskClient) -> None:
    order = billed(server)
    for language, shown in (("fr", "10,67"), ("en", "10.67")):
        page = server.get(f"/caisse/{order}?by=equal&parts=3", headers={"Accept-Language": language}).text
        assert f'name="amount" required inputmode="decimal" value="{shown}"' in page
    left = 3
    for amount in ("10,66", "10,67", "10,67"):
        form = {"amount": amount, "method": "card", "by": "equal", "parts": str(left), "key": amount + str(left)}
        paid = server.post(f"/caisse/{order}/paiements", data=form)
        left -= 1
        assert paid.status_code == 303
        assert ("parts=2" in paid.location) == (left == 2)
    assert bill(server, order)["left"] == 0


def test_a_tip_is_refunded_and_closings_say_by_which_method_tips_came(
    server: FlaskClient, manager: FlaskClient
) -> None:
    payment = pay(server, billed(server), 3200, tip=300).get_json()["reference"]
    pay(server, billed(server, EGGS, table=2), 620, tip=50, method="cash")
    path = f"/payments/{payment}/refunds"
    assert post(manager, path, {"reason": "erreur"}).status_code == 422
    assert post(manager, path, {"tip": 301, "reason": "erreur"}).status_code == 409
    refunded = post(manager, path, {"tip": 200, "reason": "erreur"}).get_json()
    assert (refunded["amount"], refunded["tip"], refunded["shares"]) == (0, -200, [])
    assert manager.get(f"/caisse/tickets/{refunded['number']}").status_code == 200
    closing = post(manager, "/closings", None).get_json()
    assert (closing["tips"], closing["tips_by_method"]) == (150, {"card": 100, "cash": 50})


def test_a_paid_table_is_freed_and_a_paid_take_away_handed_over(
    server: FlaskClient, sign_in: SignIn, client: FlaskClient
) -> None:
    cashier = sign_in(Role.CASHIER)
    order = billed(server, EGGS)
    assert cashier.post(f"/caisse/{order}/fin").status_code == 409
    pay(server, order, 620)
    assert "Libérer la table" in server.get(f"/service/{order}").text
    assert server.post(f"/caisse/{order}/fin").status_code == 303
    assert state(server, 1) == "free"
    taken = place(client, order_body()).get_json()["reference"]
    post(cashier, f"/orders/{taken}/bill", None)
    pay(cashier, taken, 1240)
    assert "Remise au client" in cashier.get(f"/caisse/{taken}").text
    assert cashier.post(f"/caisse/{taken}/fin").status_code == 303
    assert server.get(f"/api/v1/orders/{taken}").get_json()["status"] == "closed"


def test_what_was_never_sent_needs_no_manager_and_a_part_of_a_line_can_be_voided(
    server: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    order = seat(server)["reference"]
    line = add(server, order, EGGS, hold=True)["lines"][0]["id"]
    assert server.post(f"/service/{order}/lignes/{line}/annulation").status_code == 303
    assert "Œuf mayonnaise</td>" not in server.get(f"/service/{order}").text
    assert server.post(f"/service/{order}/annulation").status_code == 303
    assert state(server, 1) == "free"
    order = seat(server)["reference"]
    line = add(server, order, EGGS, quantity=3)["lines"][0]["id"]
    path = f"/orders/{order}/lines/{line}/void"
    assert post(server, path, {"reason": "renversé", "quantity": 1}).status_code == 403
    assert post(server, f"/orders/{order}/cancel", {"reason": "partis"}).status_code == 403
    assert post(manager, path, {"reason": "renversé", "quantity": 4}).status_code == 409
    voided = post(manager, path, {"reason": "renversé", "quantity": 1}).get_json()
    assert [(entry["quantity"], entry["status"]) for entry in voided["lines"]] == [(2, "fired"), (1, "voided")]
    assert voided["total"] == 2 * 620
    with database.snapshot() as session:
        recorded = [json.loads(entry.content) for entry in journal.entries(session) if entry.kind == "void"]
    assert [(entry["quantity"], entry["amount"], entry["reason"]) for entry in recorded] == [(1, 620, "renversé")]


def test_a_table_is_handed_over_and_its_sales_go_to_who_serves_it(
    server: FlaskClient, manager: FlaskClient, sign_in: SignIn, database: Database
) -> None:
    order = seat(sign_in(Role.HOST))["reference"]
    add(server, order, EGGS)
    with database.reading() as session:
        people = {user.role: user.id for user in session.scalars(select(User))}
        served = session.scalars(select(Order.server_id)).one()
    assert served == people[Role.SERVER]
    for role, status in ((Role.HOST, 422), (Role.MANAGER, 200)):
        wanted = server.put(f"/api/v1/orders/{order}/server", json={"server": people[role]})
        assert wanted.status_code == status
    post(server, f"/orders/{order}/bill", None)
    pay(server, order, 620)
    day = BusinessDay(zone=ZoneInfo("Europe/Paris"), start=clock(5)).of(datetime.now(UTC))
    report = manager.get(f"/api/v1/reports?since={day}&until={day}").get_json()
    assert report["by_server"] == [{"label": "Manager", "count": 1, "total": 620}]


def test_options_are_in_the_language_of_the_page(server: FlaskClient, client: FlaskClient, database: Database) -> None:
    menu = server.get("/api/v1/menu").get_json()["categories"]
    steak = next(dish for group in menu for dish in group["dishes"] if dish["name"] == "Entrecôte grillée")
    chosen = [group["options"][0] for group in steak["option_groups"] if group["minimum"]]
    assert (chosen[0]["name"], chosen[0]["name_en"]) == ("Saignant", "Rare")
    lines = [{"dish": steak["id"], "options": [option["id"] for option in chosen]}]
    taken_away = place(client, order_body(lines=lines)).get_json()["reference"]
    # Lines of before have the French name only.
    old = seat(server, 2)["reference"]
    for reference in (order := seat(server)["reference"], old):
        assert post(server, f"/orders/{reference}/lines", {"lines": lines}).status_code == 201
    with database.writing() as session:
        for line in session.scalars(select(OrderLine).join(Order).where(Order.reference == uuid.UUID(old))):
            line.options = [{"name": option["name"], "price": option["price"]} for option in line.options]
    for reference in (order, old):
        due = post(server, f"/orders/{reference}/bill", None).get_json()["due"]
        assert pay(server, reference, due).status_code == 201
    pages = {
        f"/commandes/{taken_away}": True,
        f"/service/{order}": True,
        "/caisse/tickets/1": True,
        "/caisse/tickets/2": False,
    }
    for page, both in pages.items():
        english, french = (server.get(page, headers={"Accept-Language": language}).text for language in ("en", "fr"))
        assert ("Rare" in english, "Saignant" in english) == (both, not both), page
        assert "Saignant" in french, page
    with database.writing() as session:
        assert verification.verify(session)[1] == []
