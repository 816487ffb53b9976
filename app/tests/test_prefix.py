"""Below a path of a host, every address that the service gives begins with that path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError

from restaurant.app import create_app
from restaurant.people import service as people
from restaurant.people.permissions import Role
from restaurant.settings import Settings
from support import EGGS, make_settings

ROOT = "/maison/resto-1"
PASSWORD = "une phrase assez longue"
#: Attributes that hold addresses. What begins with a letter or a sign is relative, a name or a media type.
ADDRESS = re.compile(r"""(?:href|action|formaction|src|data-[a-z]+)="(/[^"]*)\"""")

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


class Visitor:
    """A browser that keeps every address it was given, in front of which a proxy removes the path or not."""

    def __init__(self, settings: Settings, *, stripped: bool) -> None:
        values = {"trusted_proxies": 1} if stripped else {"prefix": ROOT}
        self.app = create_app(make_settings(settings.database_url, **values))
        if stripped:
            served = self.app.wsgi_app

            def proxy(environ: Any, start_response: Any) -> Any:
                inside = environ["PATH_INFO"].removeprefix(ROOT) or "/"
                return served(environ | {"PATH_INFO": inside, "HTTP_X_FORWARDED_PREFIX": ROOT}, start_response)

            self.app.wsgi_app = proxy  # type: ignore[method-assign]
        self.client: FlaskClient = self.app.test_client()
        self.given: set[str] = set()

    def open(self, address: str, **sent: Any) -> Any:
        assert address.startswith(f"{ROOT}/") or address == ROOT, address
        reply = self.client.open(address, **sent)
        if (reply.content_type or "").startswith("text/html"):
            self.given |= {found.replace("&amp;", "&") for found in ADDRESS.findall(reply.text)}
        if "Location" in reply.headers:
            self.given.add(reply.headers["Location"])
        return reply


@pytest.fixture(params=[False, True], ids=["set", "forwarded"])
def visitor(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Visitor]:
    found = Visitor(settings, stripped=request.param)
    database = found.app.extensions["database"]
    with database.writing() as session:
        people.add_person(session, username="ada", name="Ada", role=Role.ADMIN, password=PASSWORD)
    yield found
    database.engine.dispose()


def test_every_address_of_every_page_is_below_the_path(visitor: Visitor) -> None:
    away = visitor.open(f"{ROOT}/salle?x=1")
    assert away.headers["Location"] == f"{ROOT}/connexion?retour={ROOT}/salle?x%3D1"
    form = {"username": "ada", "password": PASSWORD, "retour": f"{ROOT}/carte"}
    entered = visitor.open(f"{ROOT}/connexion", method="POST", data=form)
    assert entered.headers["Location"] == f"{ROOT}/carte"
    cookies = entered.headers.getlist("Set-Cookie")
    assert cookies
    assert all(f"Path={ROOT}" in cookie.split("; ") for cookie in cookies), cookies
    order = visitor.open(
        f"{ROOT}/api/v1/seatings", method="POST", json={"table": 1, "covers": 2}, headers={"Idempotency-Key": "a" * 20}
    ).get_json()["reference"]
    lines = {"lines": [{"dish": EGGS}]}
    visitor.open(
        f"{ROOT}/api/v1/orders/{order}/lines", method="POST", json=lines, headers={"Idempotency-Key": "b" * 20}
    )
    seen: set[str] = set()
    waiting = [f"{ROOT}/", f"{ROOT}/accueil", f"{ROOT}/nothing", f"{ROOT}/salle/plan", f"{ROOT}/hors-ligne"]
    while waiting and len(seen) < 250:
        address = waiting.pop()
        seen.add(address)
        if re.search(r"/(flux|deconnexion|pouls|sw\.js|static/)", address):
            continue
        reply = visitor.open(address)
        assert reply.status_code in {200, 303, 404, 405}, (address, reply.status_code)
        waiting += sorted(
            {found for found in visitor.given if found.startswith(ROOT)} - seen - set(waiting), reverse=True
        )[:60]
    outside = sorted(found for found in visitor.given if not found.startswith((f"{ROOT}/", "//")))
    assert outside == []
    assert not any(found.startswith("//") for found in visitor.given)
    assert len(seen) > 60, "too few pages were seen"
    # A form without a page of its own leads on below the path as well.
    for page, form in (
        (f"{ROOT}/langue", {"lang": "en", "back": "/elsewhere"}),
        (f"{ROOT}/langue", {"lang": "en", "back": f"{ROOT}-other/"}),
        (f"{ROOT}/connexion", {"username": "ada", "password": PASSWORD, "retour": "/elsewhere"}),
        (f"{ROOT}/deconnexion", {}),
    ):
        reply = visitor.open(page, method="POST", data=form)
        assert reply.status_code == 303
        assert reply.headers["Location"] in {f"{ROOT}/", f"{ROOT}/accueil"}
        assert all(f"Path={ROOT}" in cookie.split("; ") for cookie in reply.headers.getlist("Set-Cookie"))


def test_the_document_names_the_path_and_files_are_found_there(visitor: Visitor) -> None:
    assert visitor.open(f"{ROOT}/api/v1/openapi.json").get_json()["servers"] == [{"url": ROOT}]
    page = visitor.open(f"{ROOT}/").text
    files = re.findall(r'(?:href|src)="([^"]*/static/[^"]*)"', page)
    assert files
    for file in [*files, f"{ROOT}/sw.js"]:
        with visitor.open(file.replace("&amp;", "&")) as reply:
            assert reply.status_code == 200, file


def test_two_paths_to_one_service_do_not_mix(settings: Settings) -> None:
    app = create_app(make_settings(settings.database_url, trusted_proxies=1))
    for root in ("/a", "/b", ""):
        page = app.test_client().get("/", headers={"X-Forwarded-Prefix": root}).text
        assert {found.split("/commandes")[0] for found in re.findall(r'action="([^"]*/commandes)"', page)} == {root}
    app.extensions["database"].engine.dispose()


@pytest.mark.parametrize(
    "sent",
    [
        "//evil.example",
        "https://evil.example",
        "/a//b",
        "/a/../b",
        "/a b",
        '/"><script>',
        "a",
        "/" + "a" * 300,
        "/é",
        "/%2f",
    ],
)
def test_a_path_that_leads_elsewhere_is_ignored(settings: Settings, sent: str) -> None:
    app = create_app(make_settings(settings.database_url, trusted_proxies=1))
    reply = app.test_client().get("/salle", headers={"X-Forwarded-Prefix": sent.encode().decode("latin-1")})
    assert reply.headers["Location"] == "/connexion?retour=/salle"
    app.extensions["database"].engine.dispose()


def test_only_a_trusted_proxy_says_the_path(client: FlaskClient) -> None:
    reply = client.get("/salle", headers={"X-Forwarded-Prefix": "/a"})
    assert reply.headers["Location"] == "/connexion?retour=/salle"


def test_behind_https_the_session_is_kept_for_the_path_only(settings: Settings) -> None:
    app = create_app(make_settings(settings.database_url, prefix=ROOT, https=True))
    with app.extensions["database"].writing() as session:
        people.add_person(session, username="ada", name="Ada", role=Role.ADMIN, password=PASSWORD)
    client = app.test_client()
    reply = client.post(
        f"{ROOT}/connexion", data={"username": "ada", "password": PASSWORD}, base_url="https://x.example"
    )
    (cookie,) = (found for found in reply.headers.getlist("Set-Cookie") if "session" in found)
    # Browsers refuse a __Host- cookie with a path.
    assert cookie.startswith("__Secure-session=")
    assert {"Secure", "HttpOnly", f"Path={ROOT}"} <= set(cookie.split("; "))
    assert client.get(f"{ROOT}/accueil", base_url="https://x.example").status_code == 200
    app.extensions["database"].engine.dispose()


@pytest.mark.parametrize("wrong", ["x", "/", "/a/", "//a", "/a//b", "/../a", "https://a", "/a b", "/é"])
def test_a_wrong_path_is_refused_at_the_start(settings: Settings, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        make_settings(f"sqlite:///{tmp_path / 'x'}", prefix=wrong)
