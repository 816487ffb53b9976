"""Every state that an order, a bill, a booking or an order from a table can reach through the pages.

In each of them every page renders, no button is refused, and a way leads on to the end for some role.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from restaurant.app import connect
from restaurant.billing.models import Discount
from restaurant.database import Database
from restaurant.deposits.models import Deposit
from restaurant.orders.models import LineStatus, Order, OrderStatus
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import UNRESOLVED, Attempt, AttemptState, Channel
from restaurant.payments.providers import Outcome, Refund
from restaurant.payments.providers import State as Answer
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from restaurant.reservations.models import Booking, BookingStatus
from restaurant.table_orders.models import TableOrder, TableOrderStatus
from support import EGGS, STEW, Instant, make_settings, order_body, place, post

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
        # The rest of a page is not parsed: that takes nearly as long as rendering it.
        self.feed("".join(re.findall(r"<form\b.*?</form>", page, re.DOTALL)))

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
    """Things in a database that goes back to any state it was seen in."""

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
        self.guest = app.test_client()

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
        """The state as far as pages can differ by it, and whether it is an end."""
        raise NotImplementedError

    def addresses(self) -> dict[Role | None, tuple[str, ...]]:
        """The pages on which each role sees it; a guest is None."""
        raise NotImplementedError

    def filled(self, form: Form) -> Iterator[dict[str, str]]:
        """The values to send with a form; none for a form that does not change the state."""
        raise NotImplementedError

    def pages(self) -> Iterator[tuple[Role | None, str]]:
        """What each role sees. No page fails, whatever the state."""
        for role, paths in self.addresses().items():
            client = self.clients[role] if role is not None else self.guest
            for path in paths:
                reply = client.get(path)
                assert reply.status_code == 200, (path, role, reply.status_code)
                yield role, reply.text

    def choices(self) -> dict[Sent, Role | None]:
        """Everything that somebody can do on the pages, with the least powerful who can."""
        found: dict[Sent, Role | None] = {}
        for role, page in self.pages():
            for form in Forms(page).found:
                for button in form.buttons:
                    for fields in self.filled(form):
                        sent = (form.action, tuple(sorted((fields | button).items())))
                        if role not in {Role.ADMIN, Role.MANAGER} or sent not in found:
                            found[sent] = role
        return found

    def send(self, sent: Sent, role: Role | None) -> None:
        """Send a form that a page offers. A page offers nothing that is refused."""
        action, fields = sent
        client = self.clients[role] if role is not None else self.guest
        reply = client.post(action, data={**dict(fields), "key": uuid.uuid4().hex})
        assert reply.status_code == 303, (sent, role, reply.status_code, reply.text)


class Map:
    """Every state that a walk can reach, where each leads and by whom, and which are ends."""

    def __init__(self, walk: Walk) -> None:
        start, ended = walk.state()
        self.kept = {start: walk.keep("0.sqlite3")}
        self.onwards: dict[State, dict[State, Role | None]] = {}
        self.ends: set[State] = {start} if ended else set()
        waiting = deque([start])
        while waiting:
            state = waiting.popleft()
            walk.back_to(self.kept[state])
            walk.state()
            self.onwards[state] = {}
            for sent, role in walk.choices().items():
                walk.back_to(self.kept[state])
                walk.send(sent, role)
                following, ended = walk.state()
                self.onwards[state].setdefault(following, role)
                if ended:
                    self.ends.add(following)
                if following not in self.kept:
                    self.kept[following] = walk.keep(f"{len(self.kept)}.sqlite3")
                    # Of some things even the end can be undone.
                    waiting.append(following)

    @property
    def stuck(self) -> set[State]:
        """The states from which no way leads to an end: backwards from the ends, what is not met."""
        ending = set(self.ends)
        while found := {
            state for state, others in self.onwards.items() if state not in ending and ending & others.keys()
        }:
            ending |= found
        return set(self.onwards) - ending


#: What is done to tables between which orders move: the other acts are those of one table, and are walked there.
_BETWEEN = {"transfert", "fusion", "lignes/transfert", "addition", "paiements", "fin", "annulation"}


class Orders(Walk):
    """Orders with their bills: `most` lines each, with discounts or between tables if asked for."""

    def __init__(self, app: Flask, database: Database, file: Path) -> None:
        super().__init__(app, database, file)
        self.references: list[str] = []
        self.most, self.discounts, self.between = 1, False, False
        #: What the menu's form says of the set menu to order, if one is.
        self.set_menu: dict[str, str] = {}
        self.voided = 0
        self._given = False

    def seat(self, table: int) -> str:
        """Seat guests on the page of the floor; the reference of their order."""
        reply = self.clients[Role.HOST].post(f"/salle/tables/{table}", data={"covers": "2"})
        assert reply.status_code == 303
        reference = self.clients[Role.SERVER].get("/api/v1/orders").get_json()["items"][0]["reference"]
        self.references.append(reference)
        return str(reference)

    def state(self) -> tuple[State, bool]:
        """The kinds, states, lines, discounts and payments of the orders; it ends when all are closed."""
        found, ended, self.voided = list[object](), True, 0
        with self.database.reading() as session:
            for reference in self.references:
                order = session.scalars(
                    select(Order).where(Order.reference == uuid.UUID(reference)).options(selectinload(Order.lines))
                ).one()
                discounts = session.scalars(
                    select(Discount.percent).where(Discount.order_id == order.id, Discount.removed_at.is_(None))
                ).all()
                assert 0 <= order.paid <= max(order.due, 0)
                paid = "none" if not order.paid else "part" if order.paid < order.due else "all"
                lines = sorted(line.status.value for line in order.lines)
                self.voided += lines.count(LineStatus.VOIDED.value)
                given = tuple(sorted(map(str, discounts)))
                found += [order.kind, order.status, tuple(lines), given, paid]
                ended = ended and order.closed_at is not None
        return tuple(found), ended

    def addresses(self) -> dict[Role | None, tuple[str, ...]]:
        """The pages of the orders, of their bills, of the kitchen and of the floor."""
        orders = tuple(f"/service/{reference}" for reference in self.references)
        bills = tuple(f"/caisse/{reference}" for reference in self.references)
        splits = ["by=equal&parts=3", "by=seat", *(f"by=lines&lines={key}" for key in self.line_keys()[:1])]
        return {
            Role.SERVER: (*orders, *bills),
            Role.CASHIER: (*orders, *bills, "/caisse", *(f"{bills[0]}?{split}" for split in splits)),
            Role.KITCHEN: ("/cuisine",),
            Role.HOST: (*orders, "/salle"),
            Role.MANAGER: (*orders, *bills),
            None: tuple(f"/commandes/{reference}" for reference in self.references),
        }

    def line_keys(self) -> list[int]:
        """The keys of the first order's lines."""
        found = self.clients[Role.SERVER].get(f"/api/v1/orders/{self.references[0]}").get_json()
        return [line["id"] for line in found["lines"] if line["status"] != "voided"]

    def choices(self) -> dict[Sent, Role | None]:
        """As ever; one discount is given at a time."""
        pages = [self.clients[Role.MANAGER].get(f"/caisse/{reference}").text for reference in self.references]
        self._given = any("/retrait" in page for page in pages)
        return super().choices()

    def filled(self, form: Form) -> Iterator[dict[str, str]]:
        """The forms of orders and bills, but for those in which a manager would have to come."""
        kept = {name: value for name, value in form.fields.items() if name != "key"}
        if "manager" in form.fields:
            # The manager's own page has this form without asking for another one's password.
            return
        act = form.action
        for reference in self.references:
            act = act.removeprefix(f"/service/{reference}/").removeprefix(f"/caisse/{reference}/")
        if self.between and (act not in _BETWEEN or "reason" in form.fields):
            return
        match act:
            case "lignes" if not self.between and len(self.line_keys()) < self.most and self.voided < 1:
                wanted = self.set_menu or {f"quantity-{EGGS}": "1"}
                yield wanted
                yield wanted | {"hold": "1"}
            case "remises" if self.discounts and not self._given:
                yield {"percent": "50", "reason": "x"}
                yield {"percent": "100", "reason": "x"}
            case "paiements":
                yield kept
                if "6" in kept["amount"] and not self.between:
                    yield kept | {"amount": "1"}
            case "lignes/transfert" if self.between:
                yield from ({"lines": str(key)} for key in self.line_keys()[:1] if self.references[0] in form.action)
            case "transfert" | "fusion" if self.between:
                yield kept
            case "envoi" | "service" | "addition" | "reprise" | "fin":
                yield kept
            case _ if act.endswith(("servie", "annulation", "retrait")) or act.startswith("/cuisine/lignes/"):
                yield kept | ({"reason": "x"} if "reason" in kept else {})


