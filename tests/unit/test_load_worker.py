from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import maas.demo.worker

if TYPE_CHECKING:
    from collections.abc import Iterator


class Restaurant(http.server.BaseHTTPRequestHandler):
    """A menu and an order book; drops every ninth request unanswered, as a pod that goes away does."""

    protocol_version = "HTTP/1.1"
    placed: ClassVar[dict[str, str]] = {}
    seen: ClassVar[list[int]] = []

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        dish: dict[str, Any] = {"id": 1, "available": True, "available_from": None, "option_groups": []}
        self._answer(200, {"categories": [{"dishes": [dish]}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        reference = self.placed.setdefault(self.headers["Idempotency-Key"], f"order-{len(self.placed)}")
        self.seen.append(1)
        if len(self.seen) % 9 == 0:
            self.close_connection = True
            return
        self._answer(201, {"reference": reference})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Restaurant)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_guest_is_accounted_for_and_an_order_that_was_cut_off_is_placed_once(url: str) -> None:
    words = [sys.executable, maas.demo.worker.__file__, "--url", url, "--rate", "60", "--seconds", "2"]
    done = subprocess.run([*words, "--orders", "0.5", "--threads", "4"], capture_output=True, text=True, check=True)
    account = json.loads(done.stdout.splitlines()[-1])
    assert account["failed"] == 0, account["failures"]
    assert account["sent"] == account["answered"] > 60
    assert sorted(account["orders"]) == sorted(Restaurant.placed.values())
    assert len(Restaurant.seen) > len(Restaurant.placed) > 20, "some were sent again"
