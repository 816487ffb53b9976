"""The stock never goes below zero, and reports add up to the receipts."""

from __future__ import annotations

import csv
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from restaurant.database import Database
from restaurant.people.permissions import Role
from restaurant.stock.models import Ingredient, Movement
from support import EGGS, SignIn, add, billed, order_body, pay, post, seat


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def stock_of(client: FlaskClient, name: str) -> int:
    items = client.get("/api/v1/ingredients").get_json()["items"]
    return next(int(item["quantity"]) for item in items if item["name"] == name)


def eggs(client: FlaskClient, quantity: int) -> int:
    """Count `quantity` eggs, three of which make a portion; returns the ingredient's key."""
    new = {"name": "Œuf", "unit": "piece", "quantity": quantity, "low_at": 6}
    key = int(post(client, "/ingredients", new).get_json()["id"])
    items = [{"ingredient": key, "quantity": 3}]
    assert write_recipe(client, items).get_json()["items"] == items
    return key


def write_recipe(client: FlaskClient, items: list[dict[str, int]]) -> TestResponse:
    """Write what a portion of eggs takes, as somebody who has just read it."""
    recipe = f"/api/v1/dishes/{EGGS}/recipe"
    return client.put(recipe, json={"items": items}, headers={"If-Match": client.get(recipe).headers["ETag"]})


def test_the_last_portion_is_sold_once(app: Flask, manager: FlaskClient, database: Database) -> None:
    eggs(manager, 7)

    def place(_number: int) -> int:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = order_body(lines=[{"dish": EGGS, "quantity": 1}])
        status: int = app.test_client().post("/api/v1/orders", json=body, headers=headers).status_code
        return status

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(place, range(8)))
    assert sorted(answers) == [201] * 2 + [409] * 6
    assert stock_of(manager, "Œuf") == 1
    with database.reading() as session:
        moved = dict(
            session.execute(
                select(Movement.ingredient_id, func.sum(Movement.delta)).group_by(Movement.ingredient_id)
            ).all()
        )
        assert moved == {entry.id: entry.quantity for entry in session.scalars(select(Ingredient))}


def test_held_lines_take_nothing_until_they_are_sent_and_voided_ones_give_back(manager: FlaskClient) -> None:
    eggs(manager, 6)
    order = seat(manager)["reference"]
    line = add(manager, order, EGGS, hold=True, quantity=2)["lines"][0]["id"]
    assert stock_of(manager, "Œuf") == 6
    post(manager, f"/orders/{order}/fire", {})
    assert stock_of(manager, "Œuf") == 0
    refused = post(manager, f"/orders/{order}/lines", {"lines": [{"dish": EGGS}]})
    assert refused.get_json()["type"] == "urn:restaurant:problem:out-of-stock"
    post(manager, f"/orders/{order}/lines/{line}/void", {"reason": "erreur"})
    assert stock_of(manager, "Œuf") == 6
    cooked = add(manager, order, EGGS)["lines"][-1]["id"]
    post(manager, f"/kitchen/lines/{cooked}/move", {"status": "preparing"})
    post(manager, f"/orders/{order}/cancel", {"reason": "parti"})
    assert stock_of(manager, "Œuf") == 3


def test_deliveries_waste_and_counts_are_movements(manager: FlaskClient) -> None:
    key = eggs(manager, 5)
    for reason, quantity, answer, left in (
        ("delivered", 30, 201, 35),
        ("wasted", 5, 201, 30),
        ("wasted", 31, 409, 30),
        ("counted", 28, 201, 28),
        ("sold", 1, 422, 28),
        ("wasted", -1, 422, 28),
    ):
        moved = post(manager, f"/ingredients/{key}/movements", {"reason": reason, "quantity": quantity})
        assert (moved.status_code, stock_of(manager, "Œuf")) == (answer, left)
    assert post(manager, "/ingredients", {"name": "Œuf", "unit": "gram"}).status_code == 409
    assert write_recipe(manager, [{"ingredient": 999, "quantity": 1}]).status_code == 404
    assert write_recipe(manager, [{"ingredient": key, "quantity": 1}] * 2).status_code == 422


