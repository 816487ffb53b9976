"""Sends guests to the restaurant; runs alone inside the cluster, with nothing but the standard library.

Arrivals come at a constant rate whether or not earlier ones were answered (an open loop), because a client that waits
for an answer before it sends the next request hides every stall of the server. Each arrival opens the menu's page; one
in a few places an order with an Idempotency-Key, and tries again with the same key when the connection breaks.

Every second it writes a line of JSON with what happened in that second, and one last line with the whole:
accepted orders by reference, failures by kind, latencies in milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import random
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LOST = (OSError, http.client.HTTPException)
_TRIES = 8
"""Attempts at one order before it counts as failed."""

_KEPT = 20
"""Requests on one connection."""

_FIRST_PAUSE = 0.2
"""Seconds before the second attempt; each later one waits twice as long."""


@dataclass
class Tally:
    """What happened so far; shared by all threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    orders: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    retries: int = 0

    def answer(self, began: float, *, order: str | None = None) -> None:
        """Count an answered request that began at `began` (seconds, monotonic)."""
        with self.lock:
            self.milliseconds.append((time.monotonic() - began) * 1000)
            if order is not None:
                self.orders.append(order)

    def failure(self, kind: str) -> None:
        """Count a request that failed for good."""
        with self.lock:
            self.failures[kind] += 1

    def retry(self) -> None:
        """Count a broken attempt that is tried again."""
        with self.lock:
            self.retries += 1


class _Client:
    """One guest's connection, kept open for some requests as a browser keeps it, then opened anew.

    A service balances connections, not requests: one that is kept for ever would never see a new pod.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0

    def request(
        self, method: str, path: str, *, body: bytes | None = None, key: str | None = None
    ) -> tuple[int, bytes]:
        """Send a request and read its answer; a connection that the server closed meanwhile is replaced once."""
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
            self.close()  # after a time-out its answer may still come, and would be taken for the next one's
            raise
        # It was closed while idle, before this request was read; the key makes a repetition harmless.
        try:
            return self._send(method, path, body, key)
        except _LOST:
            self.close()
            raise

    def _send(self, method: str, path: str, body: bytes | None, key: str | None) -> tuple[int, bytes]:
        if self._connection is None:
            host, port = self._target.hostname or "", self._target.port or 80
            self._connection = http.client.HTTPConnection(host, port, timeout=15)
        self._used += 1
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key is not None else {})
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Close the connection, so that the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._used = None, 0


def _browse(client: _Client, tally: Tally) -> None:
    began = time.monotonic()
    try:
        status, _ = client.request("GET", "/")
    except _LOST as error:
        tally.failure(f"menu: {type(error).__name__}")
        return
    if status == http.HTTPStatus.OK:
        tally.answer(began)
    else:
        tally.failure(f"menu: {status}")


def _order(client: _Client, tally: Tally, dishes: list[int], chance: random.Random) -> None:
    began = time.monotonic()
    lines = [{"dish": dish, "quantity": chance.randint(1, 3)} for dish in chance.sample(dishes, k=min(2, len(dishes)))]
    body = json.dumps({"guest": f"Guest {chance.randint(1, 999)}", "lines": lines}).encode()
    # Not from the seed: a second run with the same guests brings new orders.
    key, pause, outcome = str(uuid.uuid4()), _FIRST_PAUSE, ""
    for attempt in range(_TRIES):
        if attempt:
            tally.retry()
            time.sleep(pause)
            pause *= 2
        try:
            status, answer = client.request("POST", "/api/v1/orders", body=body, key=key)
        except _LOST as error:
            outcome = type(error).__name__
            continue
        if status in {http.HTTPStatus.OK, http.HTTPStatus.CREATED}:
            tally.answer(began, order=str(json.loads(answer)["reference"]))
            return
        outcome = str(int(status))
        # 409: the first attempt with this key is still under way; 5xx: the pod or its database is going away.
        if status != http.HTTPStatus.CONFLICT and status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
            break
    tally.failure(f"order: {outcome}")


def _serve(url: str, tally: Tally, dishes: list[int], arrivals: queue.Queue[tuple[bool, int] | None]) -> None:
    client = _Client(url)
    while (arrival := arrivals.get()) is not None:
        orders, seed = arrival
        if orders:
            _order(client, tally, dishes, random.Random(seed))  # noqa: S311 - reproducible guests, not secrets
        else:
            _browse(client, tally)


def _quantile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0


def _summary(tally: Tally, *, sent: int, seconds: float) -> dict[str, object]:
    ordered = sorted(tally.milliseconds)
    return {
        "sent": sent,
        "answered": len(ordered),
        "failed": sum(tally.failures.values()),
        "failures": dict(tally.failures),
        "retries": tally.retries,
        "seconds": round(seconds, 1),
        "per_second": round(len(ordered) / seconds, 1),
        "p50_ms": _quantile(ordered, 0.5),
        "p99_ms": _quantile(ordered, 0.99),
        "orders": tally.orders,
    }


def _menu(url: str) -> list[int]:
    status, body = _Client(url).request("GET", "/api/v1/menu")
    if status != http.HTTPStatus.OK:
        raise SystemExit(f"the menu answered {status}")
    dishes = [
        dish["id"]
        for category in json.loads(body)["categories"]
        for dish in category["dishes"]
        # At any hour, and without a question that must be answered.
        if dish["available"] and dish["available_from"] is None and not dish["option_groups"]
    ]
    if not dishes:
        raise SystemExit("the menu is empty")
    return dishes


def main() -> None:
    """Run the load and write its account to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True, help="arrivals per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--orders", type=float, default=0.2, help="share of arrivals that order")
    parser.add_argument("--threads", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    dishes, tally = _menu(options.url), Tally()
    arrivals: queue.Queue[tuple[bool, int] | None] = queue.Queue()
    threads = [
        threading.Thread(target=_serve, args=(options.url, tally, dishes, arrivals), daemon=True)
        for _ in range(options.threads)
    ]
    for thread in threads:
        thread.start()

    chance = random.Random(options.seed)  # noqa: S311 - reproducible arrivals, not secrets
    began, sent, told = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < options.seconds:
        due = int(now * options.rate)
        for _ in range(sent, due):
            arrivals.put((chance.random() < options.orders, chance.getrandbits(64)))
        sent = max(sent, due)
        if int(now) > told:
            told = int(now)
            line = {"second": told, "sent": sent, "answered": len(tally.milliseconds), "waiting": arrivals.qsize()}
            print(json.dumps(line | {"failed": sum(tally.failures.values())}), flush=True)  # noqa: T201
        time.sleep(1 / max(options.rate, 20))
    for _ in threads:
        arrivals.put(None)
    for thread in threads:
        thread.join(timeout=60)
    print(json.dumps(_summary(tally, sent=sent, seconds=time.monotonic() - began)), flush=True)  # noqa: T201
    sys.exit(0)


if __name__ == "__main__":
    main()
