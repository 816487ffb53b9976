"""Every state that an order can reach through the pages: each page renders, and a way leads on to its end."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from restaurant.app import connect
from restaurant.billing.models import Discount
from restaurant.database import Database
from restaurant.orders.models import LineStatus, Order
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from support import EGGS, STEW, make_settings, order_body, place

State = tuple[object, ...]
Sent = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Form:
    """A form of a page with what is filled in, and each button that sends it."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[dict[str, str]] = field(default_factory=list)


class Forms(HTMLParser):
    """The forms of a page that change something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._form: Form | None = None
        self._select: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._form = Form(given.get("action", "")) if given.get("method") == "post" else None
            if self._form is not None:
                self.found.append(self._form)
        elif self._form is None:
            return
        elif tag == "input" and "name" in given and given.get("type") not in {"checkbox", "radio"}:
            self._form.fields[given["name"]] = given.get("value", "")
        elif tag == "select":
            self._select = given.get("name")
        elif tag == "option" and self._select and self._select not in self._form.fields:
            self._form.fields[self._select] = given.get("value", "")
        elif tag == "button" and given.get("type") != "button":
            self._form.buttons.append({given["name"]: given.get("value", "")} if "name" in given else {})

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None


class Walk:
    """One order in a database that goes back to any state it was seen in."""

    def __init__(self, app: Flask, database: Database, file: Path) -> None:
        self.app, self.database, self.file = app, database, file
        self.clients: dict[Role, FlaskClient] = {}
        with database.writing() as session:
            for role in Role:
                token = uuid.uuid4().hex
                user = User(username=role.value, name=role.label, role=role, password_hash="none")
                session.add(user)
                session.flush()
                session.add(LoginSession(token_hash=hashlib.sha256(token.encode()).hexdigest(), user_id=user.id))
                self.clients[role] = app.test_client()
                self.clients[role].set_cookie("session", token)
        self.reference = ""
        self.voided = 0
        #: What the menu's form says of the set menu to order, if one is.
        self.set_menu: dict[str, str] = {}

    def keep(self, name: str) -> Path:
        """Copy the database aside."""
        self.database.engine.dispose()
        kept = self.file.with_name(name)
        shutil.copy(self.file, kept)
        return kept

    def back_to(self, kept: Path) -> None:
        """Bring back what was kept."""
        self.database.engine.dispose()
        for suffix in ("-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)
        shutil.copy(kept, self.file)

    def state(self) -> tuple[State, bool]:
        """The state of the order as far as pages can differ by it, and whether it is at its end."""
        with self.database.reading() as session:
            order = session.scalars(
                select(Order).where(Order.reference == uuid.UUID(self.reference)).options(selectinload(Order.lines))
            ).one()
            discounts = session.scalars(
                select(Discount.percent).where(Discount.order_id == order.id, Discount.removed_at.is_(None))
            ).all()
        assert 0 <= order.paid <= max(order.due, 0)
        paid = "none" if not order.paid else "part" if order.paid < order.due else "all"
        lines = sorted(line.status.value for line in order.lines)
        self.voided = lines.count(LineStatus.VOIDED.value)
        state = (order.kind, order.status, tuple(lines), tuple(sorted(map(str, discounts))), paid)
        return state, order.closed_at is not None

    def pages(self) -> Iterator[tuple[Role, str]]:
        """What each role sees of the order. No page fails, whatever the state."""
        order, bill = f"/service/{self.reference}", f"/caisse/{self.reference}"
        seen = {
            Role.SERVER: (order, bill),
            Role.CASHIER: (order, bill, "/caisse"),
            Role.KITCHEN: ("/cuisine",),
            Role.HOST: (order, "/salle"),
            Role.MANAGER: (order, bill),
        }
        for role, paths in seen.items():
            for path in paths:
                reply = self.clients[role].get(path)
                assert reply.status_code == 200, (path, role, reply.status_code)
                yield role, reply.text
        for split in ("by=equal&parts=3", "by=seat", *(f"by=lines&lines={n}" for n in self.line_keys()[:1])):
            assert self.clients[Role.CASHIER].get(f"{bill}?{split}").status_code == 200
        assert self.app.test_client().get(f"/commandes/{self.reference}").status_code == 200

    def line_keys(self) -> list[int]:
        """The keys of the order's lines."""
        found = self.clients[Role.SERVER].get(f"/api/v1/orders/{self.reference}").get_json()
        return [line["id"] for line in found["lines"] if line["status"] != "voided"]

    def choices(self, *, most: int, discounts: bool) -> dict[Sent, Role]:
        """Everything that somebody can do to the order on the pages, with the least powerful who can."""
        found: dict[Sent, Role] = {}
        for role, page in self.pages():
            forms = Forms(page).found
            given = any(form.action.endswith("/retrait") for form in forms)
            for form in forms:
                for button in form.buttons:
                    for fields in self.filled(form, most=most, discounts=discounts and not given):
                        sent = (form.action, tuple(sorted((fields | button).items())))
                        if role not in {Role.ADMIN, Role.MANAGER} or sent not in found:
                            found[sent] = role
        return found

    def filled(self, form: Form, *, most: int, discounts: bool) -> Iterator[dict[str, str]]:
        """The values to send with a form; none for a form that does not change the order's state."""
        kept = {name: value for name, value in form.fields.items() if name != "key"}
        if "manager" in form.fields:
            # The manager's own page has this form without asking for another one's password.
            return
        act = form.action.removeprefix(f"/service/{self.reference}/").removeprefix(f"/caisse/{self.reference}/")
        match act:
            case "lignes" if len(self.line_keys()) < most and self.voided < 1:
                wanted = self.set_menu or {f"quantity-{EGGS}": "1"}
                yield wanted
                yield wanted | {"hold": "1"}
            case "remises" if discounts:
                yield {"percent": "50", "reason": "x"}
                yield {"percent": "100", "reason": "x"}
            case "paiements":
                yield kept
                if "6" in kept["amount"]:
                    yield kept | {"amount": "1"}
            case "envoi" | "service" | "addition" | "reprise" | "fin":
                yield kept
            case _ if act.endswith(("servie", "annulation", "retrait")) or act.startswith("/cuisine/lignes/"):
                yield kept | ({"reason": "x"} if "reason" in kept else {})

    def send(self, sent: Sent, role: Role) -> None:
        """Send a form that a page offers. A page offers nothing that is refused."""
        action, fields = sent
        reply = self.clients[role].post(action, data={**dict(fields), "key": uuid.uuid4().hex})
        assert reply.status_code == 303, (sent, role, reply.status_code, reply.text)