class Bookings(Walk):
    """A booking, with the order that it becomes."""

    reference = ""

    def state(self) -> tuple[State, bool]:
        """How it stands, whether a table is held for it, and how far its order is."""
        with self.database.reading() as session:
            booking = session.scalars(select(Booking).where(Booking.reference == uuid.UUID(self.reference))).one()
            order = booking.order.status if booking.order is not None else None
            state = (booking.status, bool(booking.places), order)
        ends = {BookingStatus.COMPLETED, BookingStatus.CANCELLED, BookingStatus.NO_SHOW}
        return state, booking.status in ends

    def addresses(self) -> dict[Role | None, tuple[str, ...]]:
        """The day's bookings, the page of the booking, that of its order, the floor, and the guest's own."""
        with self.database.reading() as session:
            booking = session.scalars(select(Booking).where(Booking.reference == uuid.UUID(self.reference))).one()
            day = booking.starts_at.date().isoformat()
            order = (f"/service/{booking.order.reference}",) if booking.order is not None else ()
        desk = (f"/reservations?jour={day}", f"/reservations/{self.reference}", "/reservations/clients")
        return {
            Role.HOST: (*desk, "/salle", *order),
            Role.SERVER: (*desk, *order),
            Role.MANAGER: desk,
            None: (f"/reserver/{self.reference}",),
        }

    def filled(self, form: Form) -> Iterator[dict[str, str]]:
        """What changes where a booking stands."""
        kept = {name: value for name, value in form.fields.items() if name not in {"key", "manager"}}
        if (self.reference in form.action and not form.action.endswith("/fiche")) or (
            form.action.startswith("/service/") and form.action.endswith("/annulation")
        ):
            yield kept


