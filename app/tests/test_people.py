"""Signing in, what each role may do, and the list of people."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from argon2 import PasswordHasher
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from restaurant.app import create_app
from restaurant.cli import main
from restaurant.database import Database
from restaurant.http.guard import Guard
from restaurant.http.targets import local_path
from restaurant.people import attempts, service
from restaurant.people.permissions import GRANTED, Access, Permission, Role
from restaurant.settings import Settings

SignIn = Callable[[Role], FlaskClient]
PASSWORD = "une phrase assez longue"


@pytest.fixture
def lea(database: Database) -> int:
    with database.writing() as session:
        return service.add_person(session, username="lea", name="Léa", role=Role.SERVER, password=PASSWORD).id


def token_of(client: FlaskClient, **changes: str) -> tuple[int, str]:
    reply = client.post("/api/v1/sessions", json={"username": "lea", "password": PASSWORD, **changes})
    return reply.status_code, reply.get_json().get("token", "")


def reaches(client: FlaskClient, token: str) -> int:
    return client.get("/accueil", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_session_lasts_until_it_is_closed(client: FlaskClient, lea: int) -> None:
    status, token = token_of(client)
    assert (status, reaches(client, token)) == (201, 200)
    headers = {"Authorization": f"Bearer {token}"}
    assert client.delete("/api/v1/sessions/current", headers=headers).status_code == 204
    assert reaches(client, token) == 303


def test_wrong_credentials_do_not_say_which_part_is_wrong(client: FlaskClient, lea: int) -> None:
    wrong = client.post("/api/v1/sessions", json={"username": "lea", "password": "x"}).get_json()
    unknown = client.post("/api/v1/sessions", json={"username": "nobody", "password": "x"}).get_json()
    assert {**wrong, "request_id": ""} == {**unknown, "request_id": ""}
    assert wrong["status"] == 401


@pytest.mark.parametrize("addresses", [1, 12])
def test_guessing_is_slowed_down_for_a_name_even_when_tried_at_once(
    app: Flask, lea: int, addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if addresses > 1:
        monkeypatch.setitem(attempts.FREE_FAILURES, "user", 4)

    def guess(number: int) -> int:
        client = app.test_client()
        address = {"REMOTE_ADDR": "127.0.0.1" if addresses == 1 else f"10.0.0.{number}"}
        body = {"username": "lea", "password": "wrong"}
        return client.post("/api/v1/sessions", json=body, environ_overrides=address).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(guess, range(12)))
    assert answers.count(401) <= 5
    blocked = app.test_client().post("/api/v1/sessions", json={"username": "lea", "password": PASSWORD})
    assert blocked.status_code == 429
    assert int(blocked.headers["Retry-After"]) > 0
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        assert token_of(app.test_client())[0] == 201


def test_a_house_behind_one_address_is_not_shut_out_by_a_few_mistakes(client: FlaskClient, lea: int) -> None:
    for number in range(8):
        wrong = client.post("/api/v1/sessions", json={"username": f"guest{number}", "password": "x"})
        assert wrong.status_code == 401
    assert token_of(client)[0] == 201


def test_a_session_ends_when_idle_too_long_old_or_when_the_person_is_shut_out(
    client: FlaskClient, database: Database, lea: int
) -> None:
    _status, token = token_of(client)
    start = datetime.now(UTC)
    for hour in range(11, 7 * 24, 11):
        with time_machine.travel(start + timedelta(hours=hour)):
            assert reaches(client, token) == 200
    with time_machine.travel(start + timedelta(days=7, minutes=1)):
        assert reaches(client, token) == 303
    _status, idle = token_of(client)
    with time_machine.travel(start + timedelta(hours=13)):
        assert reaches(client, idle) == 303
    _status, open_ = token_of(client)
    with database.writing() as session:
        service.change_person(session, service.read_person(session, lea), active=False)
    assert reaches(client, open_) == 303
    assert token_of(client)[0] == 401


def test_the_last_administrator_cannot_be_removed(database: Database) -> None:
    with database.writing() as session:
        first = service.add_person(session, username="a1", name="A", role=Role.ADMIN, password=PASSWORD)
        second = service.add_person(session, username="a2", name="B", role=Role.ADMIN, password=PASSWORD)

    def remove(key: int) -> bool:
        try:
            with database.writing() as session:
                service.change_person(session, service.read_person(session, key), active=False)
        except service.Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, (first.id, second.id))) == [False, True]


def rules(app: Flask) -> list[tuple[str, str, str]]:
    return [
        (rule.endpoint, method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.endpoint != "static"
    ]


def path_of(rule: str) -> str:
    rule = re.sub(r"<key:\w+>", "1", rule)
    rule = re.sub(r"<date:\w+>", "2026-04-03", rule)
    return re.sub(r"<uuid:\w+>", "00000000-0000-0000-0000-000000000000", rule)


def test_every_route_has_a_rule(app: Flask) -> None:
    guard: Guard = app.extensions["guard"]
    assert [entry for entry in rules(app) if guard.rule(entry[0], entry[1]) is None] == []


def test_a_route_without_a_rule_answers_nobody(settings: Settings, sign_in: SignIn) -> None:
    app = create_app(settings)
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    client, token = app.test_client(), sign_in(Role.ADMIN).get_cookie("session")
    assert token
    assert client.get("/forgotten").status_code == 303
    client.set_cookie("session", token.value)
    assert client.get("/accueil").status_code == 200
    assert client.get("/forgotten").status_code == 403
    app.extensions["database"].engine.dispose()


def test_passwords_are_hashed_at_least_as_owasp_recommends(real_hasher: PasswordHasher) -> None:
    assert real_hasher.hash(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_each_role_reaches_exactly_what_it_is_granted(app: Flask, sign_in: SignIn) -> None:
    guard: Guard = app.extensions["guard"]
    for role in Role:
        client = sign_in(role)
        for endpoint, method, rule in rules(app):
            wanted = guard.rule(endpoint, method)
            if isinstance(wanted, Access) or endpoint == "kitchen.stream":
                continue
            reply = client.open(path_of(rule), method=method)
            allowed = wanted in GRANTED[role]
            assert (reply.status_code != 403) == allowed, (role, method, rule, reply.status_code)
            assert reply.status_code < 500, (role, method, rule)


def test_without_signing_in_nothing_but_public_routes_is_reached(app: Flask) -> None:
    guard: Guard = app.extensions["guard"]
    client = app.test_client()
    for endpoint, method, rule in rules(app):
        if guard.rule(endpoint, method) is Access.PUBLIC:
            continue
        reply = client.open(path_of(rule), method=method)
        assert reply.status_code == (401 if rule.startswith("/api/") else 303), (method, rule)


def test_people_are_edited_with_the_version_one_has_read(sign_in: SignIn, lea: int) -> None:
    admin = sign_in(Role.ADMIN)
    read = admin.get(f"/api/v1/people/{lea}")
    etag = read.headers["ETag"]
    address, change = f"/api/v1/people/{lea}", {"name": "Léa B."}
    assert admin.patch(address, json=change).status_code == 428
    assert admin.patch(address, json=change, headers={"If-Match": '"99"'}).status_code == 412
    changed = admin.patch(address, json=change, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert changed.get_json()["name"] == "Léa B."
    assert admin.patch(address, json=change, headers={"If-Match": etag}).status_code == 412


def test_a_user_name_is_given_once(sign_in: SignIn, lea: int) -> None:
    new = {"username": "LEA", "name": "Léa 2", "role": "server", "password": PASSWORD}
    assert sign_in(Role.ADMIN).post("/api/v1/people", json=new).status_code == 409


def test_the_pages_to_sign_in_and_manage_the_team_work(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    page = sign_in(Role.ADMIN).post("/equipe", data={"name": "Sam", "username": "sam", "role": "kitchen"}).text
    found = re.search(r"<code>([\w-]{16})</code>", page)
    assert found
    assert client.get("/equipe").location == "/connexion?retour=/equipe"
    refused = client.post("/connexion", data={"username": "sam", "password": "no"})
    assert (refused.status_code, "incorrect" in refused.text) == (401, True)
    entered = client.post("/connexion", data={"username": "Sam", "password": found[1], "retour": "//evil.example"})
    assert (entered.status_code, entered.location) == (303, "/accueil")
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert client.get("/accueil").status_code == 200
    client.post("/deconnexion")
    assert client.get("/accueil").status_code == 303


def test_an_approval_is_used_once_and_only_for_what_it_was_given(database: Database, lea: int) -> None:
    with database.writing() as session:
        service.add_person(session, username="max", name="Max", role=Role.MANAGER, password=PASSWORD)
    with database.reading() as session:
        server = service.read_person(session, lea)
    token = service.give_approval(
        database, permission=Permission.VOID_LINES, username="max", password=PASSWORD, actor=server
    )

    def answer(permission: Permission, approval: str | None) -> str:
        with database.writing() as session:
            return service.answer_for(session, actor=server, permission=permission, approval=approval).username

    for permission, approval in ((Permission.REFUND, token), (Permission.VOID_LINES, None), (Permission.REFUND, "x")):
        with pytest.raises(service.Refused):
            answer(permission, approval)
    assert answer(Permission.VOID_LINES, token) == "max"
    with pytest.raises(service.Refused):
        answer(Permission.VOID_LINES, token)
    with pytest.raises(service.Refused):
        service.give_approval(database, permission=Permission.REFUND, username="lea", password=PASSWORD, actor=server)


def test_the_first_administrator_gets_a_random_password_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", f"sqlite:///{tmp_path / 'r.sqlite3'}")
    runner = CliRunner()
    runner.invoke(main, ["migrate"])
    first = runner.invoke(main, ["create-admin"]).output
    second = runner.invoke(main, ["create-admin"]).output
    passwords = [re.search(r"password:  (\S{20})", output) for output in (first, second)]
    assert passwords[0] and passwords[1]  # noqa: PT018
    assert passwords[0][1] != passwords[1][1]


def test_ones_own_password_is_changed_and_other_devices_are_signed_out(client: FlaskClient, lea: int) -> None:
    (_status, here), (_other, there) = token_of(client), token_of(client)
    bearer = {"Authorization": f"Bearer {here}"}
    new = "une autre phrase, plus longue"
    for wrong, status in (
        ({"current": "no", "new": new}, 401),
        ({"current": PASSWORD, "new": "court"}, 422),
        ({"new": new}, 422),
    ):
        assert client.put("/api/v1/account/password", json=wrong, headers=bearer).status_code == status
    changed = client.put("/api/v1/account/password", json={"current": PASSWORD, "new": new}, headers=bearer)
    assert changed.status_code == 200
    assert [reaches(client, token) for token in (here, there, changed.get_json()["token"])] == [303, 303, 200]
    assert token_of(client)[0] == 401
    assert token_of(client, password=new)[0] == 201


def test_the_page_of_ones_account_changes_the_password_and_keeps_this_device_signed_in(
    client: FlaskClient, lea: int
) -> None:
    client.post("/connexion", data={"username": "lea", "password": PASSWORD})
    new = "une autre phrase, plus longue"
    for wrong, status in (({"current": "no"}, 401), ({"again": "autre"}, 422), ({"new": "court"}, 422)):
        form = {"current": PASSWORD, "new": new, "again": new} | wrong
        assert client.post("/compte", data=form).status_code == status
    assert client.post("/compte", data={"current": PASSWORD, "new": new, "again": new}).status_code == 303
    assert client.get("/compte").status_code == 200


def test_the_team_page_changes_roles_and_gives_a_new_password(app: Flask, sign_in: SignIn, lea: int) -> None:
    admin, person = sign_in(Role.ADMIN), app.test_client()
    _status, token = token_of(person)
    change = {"version": "1", "name": "Léa B.", "role": "host"}
    assert [admin.post(f"/equipe/{lea}", data=change).status_code for _ in range(2)] == [303, 412]
    assert reaches(person, token) == 303
    found = re.search(r"<code>([\w-]{16})</code>", admin.post(f"/equipe/{lea}/mot-de-passe").text)
    assert found
    assert token_of(person)[0] == 401
    assert token_of(person, password=found[1])[0] == 201
    shut = [admin.post(f"/equipe/{lea}/acces", data={"active": "0"}).status_code for _ in range(2)]
    assert (shut, token_of(person, password=found[1])[0]) == ([303, 303], 401)
    assert admin.post(f"/equipe/{lea}/acces", data={}).status_code == 422


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/salle?x=1", "/salle?x=1"),
        ("//evil.example", "/accueil"),
        ("/\t/evil.example", "/accueil"),
        ("/\n/evil.example", "/accueil"),
        ("/\\evil.example", "/accueil"),
        ("\\\\evil.example", "/accueil"),
        ("https://evil.example/", "/accueil"),
        ("javascript:alert(1)", "/accueil"),
        ("/salle#x", "/salle"),
        ("http://[", "/accueil"),
        ("", "/accueil"),
    ],
)
def test_a_return_address_is_a_path_of_this_site(one_app: Flask, target: str, goes: str) -> None:
    with one_app.test_request_context("/"):
        assert local_path(target, default="/accueil") == goes


def test_a_language_is_chosen_and_leads_nowhere_else(client: FlaskClient) -> None:
    chosen = client.post("/langue", data={"lang": "en", "back": "/\t/evil.example"})
    assert (chosen.status_code, chosen.location) == (303, "/")


def test_a_stranger_who_fails_with_a_name_does_not_lock_its_owner_out(
    app: Flask, lea: int, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(password: str, address: str) -> int:
        body = {"username": "lea", "password": password}
        from_there = {"REMOTE_ADDR": address}
        return app.test_client().post("/api/v1/sessions", json=body, environ_overrides=from_there).status_code

    assert [attempt("wrong", "203.0.113.9") for _ in range(6)] == [401] * 5 + [429]
    assert attempt(PASSWORD, "203.0.113.9") == 429
    assert attempt(PASSWORD, "198.51.100.7") == 201
    # Many addresses together do block a name, but not on a device of the house.
    monkeypatch.setitem(attempts.FREE_FAILURES, "user", 2)
    assert [attempt("wrong", f"203.0.113.{number}") for number in range(20, 24)] == [401, 401, 401, 429]
    assert attempt(PASSWORD, "198.51.100.8") == 429
    body = {"username": "lea", "password": PASSWORD, "permission": "refund"}
    approved = sign_in(Role.SERVER).post("/api/v1/approvals", json=body)
    # Her password is accepted; she may not refund.
    assert (approved.status_code, approved.get_json()["type"]) == (403, "urn:restaurant:problem:approval-needed")


def test_those_who_sign_in_at_once_do_not_disturb_each_other(database: Database) -> None:
    def sign_in(_number: int) -> None:
        with suppress(attempts.TooManyAttempts):
            attempts.count_attempts(database, ["pair:lea@203.0.113.9"])
        attempts.forget_attempts(database, ["pair:lea@203.0.113.9"])

    with ThreadPoolExecutor(4) as pool:
        for _done in pool.map(sign_in, range(100)):
            pass


def test_a_guest_in_the_houses_own_network_locks_nobody_out(app: Flask, lea: int, sign_in: SignIn) -> None:
    device = app.test_client()
    form = {"username": "lea", "password": PASSWORD}
    assert device.post("/connexion", data=form).status_code == 303
    device.post("/deconnexion")
    guest = app.test_client()
    wrong = [guest.post("/connexion", data=form | {"password": "wrong"}).status_code for _time in range(6)]
    assert wrong[-1] == 429
    # A device that nobody knows cannot be told from the guest's.
    assert app.test_client().post("/connexion", data=form).status_code == 429
    assert device.post("/connexion", data=form).status_code == 303
    # Nor do they keep her from approving on a device on which someone is signed in, or from her own account.
    body = {"username": "lea", "password": PASSWORD, "permission": "refund"}
    approved = sign_in(Role.SERVER).post("/api/v1/approvals", json=body)
    assert approved.get_json()["type"] == "urn:restaurant:problem:approval-needed"
    assert device.post("/compte/pin", data={"current": PASSWORD, "pin": "2580"}).status_code == 303


def test_a_known_device_is_no_way_to_guess(app: Flask, lea: int, sign_in: SignIn) -> None:
    device = app.test_client()
    form = {"username": "lea", "password": PASSWORD}
    assert device.post("/connexion", data=form).status_code == 303
    device.post("/deconnexion")
    wrong = form | {"password": "wrong"}
    assert [device.post("/connexion", data=wrong).status_code for _time in range(6)] == [401] * 5 + [429]
    assert device.post("/connexion", data=form).status_code == 429
    # A cookie of one's own making is none.
    forged = app.test_client()
    forged.set_cookie("device", "eyJpZCI6IngiLCJuYW1lcyI6WyJsZWEiXX0.x")
    assert [forged.post("/connexion", data=wrong).status_code for _time in range(6)][-1] == 429
    waiter = sign_in(Role.SERVER)
    body = {"username": "lea", "password": "wrong", "permission": "refund"}
    assert [waiter.post("/api/v1/approvals", json=body).status_code for _time in range(6)] == [401] * 5 + [429]
