"""Traffic on a host of a lab while a fault happens: reads and writes of the API, packets to another host, guests.

    fault_traffic.py API CREDENTIALS ADDRESS SECONDS RESTAURANT RUN

CREDENTIALS is a directory with ca.crt, client.crt and client.key. RESTAURANT is the address of the restaurant's Service.
It creates the file `started` in the directory after the first success of each kind. It prints a JSON object with the
longest time in seconds without a success of each kind, the numbers of the writes that the API acknowledged, and the
references of the orders that the restaurant confirmed, by guest. Every request is a new connection, as that of a client
which has just started, and does not wait for earlier requests that are still without an answer.

Guests read the menu and order. Orders are the same in each run, and named after RUN. One without an answer is sent again with
the same idempotency key until it is confirmed, also after the time is over.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Any

PAUSE = 0.1
"""Seconds between two requests of all clients together, if answers come at once."""
CLIENTS = 5
LIMIT = 2.0
"""Seconds after which a request has failed."""
NAMESPACE = "default"
GUEST_PAUSE = 0.3
"""Seconds between two requests of a guest; two read the menu, and one orders."""
SEED = 7
PATIENCE = 60.0
"""Seconds after the end in which an order without an answer is sent again."""


class Longest:
    """The longest time without a success, from the first one on."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.seconds = 0.0
        self._lock = threading.Lock()

    def success(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self.since is not None:
                self.seconds = max(self.seconds, now - self.since)
            self.since = now

    def end(self, at: float) -> float:
        """Return the longest time until a moment."""
        return max(self.seconds, at - self.since) if self.since is not None else 1e9


class Api:
    def __init__(self, address: str, credentials: str) -> None:
        self.address = address
        self.context = ssl.create_default_context(cafile=f"{credentials}/ca.crt")
        self.context.load_cert_chain(f"{credentials}/client.crt", f"{credentials}/client.key")

    def request(self, method: str, path: str, body: object = None) -> int:
        """Return the status of an answer, 0 without one."""
        connection = http.client.HTTPSConnection(self.address, 6443, timeout=LIMIT, context=self.context)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        else:
            return answer.status
        finally:
            connection.close()


def reads(api: Api, until: float, longest: Longest) -> None:
    while time.monotonic() < until:
        if api.request("GET", f"/api/v1/namespaces/{NAMESPACE}") == 200:
            longest.success()
        time.sleep(CLIENTS * PAUSE)


def writes(api: Api, until: float, longest: Longest, acknowledged: list[int], number: int) -> None:
    """Create one ConfigMap after the other, each with a number in its name; a repeated one exists already."""
    while time.monotonic() < until:
        content = {"metadata": {"name": f"fault-{number}", "labels": {"maas.test": "fault"}}}
        if api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", content) in (201, 409):
            longest.success()
            acknowledged.append(number)
            number += CLIENTS
        time.sleep(CLIENTS * PAUSE)


class Restaurant:
    """The restaurant as guests reach it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def request(self, method: str, path: str, body: object = None, *, key: str = "") -> tuple[int, bytes]:
        """Return the status and the body of an answer, 0 without one."""
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT)
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def dishes(self, until: float) -> list[dict[str, Any]]:
        """Return dishes that can be ordered at any hour without a choice."""
        status, body = 0, b""
        while status != HTTPStatus.OK and time.monotonic() < until:
            status, body = self.request("GET", "/api/v1/menu")
        return [
            dish
            for category in json.loads(body)["categories"]
            for dish in category["dishes"]
            if dish["available"]
            and dish["available_from"] is None
            and not any(group["minimum"] for group in dish["option_groups"])
        ]


def browse(restaurant: Restaurant, until: float, longest: Longest) -> None:
    while time.monotonic() < until:
        if restaurant.request("GET", "/")[0] == HTTPStatus.OK:
            longest.success()
        time.sleep(GUEST_PAUSE)


def order(restaurant: Restaurant, until: float, longest: Longest, run: str, confirmed: dict[str, str]) -> None:
    dishes, chance = restaurant.dishes(until), random.Random(SEED)  # noqa: S311 - the same orders each time, not secrets
    for number in itertools.count():
        if time.monotonic() > until:
            return
        guest = f"fault-{run}-{number}"
        lines = [{"dish": chance.choice(dishes)["id"], "quantity": chance.randint(1, 3), "options": []}]
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, guest))
        while time.monotonic() < until + PATIENCE:
            status, body = restaurant.request("POST", "/api/v1/orders", {"guest": guest, "lines": lines}, key=key)
            if status in (HTTPStatus.OK, HTTPStatus.CREATED):
                confirmed[guest] = json.loads(body)["reference"]
                longest.success()
                break
            time.sleep(GUEST_PAUSE)
        time.sleep(GUEST_PAUSE)


def packets(address: str, seconds: float) -> float:
    """Return the longest time in which no ping was answered."""
    words = ["ping", "-n", "-D", "-i", str(PAUSE), "-w", str(int(seconds)), address]
    began = time.time()
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    replies = [float(line[1:].partition("]")[0]) for line in lines if line.startswith("[") and "bytes from" in line]
    times = [began, *replies, began + int(seconds)]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def main() -> None:
    address, credentials, other, text, service, run = sys.argv[1:]
    seconds = float(text)
    until = time.monotonic() + seconds
    api, restaurant = Api(address, credentials), Restaurant(service)
    read, written, seen, ordered = Longest(), Longest(), Longest(), Longest()
    acknowledged: list[int] = []
    confirmed: dict[str, str] = {}
    threads = [
        thread
        for number in range(CLIENTS)
        for thread in (
            threading.Thread(target=reads, args=(api, until, read)),
            threading.Thread(target=writes, args=(api, until, written, acknowledged, number)),
        )
    ]
    threads += [threading.Thread(target=browse, args=(restaurant, until, seen)) for _ in range(2)]
    threads.append(threading.Thread(target=order, args=(restaurant, until, ordered, run, confirmed)))
    for thread in threads:
        thread.start()
    kinds = {"reads": read, "writes": written, "menu": seen, "orders": ordered}
    while any(kind.since is None for kind in kinds.values()) and time.monotonic() < until:
        time.sleep(PAUSE)
    (Path(credentials) / "started").touch()
    ping = packets(other, max(1.0, until - time.monotonic()))
    for thread in threads:
        thread.join()
    found: dict[str, Any] = {name: kind.end(until) for name, kind in kinds.items()}
    found |= {"packets": ping, "acknowledged": acknowledged, "confirmed": confirmed}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    socket.setdefaulttimeout(LIMIT)
    main()
