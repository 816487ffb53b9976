"""Every form and every operation of the API refuses what is wrong with one clear message, and changes nothing.

`FORMS` and `BODIES` say of each what a right request is; all wrong ones are made from it: fields that are missing, huge,
of the wrong kind or not among the choices, unknown and stale things, requests sent twice, by another site or by nobody.
A new form or operation that is not listed fails.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, select, text
from werkzeug.test import TestResponse

from restaurant.database import Database
from restaurant.deposits import service as deposits
from restaurant.deposits.models import Deposit
from restaurant.http.api import Api, Operation
from restaurant.http.guard import Guard
from restaurant.orders.models import Order
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import AttemptState
from restaurant.people.permissions import Access, Role
from restaurant.reservations.models import Booking
from restaurant.types import LARGEST
from support import Once, add, charged, post, seat, terminal

SignIn = Callable[[Role], FlaskClient]
Values = dict[str, str]
EGGS, STEW, TATIN, WINE = 2, 7, 14, 20
NOBODY = "00000000-0000-0000-0000-000000000000"
HUGE = "x" * 5000
#: Attempts to sign in are counted and replies are kept: that is not what a request asks for.
NOT_COUNTED = {"alembic_version", "login_attempts", "login_session", "approval", "stored_reply"}


@dataclass(frozen=True)
class House:
    """What there is to send requests about: places in paths and bodies by name."""

    client: FlaskClient
    database: Database
    names: dict[str, Any]

    def state(self) -> dict[str, list[str]]:
        """Every row of every table."""
        with self.database.reading() as session:
            tables = set(inspect(self.database.engine).get_table_names()) - NOT_COUNTED
            return {
                table: sorted(repr(tuple(row)) for row in session.execute(text(f'SELECT * FROM "{table}"')))
                for table in sorted(tables)
            }

    def path(self, rule: str) -> str:
        """`rule` with the house's own things in its places."""
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(self.names[found[1]]), rule)

    def unknown(self, rule: str) -> list[str]:
        """`rule` with things in its places that there are not."""
        keys = re.sub(r"<uuid:\w+>", NOBODY, rule)
        return [re.sub(r"<key:\w+>", key, keys) for key in ("999999", str(LARGEST + 1), "0", "x")]

    def filled(self, value: Any) -> Any:
        """`value` with ``{name}`` in it replaced by the house's own things."""
        if isinstance(value, dict):
            return {key: self.filled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.filled(entry) for entry in value]
        found = re.fullmatch(r"\{(\w+)\}", value) if isinstance(value, str) else None
        return self.names[found[1]] if found else value


@pytest.fixture
def house(app: Flask, sign_in: SignIn, database: Database, once: Once) -> Iterator[House]:
    client = sign_in(Role.ADMIN)
    with terminal(app) as gateway:
        names = once("house", lambda: fill_house(client, database, gateway), client)
        yield House(client, database, names)


