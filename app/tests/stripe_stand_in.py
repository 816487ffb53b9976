"""A stand-in for Stripe's API: the few requests that the application sends, by the documented protocol, in memory.

It is not Stripe: it was written from https://docs.stripe.com/api and takes no money. It refuses what Stripe refuses:
wrong keys, parameters that are missing, a key of idempotency with other parameters, a capture that is too late.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

SECRET = "sk_test_stand_in"
MINIMUM = 50


class Refusal(Exception):  # noqa: N818  # it is a reply
    """An error as Stripe says it."""

    def __init__(self, status: int, kind: str, code: str = "") -> None:
        super().__init__(code or kind)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": f"stand-in: {code or kind}"}}


class StripeStandIn:
    """What a Stripe account has."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.kept: dict[str, tuple[str, int, dict[str, Any]]] = {}
        """Replies by key of idempotency, with the request that they were for."""
        self.refund_status = "succeeded"
        self.lose_reply: list[str] = []
        """Requests, by a part of their path, that are carried out without a reply, once each."""
        self.lose_request: list[str] = []
        """Requests that never arrive, once each."""
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.RLock()

    def taken(self) -> int:
        """Cents that were captured and not given back."""
        captured = sum(intent["amount"] for intent in self.intents.values() if intent["status"] == "succeeded")
        given = sum(refund["amount"] for refund in self.refunds.values() if refund["status"] == "succeeded")
        return captured - given

    def only_session(self) -> dict[str, Any]:
        """The session, of which there is one."""
        (found,) = self.sessions.values()
        return found

    def pay(self, session: dict[str, Any], *, declined: bool = False) -> None:
        """What a guest does on the page of a session."""
        with self.lock:
            assert session["status"] == "open"
            intent = session["payment_intent"]
            if intent is None:
                key = f"pi_{uuid.uuid4().hex[:16]}"
                intent = session["payment_intent"] = key
                self.intents[key] = {
                    "id": key, "object": "payment_intent", "amount": session["amount_total"], "status": "",
                    "metadata": session["of_payment"],
                }  # fmt: skip
            self.intents[intent]["status"] = "requires_payment_method" if declined else "requires_capture"
            if not declined:
                session.update(status="complete", url=None)

    def forget_keys(self) -> None:
        """A day later, keys of idempotency are forgotten."""
        self.kept.clear()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, str], key: str) -> Any:
        """Carry a request out. Raises `Refusal`."""
        with self.lock:
            self.asked.append((method, path))
            told = json.dumps([method, path, sorted(body.items())])
            if method == "POST" and not key:
                raise Refusal(400, "invalid_request_error", "stand_in_wants_keys")
            if key in self.kept:
                before, status, reply = self.kept[key]
                if before != told:
                    raise Refusal(400, "idempotency_error")
                if status >= 400:
                    refusal = Refusal(status, "invalid_request_error")
                    refusal.body = reply
                    raise refusal
                return reply
            try:
                reply = json.loads(json.dumps(self._do(method, path, query, body)))
            except Refusal as refusal:
                if key and refusal.status == 402:
                    self.kept[key] = (told, refusal.status, refusal.body)
                raise
            if key:
                self.kept[key] = (told, 200, reply)
            return reply

    def _do(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, str]) -> Any:
        match [method, *path.strip("/").split("/")]:
            case ["POST", "v1", "checkout", "sessions"]:
                return self._make_session(body)
            case ["GET", "v1", "checkout", "sessions", key]:
                session = self._find(self.sessions, key)
                expanded = query.get("expand[]") == ["payment_intent"] and session["payment_intent"]
                return session | ({"payment_intent": self.intents[session["payment_intent"]]} if expanded else {})
            case ["POST", "v1", "checkout", "sessions", key, "expire"]:
                session = self._find(self.sessions, key)
                if session["status"] != "open":
                    raise Refusal(400, "invalid_request_error")
                session.update(status="expired", url=None)
                return session
            case ["POST", "v1", "payment_intents", key, ("capture" | "cancel") as act]:
                intent = self._find(self.intents, key)
                if intent["status"] != "requires_capture":
                    raise Refusal(400, "invalid_request_error", "payment_intent_unexpected_state")
                intent["status"] = "succeeded" if act == "capture" else "canceled"
                return intent
            case ["GET", "v1", "refunds"]:
                of = query["payment_intent"][0]
                return {"data": [refund for refund in self.refunds.values() if refund["payment_intent"] == of]}
            case ["GET", "v1", "refunds", key]:
                return self._find(self.refunds, key)
            case ["POST", "v1", "refunds"]:
                return self._make_refund(body)
        raise Refusal(404, "invalid_request_error", "resource_missing")

    def _find(self, things: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        if key not in things:
            raise Refusal(404, "invalid_request_error", "resource_missing")
        return things[key]

    def _make_session(self, body: dict[str, str]) -> dict[str, Any]:
        needed = {
            "mode": "payment", "payment_intent_data[capture_method]": "manual", "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": "eur",
        }  # fmt: skip
        if any(body.get(name) != value for name, value in needed.items()):
            raise Refusal(400, "invalid_request_error", "parameter_missing")
        if not all(body[name].startswith("http") for name in ("success_url", "cancel_url")):
            raise Refusal(400, "invalid_request_error", "url_invalid")
        if not 30 * 60 <= int(body["expires_at"]) - time.time() <= 24 * 3600 + 60:
            raise Refusal(400, "invalid_request_error")
        amount = int(body["line_items[0][price_data][unit_amount]"])
        if amount < MINIMUM:
            raise Refusal(400, "invalid_request_error", "amount_too_small")
        key = f"cs_test_{uuid.uuid4().hex}"
        self.sessions[key] = {
            "id": key, "object": "checkout.session", "status": "open", "payment_status": "unpaid",
            "amount_total": amount, "payment_intent": None, "client_reference_id": body["client_reference_id"],
            "metadata": {"key": body["metadata[key]"]}, "url": f"https://checkout.stripe.com/c/pay/{key}#{'x' * 600}",
            "of_payment": {"key": body["payment_intent_data[metadata][key]"]},
        }  # fmt: skip
        return self.sessions[key]

    def _make_refund(self, body: dict[str, str]) -> dict[str, Any]:
        intent, amount = self._find(self.intents, body["payment_intent"]), int(body["amount"])
        given = sum(
            refund["amount"] for refund in self.refunds.values()
            if refund["payment_intent"] == intent["id"] and refund["status"] != "failed"
        )  # fmt: skip
        if intent["status"] != "succeeded" or amount > intent["amount"] - given:
            raise Refusal(400, "invalid_request_error", "charge_already_refunded")
        key = f"re_{uuid.uuid4().hex[:16]}"
        self.refunds[key] = {
            "id": key, "object": "refund", "amount": amount, "payment_intent": intent["id"],
            "status": self.refund_status, "metadata": {"key": body["metadata[key]"]},
        }  # fmt: skip
        return self.refunds[key]


@contextmanager
def serving_stripe(account: StripeStandIn) -> Iterator[str]:
    """Serve an account; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length).decode()
            parts = urlsplit(self.path)
            for lost in [entry for entry in account.lose_request if entry in f"{self.command} {parts.path}"]:
                account.lose_request.remove(lost)
                self.close_connection = True
                return
            status, reply = 200, {}
            if self.headers.get("Authorization") != f"Bearer {SECRET}":
                status, reply = 401, {"error": {"type": "invalid_request_error"}}
            else:
                assert self.headers.get("Stripe-Version")
                try:
                    reply = account.answer(
                        self.command, parts.path, parse_qs(parts.query), dict(parse_qsl(sent)),
                        self.headers.get("Idempotency-Key") or "",
                    )  # fmt: skip
                except Refusal as refusal:
                    status, reply = refusal.status, refusal.body
            for lost in [entry for entry in account.lose_reply if entry in f"{self.command} {parts.path}"]:
                account.lose_reply.remove(lost)
                self.close_connection = True
                return
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the library
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
