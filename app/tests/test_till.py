"""The cash drawer: counted, moved, and what was expected against what was counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from restaurant.billing import verification
from restaurant.database import Database
from restaurant.people.permissions import Role
from support import EGGS, STEW, SignIn, billed, pay, post


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def cashier(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.CASHIER)


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def test_what_is_expected_follows_cash_tips_refunds_and_movements(
    server: FlaskClient, cashier: FlaskClient, manager: FlaskClient, database: Database
) -> None:
    assert cashier.get("/api/v1/till").status_code == 404
    for path, body in (
        ("/till/movements", {"kind": "deposit", "amount": 1, "reason": "x"}),
        ("/till/closing", {"count": {}}),
    ):
        assert post(cashier, path, body).get_json()["type"] == "urn:restaurant:problem:till-closed"
    opened = post(cashier, "/till/sessions", {"count": {"5000": 1, "200": 25, "1": 0}}).get_json()
    assert (opened["number"], opened["opening_total"], opened["opening_expected"]) == (1, 10000, None)
    assert opened["opening_count"] == {"5000": 1, "200": 25}
    assert post(cashier, "/till/sessions", {"count": {}}).status_code == 409
    order = billed(server, EGGS, STEW)
    paid = pay(server, order, 1510, method="cash", tip=90, tendered=2000).get_json()
    assert (paid["tendered"], paid["change"]) == (2000, 400)
    pay(server, order, 1000, method="card", tip=150)
    post(manager, f"/payments/{paid['reference']}/refunds", {"amount": 500, "tip": 20, "reason": "froid"})
    post(cashier, "/till/movements", {"kind": "deposit", "amount": 2000, "reason": "monnaie"})
    post(cashier, "/till/movements", {"kind": "tips", "amount": 150, "reason": "pourboires"})
    too_much = post(cashier, "/till/movements", {"kind": "withdrawal", "amount": 12931, "reason": "banque"})
    assert too_much.get_json()["type"] == "urn:restaurant:problem:drawer-too-low"
    post(cashier, "/till/movements", {"kind": "withdrawal", "amount": 10000, "reason": "banque"})
    # Who counts does not see what is expected, a manager does.
    assert cashier.get("/api/v1/till").get_json()["closing_expected"] is None
    assert "Attendu dans le tiroir" not in cashier.get("/caisse/tiroir").text
    assert "29,30" in manager.get("/caisse/tiroir").text
    closed = post(cashier, "/till/closing", {"count": {"2000": 1, "200": 4}, "note": "pièce perdue"}).get_json()
    assert (closed["closing_expected"], closed["closing_total"], closed["difference"]) == (2930, 2800, -130)
    assert closed["by_method"] == {"card": 1000, "cash": 1010}
    assert closed["tips_by_method"] == {"card": 150, "cash": 70}
    # Cash that is taken before the till opens again is expected then.
    pay(server, billed(server, EGGS, table=2), 620, method="cash")
    again = post(cashier, "/till/sessions", {"count": {"2000": 1, "200": 4, "500": 1}}).get_json()
    assert (again["opening_expected"], again["opening_difference"]) == (3420, -120)
    assert [one["number"] for one in cashier.get("/api/v1/till/sessions").get_json()["items"]] == [2, 1]
    assert cashier.get("/api/v1/till/sessions/1").get_json() == closed
    with database.snapshot() as session:
        assert verification.verify(session)[1] == []


def test_the_pages_of_the_drawer(server: FlaskClient, cashier: FlaskClient) -> None:
    page = "/caisse/tiroir"
    assert "Ouvrir la caisse" in cashier.get(page).text
    assert cashier.post(page, data={"key": "a", "n2000": "5", "n50": ""}).location == page
    assert cashier.post(page, data={"key": "a", "n2000": "5", "n50": ""}).location == page
    assert cashier.post(page, data={"key": "b", "n2000": "5"}).status_code == 409
    for wrong in ("x", "-1", "10000", "²", "1.5"):
        assert cashier.post(f"{page}/cloture", data={"key": "x", "n2000": wrong}).status_code == 422
    moved = {"key": "c", "kind": "expense", "amount": "8,50", "reason": "pain"}
    assert [cashier.post(f"{page}/mouvements", data=moved).status_code for _ in range(2)] == [303, 303]
    assert cashier.get(page).text.count("-8,50") == 1
    order = billed(server, EGGS)
    form = {"key": "d", "amount": "6,20", "tip": "", "method": "cash", "tendered": "5"}
    assert server.post(f"/caisse/{order}/paiements", data=form).status_code == 422
    paid = server.post(f"/caisse/{order}/paiements", data=form | {"tendered": "10,00"})
    assert "À rendre <strong>3,80" in server.get(paid.location).text
    assert "3,80" in server.get("/caisse/tickets/1").text
    # The field does not count for a card.
    other = billed(server, EGGS, table=2)
    assert server.post(f"/caisse/{other}/paiements", data=form | {"method": "card"}).status_code == 303
    closed = cashier.post(f"{page}/cloture", data={"key": "e", "n2000": "4", "n1000": "1", "n500": "1", "note": ""})
    report = cashier.get(closed.location).text
    for told in ("97,70", "95,00", "4 × 20,00", "pain"):
        assert told in report
    assert closed.location in cashier.get(page).text
    assert cashier.get(f"{page}/99").status_code == 404


def test_cash_taken_while_the_till_closes_is_in_one_session(server: FlaskClient, sign_in: SignIn) -> None:
    orders = [billed(server, EGGS, table=table) for table in (1, 2, 3, 4)]
    post(server, "/till/sessions", {"count": {}})
    clients = [sign_in(Role.CASHIER) for _ in range(5)]

    def act(number: int) -> int:
        if number == 2:
            return int(post(clients[4], "/till/closing", {"count": {}}).status_code)
        order = orders[number if number < 2 else number - 1]
        return int(pay(clients[number if number < 2 else number - 1], order, 620, method="cash").status_code)

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(act, range(5))) == {201}
    closed = server.get("/api/v1/till/sessions/1").get_json()
    opened = post(server, "/till/sessions", {"count": {}}).get_json()
    assert closed["closing_expected"] + opened["opening_expected"] == 4 * 620


def test_only_cash_is_tendered(server: FlaskClient) -> None:
    order = billed(server, EGGS)
    for wrong in ({"method": "card", "tendered": 1000}, {"method": "cash", "tendered": 619}):
        refused = pay(server, order, 620, **wrong)
        assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/tendered")