def fill_house(client: FlaskClient, database: Database, gateway: Gateway) -> dict[str, Any]:
    """Make something of each kind; returns their names in paths and bodies."""
    order, other, billed, presented, paid, invoiced = (seat(client, table)["reference"] for table in (1, 2, 3, 7, 8, 9))
    line = add(client, order, EGGS)["lines"][0]["id"]
    held = add(client, order, STEW, hold=True)["lines"][-1]["id"]
    add(client, order, WINE)
    ready = add(client, order, TATIN)["lines"][-1]["id"]
    post(client, f"/kitchen/lines/{ready}/move", {"status": "ready"})
    voided = add(client, other, EGGS, STEW)["lines"][1]["id"]
    post(client, f"/orders/{other}/lines/{voided}/void", {"reason": "erreur"})
    add(client, billed, EGGS)
    add(client, presented, EGGS)
    add(client, paid, EGGS)
    add(client, invoiced, EGGS)
    for reference in (billed, presented, paid, invoiced):
        post(client, f"/orders/{reference}/bill", None)
    given = post(client, f"/orders/{presented}/discounts", {"amount": 10, "reason": "geste"}).get_json()
    assert post(client, "/till/sessions", {"count": {"2000": 5}}).status_code == 201
    post(client, f"/orders/{paid}/payments", {"amount": 620, "method": "cash"})
    post(client, f"/orders/{invoiced}/payments", {"amount": 620, "method": "cash"})
    assert post(client, f"/orders/{invoiced}/invoices", {"customer": "Durand", "address": "Lyon"}).status_code == 201
    payment = post(client, f"/orders/{billed}/payments", {"amount": 100, "method": "cash"}).get_json()["reference"]
    charged(client, gateway, billed, 50)
    at_terminal = client.get(f"/api/v1/orders/{billed}/bill").get_json()["payments"][-1]["reference"]
    charge = {"channel": "card_terminal", "amount": 100}
    attempt = post(client, f"/orders/{billed}/payment-attempts", charge).get_json()["reference"]
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    slots = client.get(f"/api/v1/availability?day={start.date()}&covers=2").get_json()["slots"]
    booking = {"starts_at": slots[0], "covers": 2, "guest": "Ana", "contact": "0612345678"}
    wait = {"guest": "Bo", "covers": 2, "quoted_minutes": 10}
    gone = post(client, "/bookings", booking | {"contact": "0712345678"}).get_json()["reference"]
    assert post(client, f"/bookings/{gone}/move", {"status": "cancelled"}).status_code == 200
    printers = [
        post(client, "/printers", {"name": name, "host": "192.0.2.5", "receipts": True, "drawer": True}).get_json()[
            "id"
        ]
        for name in ("Caisse", "Réserve")
    ]
    assert post(client, "/closings", None).status_code == 201
    # Of the next day.
    assert post(client, f"/orders/{billed}/payments", {"amount": 1, "method": "cash"}).status_code == 201
    jobs = [post(client, "/figures/print", {"printer": printers[0]}).get_json()["id"] for _number in range(2)]
    with database.writing() as session:
        session.execute(text("UPDATE print_job SET kind = 'test', status = 'printed' WHERE id = :id"), {"id": jobs[1]})
    week = {"bookings": ["12:00-14:00,19:00-22:00"] * 7, "take_away": ["00:00-24:00"] * 7}
    assert client.put("/api/v1/opening/week", json=week, headers={"If-Match": '"0"'}).status_code == 200
    special = {"first_day": "2031-01-01", "last_day": "2031-01-02", "name": "Nouvel An"}
    new = {"username": "lea", "name": "Léa", "role": "server", "password": "une phrase assez longue"}
    code = client.get("/api/v1/tables/10/code").get_json()["code"]
    asked = post(client, "/table-orders", {"code": code, "lines": [{"dish": EGGS}]}).get_json()["reference"]

    def offer(path: str, name: str, **values: Any) -> int:
        key: int = client.post(f"/api/v1{path}", json={"name": name, **values}).get_json()["id"]
        return key

    asked_for, deposited, arrived = (
        ask_deposit(database, post(client, "/bookings", booking | {"contact": f"{number}@example.org"}).get_json())
        for number in range(3)
    )
    for reference in (deposited, arrived):
        pay_deposit(client, gateway, reference)
    with_deposit = seat_deposit(client, database, arrived)

    return {
        "asked_for": asked_for, "deposited": deposited, "with_deposit": with_deposit,
        "code": code, "asked": asked, "reference": order, "other": other, "billed": billed, "presented": presented, "paid": paid, "voided": voided, "discount": given["discounts"][0]["id"], "line": line, "held": held, "ready": ready, "payment": payment,
        "attempt": attempt, "at_terminal": at_terminal,
        "booking": post(client, "/bookings", booking).get_json()["reference"], "slot": slots[1],
        "printer": printers[0], "second": printers[1], "job": jobs[0], "printed": jobs[1],
        "gone": gone, "day": start.date().isoformat(), "period": post(client, "/opening/days", special).get_json()["id"],
        "guest": client.get("/api/v1/guests?search=0612345678").get_json()["items"][0]["id"],
        "entry": post(client, "/waiting-list", wait).get_json()["id"],
        "ingredient": post(client, "/ingredients", {"name": "Sel", "unit": "gram", "quantity": 9}).get_json()["id"],
        "person": post(client, "/people", new).get_json()["id"],
        "room": post(client, "/rooms", {"name": "Cave"}).get_json()["id"],
        "category": post(client, "/categories", {"name": "Vide"}).get_json()["id"],
        "set_menu": offer("/set-menus", "Midi", price=900, courses=[
            {"name": "Plat", "course": "main", "choices": [{"dish": EGGS}]}
        ]),
        "happy_hour": offer("/happy-hours", "Soir", percent=10, starts="18:00:00", ends="20:00:00",
                            items=[{"dish": WINE}]),
        "table": 4, "dish": EGGS, "number": 1,
    }  # fmt: skip


def ask_deposit(database: Database, booking: Values) -> str:
    """Ask for a deposit as the settings would."""
    with database.writing() as session:
        found = session.scalars(select(Booking).where(Booking.reference == uuid.UUID(booking["reference"]))).one()
        session.add(Deposit(booking_id=found.id, amount=1000, refundable_until=found.starts_at))
    return booking["reference"]


def pay_deposit(client: FlaskClient, gateway: Gateway, booking: str) -> None:
    """Pay it at the provider."""
    attempt = post(client, f"/bookings/{booking}/deposit", None).get_json()["attempt"]
    assert gateway.advance(uuid.UUID(attempt)) is AttemptState.DONE


def seat_deposit(client: FlaskClient, database: Database, booking: str) -> str:
    """The reference of a presented bill of guests with a deposit."""
    order = str(seat(client, 11)["reference"])
    add(client, order, EGGS)
    with database.writing() as session:
        found = session.scalars(select(Booking).where(Booking.reference == uuid.UUID(booking))).one()
        its_order = session.scalars(select(Order).where(Order.reference == uuid.UUID(order))).one()
        deposits.seated(session, found, its_order)
    assert post(client, f"/orders/{order}/bill", None).status_code == 200
    return order


