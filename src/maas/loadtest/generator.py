"""The load generator: sends requests to the restaurant from inside the cluster; uses only the standard library.

Arrivals come at a constant rate whether or not earlier ones were answered (an open loop), because a client that waits
for a response before it sends the next request hides every stall of the server. The profile decides what arrivals do:

menu    open the menu's page, or place an order
friday  a full service: guests read the menu, order with options and book tables; the kitchen marks dishes ready and
        servers bring them; the cash desk bills and takes payments; a kitchen screen listens to the event stream

Requests that change something have an Idempotency-Key, and are retried with the same key when the connection breaks.
Opening a connection is retried as browsers do; the report counts the failed attempts.

Every second it prints a line of JSON with the totals so far. The last line is the report: accepted orders by reference,
failures by kind, latencies in milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import random
import socket
import sys
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_LOST = (OSError, http.client.HTTPException)
_TRIES = 8
"""Attempts to send one request before it counts as failed."""

_KEPT = 20
"""Number of requests on one connection."""

_SECONDS = 15.0
"""Seconds until a response times out."""

_CONNECT_SECONDS = 3.0
"""Seconds until opening a connection times out."""

_CONNECTS = 15
"""Attempts to open one connection: enough for the failure of a node to be detected."""

_DRAIN_SECONDS = 240.0
"""Seconds after the last arrival until those who still wait are given up."""

_FIRST_PAUSE = 0.2
"""Seconds before the second attempt; the pause doubles with each attempt."""


@dataclass
class Tally:
    """The results so far; shared by all threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    orders: list[str] = field(default_factory=list)
    paid: list[str] = field(default_factory=list)
    bookings: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    retries: int = 0
    unreached: Counter[str] = field(default_factory=Counter)
    unpaid: deque[str] = field(default_factory=deque)
    screen: dict[str, float] = field(default_factory=dict)

    def answer(self, kind: str, began: float) -> None:
        """Count a successful request that began at `began` (seconds, monotonic)."""
        with self.lock:
            self.answered[kind] += 1
            self.milliseconds.append((time.monotonic() - began) * 1000)

    def failure(self, kind: str, why: str) -> None:
        """Count a request that failed permanently."""
        with self.lock:
            self.failures[f"{kind}: {why}"] += 1

    def refusal(self, kind: str) -> None:
        """Count a request that was rejected for a valid reason: a table is taken, another user made the change."""
        with self.lock:
            self.refused[kind] += 1

    def unreachable(self, why: str) -> None:
        """Count a connection that could not be opened."""
        with self.lock:
            self.unreached[why] += 1

    def retry(self) -> None:
        """Count a retry."""
        with self.lock:
            self.retries += 1


class Client:
    """The connection of one guest; it is replaced after a number of requests.

    A Service balances connections, not requests: a permanent connection would never reach a new pod.
    """

    def __init__(self, url: str, tally: Tally, *, token: str | None = None) -> None:
        self._target = urlsplit(url)
        self._tally = tally
        self._token = token
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0

    def request(
        self, method: str, path: str, *, body: bytes | None = None, key: str | None = None
    ) -> tuple[int, bytes]:
        """Send a request and read its response; a connection that the server has closed is replaced once."""
        if self._used >= _KEPT:
            self.close()
        kept = self._connection is not None
        try:
            return self._send(method, path, body, key)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not kept:
                raise
        except _LOST:
            self.close()  # after a timeout the response may still come, and would be taken for the next one
            raise
        # It was closed while idle, before this request was read; the key makes the retry safe.
        try:
            return self._send(method, path, body, key)
        except _LOST:
            self.close()
            raise

    def _send(self, method: str, path: str, body: bytes | None, key: str | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self._used += 1
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key is not None else {})
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._target.hostname or "", self._target.port or 80
        attempt = 1
        while True:
            connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                self._tally.unreachable(type(error).__name__)
                if attempt == _CONNECTS:
                    raise
                attempt += 1
                time.sleep(_FIRST_PAUSE)
                continue
            connection.sock.settimeout(_SECONDS)
            return connection

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._used = None, 0


