"""Payment providers: one interface for card terminals and for pages on which guests pay online.

Every request names a key that we choose. A provider does what a key asks for once, however often it is sent: so a
request whose outcome is unknown is looked up, or sent again, and nobody pays twice.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

#: Bytes of a reply that are read.
LARGEST_REPLY = 64 * 1024
#: Characters of the address of a page on which guests pay.
LONGEST_PAGE = 2000


class State(StrEnum):
    """What a provider says of a charge or a refund."""

    PENDING = "pending"
    """The guest has not finished."""
    AUTHORIZED = "authorized"
    """The money is held for us until the charge is captured or cancelled."""
    CAPTURED = "captured"
    """The money is ours; of a refund: it is the guest's again."""
    DECLINED = "declined"
    CANCELLED = "cancelled"
    MISSING = "missing"
    """The provider has never heard of the key."""


@dataclass(frozen=True)
class Outcome:
    """A provider's reply. `page` is where the guest pays online."""

    state: State
    reference: str | None = None
    page: str | None = None


class OutcomeUnknown(Exception):  # noqa: N818  # it is no error: the request may have been done
    """There was no usable reply: what was asked for may have been done or not."""


@dataclass(frozen=True)
class Charge:
    """A charge that is asked for. All that it says is the same whenever its key is sent."""

    key: str
    amount: int
    """Cents, with the tip."""
    description: str
    back: str
    """Where a guest who pays online returns to."""
    begun_at: datetime
    reference: str | None = None
    """What the provider calls it, once that is known."""


@dataclass(frozen=True)
class Refund:
    """A refund of a part of a charge, in cents."""

    key: str
    amount: int
    charge: Charge
    reference: str | None = None


class Provider(Protocol):
    """What a provider can do; all raise `OutcomeUnknown`."""

    def authorize(self, charge: Charge) -> Outcome:
        """Ask a guest for an amount."""

    def capture(self, charge: Charge) -> Outcome:
        """Take the money of an authorized charge."""

    def cancel(self, charge: Charge) -> Outcome:
        """Cancel a charge that is not captured. A key that the provider does not know can no longer be used."""

    def refund(self, refund: Refund) -> Outcome:
        """Give money of a charge back."""

    def look_up(self, charge: Charge) -> Outcome:
        """What became of a charge."""


class HttpProvider:
    """A provider, or the adapter of one, that is reached over HTTP with JSON; the README describes the requests."""

    def __init__(self, url: str, secret: str, *, timeout: float) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._timeout = timeout

    def authorize(self, charge: Charge) -> Outcome:
        """Ask a guest for an amount."""
        body = {
            "amount": charge.amount, "currency": "EUR", "description": charge.description, "back": charge.back
        }  # fmt: skip
        return self._send("PUT", f"/charges/{charge.key}", body)

    def capture(self, charge: Charge) -> Outcome:
        """Take the money of an authorized charge."""
        return self._send("POST", f"/charges/{charge.key}/capture", {})

    def cancel(self, charge: Charge) -> Outcome:
        """Cancel a charge that is not captured."""
        return self._send("POST", f"/charges/{charge.key}/cancel", {})

    def refund(self, refund: Refund) -> Outcome:
        """Give money of a charge back."""
        return self._send("PUT", f"/refunds/{refund.key}", {"charge": refund.charge.key, "amount": refund.amount})

    def look_up(self, charge: Charge) -> Outcome:
        """What became of a charge."""
        return self._send("GET", f"/requests/{charge.key}", None)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Outcome:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as reply:  # noqa: S310
                found = json.loads(reply.read(LARGEST_REPLY))
            page = found.get("page")
            return Outcome(State(found["state"]), found.get("reference"), page if is_page(page) else None)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return Outcome(State.MISSING)
            raise OutcomeUnknown(f"{method} {path} was answered {error.code}") from error
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutcomeUnknown(f"{method} {path}: {type(error).__name__}") from error


def is_page(page: object) -> bool:
    """Whether a provider's reply names a page that a guest can be sent to."""
    return isinstance(page, str) and page.startswith(("https://", "http://")) and len(page) <= LONGEST_PAGE