#: Right values of each form, by endpoint. `{name}` is one of the house's things.
FORMS: dict[str, Values] = {
    "cash.present": {},
    "cash.pay": {"key": "k", "amount": "1,00", "tip": "0", "method": "card"},
    "payments.begin": {"key": "k", "channel": "card_terminal", "amount": "1,00", "tip": "0"},
    "payments.begin_refund": {"key": "k", "amount": "0,20", "reason": "geste"},
    "payments.check": {},
    "payments.cancel": {},
    "payments.abandon": {"key": "k"},
    "cash.give_discount": {"key": "k", "amount": "1", "reason": "geste"},
    "cash.reopen": {},
    "cash.print_receipt": {"key": "k"},
    "kitchen.acknowledge_void": {},
    "kitchen.acknowledge_notices": {"until": "1"},
    "kitchen.recall_ticket": {"key": "k"},
    "kitchen.finish_ticket": {"key": "k", "lines": "{line}"},
    "cash.finish": {},
    "invoices.issue": {"key": "k", "customer": "Durand", "address": "Lyon", "siret": "73282932000074"},
    "invoices.print_invoice": {"key": "k"},
    "invoices.credit": {"key": "k", "reason": "adresse fausse"},
    "till.open_till": {"key": "k", "n2000": "3"},
    "till.move_cash": {"key": "k", "kind": "expense", "amount": "5", "reason": "pain"},
    "till.close_till": {"key": "k", "n2000": "3", "note": ""},
    "cash.remove_discount": {},
    "cash.refund": {"key": "k", "amount": "0,50", "reason": "geste"},
    "card.change_dish": {
        "version": "1", "category": "1", "name": "Œuf", "name_en": "", "description": "", "description_en": "",
        "vat_dine_in": "1000", "vat_take_away": "1000", "station": "cold", "course": "starter", "price": "6,20",
        "available_from": "", "available_until": "",
    },
    "card.set_hidden": {"archived": "1"},
    "card.set_out_of_stock": {"out_of_stock": "1"},
    "card.add_dish": {
        "category": "1", "name": "Velouté", "vat_dine_in": "1000", "vat_take_away": "1000", "station": "hot",
        "course": "starter", "price": "7",
    },
    "offers.add_set_menu": {
        "name": "Formule", "name_en": "", "description": "", "description_en": "", "price": "24", "starts": "12:00",
        "ends": "14:00", "course-0-name": "Plat", "course-0-course": "main", "course-0-dish-0": "{dish}",
        "course-0-supplement-0": "1,50",
    },
    "offers.change_set_menu": {
        "version": "1", "name": "Menu", "name_en": "", "description": "", "description_en": "", "price": "25",
        "starts": "", "ends": "", "course-0-name": "Plat", "course-0-course": "main", "course-0-dish-0": "{dish}",
        "course-0-supplement-0": "0",
    },
    "offers.add_happy_hour": {
        "name": "Apéritif", "name_en": "", "percent": "20", "starts": "18:00", "ends": "20:00", "dish-0": "{dish}",
        "price-0": "4,50",
    },
    "offers.change_happy_hour": {
        "version": "1", "name": "Apéro", "name_en": "", "percent": "30", "starts": "18:00", "ends": "20:00",
        "dish-0": "{dish}", "price-0": "4,50",
    },
    "card.add_category": {"name": "Glaces", "name_en": ""},
    "card.change_category": {"version": "1", "name": "Sorbets", "name_en": ""},
    "closings.close_day": {},
    "orders.place_order": {"key": "k", "guest": "Ana", "quantity-2": "1"},
    "account.change_password": {
        "current": "none at all", "new": "une autre phrase longue", "again": "une autre phrase longue",
    },
    "sessions.sign_in": {"username": "lea", "password": "une phrase assez longue"},
    "kitchen.move_line": {"status": "preparing"},
    "sessions.sign_out": {},
    "team.add_person": {"username": "sam", "name": "Sam", "role": "kitchen"},
    "team.change_person": {"version": "1", "name": "Léa B.", "role": "host"},
    "team.set_access": {"active": "0"},
    "team.give_password": {},
    "team.give_badge": {},
    "team.withdraw_badge": {},
    "team.withdraw_pin": {},
    "account.set_pin": {"current": "none at all", "pin": "2580"},
    "account.change_person_here": {"username": "nobody", "secret": "badge-none"},
    "orders.choose_language": {"lang": "en", "back": "/"},
    "bookings.move": {"status": "cancelled"},
    "bookings.join_waiting_list": {"key": "k", "guest": "Cy", "contact": "", "covers": "2", "quoted_minutes": "10"},
    "bookings.move_waiting": {"status": "left"},
    "booking.book": {"key": "k", "starts_at": "{slot}", "covers": "2", "guest": "Cy", "contact": "0698765432"},
    "booking.cancel": {},
    "booking.pay_deposit": {},
    "bookings.waive_deposit": {},
    "bookings.refund_deposit": {"key": "k", "reason": "malade"},
    "cash.deduct_deposit": {"key": "k"},
    "bookings.undo": {"status": "cancelled"},
    "bookings.take": {
        "key": "k", "day": "{day}", "clock": "12:30", "covers": "2", "guest": "Di", "contact": "", "note": "",
        "override": "",
    },
    "bookings.change": {
        "version": "1", "day": "{day}", "clock": "12:45", "covers": "3", "guest": "Ana", "contact": "0612345678",
        "note": "", "override": "",
    },
    "bookings.change_guest": {"version": "1", "name": "Ana B.", "contact": "0612345679", "note": ""},
    "printers.add_printer": {"name": "Bar", "host": "192.0.2.7", "port": "9100", "width": "58", "stations": "bar"},
    "printers.change_printer": {
        "version": "1", "name": "Salle", "host": "192.0.2.8", "port": "9101", "width": "80",
    },
    "printers.print_sample": {"key": "k"},
    "printers.retry": {"key": "k"},
    "printers.remove_job": {},
    "printers.print_again": {"key": "k"},
    "printers.move_job": {"key": "k", "printer": "{second}"},
    "printed_receipts.print_receipt": {"key": "k", "printer": "{printer}"},
    "printed_receipts.kick_drawer": {"key": "k"},
    "printed_closings.print_figures": {"key": "k", "printer": "{printer}"},
    "printed_closings.print_closing": {"key": "k", "printer": "{printer}"},
    "opening.change_week": {"version": "1", **{f"{name}-{day}": "12:00-14:00" for name in ("bookings", "take_away") for day in range(7)}},
    "opening.add_special_days": {
        "first_day": "2031-12-25", "last_day": "", "name": "Noël", "bookings": "", "take_away": "",
    },
    "opening.change_special_days": {
        "version": "1", "first_day": "2032-01-01", "last_day": "2032-01-02", "name": "Nouvel An", "bookings": "",
        "take_away": "",
    },
    "plan.add_room": {"name": "Patio"},
    "plan.change_room": {"version": "1", "name": "Caveau"},
    "plan.add_table": {
        "room": "1", "name": "T9", "shape": "round", "seats_min": "1", "seats_max": "2", "width": "90", "height": "90",
    },
    "plan.change_table": {
        "version": "1", "room": "1", "name": "T9", "shape": "round", "seats_min": "1", "seats_max": "2",
        "width": "90", "height": "90",
    },
    "floor.seat_guests": {"covers": "2", "guest": ""},
    "floor.set_condition": {"condition": "cleaning"},
    "floor.join": {"into": "5"},
    "table.send": {"key": "k", "quantity-2": "1", "guest": "Ana", "note": ""},
    "table.withdraw": {"key": "k"},
    "table_orders.accept": {"key": "k", "covers": "2"},
    "table_orders.refuse": {"key": "k", "reason": "cuisine fermée"},
    "codes.renew": {"key": "k"},
    "service.cancel": {"reason": "parti"},
    "service.describe_guests": {"seen": "{seen}", "covers": "3", "guest": "", "note": ""},
    "service.fire": {"course": "main"},
    "service.merge": {"into": "{other}"},
    "service.add_lines": {"key": "k", "quantity-2": "1", "seat": ""},
    "service.void": {"key": "k", "reason": "erreur", "quantity": "1"},
    "service.serve_ready": {},
    "service.repeat_round": {"key": "k"},
    "service.repeat_line": {"key": "k"},
    "service.change_course": {"course": "dessert"},
    "service.move_lines": {"key": "k", "into": "{other}", "lines": "{line}"},
    "service.assign": {"server": "{person}"},
    "service.serve": {},
    "service.transfer": {"table": "4"},
    "stock.add_ingredient": {"name": "Poivre", "unit": "gram", "quantity": "1", "low_at": "0"},
    "stock.move": {"key": "k", "reason": "delivered", "quantity": "5"},
    "stock.change_ingredient": {"version": "1", "name": "Sel fin", "low_at": "2"},
    "stock.write_recipe": {"version": "1", "ingredient-0": "{ingredient}", "quantity-0": "3"},
}  # fmt: skip