class _Guest:
    """The actions of one thread; `desk` is its connection as a member of the staff."""

    def __init__(self, url: str, tally: Tally, menu: list[dict[str, Any]], token: str) -> None:
        self.guest = Client(url, tally)
        self.desk = Client(url, tally, token=token)
        self.tally = tally
        self.menu = menu

    def get(self, kind: str, path: str, *, client: Client | None = None) -> bytes | None:
        """Send a GET request; it is not retried."""
        began = time.monotonic()
        try:
            status, answer = (client or self.guest).request("GET", path)
        except _LOST as error:
            self.tally.failure(kind, type(error).__name__)
            return None
        if status != http.HTTPStatus.OK:
            self.tally.failure(kind, str(int(status)))
            return None
        self.tally.answer(kind, began)
        return answer

    def post(self, kind: str, path: str, body: object, *, client: Client | None = None) -> dict[str, Any] | None:
        """Send a POST request, and retry it with the same key when the connection breaks or the server fails."""
        began = time.monotonic()
        # Not from the seed: a second run with the same arrivals places new orders.
        key, pause, outcome = str(uuid.uuid4()), _FIRST_PAUSE, ""
        for attempt in range(_TRIES):
            if attempt:
                self.tally.retry()
                time.sleep(pause)
                pause *= 2
            try:
                status, answer = (client or self.guest).request("POST", path, body=json.dumps(body).encode(), key=key)
            except _LOST as error:
                outcome = type(error).__name__
                continue
            if status in {http.HTTPStatus.OK, http.HTTPStatus.CREATED}:
                self.tally.answer(kind, began)
                found: dict[str, Any] = json.loads(answer)
                return found
            if status == http.HTTPStatus.CONFLICT:
                self.tally.answer(kind, began)
                self.tally.refusal(kind)
                return None
            outcome = str(int(status))
            if status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        self.tally.failure(kind, outcome)
        return None

    def browse(self, _chance: random.Random) -> None:
        """Read the menu."""
        self.get("menu", "/")

    def order(self, chance: random.Random) -> None:
        """Order one to three dishes, with their required options."""
        dishes = chance.sample(self.menu, k=min(chance.randint(1, 3), len(self.menu)))
        lines = []
        for dish in dishes:
            options = []
            for group in dish["option_groups"]:
                wanted = chance.randint(group["minimum"], min(group["maximum"], len(group["options"])))
                options += [option["id"] for option in chance.sample(group["options"], k=wanted)]
            lines.append({"dish": dish["id"], "quantity": chance.randint(1, 3), "options": options})
        # The staff orders for the guests: one address may not send that many, and none outside the opening hours.
        body = {"guest": f"Guest {chance.randint(1, 999)}", "lines": lines}
        placed = self.post("order", "/api/v1/orders", body, client=self.desk)
        if placed is not None:
            with self.tally.lock:
                self.tally.orders.append(str(placed["reference"]))
                self.tally.unpaid.append(str(placed["reference"]))

    def book(self, chance: random.Random) -> None:
        """Look for a table in the next weeks, and book it."""
        covers = chance.randint(1, 6)
        day = (datetime.now(UTC) + timedelta(days=chance.randint(1, 40))).date()
        answer = self.get("availability", f"/api/v1/availability?day={day}&covers={covers}")
        slots = json.loads(answer)["slots"] if answer is not None else []
        if slots:
            # Guests have a number each, and the staff books for them: one address may not make that many bookings.
            contact = f"01{chance.randint(0, 99_999_999):08}"
            wanted = {"starts_at": chance.choice(slots), "covers": covers, "guest": "Guest", "contact": contact}
            booked = self.post("booking", "/api/v1/bookings", wanted, client=self.desk)
            if booked is not None:
                with self.tally.lock:
                    self.tally.bookings.append(str(booked["reference"]))

    def cook(self, chance: random.Random) -> None:
        """Mark dishes of a station as ready, the oldest first, and serve those that are."""
        station = chance.choice(["cold", "hot", "pastry", "bar"])
        answer = self.get("tickets", f"/api/v1/kitchen/tickets?station={station}", client=self.desk)
        for ticket in json.loads(answer)["tickets"][:2] if answer is not None else []:
            for line in ticket["lines"][:3]:
                if line["status"] != "ready":
                    self.post(
                        "ready", f"/api/v1/kitchen/lines/{line['id']}/move", {"status": "ready"}, client=self.desk
                    )
                path = f"/api/v1/orders/{ticket['order']}/lines/{line['id']}/move"
                self.post("served", path, {"status": "served"}, client=self.desk)

    def pay(self, chance: random.Random) -> None:
        """Bill an order, and take its payment."""
        with self.tally.lock:
            reference = self.tally.unpaid.popleft() if self.tally.unpaid else None
        if reference is None:
            self.browse(chance)
            return
        bill = self.post("bill", f"/api/v1/orders/{reference}/bill", {}, client=self.desk)
        if bill is not None and bill["left"]:
            wanted = {"amount": bill["left"], "method": chance.choice(["card", "cash"])}
            if self.post("payment", f"/api/v1/orders/{reference}/payments", wanted, client=self.desk) is not None:
                with self.tally.lock:
                    self.tally.paid.append(reference)


_FRIDAY = {_Guest.browse: 62, _Guest.order: 15, _Guest.book: 5, _Guest.cook: 10, _Guest.pay: 8}
"""The number of each action in a hundred arrivals."""


def _serve(guest: _Guest, arrivals: queue.Queue[tuple[Callable[[_Guest, random.Random], None], int] | None]) -> None:
    while (arrival := arrivals.get()) is not None:
        act, seed = arrival
        act(guest, random.Random(seed))  # noqa: S311 - reproducible guests, not secrets


