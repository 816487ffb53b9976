"""Stripe: guests pay on a Checkout page. Requests are those of https://docs.stripe.com/api, without its library.

A charge is a Checkout Session with the key of the attempt, for a payment that we capture. A session whose reply was
lost is found by sending the same request with the same Idempotency-Key: Stripe gives the first reply again, or makes
the session if the request had never arrived. Refunds are listed before they are asked for, because keys are forgotten
after a day and refunds are not.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import structlog

from restaurant.payments.providers import LARGEST_REPLY, Charge, Outcome, OutcomeUnknown, Refund, State, is_page

log = structlog.get_logger()

#: What a reply looks like depends on it, so it changes with this module only.
VERSION = "2024-06-20"
#: Stripe closes a page by itself at least half an hour and at most a day after it was made.
_OPEN = timedelta(hours=1)
#: Events that are older may have been recorded and sent again by someone else.
_TOLERANCE = timedelta(minutes=5)

_PAYMENTS = {
    "requires_capture": State.AUTHORIZED,
    "succeeded": State.CAPTURED,
    "canceled": State.CANCELLED,
}
_REFUNDS = {"succeeded": State.CAPTURED, "failed": State.DECLINED, "canceled": State.DECLINED}


class Refused(Exception):  # noqa: N818  # it is a reply
    """Stripe did not do what it was asked for, and says why."""

    def __init__(self, status: int, kind: str, code: str) -> None:
        super().__init__(f"{status} {kind} {code}".strip())
        self.status = status
        self.kind = kind


class Stripe:
    """Stripe's Checkout. `page` is where guests return to when a charge does not say."""

    def __init__(self, url: str, secret: str, *, timeout: float, page: str) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._timeout = timeout
        self._page = page

    def authorize(self, charge: Charge) -> Outcome:
        """Make the page on which the guest pays."""
        return self._found(charge)

    def capture(self, charge: Charge) -> Outcome:
        """Take the money of an authorized charge."""
        session = self._session(charge)
        payment = _payment_of(session)
        if payment is None or payment["status"] != "requires_capture":
            return _outcome(session)
        try:
            self._send(
                "POST", f"/v1/payment_intents/{_in_path(payment['id'])}/capture", {}, key=f"{charge.key}-capture"
            )
        except Refused as refusal:
            log.warning("capture refused", charge=charge.key, reason=str(refusal))
        return self._found(charge)

    def cancel(self, charge: Charge) -> Outcome:
        """Close the page, and release what was authorized."""
        found = self._found(charge)
        if found.state not in {State.PENDING, State.AUTHORIZED}:
            return found
        session = self._session(charge)
        payment = _payment_of(session)
        path = f"/v1/checkout/sessions/{_in_path(session['id'])}/expire"
        if payment is not None and payment["status"] == "requires_capture":
            path = f"/v1/payment_intents/{_in_path(payment['id'])}/cancel"
        try:
            self._send("POST", path, {}, key=f"{charge.key}-cancel")
        except Refused as refusal:
            # The guest was faster.
            log.info("cancellation refused", charge=charge.key, reason=str(refusal))
        return self._found(charge)

    def refund(self, refund: Refund) -> Outcome:
        """Give money of a charge back."""
        if refund.reference is not None:
            return _refund_outcome(self._send("GET", f"/v1/refunds/{_in_path(refund.reference)}", None))
        payment = _payment_of(self._session(refund.charge))
        if payment is None:
            return Outcome(State.DECLINED)
        known = self._send("GET", f"/v1/refunds?{urlencode({'payment_intent': payment['id'], 'limit': 100})}", None)
        for found in known.get("data", []):
            if found.get("metadata", {}).get("key") == refund.key:
                return _refund_outcome(found)
        body = {"payment_intent": payment["id"], "amount": refund.amount, "metadata[key]": refund.key}
        try:
            return _refund_outcome(self._send("POST", "/v1/refunds", body, key=refund.key))
        except Refused as refusal:
            log.warning("refund refused", refund=refund.key, reason=str(refusal))
            return Outcome(State.DECLINED)

    def look_up(self, charge: Charge) -> Outcome:
        """What became of a charge."""
        return self._found(charge)

    def _found(self, charge: Charge) -> Outcome:
        try:
            return _outcome(self._session(charge))
        except Refused as refusal:
            # There is no page, so nobody pays.
            log.warning("charge refused", charge=charge.key, reason=str(refusal))
            return Outcome(State.DECLINED)

    def _session(self, charge: Charge) -> dict[str, Any]:
        """The session of a charge, with its payment. Raises `Refused` when there is none and none can be made."""
        reference = charge.reference
        if reference is None:
            back = charge.back or self._page
            body = {
                "mode": "payment",
                "client_reference_id": charge.key,
                "metadata[key]": charge.key,
                "payment_intent_data[capture_method]": "manual",
                "payment_intent_data[metadata][key]": charge.key,
                "payment_method_types[0]": "card",
                "line_items[0][quantity]": 1,
                "line_items[0][price_data][currency]": "eur",
                "line_items[0][price_data][unit_amount]": charge.amount,
                "line_items[0][price_data][product_data][name]": charge.description,
                "success_url": back,
                "cancel_url": back,
                "expires_at": int((charge.begun_at + _OPEN).timestamp()),
            }
            # The reply is that of the first time: what became of the session since is read.
            reference = str(self._send("POST", "/v1/checkout/sessions", body, key=charge.key).get("id"))
        return self._send("GET", f"/v1/checkout/sessions/{_in_path(reference)}?expand[]=payment_intent", None)

    def _send(self, method: str, path: str, body: Mapping[str, object] | None, *, key: str = "") -> dict[str, Any]:
        """Send a request. Raises `Refused` when it was not carried out, `OutcomeUnknown` when that is not known."""
        headers = {"Authorization": f"Bearer {self._secret}", "Stripe-Version": VERSION}
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else urlencode(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as reply:  # noqa: S310
                found = json.loads(reply.read(LARGEST_REPLY))
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, f"{method} {path}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutcomeUnknown(f"{method} {path}: {type(error).__name__}") from error
        if not isinstance(found, dict):
            raise OutcomeUnknown(f"{method} {path}: not an object")
        return found


def verify_event(payload: bytes, signature: str, secret: str, *, at: datetime) -> bool:
    """Whether Stripe signed the event, by the header ``Stripe-Signature``, and not long ago."""
    fields = [part.partition("=") for part in signature.split(",")]
    times = [value for name, _sign, value in fields if name.strip() == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) < 12):
        return False
    if abs(at.timestamp() - int(times[0])) > _TOLERANCE.total_seconds():
        return False
    wanted = hmac.new(secret.encode(), times[0].encode() + b"." + payload, hashlib.sha256).hexdigest()
    # While a secret is replaced, Stripe sends a signature with each.
    given = [value for name, _sign, value in fields if name.strip() == "v1"]
    return any(hmac.compare_digest(wanted.encode(), value.encode()) for value in given)