#: Values in a form's path that are not the first of their kind.
ELSEWHERE = {
    "payments.begin": {"reference": "billed"},
    "payments.begin_refund": {"payment": "at_terminal"},
    "table.withdraw": {"reference": "asked"},
    "table_orders.accept": {"reference": "asked"},
    "table_orders.refuse": {"reference": "asked"},
    "cash.pay": {"reference": "billed"},
    "cash.present": {"reference": "other"},
    "cash.reopen": {"reference": "presented"},
    "bookings.move": {"reference": "booking"},
    "booking.cancel": {"reference": "booking"},
    "booking.pay_deposit": {"reference": "asked_for"},
    "bookings.waive_deposit": {"reference": "asked_for"},
    "bookings.refund_deposit": {"reference": "deposited"},
    "cash.deduct_deposit": {"reference": "with_deposit"},
    "bookings.undo": {"reference": "gone"},
    "printers.print_again": {"job": "printed"},
    "bookings.change": {"reference": "booking"},
    "service.serve": {"line": "ready"},
    "service.change_course": {"line": "held"},
    "kitchen.acknowledge_void": {"line": "voided"},
    "cash.finish": {"reference": "paid"},
    "invoices.issue": {"reference": "paid"},
    "cash.remove_discount": {"reference": "presented"},
}
#: Fields that may be empty, in general and in some forms.
EMPTY = {"tip", "name_en", "description", "description_en", "available_from", "available_until", "guest", "contact",
         "note", "seat", "into", "course"}  # fmt: skip
OPTIONAL = {
    "offers.add_set_menu": {"name_en", "description", "description_en", "course-0-supplement-0"},
    "offers.change_set_menu": {"name_en", "description", "description_en", "starts", "ends", "course-0-supplement-0"},
    "offers.add_happy_hour": {"name_en", "percent", "price-0"},
    "offers.change_happy_hour": {"name_en", "percent", "price-0"},
    "orders.place_order": set(),
    "booking.book": set(),
    "printers.add_printer": {"stations"},
    "bookings.take": {"contact", "note", "override"},
    "bookings.change": {"contact", "note", "override"},
    "bookings.change_guest": {"note"},
    "opening.add_special_days": {"last_day", "bookings", "take_away"},
    "opening.change_special_days": {"last_day", "bookings", "take_away"},
    "stock.add_ingredient": {"quantity", "low_at"},
    "service.void": {"quantity"},
    "table_orders.accept": {"covers"},
    "service.change_course": set(),
    "service.move_lines": set(),
    "invoices.issue": {"siret"},
    "till.open_till": {"n2000"},
    "till.close_till": {"n2000", "note"},
    "account.set_pin": {"pin"},
    "plan.add_table": {"shape", "seats_min", "width", "height"},
}
#: Forms that act again each time they are sent, and that change no document.
AGAIN = {"team.give_password", "team.give_badge", "sessions.sign_in", "account.change_password", "account.set_pin",
         "account.change_person_here"}  # fmt: skip
