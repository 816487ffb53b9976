"""Settings, read once from the environment and from secret files.

Every variable starts with ``RESTAURANT_``. No name ends in ``_PORT`` or ``_HOST``: Kubernetes sets such
variables itself for a Service called ``restaurant`` or ``restaurant-database``.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from restaurant.billing.signing import Signer, new_key
from restaurant.billing.siret import is_siren
from restaurant.business_day import BusinessDay
from restaurant.deposits.rules import DepositRules
from restaurant.http import prefix
from restaurant.messages.channels import Channel, Sms, Smtp
from restaurant.messages.post import ChannelKind, Post
from restaurant.opening.hours import Hours, Purpose, parse_hours

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: A signing key shorter than this is refused.
SECRET_KEY_MINIMUM = 32


_PREFIX = "RESTAURANT_"
_ADDRESS = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"


class SettingsError(Exception):
    """The settings are invalid. The message lists every problem."""


def _default_database_url() -> str:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"sqlite:///{data / 'restaurant' / 'restaurant.sqlite3'}"


def _read_secret(path: Path) -> SecretStr:
    try:
        return SecretStr(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ValueError(f"cannot read the secret file {path}: {error.strerror}") from error


def _secret_of(path: Path | None) -> str | None:
    return _read_secret(path).get_secret_value() if path is not None else None


def _renamed(name: str, former: str) -> AliasChoices:
    """A variable that had another name, which is still read when the new one is not set."""
    return AliasChoices(f"{_PREFIX}{name}".upper(), f"{_PREFIX}{former}".upper())


@dataclass(frozen=True)
class Opening:
    """When the restaurant is open unless it was edited, and how many guests may book."""

    zone: ZoneInfo
    bookings: Hours
    """First and last times at which a booking may begin, on each day that is not closed."""
    take_away: Hours
    covers: int
    """How many guests may begin within a quarter of an hour."""
    closed: frozenset[int]
    """Days of the week on which the restaurant is closed, Monday is 0."""
    stays: tuple[tuple[float, timedelta], ...]
    """For how long parties of up to so many hold their table, the smallest first; the last is for all others."""
    per_address: int
    """How many bookings one address may make within an hour, 0 for any number."""
    orders_per_address: int
    """How many take-away orders one address may send within an hour, 0 for any number."""
    key: str
    """What addresses are hashed with."""
    per_contact: int
    """How many bookings one contact may have ahead, 0 for any number."""

    def stay(self, covers: int) -> timedelta:
        """How long a party of this size holds its table."""
        return next(duration for most, duration in self.stays if covers <= most)

    @cached_property
    def week(self) -> dict[Purpose, tuple[Hours, ...]]:
        """The hours of each weekday, Monday first."""
        hours = {Purpose.BOOKINGS: self.bookings, Purpose.TAKE_AWAY: self.take_away}
        return {
            purpose: tuple(() if day in self.closed else spans for day in range(7)) for purpose, spans in hours.items()
        }


@dataclass(frozen=True)
class KitchenThresholds:
    """After how long a dish that was sent to the kitchen is shown as almost late, and as late."""

    warning: timedelta
    late: timedelta


@dataclass(frozen=True)
class TableOrders:
    """How guests order at their table with their own telephone."""

    how: Literal["none", "confirm", "direct"]
    keys: tuple[str, ...]
    """What codes of tables are signed with, the current key first."""
    per_address: int
    """How many orders one address may send within an hour, 0 for any number."""
    per_table: int
    """How many orders may come from one table within an hour, 0 for any number."""


def _weekdays(text: str) -> frozenset[int]:
    named = [day.strip().lower() for day in text.split(",") if day.strip()]
    if set(named) - set(WEEKDAYS):
        raise ValueError(f"must be days of {', '.join(WEEKDAYS)}")
    return frozenset(WEEKDAYS.index(day) for day in named)


def _stays(text: str) -> tuple[tuple[float, timedelta], ...]:
    *sizes, others = text.split(",")
    try:
        found = [tuple(map(int, size.split(":"))) for size in sizes] + [(math.inf, int(others))]
        stays = tuple((most, timedelta(minutes=minutes)) for most, minutes in found)
    except ValueError as error:
        raise ValueError(
            "must be minutes by party size such as 2:90,4:105,150, the last for all larger ones"
        ) from error
    if any(one[0] >= next_[0] for one, next_ in pairwise(stays)) or stays[0][0] < 1:
        raise ValueError("must name sizes from the smallest to the largest")
    if not all(timedelta(minutes=15) <= duration <= timedelta(hours=12) for _most, duration in stays):
        raise ValueError("must be between 15 and 720 minutes each")
    return stays


class Settings(BaseSettings):
    """The operator's settings. `Settings.load` reports all problems at once."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="ignore", frozen=True, validate_by_name=True, validate_by_alias=True
    )

    database_url: str = Field(default_factory=_default_database_url)
    """`sqlite:///FILE` or `postgresql://USER@HOST:PORT/NAME`; the password may come from a file.

    Several servers, of which one accepts writes, are `postgresql://USER@/NAME?host=HOST:PORT&host=HOST:PORT`."""
    database_password_file: Path | None = None
    database_pool_size: int = Field(default=2, ge=1, le=100)
    """Maximum number of connections of this process; there is no overflow, so the database sees pods x this."""

    secret_key: SecretStr | None = None
    secret_key_file: Path | None = None
    secret_key_fallbacks_file: Path | None = None
    """Retired signing keys, one per line: cookies signed with them stay valid."""

    journal_key_file: Path | None = None
    """Ed25519 private key in PEM format that signs the journal. With SQLite, one is made beside the database."""
    journal_previous_key_file: Path | None = None
    """The key that `journal_key_file` replaces: it endorses the new key in the journal."""

    listen: str = "0.0.0.0:8080"
    probes_listen: str = "0.0.0.0:9797"
    terminal_url: str | None = Field(default=None, pattern=_ADDRESS)
    """Address of the provider of card terminals; without it there is none."""
    terminal_secret_file: Path | None = None
    online_url: str | None = Field(default=None, pattern=_ADDRESS)
    """Address of the provider of online payments; without it there is none."""
    online_secret_file: Path | None = None
    online_provider: Literal["http", "stripe"] = "http"
    """What the provider of online payments understands: our own requests, or those of Stripe."""
    online_webhook_secret_file: Path | None = None
    """File with the secret that Stripe signs its events with; without it, events are refused and charges polled."""
    provider_seconds: float = Field(default=10.0, ge=1, le=60)
    """Seconds for which a reply of a payment provider is waited for."""

    threads: int = Field(default=8, ge=2, le=256)
    max_streams: int | None = Field(default=None, ge=1, le=255, validation_alias=_renamed("max_streams", "streams"))
    """Maximum number of live kitchen screens; by default half of the threads. Each uses a thread."""
    drain_seconds: float = Field(default=8.0, ge=0, le=300)
    """Seconds for which `/drain` keeps serving, so that load balancers stop sending before the process stops."""
    grace_seconds: int = Field(default=20, ge=1, le=300)
    """Seconds that requests in flight have after SIGTERM."""
    keepalive_seconds: int = Field(default=75, ge=0, le=3600)
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    prefix: str = Field(default="", pattern=rf"^{prefix.PATTERN}$", max_length=200)
    """Path below which users reach the service, such as `/restaurant`; proxies may remove it from requests or not."""
    https: bool = False
    """Whether users connect by HTTPS: cookies are Secure and HSTS is sent."""

    cancellation_minutes: int = Field(default=120, ge=0, le=10_080)
    """Guests may cancel online until this many minutes before their booking."""

    booking_times: str = "12:00-13:45,19:00-22:00"
    """First and last start time of bookings, for each service."""
    take_away_times: str = "11:30-14:00,18:30-22:00"
    """Times between which guests may order take-away."""
    orders_per_address: int = Field(default=30, ge=0, le=100_000)
    """Maximum number of take-away orders that guests send from one address within an hour; 0 is no limit."""
    bookings_per_address: int = Field(default=10, ge=0, le=100_000)
    """Maximum number of bookings from one address within an hour; 0 is no limit. The staff has none."""
    bookings_per_contact: int = Field(default=4, ge=0, le=1000)
    """Maximum number of bookings that one telephone number or e-mail address may have ahead; 0 is no limit."""
    booking_covers: int = Field(default=20, ge=1, le=1000)
    """Maximum number of guests whose bookings start within the same 15 minutes."""
    booking_stays: str = "2:90,4:105,6:120,150"
    """Minutes for which a party keeps its table, by party size."""
    deposit_per_cover: int = Field(default=0, ge=0, le=100_000)
    """Deposit of a booking for each guest, in cents; 0 for none."""
    deposit_fixed: int = Field(default=0, ge=0, le=1_000_000)
    """Deposit of a booking whatever its size, in cents; 0 for none."""
    deposit_covers: int = Field(default=1, ge=1, le=60)
    """Parties of at least so many guests pay a deposit."""
    deposit_refund_hours: int = Field(default=24, ge=0, le=720)
    """A deposit is given back if the booking is cancelled until this many hours before it."""
    deposit_pay_minutes: int = Field(default=30, ge=16, le=1440)
    """Minutes that guests who book online have to pay, after which the booking is released."""
    table_orders: Literal["none", "confirm", "direct"] = "confirm"
    """Orders that guests send from their table: refused, to be confirmed by the staff, or sent to the kitchen."""
    table_orders_per_address: int = Field(default=60, ge=0, le=100_000)
    """Maximum number of orders that guests send from one address within an hour; 0 is no limit. The restaurant's
    own network is one address."""
    table_orders_per_table: int = Field(default=20, ge=0, le=1000)
    """Maximum number of orders that guests send from one table within an hour; 0 is no limit."""
    day_start: time = time(5)
    """Time at which a business day begins: closings, reports and lists of bookings count what is before to the day
    before."""
    closed_days: str = ""
    """Days of the week on which the restaurant is closed, such as `sun,mon`."""

    public_url: str = Field(default="", pattern=r"^(https?://[^\s?#]+)?$")
    """Address at which guests open the pages, for links in messages."""
    smtp_url: str = Field(default="", pattern=r"^(smtps?://[^\s/]+)?$")
    """`smtps://USER@HOST:465` for TLS, `smtp://USER@HOST:587` for STARTTLS. Without it, no e-mail is sent."""
    smtp_password_file: Path | None = None
    smtp_sender: str = Field(default="", max_length=200, pattern=r"^([^@\r\n]*[^@\s]+@[^@\s]+)?$")
    """Sender of e-mail, such as `Chez Ana <table@example.org>`."""
    sms_url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    """Address that takes SMS as JSON. Without it, no SMS is sent."""
    sms_token_file: Path | None = None
    reminder_hours: int = Field(default=24, ge=0, le=168)
    """Hours before a booking at which its guest is reminded; 0 for never."""

    kitchen_warning_minutes: int = Field(
        default=10, ge=1, le=240, validation_alias=_renamed("kitchen_warning_minutes", "kitchen_soon_minutes")
    )
    """Minutes in the kitchen after which a dish is shown as almost late."""
    kitchen_late_minutes: int = Field(default=20, ge=1, le=240)
    """Minutes after which it is late: on the kitchen screen, on the floor plan and for the alert."""

    name: str = Field(default="Gestion Restaurant", min_length=1, max_length=120)
    address: str = Field(default="", max_length=300)
    """Address printed on receipts, like `registration`."""
    registration: str = Field(default="", max_length=120)
    """Registration numbers that tax law requires on a receipt, such as SIRET and VAT."""
    siren: str = ""
    """SIREN of the company, nine digits: the name of the FEC begins with it."""
    timezone: str = "Europe/Paris"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    traces_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """OTLP endpoint over HTTP, such as http://collector:4318/v1/traces; without it nothing is traced."""
    traces_ratio: float = Field(default=0.1, ge=0, le=1)
    """Ratio of requests that are traced, unless the caller's `traceparent` decides."""

    fault_injection: bool = Field(default=False, validation_alias=_renamed("fault_injection", "faults"))
    """Allow fault injection on the probe port."""

    _signing_keys: tuple[str, ...] = PrivateAttr(default=())
    _journal_key: str | None = PrivateAttr(default=None)
    _journal_previous_key: str | None = PrivateAttr(default=None)

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        try:
            backend = make_url(value).get_backend_name()
        except ArgumentError as error:
            raise ValueError("not a database URL, such as postgresql://user@host:5432/name") from error
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError(f"{backend} is not supported; use sqlite or postgresql")
        return value

    @field_validator("siren")
    @classmethod
    def _real_siren(cls, value: str) -> str:
        bare = "".join(value.split())
        if bare and not is_siren(bare):
            raise ValueError(f"{value} is not a SIREN: nine digits, the last of which is a check digit")
        return bare

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value} is not a time zone; use a name such as Europe/Paris") from error
        return value

    @field_validator("booking_times", "take_away_times")
    @classmethod
    def _known_times(cls, value: str) -> str:
        if not parse_hours(value):
            raise ValueError("must be times such as 12:00-13:45,19:00-22:00")
        return value

    @field_validator("booking_stays")
    @classmethod
    def _known_stays(cls, value: str) -> str:
        _stays(value)
        return value

    @field_validator("closed_days")
    @classmethod
    def _known_days(cls, value: str) -> str:
        _weekdays(value)
        return value

    @field_validator("listen", "probes_listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be ADDRESS:PORT, such as 0.0.0.0:8080")
        return value

    @model_validator(mode="after")
    def _leave_threads_to_pages(self) -> Self:
        if self.max_streams is not None and self.max_streams >= self.threads:
            raise ValueError(
                f"RESTAURANT_MAX_STREAMS ({self.max_streams}) must be less than RESTAURANT_THREADS ({self.threads}): "
                "each live screen uses a thread"
            )
        return self

    @model_validator(mode="after")
    def _have_a_sender(self) -> Self:
        if self.smtp_url and not self.smtp_sender:
            raise ValueError("set RESTAURANT_SMTP_SENDER too: RESTAURANT_SMTP_URL is set")
        self.channels()
        return self

    @model_validator(mode="after")
    def _soon_before_late(self) -> Self:
        if self.kitchen_warning_minutes >= self.kitchen_late_minutes:
            raise ValueError(
                f"RESTAURANT_KITCHEN_WARNING_MINUTES ({self.kitchen_warning_minutes}) must be less than "
                f"RESTAURANT_KITCHEN_LATE_MINUTES ({self.kitchen_late_minutes})"
            )
        return self

    @model_validator(mode="after")
    def _have_signing_keys(self) -> Self:
        if self.secret_key_file is not None:
            key = _read_secret(self.secret_key_file)
        elif self.secret_key is not None:
            key = self.secret_key
        elif (file := self.sqlite_file()) is not None:
            key = SecretStr(_kept_key(file.with_name(file.name + ".key")))
        else:
            raise ValueError("set RESTAURANT_SECRET_KEY_FILE (or RESTAURANT_SECRET_KEY): there is no default")
        if len(key.get_secret_value()) < SECRET_KEY_MINIMUM:
            raise ValueError(f"the secret key must have at least {SECRET_KEY_MINIMUM} characters")
        keys = [key.get_secret_value()]
        if self.secret_key_fallbacks_file is not None:
            keys += _read_secret(self.secret_key_fallbacks_file).get_secret_value().split()
        self._signing_keys = tuple(keys)
        return self

    @model_validator(mode="after")
    def _have_journal_key(self) -> Self:
        if self.journal_key_file is not None:
            self._journal_key = _read_secret(self.journal_key_file).get_secret_value()
        elif (file := self.sqlite_file()) is not None:
            self._journal_key = _kept_key(file.with_name(file.name + ".journal-key"), new_key)
        if self.journal_previous_key_file is not None:
            self._journal_previous_key = _read_secret(self.journal_previous_key_file).get_secret_value()
        try:
            self.signer()
        except ValueError as error:
            raise ValueError(f"the key of the journal is {error}") from error
        return self

    @classmethod
    def load(cls) -> Settings:
        """Read the environment. Raises `SettingsError` with one line per problem."""
        try:
            return cls()
        except ValidationError as error:
            lines = []
            for problem in error.errors(include_url=False, include_input=False):
                where = "_".join(str(part) for part in problem["loc"]).upper().removeprefix(_PREFIX)
                message = problem["msg"].removeprefix("Value error, ")
                lines.append(f"{_PREFIX}{where}: {message}" if where else message)
            raise SettingsError("\n".join(lines)) from error

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The current signing key first, then the retired ones."""
        return self._signing_keys

    @model_validator(mode="after")
    def _have_provider_secrets(self) -> Self:
        if self.online_provider == "stripe":
            if not self.public_url:
                raise ValueError("set RESTAURANT_PUBLIC_URL too: Stripe sends guests back to it")
        elif self.online_webhook_secret_file is not None:
            raise ValueError("RESTAURANT_ONLINE_WEBHOOK_SECRET_FILE is for RESTAURANT_ONLINE_PROVIDER=stripe only")
        if self.online_webhook_secret_file is not None and not self.webhook_secret():
            raise ValueError(f"the secret file {self.online_webhook_secret_file} is empty")
        names: tuple[Literal["terminal", "online"], ...] = ("terminal", "online")
        for name in names:
            url, file = self._provider_address(name), getattr(self, f"{name}_secret_file")
            if url is not None:
                if file is None:
                    raise ValueError(f"set RESTAURANT_{name.upper()}_SECRET_FILE for RESTAURANT_{name.upper()}_URL")
                if not _read_secret(file).get_secret_value():
                    raise ValueError(f"the secret file {file} is empty")
        if (self.deposit_per_cover or self.deposit_fixed) and self._provider_address("online") is None:
            raise ValueError("set up online payments (RESTAURANT_ONLINE_URL): guests pay their deposits with them")
        return self

    def _provider_address(self, name: Literal["terminal", "online"]) -> str | None:
        if name == "terminal":
            return self.terminal_url
        return self.online_url or ("https://api.stripe.com" if self.online_provider == "stripe" else None)

    def providers(self) -> dict[str, tuple[str, str]]:
        """Address and secret of the payment providers: `terminal` and `online`."""
        given = {
            "terminal": (self._provider_address("terminal"), self.terminal_secret_file),
            "online": (self._provider_address("online"), self.online_secret_file),
        }
        return {
            name: (url, _read_secret(file).get_secret_value())
            for name, (url, file) in given.items()
            if url is not None and file is not None
        }

    def webhook_secret(self) -> str | None:
        """What Stripe signs its events with, None when they are not set up."""
        return _secret_of(self.online_webhook_secret_file)

    def signer(self) -> Signer | None:
        """What signs the journal, None without a key."""
        previous = Signer(self._journal_previous_key) if self._journal_previous_key is not None else None
        return Signer(self._journal_key, previous) if self._journal_key is not None else None

    @cached_property
    def opening(self) -> Opening:
        """When guests may book."""
        return Opening(
            zone=self.zone,
            bookings=parse_hours(self.booking_times),
            take_away=parse_hours(self.take_away_times),
            covers=self.booking_covers,
            per_address=self.bookings_per_address,
            orders_per_address=self.orders_per_address,
            key=self.signing_keys[0],
            per_contact=self.bookings_per_contact,
            closed=_weekdays(self.closed_days),
            stays=_stays(self.booking_stays),
        )

    def orders_from_tables(self) -> TableOrders:
        """How guests order at their table."""
        return TableOrders(
            how=self.table_orders, keys=self.signing_keys, per_address=self.table_orders_per_address,
            per_table=self.table_orders_per_table,
        )  # fmt: skip

    def deposits(self) -> DepositRules:
        """Which bookings need a deposit."""
        return DepositRules(
            per_cover=self.deposit_per_cover, fixed=self.deposit_fixed, covers=self.deposit_covers,
            refund=timedelta(hours=self.deposit_refund_hours), pay=timedelta(minutes=self.deposit_pay_minutes),
        )  # fmt: skip

    def channels(self) -> dict[ChannelKind, Channel]:
        """The ways to send messages to guests."""
        found: dict[ChannelKind, Channel] = {}
        if self.smtp_url:
            found[ChannelKind.EMAIL] = Smtp(self.smtp_url, _secret_of(self.smtp_password_file), self.smtp_sender)
        if self.sms_url:
            found[ChannelKind.SMS] = Sms(self.sms_url, _secret_of(self.sms_token_file))
        return found

    def post(self) -> Post:
        """What messages to guests are made from."""
        return Post(
            restaurant=self.name, address=self.address, url=self.public_url.rstrip("/"),
            channels=frozenset(self.channels()), reminder=timedelta(hours=self.reminder_hours),
        )  # fmt: skip

    @cached_property
    def business_day(self) -> BusinessDay:
        """The restaurant's day."""
        return BusinessDay(zone=self.zone, start=self.day_start)

    @cached_property
    def kitchen_thresholds(self) -> KitchenThresholds:
        """The kitchen's thresholds."""
        return KitchenThresholds(
            warning=timedelta(minutes=self.kitchen_warning_minutes),
            late=timedelta(minutes=self.kitchen_late_minutes),
        )

    @property
    def cancellation(self) -> timedelta:
        """`cancellation_minutes` as a span."""
        return timedelta(minutes=self.cancellation_minutes)

    @property
    def stream_capacity(self) -> int:
        """Maximum number of live kitchen screens; the other threads are left for pages."""
        return self.max_streams if self.max_streams is not None else self.threads // 2

    @cached_property
    def zone(self) -> ZoneInfo:
        """The restaurant's time zone."""
        return ZoneInfo(self.timezone)

    def sqlite_file(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        url = make_url(self.database_url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    def has_replicas(self) -> bool:
        """Whether the database is several servers, of which another can take over."""
        return len(make_url(self.database_url).normalized_query.get("host", ())) > 1

    def engine_url(self) -> URL:
        """The URL for SQLAlchemy with its driver and the password from the secret file."""
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite":
            return url.set(drivername="sqlite+pysqlite")
        url = url.set(drivername="postgresql+psycopg")
        if self.has_replicas():
            url = url.update_query_dict({"target_session_attrs": "read-write"})
        if self.database_password_file is not None:
            url = url.set(password=_read_secret(self.database_password_file).get_secret_value())
        return url


def _kept_key(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """A single-user key beside the SQLite file, made on first use and readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        key = make()
        file.write(key)
    return key
