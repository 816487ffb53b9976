"""Orders on a host of a lab while a fault happens, each with a key of its own, and sent again until its outcome is known.

    order_traffic.py URL RATE SECONDS FILE DISH

It creates FILE after the first order. It prints a JSON object: the longest time in seconds without an acknowledged order, the
reference of each acknowledged order by its key, and the keys whose outcome was still unknown two minutes after the end. Each
order carries its key as the name of its guest. Orders arrive at their rate whatever happens to earlier ones.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

LIMIT = 40.0
"""Seconds after which a request is sent again: the application itself waits for 30."""
PATIENCE = 120.0
"""Seconds after the end until an order is given up."""


class Orders:
    """What is known about the orders."""

    def __init__(self, url: str, started: Path) -> None:
        self.address = urlsplit(url)
        self.started = started
        self.acknowledged: dict[str, str] = {}
        self.unknown: list[str] = []
        self.longest = 0.0
        self._since: float | None = None
        self._lock = threading.Lock()

    def place(self, dish: int, until: float) -> None:
        """Place an order, again and again with its key until it is acknowledged."""
        key = uuid.uuid4().hex
        while time.monotonic() < until:
            if (reference := self._send(key, dish)) is not None:
                with self._lock:
                    self.acknowledged[key] = reference
                    now = time.monotonic()
                    self.longest = max(self.longest, now - (self._since or now))
                    self._since = now
                self.started.touch()
                return
            time.sleep(0.5)
        with self._lock:
            self.unknown.append(key)

    def _send(self, key: str, dish: int) -> str | None:
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port or 80, timeout=LIMIT)
        try:
            body = json.dumps({"guest": key, "lines": [{"dish": dish, "quantity": 1}]})
            headers = {"Content-Type": "application/json", "Idempotency-Key": key}
            connection.request("POST", "/api/v1/orders", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            return str(json.loads(text)["reference"]) if answer.status == 201 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def main() -> None:
    url, rate, seconds, started = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    orders = Orders(url, started)
    dish = int(sys.argv[5])
    began = time.monotonic()
    threads = []
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        thread = threading.Thread(target=orders.place, args=(dish, began + seconds + PATIENCE))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    print(json.dumps({"longest": orders.longest, "acknowledged": orders.acknowledged, "unknown": orders.unknown}))


if __name__ == "__main__":
    main()
