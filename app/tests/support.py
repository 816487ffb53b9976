"""What several test modules need: settings, a running service, and the acts of an evening over REST."""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flask import Flask
from flask.testing import FlaskClient

from restaurant.billing.signing import new_key
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import AttemptState, Channel
from restaurant.payments.providers import Charge, Outcome, OutcomeUnknown, Refund, State
from restaurant.payments.simulator import Simulator
from restaurant.people.permissions import Role
from restaurant.settings import Settings

SignIn = Callable[[Role], FlaskClient]
T = TypeVar("T")

COMMITTED = Path(__file__).parent.parent / "openapi.json"
SECRET = "a key for tests, which is long enough to be taken"
#: Dishes of the example menu.
EGGS, SNAILS, STEW, TATIN, WINE, COFFEE = 2, 4, 7, 14, 20, 23


_FILES = tempfile.mkdtemp(prefix="restaurant-tests-")
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)
JOURNAL_KEY = Path(_FILES) / "journal-key.pem"
JOURNAL_KEY.write_text(new_key())


class Once(Protocol):
    """Calls a function that fills the test's database, or brings back what it did for an earlier test.

    The clients are signed in as the function left them.
    """

    def __call__(self, name: str, fill: Callable[[], T], *clients: FlaskClient) -> T: ...


def make_settings(url: str, **values: object) -> Settings:
    given = {"database_url": url, "secret_key": SECRET, "database_pool_size": 10, "journal_key_file": JOURNAL_KEY,
             "bookings_per_address": 0, "bookings_per_contact": 0, "orders_per_address": 0,
             "take_away_times": "00:00-24:00", "address": "1 rue du Four, 75006 Paris", "registration": "SIRET 732 829 320 00074"}  # fmt: skip
    return Settings.model_validate({**given, **values})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@contextmanager
def serving(settings: Settings, log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """The real command in a process of its own: yields it with its port and its probes' port."""
    port, probes = free_port(), free_port()
    variables = {
        **os.environ,
        "RESTAURANT_DATABASE_URL": settings.database_url,
        "RESTAURANT_SECRET_KEY": SECRET,
        "RESTAURANT_JOURNAL_KEY_FILE": str(JOURNAL_KEY),
        "RESTAURANT_TAKE_AWAY_TIMES": settings.take_away_times,
        "RESTAURANT_ORDERS_PER_ADDRESS": str(settings.orders_per_address),
        "RESTAURANT_LISTEN": f"127.0.0.1:{port}",
        "RESTAURANT_PROBES_LISTEN": f"127.0.0.1:{probes}",
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "restaurant", "serve"], env=variables, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                if get(probes, "/readyz")[0] == 200:
                    break
            except OSError:
                pass
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, port, probes
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def post(client: FlaskClient, path: str, body: object, **headers: str) -> Any:
    return client.post(f"/api/v1{path}", json=body, headers={"Idempotency-Key": uuid.uuid4().hex, **headers})


def order_body(**changes: Any) -> dict[str, Any]:
    return {"guest": "Ana", "lines": [{"dish": EGGS, "quantity": 2}], **changes}


def place(client: FlaskClient, body: object, *, key: str | None = "k1") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/api/v1/orders", json=body, headers=headers)


def seat(client: FlaskClient, table: int = 1, **changes: object) -> dict[str, Any]:
    reply = post(client, "/seatings", {"table": table, "covers": 2, **changes})
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def add(client: FlaskClient, order: str, *dishes: int, hold: bool = False, **line: object) -> dict[str, Any]:
    body = {"lines": [{"dish": dish, **line} for dish in dishes], "hold": hold}
    reply = post(client, f"/orders/{order}/lines", body)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def state(client: FlaskClient, table: int) -> str:
    rooms = client.get("/api/v1/floor").get_json()["rooms"]
    return next(str(entry["state"]) for room in rooms for entry in room["tables"] if entry["id"] == table)


def billed(client: FlaskClient, *dishes: int, table: int = 1) -> str:
    """The reference of an order whose bill is presented."""
    order: str = seat(client, table)["reference"]
    add(client, order, *(dishes or (EGGS, STEW, WINE)))
    reply = post(client, f"/orders/{order}/bill", None)
    assert reply.status_code == 200, reply.text
    return order


class Instant:
    """A payment provider that does at once what it is asked for, without a network."""

    def authorize(self, charge: Charge) -> Outcome:
        return Outcome(State.AUTHORIZED, f"r-{charge.key[:8]}")

    def capture(self, charge: Charge) -> Outcome:
        return Outcome(State.CAPTURED)

    def cancel(self, charge: Charge) -> Outcome:
        return Outcome(State.CANCELLED)

    def refund(self, refund: Refund) -> Outcome:
        return Outcome(State.CAPTURED)

    def look_up(self, charge: Charge) -> Outcome:
        return Outcome(State.AUTHORIZED)


class Direct:
    """The simulator without a network between; it loses and refuses what a test chooses."""

    def __init__(self) -> None:
        self.book = Simulator(online=True)
        self.lost = 0
        self.refuses = False

    def _answer(self, found: Any) -> Any:
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("lost")
        if found is None:
            return Outcome(State.MISSING)
        page = f"https://pay.example/{id(found)}" if found.state is State.PENDING else None
        return Outcome(found.state, "sim", page)

    def authorize(self, charge: Any) -> Any:
        return self._answer(self.book.charge(charge.key, charge.amount, back=charge.back))

    def capture(self, charge: Any) -> Any:
        return self._answer(self.book.capture(charge.key))

    def cancel(self, charge: Any) -> Any:
        return self._answer(self.book.cancel(charge.key))

    def refund(self, refund: Any) -> Any:
        if self.refuses and refund.key not in self.book.book:
            return Outcome(State.DECLINED)
        return self._answer(self.book.refund(refund.key, refund.amount, of=refund.charge.key))

    def look_up(self, charge: Any) -> Any:
        return self._answer(self.book.look_up(charge.key))


@contextmanager
def terminal(app: Flask) -> Iterator[Gateway]:
    """A gateway with a card terminal for the database that `app` has now."""
    before = app.extensions["gateway"]
    app.extensions["gateway"] = Gateway(app.extensions["database"], {channel: Instant() for channel in Channel})
    yield app.extensions["gateway"]
    app.extensions["gateway"] = before


def charged(client: FlaskClient, gateway: Gateway, order: str, amount: int) -> str:
    """Pay at the terminal; the reference of the attempt."""
    body = {"channel": "card_terminal", "amount": amount}
    reference: str = post(client, f"/orders/{order}/payment-attempts", body).get_json()["reference"]
    assert gateway.advance(uuid.UUID(reference)) is AttemptState.DONE
    return reference


def pay(client: FlaskClient, order: str, amount: int, **changes: object) -> Any:
    return post(client, f"/orders/{order}/payments", {"amount": amount, "method": "card", **changes})