REFUSED = {400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428}


def forms(app: Flask) -> dict[str, str]:
    """The rule of each form by its endpoint."""
    return {
        rule.endpoint: rule.rule
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and not rule.rule.startswith("/api/")
    }


def wrong_forms(endpoint: str, right: Values) -> Iterator[tuple[str, Values]]:
    """Forms that must be refused, with what is wrong with each."""
    for name, value in right.items():
        if name in {"lang", "back", "key"}:
            continue
        if name not in OPTIONAL.get(endpoint, EMPTY):
            yield f"{name} missing", {key: entry for key, entry in right.items() if key != name}
        yield f"{name} huge", right | {name: HUGE}
        if name in {"quantity-2", "covers", "version", "price", "amount", "tip", "table", "seat"} or (
            value.isdigit() and name != "contact"
        ):
            for number in ("-1", "1e3", "99999999999", "²"):
                yield f"{name} {number}", right | {name: number}
        if name in {"status", "method", "station", "course", "shape", "unit", "role", "condition", "starts_at",
                    "kind"}:  # fmt: skip
            yield f"{name} unknown", right | {name: "something"}


#: Words of the programs that the service is made of, which mean nothing to people.
FOREIGN = re.compile(
    r"Input should|Value error|validation error|pydantic|Traceback|<\w+\.\w+: |\bNoneType\b|\b\w+Error\b|Expecting "
    r"|ctx|extra_forbidden|greater_than|string_too|int_parsing|valid (integer|string|UUID|datetime)|sqlalchemy|psycopg"
)


def one_message(reply: TestResponse, *, api: bool) -> str | None:
    """What is wrong with the form of a refusal, None if nothing is."""
    if reply.status_code not in REFUSED:
        return f"answered {reply.status_code}"
    if (foreign := FOREIGN.search(reply.text)) is not None:
        return f"told as {foreign[0]}"
    if api:
        told = reply.get_json(silent=True) or {}
        right = reply.content_type == "application/problem+json" and told.get("detail") and told.get("request_id")
        return None if right else f"told as {reply.content_type}: {reply.text[:200]}"
    told = re.findall(r"<h1>(.+?)</h1>|role=\"alert\">(.+?)<", reply.text)
    return None if reply.content_type.startswith("text/html") and told else f"told as {reply.text[:300]}"


def test_every_form_refuses_what_is_wrong_and_changes_nothing(app: Flask, house: House) -> None:
    assert set(forms(app)) == set(FORMS), "say here what the right values of a new form are"
    before, faults = house.state(), []
    guard: Guard = app.extensions["guard"]
    for endpoint, rule in forms(app).items():
        names = {key: house.names[name] for key, name in ELSEWHERE.get(endpoint, {}).items()}
        here = House(house.client, house.database, house.names | names)
        page = here.path(rule)
        right = {key: str(value) for key, value in here.filled(with_seen(here, FORMS[endpoint])).items()}
        tried = [(why, house.client.post(page, data=form)) for why, form in wrong_forms(endpoint, right)]
        tried += [("too large", house.client.post(page, data={**right, "more": "x" * 300_000}))]
        tried += [("another site", house.client.post(page, data=right, headers={"Sec-Fetch-Site": "cross-site"}))]
        if "<" in rule:
            tried += [(path, house.client.post(path, data=right)) for path in house.unknown(rule)]
        faults += [(endpoint, why, fault) for why, reply in tried if (fault := one_message(reply, api=False))]
        if guard.rule(endpoint, "POST") is not Access.PUBLIC:
            turned = app.test_client().post(page, data=right)
            if not turned.location.startswith("/connexion?"):
                faults.append((endpoint, "nobody", str(turned.status_code)))
        if (after := house.state()) != before:
            changed = [table for table in before if before[table] != after[table]]
            faults.append((endpoint, "changed", str(changed)))
            before = after
    assert faults == [], "\n".join(map(str, faults))


def with_seen(house: House, form: Values) -> dict[str, Any]:
    """`form` with what its page had said of the guests."""
    if "seen" not in form:
        return dict(form)
    page = house.client.get(f"/service/{house.names['reference']}").text
    found = re.search(r'name="seen" value="(\w+)"', page)
    assert found
    return form | {"seen": found[1]}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize("endpoint", sorted(set(FORMS) - AGAIN))
def test_a_form_sent_twice_acts_once(app: Flask, house: House, endpoint: str) -> None:
    names = {key: house.names[name] for key, name in ELSEWHERE.get(endpoint, {}).items()}
    here = House(house.client, house.database, house.names | names)
    page = here.path(forms(app)[endpoint])
    form = {key: str(value) for key, value in here.filled(with_seen(here, FORMS[endpoint])).items()}
    if endpoint == "till.open_till":
        post(house.client, "/till/closing", {"count": {}})
    first = house.client.post(page, data=form)
    assert first.status_code in {200, 303}, first.text
    after = house.state()
    second = house.client.post(page, data=form)
    assert second.status_code == 303 or one_message(second, api=False) is None, second.text
    assert house.state() == after


