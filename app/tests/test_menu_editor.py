"""Writing the menu, over REST and on the house's pages."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from restaurant.people.permissions import Role
from support import SignIn, order_body, place

STEAK = 6
DISH = {
    "category": 1,
    "name": "Velouté de potimarron",
    "price": 790,
    "station": "hot",
    "course": "starter",
    "allergens": ["milk", "celery"],
    "option_groups": [{"name": "Pain", "minimum": 0, "maximum": 1, "options": [{"name": "Complet", "price": 50}]}],
}


@pytest.fixture
def manager(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.MANAGER)


def patch(client: FlaskClient, dish: dict[str, Any], **changes: object) -> Any:
    return client.patch(f"/api/v1/dishes/{dish['id']}", json=changes, headers={"If-Match": f'"{dish["version"]}"'})


def on_menu(client: FlaskClient, name: str) -> dict[str, Any] | None:
    categories = client.get("/api/v1/menu").get_json()["categories"]
    dishes: list[dict[str, Any]] = [dish for category in categories for dish in category["dishes"]]
    return next((dish for dish in dishes if dish["name"] == name), None)


def test_a_dish_is_added_ordered_with_its_option_changed_and_hidden(manager: FlaskClient, client: FlaskClient) -> None:
    added = manager.post("/api/v1/dishes", json=DISH)
    assert added.status_code == 201
    dish = added.get_json()
    option = dish["option_groups"][0]["options"][0]["id"]
    assert on_menu(client, DISH["name"]) is not None
    placed = place(client, order_body(lines=[{"dish": dish["id"], "options": [option]}])).get_json()
    assert placed["total"] == 840
    changed = patch(manager, dish, price=820, available_from="11:30:00", available_until="15:00:00").get_json()
    assert (changed["price"], changed["available_from"]) == (820, "11:30:00")
    open_all_day = patch(manager, changed, available_from=None, available_until=None).get_json()
    assert open_all_day["available_until"] is None
    assert patch(manager, open_all_day, archived=True).status_code == 200
    assert on_menu(client, DISH["name"]) is None
    assert place(client, order_body(lines=[{"dish": dish["id"]}]), key="k2").status_code == 422
    hidden = [entry for entry in manager.get("/api/v1/dishes?limit=100").get_json()["items"] if entry["archived"]]
    assert [entry["id"] for entry in hidden] == [dish["id"]]
    assert patch(manager, hidden[0], archived=False).status_code == 200
    assert on_menu(client, DISH["name"]) is not None


def test_options_keep_their_ids_when_they_are_changed(manager: FlaskClient) -> None:
    dish = manager.post("/api/v1/dishes", json=DISH).get_json()
    group = dish["option_groups"][0]
    option = group["options"][0]
    wanted = [
        {
            "id": group["id"],
            "name": "Pain",
            "maximum": 2,
            "options": [{"name": "Seigle"}, {"id": option["id"], "name": "Complet", "price": 80}],
        }
    ]
    changed = patch(manager, dish, option_groups=wanted).get_json()
    assert changed["version"] == dish["version"] + 1
    assert [(entry["name"], entry["price"]) for entry in changed["option_groups"][0]["options"]] == [
        ("Seigle", 0),
        ("Complet", 80),
    ]
    assert changed["option_groups"][0]["options"][1]["id"] == option["id"]
    gone = patch(manager, changed, option_groups=[]).get_json()
    assert gone["option_groups"] == []
    refused = patch(manager, gone, option_groups=wanted)
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/option_groups/0/id")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "Œuf mayonnaise"}, 409),
        ({"category": 999}, 404),
        ({"price": -1}, 422),
        ({"vat_dine_in": 1234}, 422),
        ({"allergens": ["dust"]}, 422),
        ({"available_from": "11:00:00"}, 422),
        ({"option_groups": [{"name": "x", "minimum": 2, "maximum": 1, "options": [{"name": "a"}]}]}, 422),
        ({"option_groups": [{"name": "x", "maximum": 2, "options": [{"name": "a"}]}]}, 422),
        ({"option_groups": [{"name": "x", "options": []}]}, 422),
        ({"surprise": 1}, 422),
    ],
)
def test_a_dish_that_cannot_be_is_refused_and_changes_nothing(
    manager: FlaskClient, changes: dict[str, object], status: int
) -> None:
    before = manager.get("/api/v1/dishes?limit=100").get_json()
    assert manager.post("/api/v1/dishes", json={**DISH, **changes}).status_code == status
    assert manager.get("/api/v1/dishes?limit=100").get_json() == before


def test_an_edit_of_a_dish_that_changed_meanwhile_is_refused(manager: FlaskClient) -> None:
    dish = manager.post("/api/v1/dishes", json=DISH).get_json()
    assert patch(manager, dish, price=1).status_code == 200
    assert patch(manager, dish, price=2).status_code == 412


def test_headings_are_added_moved_renamed_and_removed_when_empty(manager: FlaskClient, client: FlaskClient) -> None:
    added = manager.post("/api/v1/categories", json={"name": "Fromages", "name_en": "Cheese"}).get_json()
    assert manager.post("/api/v1/categories", json={"name": "Fromages"}).status_code == 409

    def change(method: str, entry: dict[str, Any], body: dict[str, object] | None = None) -> Any:
        headers = {"If-Match": f'"{entry["version"]}"'}
        return manager.open(f"/api/v1/categories/{entry['id']}", method=method, json=body, headers=headers)

    first = change("PATCH", added, {"position": 0}).get_json()
    assert client.get("/api/v1/menu").get_json()["categories"][0]["name"] == "Fromages"
    renamed = change("PATCH", first, {"name": "Les fromages"}).get_json()
    full = client.get("/api/v1/menu").get_json()["categories"][1]
    assert change("DELETE", full).status_code == 409
    assert change("DELETE", first).status_code == 412
    assert change("DELETE", renamed).status_code == 204


def test_the_pages_add_a_dish_change_it_and_move_headings(manager: FlaskClient, client: FlaskClient) -> None:
    form = {
        "category": "1", "name": "Tartare", "price": "14,50", "vat_dine_in": "1000", "vat_take_away": "550",
        "station": "cold", "course": "starter", "allergens": ["eggs", "mustard"], "available_from": "12:00",
        "available_until": "14:30", "group-0-name": "Cuisson", "group-0-minimum": "1", "group-0-maximum": "1",
        "group-0-option-0-name": "Cru", "group-0-option-1-name": "Aller-retour", "group-0-option-1-price": "0,50",
        "group-0-option-2-name": "", "group-1-name": "",
    }  # fmt: skip
    assert manager.get("/carte/plats/nouveau?rubrique=1").status_code == 200
    saved = manager.post("/carte/plats/nouveau", data=form)
    assert saved.status_code == 303
    dish = next(
        entry for entry in manager.get("/api/v1/dishes?limit=100").get_json()["items"] if entry["name"] == "Tartare"
    )
    assert (dish["price"], dish["vat_take_away"], dish["allergens"]) == (1450, 550, ["eggs", "mustard"])
    assert [option["price"] for option in dish["option_groups"][0]["options"]] == [0, 50]
    page = manager.get(f"/carte/plats/{dish['id']}").text
    assert 'value="Aller-retour"' in page
    again = {**form, "version": str(dish["version"]), "price": "15", "available_from": "", "available_until": ""}
    assert manager.post(f"/carte/plats/{dish['id']}", data=again).status_code == 303
    assert manager.post(f"/carte/plats/{dish['id']}", data=again).status_code == 412
    assert manager.post(f"/carte/plats/{dish['id']}/masquage", data={"archived": "1"}).status_code == 303
    assert on_menu(client, "Tartare") is None
    categories = client.get("/api/v1/menu").get_json()["categories"]
    moved = manager.post(
        f"/carte/rubriques/{categories[0]['id']}", data={"move": "down", "version": categories[0]["version"]}
    )
    assert moved.status_code == 303
    assert client.get("/api/v1/menu").get_json()["categories"][1]["id"] == categories[0]["id"]
    refused = manager.post("/carte/plats/nouveau", data={**form, "name": "", "price": "1"})
    assert refused.status_code == 422


def test_every_reader_sees_a_change_of_the_menu_at_once(app: Flask, manager: FlaskClient) -> None:
    clients = [app.test_client() for _ in range(3)]
    for number in range(3):
        heading = manager.post("/api/v1/categories", json={"name": f"Rubrique {number}"}).get_json()
        for client in clients:
            assert f"Rubrique {number}" in client.get("/").text
        etag = {"If-Match": f'"{heading["version"]}"'}
        manager.patch(f"/api/v1/categories/{heading['id']}", json={"name": f"Autre {number}"}, headers=etag)
        assert f"Rubrique {number}" not in clients[0].get("/").text