def key_of(event: object) -> str | None:
    """The key of the charge or refund that an event is about."""
    data = event.get("data") if isinstance(event, dict) else None
    thing = data.get("object") if isinstance(data, dict) else None
    metadata = thing.get("metadata") if isinstance(thing, dict) else None
    key = metadata.get("key") if isinstance(metadata, dict) else None
    return key if isinstance(key, str) else None


def _refusal(error: urllib.error.HTTPError, asked: str) -> Exception:
    """What a reply with an error means. Only Stripe saying that a request was invalid or declined means not done."""
    try:
        told = json.loads(error.read(LARGEST_REPLY))["error"]
        kind, code = str(told.get("type")), str(told.get("code") or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
        kind = code = ""
    # An unknown session (404) is that of another account or mode: it does not describe our own charge.
    if error.code in {400, 402} and kind in {"invalid_request_error", "card_error"}:
        return Refused(error.code, kind, code)
    return OutcomeUnknown(f"{asked} was answered {error.code} {kind} {code}".rstrip())


def _payment_of(session: Mapping[str, Any]) -> Mapping[str, Any] | None:
    payment = session.get("payment_intent")
    return payment if isinstance(payment, dict) else None


def _outcome(session: Mapping[str, Any]) -> Outcome:
    reference, page = session.get("id"), session.get("url")
    payment = _payment_of(session)
    state = State.PENDING
    if session.get("status") == "expired":
        state = State.CANCELLED
    elif payment is not None:
        # A card that was declined can be tried again on the page, as long as that is open.
        state = _PAYMENTS.get(str(payment.get("status")), State.PENDING)
    return Outcome(state, reference if isinstance(reference, str) else None, str(page) if is_page(page) else None)


def _refund_outcome(refund: Mapping[str, Any]) -> Outcome:
    reference = refund.get("id")
    state = _REFUNDS.get(str(refund.get("status")), State.PENDING)
    return Outcome(state, reference if isinstance(reference, str) else None)


def _in_path(reference: object) -> str:
    return quote(str(reference), safe="")
