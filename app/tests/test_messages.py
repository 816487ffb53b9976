"""Messages to guests, sent to a real SMTP server and a real HTTP server on this machine."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import select

from restaurant.app import create_app
from restaurant.database import Database
from restaurant.messages.channels import Channel, DeliveryError, Letter, Sms, Smtp
from restaurant.messages.models import Message, MessageStatus
from restaurant.messages.post import ChannelKind
from restaurant.messages.sender import Sender
from restaurant.messages.service import channel_of
from restaurant.people.permissions import Role
from restaurant.settings import Settings, SettingsError
from support import SignIn, free_port, make_settings, post

MORNING = datetime(2026, 4, 3, 8, tzinfo=UTC)
LETTER = Letter("7-1", "ana@example.org", "Votre réservation", "Bonjour Ana,\n\nÀ demain…")
SENDER = "Chez Ana <table@example.org>"


class Mailbox:
    """What a mail server does with what it gets."""

    def __init__(self) -> None:
        self.mail: list[EmailMessage] = []
        self.refusal = ""

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.mail.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


class Provider(ThreadingHTTPServer):
    """A provider of SMS."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.status = 202
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.got.append((body, self.headers.get("Authorization", "")))
                self.send_response(provider.status)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def morning() -> Iterator[None]:
    with time_machine.travel(MORNING, tick=True):
        yield


@pytest.fixture
def house(settings: Settings, smtp: int, provider: Provider, morning: None) -> Iterator[Flask]:
    app = create_app(
        make_settings(
            settings.database_url, smtp_url=f"smtp://127.0.0.1:{smtp}", smtp_sender=SENDER, name="Bistro Ana",
            sms_url=f"http://127.0.0.1:{provider.server_port}/sms", public_url="https://ana.example/", reminder_hours=24,
        )
    )  # fmt: skip
    yield app
    app.extensions["database"].engine.dispose()


def send_all(app: Flask, channels: dict[ChannelKind, Channel] | None = None) -> int:
    database: Database = app.extensions["database"]
    sender = Sender(database, channels if channels is not None else app.extensions["settings"].channels())
    count = 0
    while sender.work():
        count += 1
    return count


def waiting(app: Flask) -> list[tuple[str, str]]:
    with app.extensions["database"].reading() as session:
        return [
            (entry.kind.value, entry.status.value) for entry in session.scalars(select(Message).order_by(Message.id))
        ]


def booked(app: Flask, contact: str, *, day: str = "2026-04-10", lang: str = "fr") -> dict[str, Any]:
    body = {"starts_at": f"{day}T20:00:00+02:00", "covers": 2, "guest": "Ana", "contact": contact}
    reply = post(app.test_client(), f"/bookings?lang={lang}", body)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def test_a_guest_gets_a_confirmation_and_a_reminder_by_e_mail(house: Flask, mailbox: Mailbox) -> None:
    booking = booked(house, "ana@example.org")
    assert send_all(house) == 1
    [mail] = mailbox.mail
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == ("ana@example.org", SENDER, "auto-generated")
    assert mail["Subject"] == "Votre réservation chez Bistro Ana"
    text = mail.get_content()
    assert "vendredi 10 avril" in text
    assert "20:00, 2 convives" in text
    assert f"https://ana.example/reserver/{booking['reference']}" in text
    with time_machine.travel("2026-04-09T17:59:00Z"):
        assert send_all(house) == 0
    with time_machine.travel("2026-04-09T18:01:00Z"):
        assert send_all(house) == 1
        assert send_all(house) == 0
    assert mailbox.mail[1]["Subject"].startswith("Nous vous attendons")
    assert mailbox.mail[1]["Message-ID"] != mail["Message-ID"]


def test_a_telephone_number_gets_sms_and_the_language_is_the_guests(house: Flask, provider: Provider) -> None:
    booked(house, "06 12 34 56 78", lang="en")
    assert send_all(house) == 1
    [(body, _token)] = provider.got
    assert body["to"] == "0612345678"
    assert body["text"].startswith("Bistro Ana: your table is booked for Friday 10 April at 20:00, 2 guests.")
    booked(house, "Ana, table du fond")
    assert send_all(house) == 0


def test_a_change_replaces_the_reminder_and_a_cancellation_removes_it(
    house: Flask, mailbox: Mailbox, sign_in: SignIn
) -> None:
    token = sign_in(Role.HOST).get_cookie("session")
    assert token
    host = house.test_client()
    host.set_cookie("session", token.value)
    booking = booked(house, "ana@example.org")
    send_all(house)
    path, tag = f"/api/v1/bookings/{booking['reference']}", {"If-Match": '"1"'}
    body = {"starts_at": "2026-04-11T19:00:00+02:00", "covers": 3, "guest": "Ana", "contact": "ana@example.org"}
    assert host.put(path, json=body, headers=tag).status_code == 200
    assert waiting(house) == [
        ("confirmation", "sent"), ("reminder", "removed"), ("change", "waiting"), ("reminder", "waiting"),
    ]  # fmt: skip
    send_all(house)
    assert "samedi 11 avril" in mailbox.mail[-1].get_content()
    assert host.post(f"{path}/move", json={"status": "cancelled"}).status_code == 200
    send_all(house)
    with time_machine.travel("2026-04-10T20:00:00Z"):
        assert send_all(house) == 0
    assert "annulée" in mailbox.mail[-1]["Subject"]
    assert "ana.example" not in mailbox.mail[-1].get_content()
    assert len(mailbox.mail) == 3
    page = host.get(f"/reservations/{booking['reference']}").text
    (cancelled,) = (item for item in re.findall("<li>.*?</li>", page, re.DOTALL) if "Annulation, Courriel" in item)
    assert "ana@example.org" in cancelled
    assert ">Envoyé<" in cancelled