class Refusing(Instant):
    """A provider that gives money back, or refuses to while `refuses` is set."""

    refuses = False

    def refund(self, refund: Refund) -> Outcome:
        return Outcome(Answer.DECLINED) if self.refuses else super().refund(refund)


class Deposits(Bookings):
    """A booking with a paid deposit, the bill of its guests, and what the provider answers when it is to refund."""

    def __init__(self, app: Flask, database: Database, file: Path) -> None:
        super().__init__(app, database, file)
        self.provider = Refusing()
        self.gateway = app.extensions["gateway"] = Gateway(database, {Channel.ONLINE: self.provider})

    def take(self, amount: int) -> None:
        """Ask for a deposit of `amount`, as the settings would, and pay it."""
        with self.database.writing() as session:
            found = session.scalars(select(Booking).where(Booking.reference == uuid.UUID(self.reference))).one()
            session.add(Deposit(booking_id=found.id, amount=amount, refundable_until=found.starts_at))
        attempt = post(self.guest, f"/bookings/{self.reference}/deposit", None).get_json()["attempt"]
        assert self.gateway.advance(uuid.UUID(attempt)) is AttemptState.DONE

    def state(self) -> tuple[State, bool]:
        """As ever, and where the money is; it ends when none is held for the guests, and they owe none."""
        (found, _ended), under_way = super().state(), self.under_way()
        with self.database.reading() as session:
            deposit = session.scalars(select(Deposit)).one()
            order = session.get(Order, deposit.order_id) if deposit.order_id is not None else None
            deducted = order is not None and bool(order.deposit)
            assert not deducted or not under_way, "what is being given back is deducted"
            money = tuple(cents > 0 for cents in (deposit.balance, deposit.used, deposit.refunded, deposit.kept))
            ended = deposit.balance == 0 and (order is None or order.closed_at is not None)
        return (*found, deducted, *money, under_way), ended

    def under_way(self) -> bool:
        """Whether the provider has not answered yet."""
        with self.database.reading() as session:
            return session.scalar(select(Attempt.id).where(Attempt.state.in_(UNRESOLVED))) is not None

    def addresses(self) -> dict[Role | None, tuple[str, ...]]:
        """The pages of the booking, of its order and of the bill."""
        pages = super().addresses()
        order = tuple(path for path in pages[Role.SERVER] if path.startswith("/service/"))
        bill = tuple(path.replace("/service/", "/caisse/") for path in order)
        return {
            Role.HOST: pages[Role.HOST][:2],
            Role.MANAGER: (f"/reservations/{self.reference}", *order, *bill),
            None: pages[None],
        }

    def choices(self) -> dict[Sent, Role | None]:
        """As ever, and both answers of the provider."""
        answers: dict[Sent, Role | None] = {("provider", (("refuses", answer),)): None for answer in ("", "1")}
        return super().choices() | (answers if self.under_way() else {})

    def send(self, sent: Sent, role: Role | None) -> None:
        """As ever, or let the provider answer."""
        action, fields = sent
        if action != "provider":
            return super().send(sent, role)
        self.provider.refuses = bool(dict(fields)["refuses"])
        self.gateway.resolve(patience=timedelta())
        return None

    def filled(self, form: Form) -> Iterator[dict[str, str]]:
        """What moves money, beside what changes where a booking stands."""
        if "manager" in form.fields:
            # The manager's own page has this form without asking for another one's password.
            return
        reason = {"reason": "x"} if "reason" in form.fields else {}
        if form.action.endswith("/lignes") and "/service/" in form.action:
            yield from [{f"quantity-{EGGS}": "1"}] if super().state()[0][2] is OrderStatus.DRAFT else []
        elif "/caisse/" in form.action and form.action.endswith(("addition", "reprise", "acompte", "paiements", "fin")):
            yield {name: value for name, value in form.fields.items() if name != "key"}
        else:
            yield from (kept | reason for kept in super().filled(form))


