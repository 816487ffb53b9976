"""Online payments at Stripe, against a stand-in of its API: each cent is taken once, whatever is lost on the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from pydantic import ValidationError
from werkzeug.test import TestResponse

from restaurant.billing import verification
from restaurant.database import Database
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import AttemptState, Channel
from restaurant.payments.providers import Charge, OutcomeUnknown, State
from restaurant.payments.stripe import Stripe, verify_event
from restaurant.people.permissions import Role
from stripe_stand_in import SECRET, StripeStandIn, serving_stripe
from support import SignIn, billed, make_settings, post

WEBHOOK_SECRET = "whsec_stand_in"


class House:
    """A restaurant whose guests pay at the stand-in."""

    def __init__(self, database: Database, client: FlaskClient, url: str, account: StripeStandIn) -> None:
        self.database, self.client, self.account = database, client, account
        provider = Stripe(url, SECRET, timeout=2, page="https://resto.example")
        self.gateway = Gateway(database, {Channel.ONLINE: provider})
        self.order = billed(client)

    def begin(self, amount: int = 1000) -> uuid.UUID:
        body = {"channel": "online_payment", "amount": amount}
        reply = post(self.client, f"/orders/{self.order}/payment-attempts", body)
        assert reply.status_code == 202, reply.text
        return uuid.UUID(reply.get_json()["reference"])

    def state(self, attempt: uuid.UUID) -> AttemptState:
        return AttemptState(self.client.get(f"/api/v1/payment-attempts/{attempt}").get_json()["state"])

    def settle(self) -> None:
        for _time in range(4):
            self.gateway.resolve(patience=timedelta())

    def bill(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/v1/orders/{self.order}/bill").get_json()
        return found

    def check(self, taken: int) -> None:
        """The provider has what the books say, and the journal is right."""
        payments = self.bill()["payments"]
        kept = sum(payment["amount"] - payment["refunded"] for payment in payments)
        assert (self.account.taken(), kept) == (taken, taken)
        with self.database.snapshot() as session:
            assert verification.verify(session)[1] == []


@pytest.fixture
def house(app: Flask, database: Database, sign_in: SignIn) -> Iterator[House]:
    before = app.extensions["gateway"], app.extensions["settings"]
    account = StripeStandIn()
    with serving_stripe(account) as url:
        found = House(database, sign_in(Role.MANAGER), url, account)
        app.extensions["gateway"] = found.gateway
        yield found
    app.extensions["gateway"], app.extensions["settings"] = before


def test_a_guest_pays_on_stripes_page_and_the_restaurant_captures_once(house: House) -> None:
    attempt = house.begin()
    assert house.gateway.advance(attempt) is AttemptState.STARTED
    session = house.account.only_session()
    found = house.client.get(f"/api/v1/payment-attempts/{attempt}").get_json()
    assert (found["page"], found["provider_reference"]) == (session["url"], session["id"])
    assert session["client_reference_id"] == session["metadata"]["key"] == str(attempt)
    house.settle()
    assert house.state(attempt) is AttemptState.STARTED
    house.account.pay(session, declined=True)
    house.settle()
    assert house.state(attempt) is AttemptState.STARTED
    house.account.pay(session)
    house.settle()
    assert house.state(attempt) is AttemptState.DONE
    assert len([path for method, path in house.account.asked if path.endswith("/capture")]) == 1
    house.check(1000)


@pytest.mark.parametrize(
    ("lost", "pays"),
    [
        ("POST /v1/checkout/sessions", True),
        ("GET /v1/checkout/sessions", True),
        ("/capture", True),
        ("/expire", False),
    ],
)
@pytest.mark.parametrize("how", ["reply", "request"])
def test_what_is_lost_on_the_way_is_found_out(house: House, lost: str, pays: bool, how: str) -> None:
    getattr(house.account, f"lose_{how}").append(lost)
    attempt = house.begin()
    house.gateway.advance(attempt)
    house.settle()
    session = house.account.only_session()
    if not pays:
        house.gateway.cancel(attempt)
        assert house.state(attempt) is AttemptState.UNKNOWN
        house.settle()
        # The guest continues to pay on a page that was never closed, or cannot.
        assert house.state(attempt) is (AttemptState.CANCELLED if how == "reply" else AttemptState.STARTED)
        return house.check(0)
    house.account.pay(session)
    house.settle()
    assert house.state(attempt) is AttemptState.DONE
    assert getattr(house.account, f"lose_{how}") == []
    return house.check(1000)


def test_a_charge_is_cancelled_and_its_page_closed(house: House) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    assert house.gateway.cancel(attempt) is AttemptState.CANCELLED
    assert house.account.only_session()["status"] == "expired"
    house.check(0)


def test_a_guest_who_pays_while_the_charge_is_cancelled_is_released(house: House) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    house.account.pay(house.account.only_session())
    assert house.gateway.cancel(attempt) is AttemptState.CANCELLED
    (intent,) = house.account.intents.values()
    assert intent["status"] == "canceled"
    house.check(0)


def test_a_page_that_nobody_pays_on_is_closed_after_a_quarter_of_an_hour(house: House) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        house.settle()
        assert house.state(attempt) is AttemptState.CANCELLED
    assert house.account.only_session()["status"] == "expired"
    house.check(0)


def test_an_unknown_charge_is_over_a_day_later_when_stripe_has_forgotten_its_key(house: House) -> None:
    house.account.lose_reply.append("POST /v1/checkout/sessions")
    attempt = house.begin()
    assert house.gateway.advance(attempt) is AttemptState.UNKNOWN
    house.account.forget_keys()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        house.settle()
    # Its page has expired without anyone having seen its address, and no second one was made.
    assert house.state(attempt) is AttemptState.DECLINED
    assert len(house.account.sessions) == 1
    house.check(0)


def test_an_amount_that_stripe_does_not_take_is_declined(house: House) -> None:
    attempt = house.begin(49)
    assert house.gateway.advance(attempt) is AttemptState.DECLINED
    house.check(0)


@pytest.mark.parametrize("lost", ["", "reply", "request"])
def test_a_refund_is_made_once_also_after_stripe_has_forgotten_its_key(house: House, lost: str) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    house.account.pay(house.account.only_session())
    house.settle()
    (payment,) = house.bill()["payments"]
    if lost:
        getattr(house.account, f"lose_{lost}").append("POST /v1/refunds")
    body = {"amount": 400, "reason": "geste"}
    begun = post(house.client, f"/payments/{payment['reference']}/refund-attempts", body).get_json()["reference"]
    first = house.gateway.advance(uuid.UUID(begun))
    assert first is (AttemptState.UNKNOWN if lost else AttemptState.DONE)
    house.account.forget_keys()
    house.settle()
    assert house.state(uuid.UUID(begun)) is AttemptState.DONE
    assert len(house.account.refunds) == 1
    house.check(600)


def test_a_refund_that_takes_days_is_followed_and_one_that_fails_is_declined(house: House) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    house.account.pay(house.account.only_session())
    house.settle()
    (payment,) = house.bill()["payments"]
    house.account.refund_status = "pending"
    for outcome, state in (("failed", AttemptState.DECLINED), ("succeeded", AttemptState.DONE)):
        body = {"amount": 400, "reason": "geste"}
        reply = post(house.client, f"/payments/{payment['reference']}/refund-attempts", body)
        begun = uuid.UUID(reply.get_json()["reference"])
        house.gateway.advance(begun)
        house.settle()
        assert house.state(begun) is AttemptState.STARTED
        house.account.refunds[house.client.get(f"/api/v1/payment-attempts/{begun}").get_json()["provider_reference"]][
            "status"
        ] = outcome
        house.settle()
        assert house.state(begun) is state
    house.check(600)


def test_who_gives_up_gets_back_what_stripe_takes(house: House) -> None:
    attempt = house.begin()
    house.gateway.advance(attempt)
    house.account.pay(house.account.only_session())
    house.account.lose_reply.append("/capture")
    assert house.gateway.advance(attempt) is AttemptState.UNKNOWN
    assert house.account.taken() == 1000
    assert post(house.client, f"/payment-attempts/{attempt}/abandon", {}).status_code == 200
    house.account.refund_status = "pending"
    house.settle()
    assert house.state(attempt) is AttemptState.ABANDONED
    for refund in house.account.refunds.values():
        refund["status"] = "succeeded"
    house.settle()
    assert house.state(attempt) is AttemptState.CANCELLED
    assert len(house.account.refunds) == 1
    house.check(0)


@pytest.mark.parametrize("secret", [SECRET, "sk_wrong"])
def test_a_wrong_key_and_a_dead_address_leave_a_charge_unknown(secret: str) -> None:
    charge = Charge("k", 1000, "x", "", datetime.now(UTC), reference="cs_of_another_account")
    with serving_stripe(StripeStandIn()) as url:
        provider = Stripe(url, secret, timeout=2, page="https://resto.example")
        with pytest.raises(OutcomeUnknown) as caught:
            provider.look_up(charge)
    assert secret not in str(caught.value)
    with pytest.raises(OutcomeUnknown):
        Stripe(url, secret, timeout=1, page="https://resto.example").authorize(charge)


def test_a_key_that_is_used_for_something_else_is_not_taken_for_a_refusal() -> None:
    account = StripeStandIn()
    with serving_stripe(account) as url:
        provider = Stripe(url, SECRET, timeout=2, page="https://resto.example")
        charge = Charge("k", 1000, "x", "", datetime.now(UTC))
        assert provider.authorize(charge).state is State.PENDING
        other = Charge("k", 2000, "x", "", charge.begun_at)
        with pytest.raises(OutcomeUnknown):
            provider.look_up(other)
    assert len(account.sessions) == 1


def sign(payload: bytes, *, at: int | None = None, secret: str = WEBHOOK_SECRET) -> str:
    moment = int(time.time()) if at is None else at
    signature = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signature},v0=ignored"


def event(house: House, payload: bytes, signature: str) -> TestResponse:
    client = house.client.application.test_client()
    return client.post("/api/v1/payment-events/stripe", data=payload, headers={"Stripe-Signature": signature})


def test_a_signed_event_makes_the_charge_be_looked_up_and_no_other_does(
    house: House, app: Flask, tmp_path: Path
) -> None:
    attempt = house.begin()
    thing = {"object": "checkout.session", "metadata": {"key": str(attempt)}, "status": "complete"}
    payload = json.dumps({"type": "checkout.session.completed", "data": {"object": thing}}).encode()
    # Without a secret, nobody can sign.
    assert event(house, payload, sign(payload)).status_code == 404
    file = tmp_path / "webhook"
    file.write_text(f"{WEBHOOK_SECRET}\n")
    secret = {"online_provider": "stripe", "online_secret_file": file, "public_url": "https://resto.example"}
    app.extensions["settings"] = make_settings(
        app.extensions["settings"].database_url, online_webhook_secret_file=file, **secret
    )
    woken: list[uuid.UUID] = []
    house.gateway.wake = woken.append  # type: ignore[method-assign]
    old = int(time.time()) - 301
    wrong = [
        "", "t=1", "v1=00", sign(payload, secret="other"), sign(payload, at=old), sign(payload + b" "),
        sign(payload).replace("t=", "t=é"), f"t=1,{sign(payload)}",
    ]  # fmt: skip
    for signature in wrong:
        assert event(house, payload, signature).status_code == 400, signature
    assert woken == []
    # During a rotation there are two signatures.
    assert event(house, payload, sign(payload).replace(",v1=", ",v1=00,v1=")).status_code == 204
    assert woken == [attempt]
    # What the event says is not relied on: Stripe knows nothing of a payment.
    house.settle()
    assert house.state(attempt) is AttemptState.STARTED
    others: tuple[Any, ...] = ({}, [], {"data": {"object": {"metadata": {"key": "x"}}}}, {"data": 1}, None, "x",
                               {"data": {"object": {"metadata": {"key": str(uuid.uuid4())}}}})  # fmt: skip
    for other in others:
        body = json.dumps(other).encode()
        assert event(house, body, sign(body)).status_code == 204
    assert event(house, b"{", sign(b"{")).status_code == 204
    assert woken == [attempt]
    house.check(0)


def test_an_event_is_valid_for_five_minutes() -> None:
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    signature = sign(b"x", at=int(moment.timestamp()))
    for minutes, valid in ((0, True), (5, True), (6, False), (-5, True), (-6, False)):
        assert verify_event(b"x", signature, WEBHOOK_SECRET, at=moment + timedelta(minutes=minutes)) is valid


@pytest.mark.parametrize(
    "wrong",
    [
        {"public_url": ""},
        {"online_secret_file": None},
        {"online_provider": "http", "online_url": "https://pay.example"},
        {"online_webhook_secret_file": "empty"},
        {"online_provider": "paypal"},
    ],
)
def test_stripe_is_set_up_completely_or_not_at_all(tmp_path: Path, wrong: dict[str, str | None]) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "empty").write_text("\n")
    right = {
        "online_provider": "stripe", "online_secret_file": "secret", "online_webhook_secret_file": "secret",
        "public_url": "https://resto.example",
    }  # fmt: skip

    def given(values: dict[str, Any]) -> dict[str, Any]:
        return {name: tmp_path / value if name.endswith("file") and value else value for name, value in values.items()}

    url = f"sqlite:///{tmp_path / 'x'}"
    settings = make_settings(url, **given(right))
    assert settings.providers() == {"online": ("https://api.stripe.com", SECRET)}
    assert SECRET not in repr(settings)
    assert make_settings(url, **given(right), deposit_fixed=1).deposits().fixed == 1
    with pytest.raises(ValidationError):
        make_settings(url, **given(right | wrong))