def test_a_server_that_is_down_gets_the_message_later_and_a_refusal_is_final(house: Flask, mailbox: Mailbox) -> None:
    booked(house, "ana@example.org", day="2026-04-03")
    down: dict[ChannelKind, Channel] = {ChannelKind.EMAIL: Smtp(f"smtp://127.0.0.1:{free_port()}", None, SENDER)}
    assert send_all(house, down) == 1
    assert send_all(house) == 0
    mailbox.refusal = "450 later"
    with time_machine.travel(MORNING + timedelta(minutes=2)):
        assert send_all(house) == 1
    assert waiting(house) == [("confirmation", "waiting")]
    mailbox.refusal = "550 unknown"
    with time_machine.travel(MORNING + timedelta(minutes=20)):
        assert send_all(house) == 1
    assert waiting(house) == [("confirmation", "failed")]
    mailbox.refusal = ""
    booked(house, "bo@example.org", day="2026-04-03")
    with time_machine.travel(MORNING + timedelta(hours=13)):
        assert send_all(house) == 0
    assert mailbox.mail == []
    assert waiting(house)[-1] == ("confirmation", MessageStatus.FAILED.value)


def test_without_a_channel_nothing_is_written(app: Flask, morning: None) -> None:
    booked(app, "ana@example.org")
    assert waiting(app) == []


def test_a_refused_booking_tells_nobody(house: Flask) -> None:
    body = {"starts_at": "2026-04-10T16:00:00+02:00", "covers": 2, "guest": "Ana", "contact": "ana@example.org"}
    assert post(house.test_client(), "/bookings", body).status_code == 422
    assert waiting(house) == []


@pytest.mark.parametrize(
    ("contact", "reached"),
    [
        (" Ana@Example.org ", (ChannelKind.EMAIL, "Ana@Example.org")),
        ("+33 (0)6 12-34.56.78", (ChannelKind.SMS, "+33612345678")),
        ("06 12 34 56 78", (ChannelKind.SMS, "0612345678")),
        ("a@b@c", None), ("Ana <a@example.org>", None), ("a@example.org, b@example.org", None),
        ("12345", None), ("table 12", None),
    ],
)  # fmt: skip
def test_a_contact_is_an_address_or_a_number(contact: str, reached: tuple[ChannelKind, str] | None) -> None:
    assert channel_of(contact) == reached


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2090, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


def test_a_password_goes_through_tls_only(certificate: Path, mailbox: Mailbox) -> None:
    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: Any, data: LoginPassword) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"ana", b"secret"))

    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    controller = Controller(
        mailbox, hostname="localhost", port=free_port(), tls_context=server, require_starttls=True,
        authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    try:
        url = f"smtp://ana@localhost:{controller.port}"
        Smtp(url, "secret", SENDER, trusting).send(LETTER)
        assert [mail["Subject"] for mail in mailbox.mail] == ["Votre réservation"]
        with pytest.raises(DeliveryError) as refused:
            Smtp(url, "wrong", SENDER, trusting).send(LETTER)
        assert not refused.value.permanent  # the operator corrects the password
        with pytest.raises(DeliveryError, match="certificate"):
            Smtp(url, "secret", SENDER).send(LETTER)
    finally:
        controller.stop()


def test_a_password_is_not_sent_to_a_server_without_tls(smtp: int, mailbox: Mailbox) -> None:
    with pytest.raises(DeliveryError, match="no TLS"):
        Smtp(f"smtp://ana@127.0.0.1:{smtp}", "secret", SENDER).send(LETTER)
    for recipient in ("a\nBcc: b@example.org", "nobody", "a@b@c"):
        with pytest.raises(DeliveryError) as refused:
            Smtp(f"smtp://127.0.0.1:{smtp}", None, SENDER).send(Letter("1", recipient, "x", "y"))
        assert refused.value.permanent
    assert mailbox.mail == []


def test_the_provider_of_sms_gets_its_token_and_says_what_is_final(provider: Provider) -> None:
    url = f"http://127.0.0.1:{provider.server_port}/"
    Sms(url, "token").send(LETTER)
    assert provider.got[0] == ({"to": LETTER.recipient, "text": LETTER.body, "key": "7-1"}, "Bearer token")
    for status, permanent in ((400, True), (401, False), (429, False), (503, False)):
        provider.status = status
        with pytest.raises(DeliveryError) as refused:
            Sms(url, None).send(LETTER)
        assert refused.value.permanent is permanent
    with pytest.raises(DeliveryError):
        Sms(f"http://127.0.0.1:{free_port()}/", None).send(LETTER)


def test_settings_that_cannot_send_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESTAURANT_DATABASE_URL", f"sqlite:///{tmp_path / 'x.sqlite3'}")
    for name, value in (("SMTP_URL", "smtp://mail.example"), ("SMS_URL", "ftp://x"), ("SMTP_SENDER", "nobody"),
                        ("SMTP_URL", "imap://x"), ("REMINDER_HOURS", "-1")):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setenv(f"RESTAURANT_{name}", value)
            with pytest.raises(SettingsError, match=r"RESTAURANT_SM|RESTAURANT_REMINDER"):
                Settings.load()