SET_MENU: dict[str, Any] = {
    "name": "Formule", "name_en": "Menu", "description": "", "price": 2000, "days": ["monday"], "starts": "12:00:00",
    "ends": "14:00:00",
    "courses": [{"name": "Plat", "course": "main", "choices": [{"dish": EGGS, "supplement": 100}]}],
}  # fmt: skip
HAPPY_HOUR: dict[str, Any] = {
    "name": "Apéritif", "name_en": "Early", "percent": 20, "days": ["monday"], "starts": "18:00:00",
    "ends": "20:00:00", "items": [{"dish": EGGS, "price": 400}, {"category": "{category}"}],
}  # fmt: skip

#: A right body of each operation that takes one.
BODIES: dict[str, dict[str, Any]] = {
    "POST /dishes": {"category": 1, "name": "Velouté", "price": 700, "station": "hot", "course": "starter"},
    "PATCH /dishes/<key:dish>": {"name": "Œuf", "price": 700, "allergens": ["eggs"], "out_of_stock": False},
    "POST /categories": {"name": "Glaces", "name_en": "Ices"},
    "PATCH /categories/<key:category>": {"name": "Sorbets", "position": 1},
    "POST /set-menus": SET_MENU,
    "PUT /set-menus/<key:set_menu>": SET_MENU | {"archived": False},
    "POST /happy-hours": HAPPY_HOUR,
    "PUT /happy-hours/<key:happy_hour>": HAPPY_HOUR,
    "POST /orders": {
        "guest": "Ana",
        "note": "",
        "lines": [{"dish": EGGS, "quantity": 1}],
        "menus": [{"set_menu": "{set_menu}", "dishes": [{"dish": EGGS}]}],
    },
    "POST /orders/<uuid:reference>/lines": {
        "lines": [{"dish": EGGS}],
        "menus": [{"set_menu": "{set_menu}", "dishes": [{"dish": EGGS}]}],
        "hold": True,
    },
    "PUT /orders/<uuid:reference>/guests": {"covers": 3, "guest": "Ana", "note": "", "allergies": ["milk"]},
    "POST /orders/<uuid:reference>/fire": {"course": "main"},
    "POST /orders/<uuid:reference>/lines/<key:line>/move": {"status": "preparing"},
    "POST /orders/<uuid:reference>/lines/<key:line>/void": {"reason": "erreur", "quantity": 1},
    "PUT /orders/<uuid:reference>/server": {"server": "{person}"},
    "PUT /orders/<uuid:reference>/lines/<key:line>/course": {"course": "dessert"},
    "POST /orders/<uuid:reference>/lines/transfer": {"lines": ["{line}"], "into": "{other}"},
    "POST /orders/<uuid:reference>/discounts/<key:discount>/remove": {},
    "POST /orders/<uuid:reference>/transfer": {"table": 5},
    "POST /orders/<uuid:reference>/merge": {"into": "{other}"},
    "POST /orders/<uuid:reference>/cancel": {"reason": "parti"},
    "POST /table-orders": {
        "code": "{code}",
        "guest": "Ana",
        "note": "",
        "allergies": ["milk"],
        "lines": [{"dish": EGGS}],
        "menus": [{"set_menu": "{set_menu}", "dishes": [{"dish": EGGS}]}],
    },
    "POST /table-orders/<uuid:reference>/accept": {"hold": True, "covers": 2},
    "POST /table-orders/<uuid:reference>/refuse": {"reason": "cuisine fermée"},
    "POST /seatings": {"table": 6, "covers": 2, "guest": "", "allergies": []},
    "POST /tables/<key:table>/join": {"into": 5},
    "POST /tables": {"room": 1, "name": "T9", "shape": "round", "seats_max": 2, "x": 0},
    "PATCH /tables/<key:table>": {"name": "T8", "x": 10, "condition": "cleaning"},
    "POST /rooms": {"name": "Patio"},
    "PATCH /rooms/<key:room>": {"name": "Caveau"},
    "POST /bookings": {"starts_at": "{slot}", "covers": 2, "guest": "Cy", "contact": "0612345678", "note": ""},
    "POST /bookings/<uuid:reference>/move": {"status": "cancelled"},
    "POST /printers": {"name": "Bar", "host": "192.0.2.7", "width": 58, "stations": ["bar"], "receipts": True},
    "PUT /printers/<key:printer>": {"name": "Salle", "host": "192.0.2.8", "port": 9101, "drawer": True},
    "POST /print-jobs/<key:job>/move": {"printer": "{second}"},
    "POST /receipts/<key:number>/print": {"printer": "{printer}"},
    "POST /figures/print": {"printer": "{printer}"},
    "POST /closings/<key:number>/print": {"printer": "{printer}"},
    "POST /desk/bookings": {
        "starts_at": "{slot}",
        "covers": 2,
        "guest": "Di",
        "contact": "",
        "note": "",
        "allergies": ["milk"],
        "tables": [9],
        "override": "",
    },
    "POST /bookings/<uuid:reference>/deposit/refund": {"reason": "malade"},
    "PUT /bookings/<uuid:reference>": {"starts_at": "{slot}", "covers": 3, "guest": "Di", "contact": "0612345678"},
    "PUT /guests/<key:guest>": {
        "name": "Ana B.",
        "contact": "0612345679",
        "allergies": ["milk"],
        "note": "",
        "blocked": True,
    },
    "PUT /opening/week": {"bookings": ["12:00-14:00"] * 7, "take_away": [""] * 7},
    "POST /opening/days": {"first_day": "2031-12-25", "last_day": "2031-12-25", "name": "Noël", "bookings": ""},
    "PUT /opening/days/<key:period>": {"first_day": "2032-01-01", "last_day": "2032-01-02", "name": "Nouvel An"},
    "POST /waiting-list": {"guest": "Cy", "contact": "", "covers": 2, "quoted_minutes": 10},
    "POST /waiting-list/<key:entry>/move": {"status": "left"},
    "POST /orders/<uuid:reference>/discounts": {"amount": 100, "reason": "geste"},
    "POST /orders/<uuid:reference>/payments": {"amount": 100, "tip": 0, "method": "card"},
    "POST /orders/<uuid:reference>/payment-attempts": {"channel": "card_terminal", "amount": 100, "tip": 0},
    "POST /payments/<uuid:payment>/refund-attempts": {"amount": 20, "reason": "geste"},
    "POST /payment-attempts/<uuid:attempt>/abandon": {},
    "POST /orders/<uuid:reference>/invoices": {"customer": "Durand", "address": "Lyon", "siret": "73282932000074"},
    "POST /invoices/<key:number>/credit-notes": {"reason": "adresse fausse"},
    "POST /till/sessions": {"count": {"2000": 3}},
    "POST /till/movements": {"kind": "expense", "amount": 500, "reason": "pain"},
    "POST /till/closing": {"count": {"2000": 3}, "note": ""},
    "POST /payments/<uuid:payment>/refunds": {"amount": 50, "reason": "geste"},
    "POST /ingredients": {"name": "Poivre", "unit": "gram", "quantity": 1, "low_at": 0},
    "POST /ingredients/<key:ingredient>/movements": {"reason": "delivered", "quantity": 5},
    "PATCH /ingredients/<key:ingredient>": {"name": "Sel fin", "low_at": 2},
    "PUT /dishes/<key:dish>/recipe": {"items": [{"ingredient": "{ingredient}", "quantity": 3}]},
    "POST /kitchen/lines/<key:line>/move": {"status": "ready"},
    "POST /sessions": {"username": "lea", "password": "une phrase assez longue"},
    "PUT /account/pin": {"current": "none at all", "pin": "2580"},
    "POST /account/change": {"username": "nobody", "password": "badge-none"},
    "PUT /account/password": {"current": "none at all", "new": "une autre phrase longue"},
    "POST /approvals": {"username": "lea", "password": "une phrase assez longue", "permission": "refund"},
    "POST /people": {"username": "sam", "name": "Sam", "role": "kitchen", "password": "une phrase assez longue"},
    "PATCH /people/<key:person>": {"name": "Léa B.", "role": "host", "active": True},
}