def test_a_dish_that_has_run_out_cannot_be_ordered(manager: FlaskClient, client: FlaskClient) -> None:
    assert manager.post(f"/carte/plats/{EGGS}/rupture", data={"out_of_stock": "1"}).status_code == 303
    refused = client.post("/api/v1/orders", json=order_body(), headers={"Idempotency-Key": "k"})
    assert refused.status_code == 409
    assert "Épuisé" in manager.get("/carte").text
    etag = client.get(f"/api/v1/dishes/{EGGS}").headers["ETag"]
    change = {"out_of_stock": False, "price": 650}
    changed = manager.patch(f"/api/v1/dishes/{EGGS}", json=change, headers={"If-Match": etag})
    assert (changed.get_json()["available"], changed.get_json()["price"]) == (True, 650)
    assert manager.patch(f"/api/v1/dishes/{EGGS}", json=change, headers={"If-Match": etag}).status_code == 412
    taken = {"name": "Terrine de campagne"}
    etag = changed.headers["ETag"]
    assert manager.patch(f"/api/v1/dishes/{EGGS}", json=taken, headers={"If-Match": etag}).status_code == 409


def test_reports_add_up_to_the_receipts(manager: FlaskClient, sign_in: SignIn) -> None:
    server = sign_in(Role.SERVER)
    with time_machine.travel("2026-04-03T17:00:00Z") as clock:
        first = billed(server, EGGS, 20)
        clock.shift(timedelta(minutes=80))
        pay(server, first, 1310, tip=90)
        second = billed(server, EGGS, table=2)
        payment = pay(server, second, 620, method="cash").get_json()["reference"]
        post(manager, f"/payments/{payment}/refunds", {"amount": 20, "reason": "geste"})
    report = manager.get("/api/v1/reports?since=2026-04-03&until=2026-04-03").get_json()
    assert (report["total"], report["tips"], report["orders"], report["covers"]) == (1910, 90, 2, 4)
    assert report["turn_minutes"] == 40
    for part in ("by_day", "by_hour", "by_server", "by_method", "by_rate"):
        assert sum(row["total"] for row in report[part]) == 1910, part
    assert report["by_hour"] == [{"label": "20", "count": 3, "total": 1910}]
    assert report["by_dish"][0] == {"label": "Œuf mayonnaise", "count": 2, "total": 1240}
    page = manager.get("/rapports?du=2026-04-03&au=2026-04-04").text
    assert 'class="chart"' in page
    assert "19,10" in page
    table = manager.get("/rapports/dish.csv?du=2026-04-03&au=2026-04-03").text
    assert table.startswith("\ufeffPar plat;Nombre;Total")
    assert list(csv.reader(table.splitlines(), delimiter=";"))[1] == ["Œuf mayonnaise", "2", "12,40"]
    english = manager.get("/rapports/method.csv?du=2026-04-03&au=2026-04-03&lang=en").text
    assert english.splitlines()[:2] == ['\ufeffBy payment method,Count,"Total, €"', "Card,1,13.10"]
    for wrong in ("/rapports?du=x", "/rapports?du=2026-04-03&au=2026-04-02", "/rapports/nothing.csv"):
        assert manager.get(wrong).status_code in {404, 422}
    assert manager.get("/api/v1/reports?since=2026-01-01&until=2026-12-31").status_code == 422


def test_the_page_of_the_stock_works_without_scripts(manager: FlaskClient) -> None:
    form = {"name": "Beurre", "unit": "gram", "quantity": "500", "low_at": "1000"}
    assert manager.post("/stock", data=form).status_code == 303
    page = manager.get("/stock").text
    assert "Beurre" in page
    assert "tag bad" in page
    assert manager.post("/stock/1", data={"reason": "delivered", "quantity": "1000"}).status_code == 303
    assert "1\u202f500\u00a0g" in manager.get("/stock").text
    assert manager.post("/stock/1", data={"reason": "delivered", "quantity": "x"}).status_code == 422
    assert manager.post("/stock", data={"name": ""}).status_code == 422


