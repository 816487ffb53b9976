"""A payment provider that takes no money, for tests and for trying the application. It keeps its charges in memory.

The last two digits of an amount decide what happens to a charge: 91 declines it, 92 carries it out but replies too
late, 93 loses the request, 94 keeps it pending until it was looked up twice, and 95 captures it but loses the reply. Of
online payments, all others wait for the guest, who pays or declines on the charge's page.
"""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from restaurant.payments.providers import State

DECLINED, LATE, LOST, SLOW, CAPTURE_LOST = 91, 92, 93, 94, 95
_PATH = re.compile(r"/(charges|refunds|requests|pay)/([0-9a-f-]{36})(?:/(capture|cancel|pay|decline))?")


class ReplyLost(Exception):  # noqa: N818  # what a network does
    """The request was or was not carried out, and there is no reply."""


@dataclass
class Request:
    """A charge or a refund as the provider has it."""

    state: State
    amount: int
    back: str = ""
    charge: str = ""
    looked_up: int = 0
    history: list[State] = field(default_factory=list)


class Simulator:
    """The provider's book. Each key is carried out once."""

    def __init__(self, *, online: bool = False, delay: float = 3.0) -> None:
        """With `online`, guests pay on a page. A late reply comes after `delay` seconds."""
        self.online = online
        self.delay = delay
        self.book: dict[str, Request] = {}
        self._lock = threading.Lock()

    def taken(self) -> int:
        """Cents that were captured and not given back."""
        with self._lock:
            done = [entry for entry in self.book.values() if entry.state is State.CAPTURED]
            return sum(-entry.amount if entry.charge else entry.amount for entry in done)

    def charge(self, key: str, amount: int, *, back: str = "") -> Request:
        """Ask the guest for an amount. Raises `ReplyLost`."""
        how = amount % 100
        with self._lock:
            if key in self.book:
                return self.book[key]
            if how == LOST:
                raise ReplyLost
            state = State.PENDING if self.online or how == SLOW else State.AUTHORIZED
            request = self.book[key] = Request(State.DECLINED if how == DECLINED else state, amount, back=back)
        if how == LATE:
            time.sleep(self.delay)
            raise ReplyLost
        return request

    def capture(self, key: str) -> Request | None:
        """Take the money of an authorized charge. Raises `ReplyLost`."""
        request = self._change(key, State.AUTHORIZED, State.CAPTURED)
        if request is not None and request.amount % 100 == CAPTURE_LOST and len(request.history) == 1:
            request.history.append(request.state)
            raise ReplyLost
        return request

    def cancel(self, key: str) -> Request:
        """Cancel a charge that is not captured, or keep its key from being used."""
        with self._lock:
            request = self.book.setdefault(key, Request(State.CANCELLED, 0))
            if request.state in {State.PENDING, State.AUTHORIZED}:
                request.state = State.CANCELLED
            return request

    def refund(self, key: str, amount: int, *, of: str) -> Request | None:
        """Give money of a captured charge back, at most what it was."""
        with self._lock:
            charge = self.book.get(of)
            if charge is None:
                return None
            if key not in self.book:
                given = sum(entry.amount for entry in self.book.values() if entry.charge == of)
                right = charge.state is State.CAPTURED and 0 < amount <= charge.amount - given
                self.book[key] = Request(State.CAPTURED, amount, charge=of) if right else Request(State.DECLINED, 0)
            return self.book[key]

    def look_up(self, key: str) -> Request | None:
        """What became of a key."""
        with self._lock:
            request = self.book.get(key)
            if request is not None:
                request.looked_up += 1
                if request.amount % 100 == SLOW and request.looked_up >= 2 and request.state is State.PENDING:
                    request.state = State.AUTHORIZED
            return request

    def decide(self, key: str, *, pays: bool) -> Request | None:
        """What a guest does on the page of a charge."""
        return self._change(key, State.PENDING, State.AUTHORIZED if pays else State.DECLINED)

    def _change(self, key: str, before: State, after: State) -> Request | None:
        with self._lock:
            request = self.book.get(key)
            if request is not None and request.state is before:
                request.history.append(before)
                request.state = after
            return request


def serve(simulator: Simulator, *, secret: str, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """An HTTP server for a simulator, which listens but does not serve yet."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(min(length, 65_536))
            found = _PATH.fullmatch(self.path)
            if found is None:
                return self._reply(404, {})
            kind, key, act = found.groups()
            if kind == "pay":
                return self._page(key, act if method == "POST" else None)
            if self.headers.get("Authorization") != f"Bearer {secret}":
                return self._reply(401, {})
            try:
                body: dict[str, Any] = json.loads(sent or b"{}")
                request = self._do(method, kind, key, act, body)
            except ReplyLost:
                self.close_connection = True
                return None
            except (ValueError, KeyError, TypeError):
                return self._reply(400, {})
            if request is None:
                return self._reply(404, {})
            reply = {"state": request.state.value, "reference": f"sim-{key[:8]}"}
            if simulator.online and kind == "charges" and request.state is State.PENDING:
                reply["page"] = f"http://{self.headers.get('Host')}/pay/{key}"
            return self._reply(200, reply)

        def _do(self, method: str, kind: str, key: str, act: str | None, body: dict[str, Any]) -> Request | None:
            does: dict[tuple[str, str, str | None], Callable[[], Request | None]] = {
                ("PUT", "charges", None): lambda: simulator.charge(key, int(body["amount"]), back=body.get("back", "")),
                ("POST", "charges", "capture"): lambda: simulator.capture(key),
                ("POST", "charges", "cancel"): lambda: simulator.cancel(key),
                ("PUT", "refunds", None): lambda: simulator.refund(key, int(body["amount"]), of=str(body["charge"])),
                ("GET", "requests", None): lambda: simulator.look_up(key),
            }
            act_of = does.get((method, kind, act))
            return act_of() if act_of is not None else None

        def _page(self, key: str, act: str | None) -> None:
            request = simulator.book.get(key)
            if request is None:
                return self._reply(404, {})
            if act in {"pay", "decline"}:
                simulator.decide(key, pays=act == "pay")
            back = f'<p><a href="{html.escape(request.back)}">Back to the restaurant</a></p>' if request.back else ""
            buttons = "".join(
                f'<form method="post" action="/pay/{key}/{name}"><button>{name.capitalize()}</button></form>'
                for name in ("pay", "decline")
            )
            text = f"<!doctype html><title>Simulated payment</title><h1>{request.amount / 100:.2f} EUR</h1>"
            text += buttons if request.state is State.PENDING else f"<p>{request.state.value}</p>{back}"
            return self._send(200, text.encode(), "text/html; charset=utf-8")

        def _reply(self, status: int, body: dict[str, Any]) -> None:
            self._send(status, json.dumps(body).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._handle("GET")

        def do_POST(self) -> None:
            self._handle("POST")

        def do_PUT(self) -> None:
            self._handle("PUT")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the library
            """Requests are not logged: the application logs what became of each."""

    return ThreadingHTTPServer((host, port), Handler)
