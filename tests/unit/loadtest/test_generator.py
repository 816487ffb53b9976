from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import maas.loadtest.generator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


DISH: dict[str, Any] = {
    "id": 1,
    "available": True,
    "available_from": None,
    "option_groups": [{"minimum": 1, "maximum": 2, "options": [{"id": 11}, {"id": 12}, {"id": 13}]}],
}


class Restaurant(http.server.BaseHTTPRequestHandler):
    """A menu, orders and a kitchen; closes the connection of every ninth POST, as a pod that is deleted does."""

    protocol_version = "HTTP/1.1"
    placed: ClassVar[dict[str, str]] = {}
    payments: ClassVar[dict[str, int]] = {}
    lines: ClassVar[list[dict[str, Any]]] = []
    resumed: ClassVar[list[str]] = []
    seen: ClassVar[list[int]] = []

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/cuisine/flux":
            self._stream()
        elif path == "/api/v1/availability":
            self._answer(200, {"slots": ["2026-04-03T20:00:00+02:00"]})
        elif path == "/api/v1/kitchen/tickets":
            line = {"id": 7, "status": "fired"}
            self._answer(200, {"tickets": [{"order": "order-0", "lines": [line]}]})
        else:
            self._answer(200, {"categories": [{"dishes": [DISH]}]})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v1/sessions":
            self._answer(201, {"token": "t"} if sent["username"] == "load" else {})
            return
        placed, key = self.path == "/api/v1/orders", self.headers["Idempotency-Key"]
        if placed and self.headers["Authorization"] != "Bearer t":
            self._answer(409, {})
            return
        reference = self.placed.setdefault(key, f"order-{len(self.placed)}") if placed else f"other-{key}"
        if placed:
            self.lines.extend(sent["lines"])
        self.seen.append(1)
        if len(self.seen) % 9 == 0:
            self.close_connection = True
            return
        if self.path.endswith("/payments"):
            self.payments.setdefault(key, sent["amount"])
        if self.path.endswith("/served"):
            self._answer(409, {})
            return
        self._answer(201, {"reference": reference, "left": 700})

    def _stream(self) -> None:
        self.resumed.append(self.headers.get("Last-Event-ID", ""))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"id: {40 + len(self.resumed)}\nevent: change\ndata:\n\n".encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Print no request."""


@pytest.fixture
def url() -> Iterator[str]:
    for kept in (Restaurant.placed, Restaurant.payments, Restaurant.lines, Restaurant.resumed, Restaurant.seen):
        kept.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Restaurant)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def run(url: str, tmp_path: Path, *options: str) -> dict[str, Any]:
    """Run the generator for two seconds and return its report."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    words = [sys.executable, maas.loadtest.generator.__file__, "--url", url, "--seconds", "2", "--threads", "4"]
    words += ["--username", "load", "--password-file", str(password), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_every_arrival_is_reported_and_an_order_that_was_retried_is_placed_once(url: str, tmp_path: Path) -> None:
    account = run(url, tmp_path, "--rate", "60", "--orders", "0.5")
    assert account["failed"] == 0, account["failures"]
    assert account["sent"] == account["answered"] > 60
    assert sorted(account["orders"]) == sorted(Restaurant.placed.values())
    assert len(Restaurant.seen) > len(Restaurant.placed) > 20, "some were sent again"
    assert all(1 <= len(set(line["options"])) == len(line["options"]) <= 2 for line in Restaurant.lines)


def test_the_friday_profile_has_guests_kitchen_cash_desk_and_a_screen_that_reconnects(url: str, tmp_path: Path) -> None:
    account = run(url, tmp_path, "--rate", "150", "--profile", "friday")
    assert account["failed"] == 0, account["failures"]
    kinds = {"menu", "order", "availability", "booking", "tickets", "ready", "served", "bill", "payment"}
    assert set(account["answered_by_kind"]) == kinds
    assert sorted(account["orders"]) == sorted(Restaurant.placed.values())
    assert len(account["paid"]) == len(set(account["paid"])) == len(Restaurant.payments) > 0
    assert set(Restaurant.payments.values()) == {700}
    assert account["screen"]["resumed"] >= 1
    assert Restaurant.resumed[:2] == ["", "41"]


def test_opening_a_connection_is_retried_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tally = maas.loadtest.generator.Tally()
    client = maas.loadtest.generator.Client(f"http://127.0.0.1:{port}", tally)
    servers: list[http.server.ThreadingHTTPServer] = []

    def open_late() -> None:
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", port), Restaurant))
        servers[0].serve_forever()

    late = threading.Timer(0.5, open_late)
    late.start()
    assert client.request("GET", "/api/v1/menu")[0] == 200
    client.close()
    servers[0].shutdown()
    servers[0].server_close()
    late.join()
    assert 1 <= tally.unreached["ConnectionRefusedError"] <= 5
    monkeypatch.setattr(maas.loadtest.generator, "_CONNECTS", 2)
    with pytest.raises(ConnectionRefusedError):
        client.request("GET", "/api/v1/menu")