#: Values in an operation's path that are not the first of their kind.
OTHERS = {
    "POST /orders/<uuid:reference>/discounts/<key:discount>/remove": {"reference": "presented"},
    "GET /table-orders/<uuid:reference>": {"reference": "asked"},
    "POST /table-orders/<uuid:reference>/accept": {"reference": "asked"},
    "POST /table-orders/<uuid:reference>/refuse": {"reference": "asked"},
    "POST /table-orders/<uuid:reference>/withdraw": {"reference": "asked"},
    "POST /orders/<uuid:reference>/finish": {"reference": "paid"},
    "POST /orders/<uuid:reference>/invoices": {"reference": "paid"},
    "POST /kitchen/lines/<key:line>/acknowledge": {"line": "voided"},
    "PUT /orders/<uuid:reference>/lines/<key:line>/course": {"line": "held"},
    "POST /orders/<uuid:reference>/payments": {"reference": "billed"},
    "POST /orders/<uuid:reference>/payment-attempts": {"reference": "billed"},
    "POST /payments/<uuid:payment>/refund-attempts": {"payment": "at_terminal"},
    "POST /bookings/<uuid:reference>/move": {"reference": "booking"},
    "POST /bookings/<uuid:reference>/cancel": {"reference": "booking"},
    "GET /bookings/<uuid:reference>": {"reference": "booking"},
    "POST /bookings/<uuid:reference>/deposit": {"reference": "asked_for"},
    "POST /bookings/<uuid:reference>/deposit/waive": {"reference": "asked_for"},
    "POST /bookings/<uuid:reference>/deposit/refund": {"reference": "deposited"},
    "POST /orders/<uuid:reference>/deposit": {"reference": "with_deposit"},
    "PUT /bookings/<uuid:reference>": {"reference": "booking"},
    "POST /bookings/<uuid:reference>/undo": {"reference": "gone"},
}
WRONG: list[Any] = [{"a": {}}, [[]], HUGE, "a\0b", "a\u202eb", -1, 1.5, 2**63, True]
#: Values that are right after all: text that is long or looks odd where any text may stand, and truth.
RIGHT = {
    ("hold", True),
    ("out_of_stock", True),
    ("archived", True),
    ("active", True),
    ("blocked", True),
    ("receipts", True),
    ("drawer", True),
    ("password", HUGE),
    ("current", HUGE),
}


def operations(app: Flask) -> dict[str, tuple[str, Operation]]:
    """Each operation of the API by method and path, with its endpoint."""
    return {
        f"{operation.method} {operation.path}": (f"{api.name}.{operation.function.__name__}", operation)
        for api in app.blueprints.values()
        if isinstance(api, Api)
        for operation in api.operations
    }


