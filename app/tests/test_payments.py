"""Charges and refunds at a provider, whatever the network does: every cent is taken once or not at all, and is recorded."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import ValidationError
from sqlalchemy import func, select

from restaurant.billing import verification
from restaurant.billing.models import EntryKind, JournalEntry, Payment
from restaurant.database import Database
from restaurant.gauges import read_gauges
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import AttemptState, Channel
from restaurant.payments.providers import Charge, HttpProvider, OutcomeUnknown, State
from restaurant.payments.simulator import Simulator, serve
from restaurant.people.permissions import Role
from support import SignIn, billed, make_settings, pay, post

SECRET = "a secret of the provider"


class Terminal:
    """A restaurant with a card terminal and a page to pay online."""

    def __init__(self, app: Flask, database: Database, manager: FlaskClient) -> None:
        self.app, self.database, self.client = app, database, manager
        # A reply that is on time may take more than a second on a busy machine.
        self.books = {Channel.TERMINAL: Simulator(delay=3), Channel.ONLINE: Simulator(online=True, delay=3)}
        self.servers = [serve(book, secret=SECRET) for book in self.books.values()]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.providers = {
            channel: HttpProvider(f"http://127.0.0.1:{server.server_port}", SECRET, timeout=2)
            for channel, server in zip(self.books, self.servers, strict=True)
        }
        self.gateway = app.extensions["gateway"] = Gateway(database, self.providers)

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def begin(self, order: str, amount: int, *, channel: Channel = Channel.TERMINAL, **more: object) -> uuid.UUID:
        reply = post(
            self.client, f"/orders/{order}/payment-attempts", {"channel": channel.value, "amount": amount, **more}
        )
        assert reply.status_code == 202, reply.text
        assert reply.get_json()["state"] == "started"
        return uuid.UUID(reply.get_json()["reference"])

    def settle(self, attempt: uuid.UUID) -> AttemptState:
        """Ask until the outcome is known."""
        self.gateway.advance(attempt)
        for _time in range(6):
            self.gateway.resolve(patience=timedelta())
        return AttemptState(self.client.get(f"/api/v1/payment-attempts/{attempt}").get_json()["state"])

    def bill(self, order: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/v1/orders/{order}/bill").get_json()
        return found

    def taken(self) -> int:
        return sum(book.taken() for book in self.books.values())

    def check(self) -> None:
        """What the provider has is what the books say, and the journal is right."""
        with self.database.snapshot() as session:
            kept = Payment.amount + Payment.tip - Payment.refunded - Payment.tip_refunded
            card = session.scalar(select(func.coalesce(func.sum(kept), 0)).where(Payment.method == "card"))
            assert card == self.taken()
            assert verification.verify(session)[1] == []


@pytest.fixture
def terminal(app: Flask, database: Database, sign_in: SignIn) -> Iterator[Terminal]:
    before = app.extensions["gateway"]
    found = Terminal(app, database, sign_in(Role.MANAGER))
    yield found
    found.close()
    app.extensions["gateway"] = before


@pytest.mark.parametrize(
    ("amount", "first", "last"),
    [
        (1000, AttemptState.DONE, AttemptState.DONE),
        (1091, AttemptState.DECLINED, AttemptState.DECLINED),
        (1092, AttemptState.UNKNOWN, AttemptState.DONE),
        (1093, AttemptState.UNKNOWN, AttemptState.CANCELLED),
        (1094, AttemptState.STARTED, AttemptState.DONE),
        (1095, AttemptState.UNKNOWN, AttemptState.DONE),
    ],
)
def test_each_outcome_is_found_out_and_the_guest_pays_once(
    terminal: Terminal, amount: int, first: AttemptState, last: AttemptState
) -> None:
    order = billed(terminal.client)
    attempt = terminal.begin(order, amount, tip=100)
    # The tip is part of what the guest is asked for.
    attempt_amount = amount + 100
    assert attempt_amount % 100 == amount % 100
    assert terminal.gateway.advance(attempt) is first
    page = f"/caisse/encaissements/{attempt}"
    assert terminal.client.get(page).status_code == 200
    assert terminal.settle(attempt) is last
    paid = amount if last is AttemptState.DONE else 0
    bill = terminal.bill(order)
    assert (bill["paid"], len(bill["payments"])) == (paid, 1 if paid else 0)
    assert terminal.taken() == (paid + 100 if paid else 0)
    # Asked again, nothing more happens.
    assert terminal.settle(attempt) is last
    assert terminal.bill(order)["paid"] == paid
    for path in (page, f"/caisse/{order}", "/caisse/encaissements", "/caisse"):
        assert terminal.client.get(path).status_code == 200
    terminal.check()


def test_what_is_being_charged_cannot_be_paid_a_second_time(terminal: Terminal) -> None:
    order = billed(terminal.client)
    left = terminal.bill(order)["left"]
    attempt = terminal.begin(order, left - 500)
    for amount, status in ((501, 409), (left, 409)):
        assert pay(terminal.client, order, amount, method="cash").status_code == status
        reply = post(
            terminal.client, f"/orders/{order}/payment-attempts", {"channel": "card_terminal", "amount": amount}
        )
        assert reply.status_code == 409
    assert terminal.client.delete(f"/api/v1/orders/{order}/bill").status_code == 409
    reply = post(terminal.client, f"/orders/{order}/discounts", {"amount": 10, "reason": "geste"})
    assert reply.get_json()["type"] == "urn:restaurant:problem:charge-in-progress"
    assert pay(terminal.client, order, 500, method="cash").status_code == 201
    assert terminal.settle(attempt) is AttemptState.DONE
    assert terminal.bill(order)["status"] == "paid"
    terminal.check()


def test_many_who_ask_at_once_record_one_payment(terminal: Terminal) -> None:
    order = billed(terminal.client)
    attempt = terminal.begin(order, 1000)
    with ThreadPoolExecutor(6) as pool:
        states = set(pool.map(terminal.gateway.advance, [attempt] * 12))
    assert AttemptState.DONE in states
    terminal.settle(attempt)
    assert [payment["amount"] for payment in terminal.bill(order)["payments"]] == [1000]
    terminal.check()


def test_a_process_that_dies_at_any_moment_leaves_what_another_one_finishes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before it has asked.
    order = billed(terminal.client)
    first = terminal.begin(order, 1000)
    assert Gateway(terminal.database, terminal.providers).resolve(patience=timedelta()) == 0
    # Once the provider has the money, before it is recorded.
    second = terminal.begin(order, 300)
    record = Gateway._record

    def die(self: Gateway, reference: uuid.UUID, outcome: Any) -> Any:
        if outcome is not None and outcome.state is State.CAPTURED:
            raise KeyboardInterrupt
        return record(self, reference, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "_record", die)
        with pytest.raises(KeyboardInterrupt):
            terminal.gateway.advance(second)
    assert terminal.taken() == 1300
    assert terminal.bill(order)["paid"] == 1000
    assert Gateway(terminal.database, terminal.providers).resolve(patience=timedelta()) == 0
    assert terminal.bill(order)["paid"] == 1300
    assert first != second
    terminal.check()


def test_a_guest_pays_online_on_a_page_of_the_provider(terminal: Terminal) -> None:
    order = billed(terminal.client)
    attempt = terminal.begin(order, 1000, channel=Channel.ONLINE)
    assert terminal.gateway.advance(attempt) is AttemptState.STARTED
    found = terminal.client.get(f"/api/v1/payment-attempts/{attempt}").get_json()
    assert found["page"].endswith(f"/pay/{attempt}")
    assert found["page"] in terminal.client.get(f"/caisse/encaissements/{attempt}").text
    assert terminal.gateway.advance(attempt) is AttemptState.STARTED
    terminal.books[Channel.ONLINE].decide(str(attempt), pays=True)
    assert terminal.gateway.advance(attempt) is AttemptState.DONE
    other = terminal.begin(order, 200, channel=Channel.ONLINE)
    terminal.gateway.advance(other)
    terminal.books[Channel.ONLINE].decide(str(other), pays=False)
    assert terminal.settle(other) is AttemptState.DECLINED
    assert terminal.bill(order)["paid"] == 1000
    terminal.check()


def test_a_charge_can_be_cancelled_until_the_guest_has_paid(terminal: Terminal) -> None:
    order = billed(terminal.client)
    attempt = terminal.begin(order, 1000, channel=Channel.ONLINE)
    terminal.gateway.advance(attempt)
    page = f"/caisse/encaissements/{attempt}/annulation"
    assert terminal.client.post(page).status_code == 303
    assert terminal.settle(attempt) is AttemptState.CANCELLED
    assert terminal.client.post(page).status_code == 409
    terminal.books[Channel.ONLINE].decide(str(attempt), pays=True)
    assert pay(terminal.client, order, terminal.bill(order)["left"], method="cash").status_code == 201
    assert terminal.taken() == 0
    terminal.check()


def test_who_gives_up_is_paid_otherwise_and_the_provider_gives_back_what_it_takes(
    terminal: Terminal, sign_in: SignIn
) -> None:
    order = billed(terminal.client)
    left = terminal.bill(order)["left"]
    # The provider has taken the money, and its reply was lost.
    attempt = terminal.begin(order, 1095)
    assert terminal.gateway.advance(attempt) is AttemptState.UNKNOWN
    assert terminal.taken() == 1095
    cashier = sign_in(Role.CASHIER)
    assert post(cashier, f"/payment-attempts/{attempt}/abandon", {}).status_code == 403
    assert post(terminal.client, f"/payment-attempts/{attempt}/abandon", {}).status_code == 200
    assert pay(terminal.client, order, left, method="cash").status_code == 201
    assert terminal.settle(attempt) is AttemptState.CANCELLED
    assert (terminal.taken(), terminal.bill(order)["paid"]) == (0, left)
    assert post(terminal.client, f"/payment-attempts/{attempt}/abandon", {}).status_code == 409
    terminal.check()


def test_a_refund_is_made_where_the_payment_was_and_once(terminal: Terminal) -> None:
    order = billed(terminal.client)
    terminal.settle(terminal.begin(order, 1000, tip=200))
    (payment,) = terminal.bill(order)["payments"]
    path = f"/payments/{payment['reference']}"
    body = {"amount": 400, "tip": 200, "reason": "geste"}
    assert post(terminal.client, f"{path}/refunds", body).get_json()["type"].endswith("refund-at-provider")
    begun = post(terminal.client, f"{path}/refund-attempts", body)
    assert begun.status_code == 202, begun.text
    again = post(terminal.client, f"{path}/refund-attempts", {"amount": 601, "reason": "geste"})
    assert again.status_code == 409
    assert terminal.settle(uuid.UUID(begun.get_json()["reference"])) is AttemptState.DONE
    (payment,) = terminal.bill(order)["payments"]
    assert (payment["refunded"], payment["tip_refunded"], len(payment["receipts"])) == (400, 200, 2)
    assert terminal.taken() == 600
    form = {"key": "k", "amount": "6,00", "reason": "geste"}
    page = f"/caisse/encaissements/paiements/{payment['reference']}"
    assert page in terminal.client.get(f"/caisse/{order}").text
    first, second = (terminal.client.post(page, data=form) for _time in range(2))
    assert (first.status_code, first.location) == (303, second.location)
    terminal.gateway.resolve(patience=timedelta())
    assert terminal.taken() == 0
    cash = pay(terminal.client, order, 100, method="cash").get_json()["reference"]
    assert post(terminal.client, f"/payments/{cash}/refund-attempts", {"amount": 1, "reason": "x"}).status_code == 409
    terminal.check()


def test_the_form_begins_one_charge_even_when_sent_twice(terminal: Terminal) -> None:
    order = billed(terminal.client)
    form = {"key": "k", "channel": "card_terminal", "amount": "10,00", "tip": "", "method": "card"}
    page = f"/caisse/encaissements/commandes/{order}"
    assert page in terminal.client.get(f"/caisse/{order}").text
    first, second = (terminal.client.post(page, data=form) for _time in range(2))
    assert (first.status_code, first.location) == (303, second.location)
    assert len(terminal.client.get("/api/v1/payment-attempts").get_json()["items"]) == 1
    checked = terminal.client.post(f"{first.location}/verification")
    assert checked.status_code == 303
    assert terminal.bill(order)["paid"] == 1000
    terminal.check()


def test_every_state_of_an_attempt_is_in_the_journal(terminal: Terminal, database: Database) -> None:
    order = billed(terminal.client)
    terminal.settle(terminal.begin(order, 1092))
    with database.reading() as session:
        kept = select(JournalEntry.content).where(JournalEntry.kind == EntryKind.ATTEMPT).order_by(JournalEntry.number)
        told = session.scalars(kept).all()
    states = [state for text in told for state in AttemptState if f'"state":"{state.value}","tip"' in text]
    assert states == [AttemptState.STARTED, AttemptState.UNKNOWN, AttemptState.AUTHORIZED, AttemptState.DONE]


def test_a_provider_that_nobody_reaches_or_that_refuses_us_takes_nothing(terminal: Terminal) -> None:
    port = terminal.servers[0].server_port
    for url, secret in (
        ("http://127.0.0.1:9", SECRET),
        (f"http://127.0.0.1:{port}", "wrong"),
        (f"http://127.0.0.1:{port}/x", SECRET),
    ):
        provider = HttpProvider(url, secret, timeout=0.3)
        charge = Charge(str(uuid.uuid4()), 1000, "x", "", datetime.now(UTC))
        if url.endswith("/x"):
            assert provider.authorize(charge).state is State.MISSING
            continue
        with pytest.raises(OutcomeUnknown) as caught:
            provider.authorize(charge)
        assert SECRET not in str(caught.value)
    order = billed(terminal.client)
    terminal.app.extensions["gateway"] = gateway = Gateway(
        terminal.database, {Channel.TERMINAL: HttpProvider("http://127.0.0.1:9", SECRET, timeout=0.3)}
    )
    attempt = terminal.begin(order, 1000)
    assert gateway.advance(attempt) is AttemptState.UNKNOWN
    assert gateway.resolve(patience=timedelta()) == 1
    with terminal.database.reading() as session:
        assert read_gauges(session, late=timedelta(minutes=20)).payments_unresolved == 0
    # Once it is back, the attempt that it never heard of is over.
    assert terminal.settle(attempt) is AttemptState.CANCELLED
    terminal.check()


def test_without_a_provider_there_is_no_button_and_no_charge(sign_in: SignIn) -> None:
    manager = sign_in(Role.MANAGER)
    order = billed(manager)
    assert "encaissements/commandes" not in manager.get(f"/caisse/{order}").text
    for channel in Channel:
        body = {"channel": channel.value, "amount": 100}
        reply = post(manager, f"/orders/{order}/payment-attempts", body)
        assert (reply.status_code, reply.get_json()["type"]) == (409, "urn:restaurant:problem:no-provider")


@pytest.mark.parametrize(
    "values",
    [
        {"terminal_url": "http://pay.example"},
        {"terminal_url": "ftp://pay.example", "terminal_secret_file": "secret"},
        {"online_url": "pay.example", "online_secret_file": "secret"},
        {"online_url": "http://pay.example", "online_secret_file": "missing"},
        {"online_url": "http://pay.example", "online_secret_file": "empty"},
    ],
)
def test_a_provider_without_an_address_or_a_secret_is_refused_at_the_start(
    tmp_path: Path, values: dict[str, str]
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "empty").write_text("\n")
    given = {name: str(tmp_path / value) if name.endswith("file") else value for name, value in values.items()}
    with pytest.raises(ValidationError):
        make_settings(f"sqlite:///{tmp_path / 'x'}", **given)


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = make_settings(
        f"sqlite:///{tmp_path / 'x'}", terminal_url="http://pay.example/v1", terminal_secret_file=tmp_path / "secret"
    )
    assert settings.providers() == {"terminal": ("http://pay.example/v1", SECRET)}
    assert SECRET not in repr(settings)
