"""Numbers that are too large for the database, or whose sums are, are refused in words."""

from __future__ import annotations

import uuid

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from restaurant.database import Database
from restaurant.people.permissions import Role
from restaurant.types import LARGEST, MOST
from support import EGGS, SignIn, add, billed, pay, post, seat

HUGE = (MOST + 1, LARGEST, LARGEST + 1, 2**63, 10**40)


def gold(client: FlaskClient) -> int:
    """A dish that is as dear as one can be."""
    options = [{"name": f"Or {number}", "price": 1_000_000} for number in range(10)]
    groups = [{"name": "Or", "minimum": 0, "maximum": 10, "options": options}]
    dish = {
        "category": 1,
        "name": "Or",
        "price": 10_000_000,
        "station": "hot",
        "course": "main",
        "option_groups": groups,
    }
    reply = post(client, "/dishes", dish)
    assert reply.status_code == 201, reply.text
    return int(reply.get_json()["id"])


@pytest.mark.parametrize("amount", HUGE)
def test_a_huge_amount_is_no_payment_refund_discount_tip_or_movement_of_cash(sign_in: SignIn, amount: int) -> None:
    manager = sign_in(Role.MANAGER)
    order = billed(manager)
    paid = pay(manager, order, 100).get_json()["reference"]
    assert post(manager, "/till/sessions", {"count": {"2000": 5}}).status_code == 201
    for path, body in (
        (f"/orders/{order}/payments", {"amount": amount, "method": "card"}),
        (f"/orders/{order}/payments", {"amount": 100, "tip": amount, "method": "card"}),
        (f"/orders/{order}/payments", {"amount": 100, "tendered": amount, "method": "cash"}),
        (f"/payments/{paid}/refunds", {"amount": amount, "reason": "geste"}),
        (f"/payments/{paid}/refunds", {"tip": amount, "reason": "geste"}),
        (f"/orders/{order}/discounts", {"amount": amount, "reason": "geste"}),
        ("/till/movements", {"kind": "deposit", "amount": amount, "reason": "geste"}),
    ):
        reply = post(manager, path, body)
        assert reply.status_code == 422, (path, body, reply.text)
        form = {key: str(value) for key, value in body.items()} | {"key": uuid.uuid4().hex}
        page = path.replace(f"/orders/{order}/payments", f"/caisse/{order}/paiements")
        assert manager.post(page, data=form).status_code in {404, 405, 422}
    # As large as allowed, it is only more than what is left.
    assert pay(manager, order, MOST).status_code == 409
    assert post(manager, f"/payments/{paid}/refunds", {"amount": MOST, "reason": "geste"}).status_code == 409


def test_no_order_comes_to_more_than_the_database_can_add(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    dish = gold(manager)
    whole = {"dish": dish, "quantity": 50}
    guests = {"guest": "Midas", "lines": [whole] * 3}
    reply = post(manager, "/orders", guests)
    assert reply.status_code == 409
    assert "10 000 000,00" in " ".join(reply.get_json()["detail"].split())
    first, second = seat(manager, 1)["reference"], seat(manager, 2)["reference"]
    for order in (first, second):
        assert post(manager, f"/orders/{order}/lines", {"lines": [whole]}).status_code == 201
    assert post(manager, f"/orders/{first}/lines", {"lines": [{**whole}] * 59}).status_code == 409
    kept = add(manager, first, dish, quantity=50)
    assert kept["total"] == MOST
    assert post(manager, f"/orders/{first}/lines", {"lines": [{"dish": EGGS}]}).status_code == 409
    moved = {"lines": [kept["lines"][0]["id"]], "into": second}
    assert post(manager, f"/orders/{second}/lines", {"lines": [whole]}).status_code == 201
    assert post(manager, f"/orders/{first}/lines/transfer", moved).status_code == 409
    assert post(manager, f"/orders/{first}/merge", {"into": second}).status_code == 409
    # What is allowed can be presented, paid and closed.
    assert post(manager, f"/orders/{first}/bill", None).status_code == 200
    assert pay(manager, first, MOST, tip=1_000_000).status_code == 201


def test_a_stock_does_not_grow_beyond_what_the_database_can_hold(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    new = {"name": "Sel", "unit": "gram", "quantity": 100_000_000}
    path = f"/ingredients/{post(manager, '/ingredients', new).get_json()['id']}/movements"
    replies = [post(manager, path, {"reason": "delivered", "quantity": 100_000_000}) for _time in range(12)]
    assert [reply.status_code for reply in replies] == [201] * 9 + [409] * 3
    for quantity in HUGE:
        assert post(manager, path, {"reason": "delivered", "quantity": quantity}).status_code == 422


def test_the_till_expects_more_than_one_amount_can_be(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    assert post(manager, "/till/sessions", {"count": {}}).status_code == 201
    for _time in range(4):
        assert post(manager, "/till/movements", {"kind": "deposit", "amount": MOST, "reason": "or"}).status_code == 201
    closed = post(manager, "/till/closing", {"count": {}, "note": "or"})
    assert (closed.status_code, closed.get_json()["closing_expected"]) == (201, 4 * MOST)
    assert manager.get("/caisse/tiroir").status_code == 200


def test_a_restaurant_of_many_years_can_still_close_its_day(sign_in: SignIn, database: Database) -> None:
    manager = sign_in(Role.MANAGER)
    dish = gold(manager)
    for table in (1, 2, 3):
        order = seat(manager, table)["reference"]
        assert (
            post(manager, f"/orders/{order}/lines", {"lines": [{"dish": dish, "quantity": 50}] * 2}).status_code == 201
        )
        assert post(manager, f"/orders/{order}/bill", None).status_code == 200
        assert pay(manager, order, MOST).status_code == 201
    closed = post(manager, "/closings", None)
    assert (closed.status_code, closed.get_json()["perpetual_total"]) == (201, 3 * MOST)
    with database.reading() as session:
        assert session.scalar(text("SELECT total FROM closing")) == 3 * MOST
    for page in ("/clotures", "/clotures/1", "/rapports"):
        assert manager.get(page).status_code == 200, page