def test_an_ingredient_is_renamed_and_its_movements_are_told(manager: FlaskClient) -> None:
    key = eggs(manager, 5)
    listed = manager.get("/api/v1/ingredients").get_json()["items"][0]
    match = {"If-Match": f'"{listed["version"]}"'}
    other = post(manager, "/ingredients", {"name": "Beurre", "unit": "gram"}).get_json()["name"]
    address = f"/api/v1/ingredients/{key}"
    assert manager.patch(address, json={"name": other}, headers=match).status_code == 409
    changed = manager.patch(address, json={"name": "Œuf frais", "low_at": 12}, headers=match).get_json()
    assert (changed["name"], changed["low_at"], changed["quantity"]) == ("Œuf frais", 12, 5)
    assert manager.patch(address, json={"low_at": 1}, headers=match).status_code == 412
    add(manager, seat(manager)["reference"], EGGS)
    post(manager, f"/ingredients/{key}/movements", {"reason": "delivered", "quantity": 30})
    told = manager.get(f"{address}/movements?limit=2").get_json()
    assert [(entry["reason"], entry["delta"], entry["by"]) for entry in told["items"]] == [
        ("delivered", 30, "Manager"),
        ("sold", -3, None),
    ]
    oldest = manager.get(f"{address}/movements?limit=2&after={told['next']}").get_json()
    assert [entry["delta"] for entry in oldest["items"]] == [5]
    assert oldest["next"] is None
    assert manager.get("/api/v1/ingredients/999/movements").status_code == 404


def test_the_pages_of_an_ingredient_and_of_a_recipe_work_without_scripts(manager: FlaskClient) -> None:
    key = eggs(manager, 9)
    page = f"/stock/{key}"
    form = {"version": "1", "name": "Œuf bio", "low_at": "3"}
    assert [manager.post(f"{page}/fiche", data=form).status_code for _ in range(2)] == [303, 412]
    told = manager.get(page).text
    assert "Œuf bio" in told
    assert "+9" in told
    movement = {"key": "k", "reason": "wasted", "quantity": "2"}
    assert [manager.post(page, data=movement).status_code for _ in range(2)] == [303, 303]
    assert stock_of(manager, "Œuf bio") == 7
    recipe = f"/stock/recettes/{EGGS}"
    assert 'value="3"' in manager.get(recipe).text
    twice = {"ingredient-0": str(key), "quantity-0": "1", "ingredient-1": str(key), "quantity-1": "2"}
    read = manager.get(f"/api/v1/dishes/{EGGS}/recipe").get_json()["version"]
    for wrong in (twice, {"ingredient-0": str(key), "quantity-0": ""}, {"ingredient-0": str(key), "quantity-0": "0"}):
        assert manager.post(recipe, data={**wrong, "version": read}).status_code == 422
    two = {"ingredient-0": str(key), "quantity-0": "2", "version": read}
    assert [manager.post(recipe, data=two).status_code for _ in range(2)] == [303, 412]
    assert manager.get(f"/api/v1/dishes/{EGGS}/recipe").get_json()["items"] == [{"ingredient": key, "quantity": 2}]


def test_what_is_sold_after_midnight_belongs_to_the_evening(sign_in: SignIn) -> None:
    server, manager = sign_in(Role.SERVER), sign_in(Role.MANAGER)
    # 22:30 on Saturday and 01:10 on Sunday in Paris.
    for moment in ("2026-04-04T20:30:00+00:00", "2026-04-04T23:10:00+00:00"):
        with time_machine.travel(moment, tick=False):
            pay(server, billed(server, EGGS, table=1 if "20:30" in moment else 2), 620)
    with time_machine.travel("2026-04-04T23:10:00+00:00", tick=False):
        assert post(manager, "/closings", None).get_json()["day"] == "2026-04-04"
    report = manager.get("/api/v1/reports?since=2026-04-04&until=2026-04-04").get_json()
    assert report["by_day"] == [{"label": "2026-04-04", "count": 2, "total": 1240}]
    assert [row["label"] for row in report["by_hour"]] == ["22", "01"]
    assert manager.get("/api/v1/reports?since=2026-04-05&until=2026-04-05").get_json()["total"] == 0
    with time_machine.travel("2026-04-05T03:30:00+00:00", tick=False):
        pay(server, billed(server, EGGS, table=3), 620)
        assert post(manager, "/closings", None).get_json()["day"] == "2026-04-05"