def written_menu(manager: FlaskClient) -> dict[str, str]:
    """Write a set menu of two courses; returns what a form says that orders it."""
    courses = [
        {"name": name, "course": name, "choices": [{"dish": dish}]}
        for name, dish in (("starter", EGGS), ("main", STEW))
    ]
    menu = manager.post("/api/v1/set-menus", json={"name": "Formule", "price": 2001, "courses": courses}).get_json()
    places = zip(menu["courses"], (EGGS, STEW), strict=True)
    return {f"quantity-m{menu['id']}": "1"} | {
        f"choice-m{menu['id']}-{course['id']}": str(dish) for course, dish in places
    }


@pytest.fixture
def walk(one_app: Flask, sqlite_template: Path, tmp_path: Path) -> Iterator[Walk]:
    file = tmp_path / "restaurant.sqlite3"
    shutil.copy(sqlite_template, file)
    database = connect(one_app, make_settings(f"sqlite:///{file}"))
    yield Walk(one_app, database, file)
    database.engine.dispose()


@pytest.mark.parametrize(
    ("kind", "most", "discounts", "least"),
    [("dine_in", 2, False, 60), ("dine_in", 1, True, 30), ("take_away", 1, False, 10), ("set_menu", 1, False, 40)],
    ids=["two dishes", "discounts", "take-away", "set menu"],
)
def test_every_state_of_an_order_has_a_way_to_its_end_in_the_pages(
    walk: Walk, kind: str, most: int, discounts: bool, least: int
) -> None:
    if kind == "set_menu":
        walk.set_menu = written_menu(walk.clients[Role.MANAGER])
    if kind != "take_away":
        assert walk.clients[Role.HOST].post("/salle/tables/1", data={"covers": "2"}).status_code == 303
        walk.reference = next(
            order["reference"] for order in walk.clients[Role.SERVER].get("/api/v1/orders").get_json()["items"]
        )
    else:
        walk.reference = place(walk.app.test_client(), order_body(lines=[{"dish": EGGS}])).get_json()["reference"]
    start, _ended = walk.state()
    kept = {start: walk.keep("0.sqlite3")}
    onwards: dict[State, dict[State, Role]] = {}
    ends: set[State] = set()
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        walk.back_to(kept[state])
        walk.state()
        onwards[state] = {}
        for sent, role in walk.choices(most=most, discounts=discounts).items():
            walk.back_to(kept[state])
            walk.send(sent, role)
            following, ended = walk.state()
            onwards[state].setdefault(following, role)
            if ended:
                ends.add(following)
            if following not in kept:
                kept[following] = walk.keep(f"{len(kept)}.sqlite3")
                if ended:
                    onwards[following] = {}
                    assert list(walk.pages())
                else:
                    waiting.append(following)
    assert len(kept) >= least, "fewer states than there are: a form was not found"
    assert any(LineStatus.VOIDED.value in str(state) for state in kept)
    # Backwards from the ends: whatever is not met on the way is stuck.
    ending = set(ends)
    while found := {state for state, others in onwards.items() if state not in ending and ending & others.keys()}:
        ending |= found
    assert set(onwards) - ending == set()
    # What is paid never needs a manager to be put away.
    for state, others in onwards.items():
        if "paid" in [str(part) for part in state[:2]]:
            assert any(other in ends and role in {Role.SERVER, Role.CASHIER} for other, role in others.items()), state