class TableOrders(Walk):
    """An order that a guest sent from a table."""

    reference = code = ""

    def state(self) -> tuple[State, bool]:
        """How it stands; it ends when somebody has decided about it."""
        with self.database.reading() as session:
            found = session.scalars(select(TableOrder).where(TableOrder.reference == uuid.UUID(self.reference))).one()
        return (found.status,), found.status is not TableOrderStatus.WAITING

    def addresses(self) -> dict[Role | None, tuple[str, ...]]:
        """The guest's page, the floor, and what waits to be confirmed."""
        desk = ("/salle", "/service/demandes")
        return {
            Role.SERVER: desk, Role.HOST: desk, Role.CASHIER: desk, Role.MANAGER: desk,
            None: (f"/table/{self.code}", f"/table/{self.code}/{self.reference}"),
        }  # fmt: skip

    def filled(self, form: Form) -> Iterator[dict[str, str]]:
        """What decides about it."""
        if self.reference in form.action:
            kept = {name: value for name, value in form.fields.items() if name != "key"}
            yield kept | ({"reason": "x"} if "reason" in kept else {})


W = TypeVar("W", bound=Walk)
Start = Callable[[type[W]], W]


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
def start(one_app: Flask, sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[[type[Walk]], Walk]]:
    file = tmp_path / "restaurant.sqlite3"
    shutil.copy(sqlite_template, file)
    database = connect(one_app, make_settings(f"sqlite:///{file}", cancellation_minutes=0))
    yield lambda kind: kind(one_app, database, file)
    database.engine.dispose()


@pytest.mark.parametrize(
    ("kind", "most", "discounts", "least"),
    [("dine_in", 2, False, 60), ("dine_in", 1, True, 30), ("take_away", 1, False, 10), ("set_menu", 1, False, 40)],
    ids=["two dishes", "discounts", "take-away", "set menu"],
)
def test_every_state_of_an_order_has_a_way_to_its_end_in_the_pages(
    start: Start[Orders], kind: str, most: int, discounts: bool, least: int
) -> None:
    walk = start(Orders)
    walk.most, walk.discounts = most, discounts
    if kind == "set_menu":
        walk.set_menu = written_menu(walk.clients[Role.MANAGER])
    if kind != "take_away":
        walk.seat(1)
    else:
        placed = place(walk.guest, order_body(lines=[{"dish": EGGS}])).get_json()
        walk.references = [placed["reference"]]
    found = Map(walk)
    assert len(found.kept) >= least, "fewer states than there are: a form was not found"
    assert any(LineStatus.VOIDED.value in str(state) for state in found.kept)
    assert found.stuck == set()
    # What is paid never needs a manager to be put away.
    for state, others in found.onwards.items():
        if "paid" in [str(part) for part in state[:2]]:
            ways = [role for other, role in others.items() if other in found.ends]
            assert {Role.SERVER, Role.CASHIER} & set(ways), state