def _watch(url: str, token: str, tally: Tally, ended: threading.Event) -> None:
    """Listen to the event stream like a kitchen screen: reconnect with the ID of the last event when it ends."""
    target = urlsplit(url)
    last, lost = "", 0.0
    screen = dict.fromkeys(("events", "resumed", "refused", "longest_gap_s"), 0.0)
    tally.screen = screen
    while not ended.is_set():
        connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=20)
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
        try:
            connection.request("GET", "/cuisine/flux", headers=headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                screen["refused"] += 1
                ended.wait(1.0)
                continue
            for line in response:
                if lost:
                    screen["longest_gap_s"] = max(screen["longest_gap_s"], round(time.monotonic() - lost, 1))
                    screen["resumed"] += 1
                    lost = 0.0
                if line.startswith(b"id: "):
                    last = line[4:].strip().decode()
                    screen["events"] += 1
                if ended.is_set():
                    return
        except _LOST:
            pass
        finally:
            connection.close()
            lost = lost or time.monotonic()
        ended.wait(0.2)


def _quantile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0


def _summary(tally: Tally, *, sent: int, seconds: float) -> dict[str, object]:
    ordered = sorted(tally.milliseconds)
    return {
        "sent": sent,
        "answered": len(ordered),
        "answered_by_kind": dict(tally.answered),
        "failed": sum(tally.failures.values()),
        "failures": dict(tally.failures),
        "refused": dict(tally.refused),
        "retries": tally.retries,
        "unreached": dict(tally.unreached),
        "seconds": round(seconds, 1),
        "per_second": round(len(ordered) / seconds, 1),
        "p50_ms": _quantile(ordered, 0.5),
        "p99_ms": _quantile(ordered, 0.99),
        "screen": tally.screen,
        "orders": tally.orders,
        "paid": tally.paid,
        "bookings": tally.bookings,
    }


def _by_address(url: str) -> str:
    """Return `url` with the address of its host, resolved once.

    Devices cache it too; how the cluster's DNS survives the loss of a node is not measured here.
    """
    target = urlsplit(url)
    address = socket.gethostbyname(target.hostname or "")
    return target._replace(netloc=f"{address}:{target.port or 80}").geturl()


def _menu(url: str) -> list[dict[str, Any]]:
    status, body = Client(url, Tally()).request("GET", "/api/v1/menu")
    if status != http.HTTPStatus.OK:
        raise SystemExit(f"reading the menu failed with status {status}")
    # Dishes that are available at any hour.
    dishes = [
        dish
        for category in json.loads(body)["categories"]
        for dish in category["dishes"]
        if dish["available"] and dish["available_from"] is None
    ]
    if not dishes:
        raise SystemExit("the menu is empty")
    return dishes


def _sign_in(url: str, username: str, password: str) -> str:
    body = json.dumps({"username": username, "password": password}).encode()
    status, answer = Client(url, Tally()).request("POST", "/api/v1/sessions", body=body)
    if status != http.HTTPStatus.CREATED:
        raise SystemExit(f"signing in failed with status {status}")
    return str(json.loads(answer)["token"])


def _progress(second: int, sent: int, tally: Tally, waiting: int) -> str:
    answered, failed = len(tally.milliseconds), sum(tally.failures.values())
    return json.dumps({"second": second, "sent": sent, "answered": answered, "waiting": waiting, "failed": failed})


def main() -> None:
    """Run the load, and print the report to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True, help="arrivals per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--profile", choices=["menu", "friday"], default="menu")
    parser.add_argument("--orders", type=float, default=0.2, help="share of arrivals that order (profile menu)")
    parser.add_argument("--username", required=True, help="user name of a member of the staff who takes orders")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.url = _by_address(options.url)

    friday = options.profile == "friday"
    token = _sign_in(options.url, options.username, options.password_file.read_text().strip())
    menu, tally, ended = _menu(options.url), Tally(), threading.Event()
    acts = _FRIDAY if friday else {_Guest.order: options.orders, _Guest.browse: 1 - options.orders}
    arrivals: queue.Queue[tuple[Callable[[_Guest, random.Random], None], int] | None] = queue.Queue()
    threads = [
        threading.Thread(target=_serve, args=(_Guest(options.url, tally, menu, token), arrivals), daemon=True)
        for _ in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    if friday:
        threading.Thread(target=_watch, args=(options.url, token, tally, ended), daemon=True).start()

    chance = random.Random(options.seed)  # noqa: S311 - reproducible arrivals, not secrets
    began, sent, reported = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < options.seconds:
        due = int(now * options.rate)
        for _ in range(sent, due):
            (act,) = chance.choices(list(acts), weights=list(acts.values()))
            arrivals.put((act, chance.getrandbits(64)))
        sent = max(sent, due)
        if int(now) > reported:
            reported = int(now)
            print(_progress(reported, sent, tally, arrivals.qsize()), flush=True)  # noqa: T201
        time.sleep(1 / max(options.rate, 20))
    for _ in threads:
        arrivals.put(None)
    # Those who still wait are served: a reader must not take their silence for the end.
    until = time.monotonic() + _DRAIN_SECONDS
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        print(_progress(int(options.seconds), sent, tally, arrivals.qsize()), flush=True)  # noqa: T201
        time.sleep(1)
    ended.set()
    print(json.dumps(_summary(tally, sent=sent, seconds=time.monotonic() - began)), flush=True)  # noqa: T201
    sys.exit(0)


if __name__ == "__main__":
    main()
