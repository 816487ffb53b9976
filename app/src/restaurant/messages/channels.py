"""Sending messages: one interface, by e-mail over SMTP and by SMS through a provider's HTTP address."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote, urlsplit

from restaurant.types import now

_SECONDS = 10.0


class DeliveryError(Exception):
    """A message was not sent; unless it is `permanent`, it is worth trying again."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass(frozen=True)
class Letter:
    """What is sent. Its `key` stays the same when it is sent again."""

    key: str
    recipient: str
    subject: str
    body: str


class Channel(Protocol):
    """A way to reach guests."""

    def send(self, letter: Letter) -> None:
        """Send `letter`. Raises `DeliveryError`."""


@dataclass(frozen=True)
class Smtp:
    """E-mail through a server: ``smtps://`` is TLS from the start, ``smtp://`` STARTTLS where the server has it.

    A password is never sent without TLS.
    """

    url: str
    password: str | None
    sender: str
    context: ssl.SSLContext | None = None

    def send(self, letter: Letter) -> None:
        """Send a letter. Raises `DeliveryError`."""
        message = self.compose(letter)
        parts = urlsplit(self.url)
        host, secure = parts.hostname or "", parts.scheme == "smtps"
        context = self.context or ssl.create_default_context()
        try:
            server = (
                smtplib.SMTP_SSL(host, parts.port or 465, timeout=_SECONDS, context=context)
                if secure
                else smtplib.SMTP(host, parts.port or 587, timeout=_SECONDS)
            )
            with server:
                server.ehlo()
                if not secure and server.has_extn("starttls"):
                    server.starttls(context=context)
                    server.ehlo()
                    secure = True
                if parts.username:
                    if not secure:
                        raise DeliveryError("the server offers no TLS, so the password is not sent")
                    server.login(unquote(parts.username), self.password or "")
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _text in error.recipients.values()]
            raise DeliveryError(f"recipient refused: {codes}", permanent=all(code >= 500 for code in codes)) from error
        except smtplib.SMTPResponseException as error:
            permanent = error.smtp_code >= 500 and not isinstance(error, smtplib.SMTPAuthenticationError)
            raise DeliveryError(f"refused: {error.smtp_code}", permanent=permanent) from error
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"not sent: {error}") from error

    def compose(self, letter: Letter) -> EmailMessage:
        """The letter as an e-mail. Raises `DeliveryError` for an address that is not valid."""
        message = EmailMessage()
        try:
            Address(addr_spec=letter.recipient)
            message["From"], message["To"] = self.sender, letter.recipient
            message["Subject"] = letter.subject
        except (ValueError, MessageError, IndexError) as error:
            raise DeliveryError("this is no e-mail address", permanent=True) from error
        message["Date"] = format_datetime(now())
        message["Message-ID"] = make_msgid(idstring=letter.key, domain=self.sender.rpartition("@")[2].rstrip("> "))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)
        return message


@dataclass(frozen=True)
class Sms:
    """SMS through an HTTP address that takes ``{"to", "text", "key"}`` as JSON, with a bearer token.

    Providers differ: a small service translates where one wants something else.
    """

    url: str
    token: str | None

    def send(self, letter: Letter) -> None:
        """Send a letter. Raises `DeliveryError`."""
        body = json.dumps({"to": letter.recipient, "text": letter.body, "key": letter.key}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": letter.key}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")  # noqa: S310  # the operator's
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
                response.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            lasting = error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in {
                HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS,
            }  # fmt: skip
            raise DeliveryError(f"refused: {error.code}", permanent=lasting) from error
        except OSError as error:
            raise DeliveryError(f"not sent: {error}") from error