def test_two_tables_end_however_orders_and_lines_move_between_them(start: Start[Orders]) -> None:
    walk = start(Orders)
    walk.between = True
    server = walk.clients[Role.SERVER]
    for table in (1, 2):
        form = {"key": uuid.uuid4().hex, f"quantity-{EGGS}": "1"}
        assert server.post(f"/service/{walk.seat(table)}/lignes", data=form).status_code == 303
    found = Map(walk)
    assert len(found.kept) >= 20
    merged = [state for state in found.kept if "cancelled" in str(state) and "'fired', 'fired'" in str(state)]
    assert merged, "the tables were never merged"
    assert any("() " in str(state) or "(), ()" in str(state) for state in found.kept), "lines were never moved"
    assert found.stuck == set()


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("18:00", {"confirmed", "arrived", "completed", "cancelled"}),
        ("20:10", {"confirmed", "arrived", "completed", "cancelled", "no_show"}),
        ("12:00 the day before", {"confirmed", "cancelled"}),
    ],
)
def test_every_state_of_a_booking_has_a_way_to_its_end_in_the_pages(
    start: Start[Bookings], clock: str, expected: set[str]
) -> None:
    walk = start(Bookings)
    with time_machine.travel("2026-04-02T08:00:00Z"):
        body = {"starts_at": "2026-04-03T20:00:00+02:00", "covers": 2, "guest": "Ana", "contact": "0612345678"}
        booked = post(walk.clients[Role.HOST], "/bookings", body)
        assert booked.status_code == 201, booked.text
        walk.reference = booked.get_json()["reference"]
    day, hour = ("02", clock[:5]) if "before" in clock else ("03", clock)
    with time_machine.travel(f"2026-04-{day}T{hour}:00+02:00"):
        found = Map(walk)
    assert {str(state[0]) for state in found.kept} == expected
    assert found.stuck == set()
    # A step that was tapped by mistake can be undone.
    undone = [state for state in found.ends if found.onwards[state]]
    assert {str(state[0]) for state in undone} >= expected & {"cancelled", "no_show"}


def test_every_state_of_a_deposit_has_a_way_to_its_end_in_the_pages(start: Start[Deposits]) -> None:
    walk = start(Deposits)
    with time_machine.travel("2026-04-02T08:00:00Z"):
        body = {"starts_at": "2026-04-03T20:00:00+02:00", "covers": 2, "guest": "Ana", "contact": "0612345678"}
        walk.reference = post(walk.clients[Role.HOST], "/bookings", body).get_json()["reference"]
        # More than the bill: of what is deducted, a part is left to give back.
        walk.take(1000)
    with time_machine.travel("2026-04-03T20:10:00+02:00"):
        found = Map(walk)
    assert len(found.kept) >= 40
    assert found.stuck == set()
    under_way = [state for state in found.kept if state[-1]]
    assert {str(state[0]) for state in under_way} >= {"confirmed", "arrived", "no_show"}
    assert [state for state in found.kept if "billed" in map(str, state) and state[-1]], "no bill during a refund"


def test_every_state_of_an_order_from_a_table_has_a_way_to_its_end_in_the_pages(start: Start[TableOrders]) -> None:
    walk = start(TableOrders)
    manager = walk.clients[Role.MANAGER]
    walk.code = manager.get("/api/v1/tables/1/code").get_json()["code"]
    placed = post(walk.guest, "/table-orders", {"code": walk.code, "lines": [{"dish": EGGS}]})
    walk.reference = placed.get_json()["reference"]
    found = Map(walk)
    assert {str(state[0]) for state in found.kept} == {"to_be_confirmed", "accepted", "refused", "withdrawn"}
    assert found.stuck == set()
