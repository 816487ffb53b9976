"""PINs and badges: approvals, and another person on a shared device."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from restaurant.billing import journal, verification
from restaurant.database import Database
from restaurant.errors import Invalid
from restaurant.people import quick, service
from restaurant.people.permissions import Role
from support import EGGS, SignIn, add, billed, post, seat

PASSWORD = "une phrase assez longue"


@pytest.fixture
def server(sign_in: SignIn) -> FlaskClient:
    return sign_in(Role.SERVER)


@pytest.fixture
def people(database: Database) -> dict[str, int]:
    """A manager, a server and an administrator with the PIN 2580."""
    found = {}
    with database.writing() as session:
        for name, role in (("max", Role.MANAGER), ("lea", Role.SERVER), ("ada", Role.ADMIN)):
            user = service.add_person(session, username=name, name=name.title(), role=role, password=PASSWORD)
            quick.set_pin(session, user, "2580", keys=database.signing_keys, by=user)
            found[name] = user.id
    return found


def approve(client: FlaskClient, secret: str, *, username: str = "max") -> Any:
    body = {"username": username, "password": secret, "permission": "discount"}
    return client.post("/api/v1/approvals", json=body)


def change(client: FlaskClient, username: str, secret: str) -> Any:
    return client.post("/compte/changement", data={"username": username, "secret": secret, "retour": "/caisse"})


@pytest.mark.parametrize(
    ("back", "goes"),
    [("/caisse?a=1", "/caisse?a=1"), ("//evil.example", "/"), ("/\t/evil.example", "/"), ("/\\evil.example", "/"),
     ("https://evil.example/caisse", "/"), ("javascript:alert(1)", "/")],
)  # fmt: skip
def test_who_changes_person_goes_nowhere_else(
    server: FlaskClient, people: dict[str, int], back: str, goes: str
) -> None:
    form = {"username": "max", "secret": "2580", "retour": back}
    changed = server.post("/compte/changement", data=form)
    assert changed.status_code == 303, changed.text
    assert changed.location == ("/accueil" if goes == "/" else goes)


def recorded(database: Database, kind: str) -> list[dict[str, Any]]:
    with database.snapshot() as session:
        assert verification.verify(session)[1] == []
        return [json.loads(entry.content) for entry in journal.entries(session) if entry.kind == kind]


def test_a_manager_approves_by_pin_badge_or_password(
    server: FlaskClient, database: Database, people: dict[str, int]
) -> None:
    order = billed(server, EGGS)
    with database.writing() as session:
        badge = quick.set_badge(session, service.read_person(session, people["max"]), given=True,
                                by=service.read_person(session, people["ada"]))  # fmt: skip
    for number, (secret, username) in enumerate(((PASSWORD, "max"), ("2580", "max"), (badge, "lea")), 1):
        token = approve(server, secret or "", username=username).get_json()["approval"]
        given = {"amount": 1, "reason": "geste", "approval": token}
        assert len(post(server, f"/orders/{order}/discounts", given).get_json()["discounts"]) == number
    assert approve(server, "2580", username="lea").status_code == 403
    found = recorded(database, "approval")
    assert [(entry["by"], entry["with"]) for entry in found] == [("max", "password"), ("max", "pin"), ("max", "badge")]
    assert all(entry["for"].startswith("server-") and entry["permission"] == "discount" for entry in found)
    # A badge that was withdrawn, or replaced, is not accepted.
    with database.writing() as session:
        quick.set_badge(session, service.read_person(session, people["max"]), given=False,
                        by=service.read_person(session, people["ada"]))  # fmt: skip
    assert approve(server, badge or "").status_code == 401
    assert [entry["given"] for entry in recorded(database, "credential")] == [True, True, True, True, False]


def test_the_page_asks_for_a_managers_pin(server: FlaskClient, people: dict[str, int]) -> None:
    order = seat(server)["reference"]
    line = add(server, order, EGGS)["lines"][0]["id"]
    page = server.get(f"/service/{order}").text
    assert '<option value="max">Max</option>' in page
    assert '<option value="lea">' not in page
    form = {"key": "a", "reason": "erreur", "manager": "max", "password": "2581"}
    assert server.post(f"/service/{order}/lignes/{line}/annulation", data=form).status_code == 401
    assert (
        server.post(f"/service/{order}/lignes/{line}/annulation", data=form | {"password": "2580"}).status_code == 303
    )


def test_guessing_a_pin_is_slowed_down_wherever_it_is_typed(
    app: Flask, server: FlaskClient, database: Database, people: dict[str, int]
) -> None:
    for number in range(5):
        assert approve(server, f"{number}193").status_code == 401
    blocked = approve(server, "2580")
    assert blocked.status_code == 429
    assert int(blocked.headers["Retry-After"]) > 0
    assert change(server, "max", "2580").status_code == 429
    # The others' PINs, and the manager's password, are not blocked.
    assert approve(server, PASSWORD).status_code == 201
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        assert approve(server, "2580").status_code == 201


def test_another_person_uses_a_shared_device(
    app: Flask, server: FlaskClient, database: Database, people: dict[str, int]
) -> None:
    before = app.test_client()
    session = server.get_cookie("session")
    assert session is not None
    before.set_cookie("session", session.value)
    page = server.get("/compte/changement?retour=/caisse").text
    assert '<option value="lea">Léa' in page or '<option value="lea">Lea' in page
    assert 'value="ada"' not in page
    wrong = change(server, "lea", "2581")
    assert (wrong.status_code, "incorrect" in wrong.text, "/caisse" in wrong.text) == (401, True, True)
    # An administrator's PIN is not enough to manage people.
    assert change(server, "ada", "2580").status_code == 403
    changed = change(server, "lea", "2580")
    assert (changed.status_code, changed.location) == (303, "/caisse")
    assert "Lea" in server.get("/compte").text
    # The former person is no longer signed in on this device.
    assert before.get("/accueil").status_code == 303
    # What is served from now on is credited to who serves.
    assert seat(server, 2)["reference"] in server.get("/api/v1/orders").text
    assert [(entry["by"], entry["with"]) for entry in recorded(database, "person")] == [("lea", "pin")]
    # Nobody does it on a device on which nobody is signed in, and not as someone who left.
    assert app.test_client().post("/compte/changement", data={}).location.startswith("/connexion")
    with database.writing() as writing:
        service.change_person(writing, service.read_person(writing, people["max"]), active=False)
    assert change(server, "max", "2580").status_code == 401
    by_api = server.post("/api/v1/account/change", json={"username": "ada", "password": PASSWORD})
    assert (by_api.status_code, by_api.get_json()["role"]) == (201, "admin")


def test_one_chooses_a_pin_with_the_password(app: Flask, database: Database, people: dict[str, int]) -> None:
    client = app.test_client()
    client.post("/connexion", data={"username": "lea", "password": PASSWORD})
    assert client.post("/compte/pin", data={"current": "x", "pin": "1379"}).status_code == 401
    for wrong in ("123", "1234", "4321", "7777", "123456789", "12a4", "²222"):
        assert client.post("/compte/pin", data={"current": PASSWORD, "pin": wrong}).status_code == 422
    assert client.post("/compte/pin", data={"current": PASSWORD, "pin": "1379"}).status_code == 303
    assert change(client, "lea", "2580").status_code == 401
    assert client.put("/api/v1/account/pin", json={"current": PASSWORD, "pin": None}).status_code == 204
    assert change(client, "lea", "1379").status_code == 401
    with database.reading() as session:
        kept = service.read_person(session, people["max"])
        assert "2580" not in (kept.pin_hash or "")
        # The PIN alone is not what was hashed, and another key does not tell it.
        assert not quick._matches(kept, "2580", "another key")
        with pytest.raises(Invalid):
            quick.set_pin(session, kept, "", keys=database.signing_keys, by=kept)


def test_the_team_page_gives_and_withdraws_badges_and_pins(
    sign_in: SignIn, database: Database, people: dict[str, int]
) -> None:
    admin = sign_in(Role.ADMIN)
    page = admin.post(f"/equipe/{people['lea']}/badge").text
    badge = page.partition("<code>badge-")[2].partition("</code>")[0]
    assert len(badge) >= 20
    assert "Retirer le badge" in admin.get("/equipe").text
    assert admin.post(f"/equipe/{people['lea']}/pin").status_code == 303
    assert change(admin, "lea", "2580").status_code == 401
    assert admin.delete(f"/api/v1/people/{people['lea']}/badge").status_code == 204
    assert change(admin, "", f"badge-{badge}").status_code == 401
    again = post(admin, f"/people/{people['lea']}/badge", None).get_json()["badge"]
    assert change(admin, "", again).status_code == 303
    assert "Lea" in admin.get("/compte").text