def wrong_bodies(operation: Operation, right: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Bodies that must be refused, with what is wrong with each."""
    assert operation.body is not None
    yield "a list", []
    yield "a text", "x"
    yield "another field", right | {"surprise": 1}
    for name, field in operation.body.model_fields.items():
        if name not in right:
            continue
        if field.is_required():
            yield f"{name} missing", {key: value for key, value in right.items() if key != name}
        for value in WRONG:
            if (name, value) not in RIGHT if not isinstance(value, dict | list) else True:
                yield f"{name} {str(value)[:20]}", right | {name: value}


def requests(house: House, name: str, operation: Operation) -> Iterator[tuple[str, set[int], TestResponse]]:
    """Wrong requests of one operation: what is wrong, how it may be answered, and the answer."""
    right = house.filled(BODIES.get(name))
    path = house.path("/api/v1" + operation.path)
    headers = {"Idempotency-Key": "k"} if operation.idempotent else {}
    headers |= {"If-Match": '"1"'} if operation.if_match else {}

    def ask(where: str = path, *, without: str = "", **given: Any) -> TestResponse:
        sent = {key: value for key, value in (headers | given.pop("headers", {})).items() if key != without}
        body = {} if right is None or "data" in given or "json" in given else {"json": right}
        return house.client.open(where, method=operation.method, headers=sent, **body, **given)

    if "<" in operation.path:
        for unknown in house.unknown("/api/v1" + operation.path):
            # A query that is needed and not there is seen first.
            yield unknown, {404} if operation.query is None else {404, 422}, ask(unknown)
    if operation.idempotent:
        yield "no key", {400}, ask(without="Idempotency-Key")
        for key in ("", "x" * 101):
            yield "a wrong key", {400}, ask(headers={"Idempotency-Key": key})
    if operation.if_match:
        yield "no version", {428}, ask(without="If-Match")
        for version in ('"999"', "x", "1", 'W/"999"', '"1', '"98", "99"', '"99999999999999999999"', ","):
            yield "a stale version", {412}, ask(headers={"If-Match": version})
    if operation.query is not None:
        for query in (
            "surprise=1",
            *(f"{field}=%C3%A9" for field in operation.query.model_fields if field != "search"),
        ):
            yield query, {422}, ask(f"{path}?{query}")
    if right is None:
        return
    yield "no JSON", {415}, ask(data=b"a=b", content_type="application/x-www-form-urlencoded")
    yield "too large", {413}, ask(data=b"x" * 300_000, content_type="application/json")
    for data in (b"", b"{", b"\xff", b"nul"):
        yield "malformed", {400}, ask(data=data, content_type="application/json")
    for why, body in wrong_bodies(operation, right):
        yield why, {400, 422, 401, 404}, ask(json=body)


def test_every_operation_refuses_what_is_wrong_and_changes_nothing(app: Flask, house: House) -> None:
    known = operations(app)
    assert {name for name, (_endpoint, entry) in known.items() if entry.body is not None} == set(BODIES)
    before, faults = house.state(), []
    guard: Guard = app.extensions["guard"]
    for name, (endpoint, operation) in known.items():
        names = {key: house.names[entry] for key, entry in OTHERS.get(name, {}).items()}
        here = House(house.client, house.database, house.names | names)
        for why, answers, reply in requests(here, name, operation):
            fault = one_message(reply, api=True)
            if fault or reply.status_code not in answers:
                faults.append((name, why, fault or f"answered {reply.status_code}"))
        if guard.rule(endpoint, operation.method) is not Access.PUBLIC:
            turned = app.test_client().open(here.path("/api/v1" + operation.path), method=operation.method)
            if turned.status_code != 401 or (fault := one_message(turned, api=True)):
                faults.append((name, "nobody", fault or str(turned.status_code)))
        if (after := house.state()) != before:
            faults.append((name, "changed", str([table for table in before if before[table] != after[table]])))
            before = after
    assert faults == [], "\n".join(map(str, faults))


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_an_operation_sent_twice_acts_once(app: Flask, house: House) -> None:
    faults = []
    # What ends an order or takes a thing away comes last.
    for name, (_endpoint, operation) in sorted(
        operations(app).items(),
        key=lambda entry: re.search(r"merge|cancel|transfer|bill|^DELETE", entry[0]) is not None,
    ):
        if operation.method == "GET" or name in {"POST /sessions", "POST /approvals", "DELETE /sessions/current"}:
            continue
        names = {key: house.names[entry] for key, entry in OTHERS.get(name, {}).items()}
        here = House(house.client, house.database, house.names | names)
        path = here.path("/api/v1" + operation.path)
        headers = {"Idempotency-Key": f"twice {name}"} | ({"If-Match": '"1"'} if operation.if_match else {})
        body = {"json": here.filled(BODIES[name])} if name in BODIES else {}
        first = house.client.open(path, method=operation.method, headers=headers, **body)
        after = house.state()
        second = house.client.open(path, method=operation.method, headers=headers, **body)
        refused = second.status_code in REFUSED and one_message(second, api=True) is None
        replayed = second.status_code == first.status_code and second.data == first.data
        if not (refused or replayed) or house.state() != after:
            faults.append((name, first.status_code, second.status_code, second.text[:200]))
        if operation.idempotent and first.status_code < 300 and "Idempotent-Replayed" not in second.headers:
            faults.append((name, "was not replayed", second.status_code, second.text[:200]))
    assert faults == [], "\n".join(map(str, faults))
