"""Settings of the service, read once from the environment and from secret files.

Every variable starts with ``RESTAURANT_``. No name ends in ``_PORT`` or ``_HOST``: Kubernetes sets such
variables itself for a Service called ``restaurant`` or ``restaurant-database``.
"""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass
from datetime import time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: A signing key shorter than this is refused.
SECRET_KEY_MINIMUM = 32


class SettingsError(Exception):
    """The environment does not describe a service that can run. The message lists every problem."""


def _default_database_url() -> str:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"sqlite:///{data / 'restaurant' / 'restaurant.sqlite3'}"


def _read_secret(path: Path) -> SecretStr:
    try:
        return SecretStr(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ValueError(f"cannot read the secret file {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Opening:
    """When guests may begin, in the restaurant's time zone, and how many within a quarter of an hour."""

    zone: ZoneInfo
    services: tuple[tuple[time, time], ...]
    covers: int
    closed: frozenset[int]
    """Days of the week without bookings, Monday is 0."""
    stays: tuple[tuple[float, timedelta], ...]
    """For how long parties of up to so many hold their table, the smallest first; the last is for all others."""

    def stay(self, covers: int) -> timedelta:
        """How long a party of this size holds its table."""
        return next(duration for most, duration in self.stays if covers <= most)

    def __str__(self) -> str:
        return ", ".join(f"{first:%H:%M}–{last:%H:%M}" for first, last in self.services)


@dataclass(frozen=True)
class Patience:
    """After how long a dish that was sent to the kitchen is shown as soon late, and as late."""

    soon: timedelta
    late: timedelta


def _services(text: str) -> tuple[tuple[time, time], ...]:
    found = []
    for span in text.split(","):
        first, _dash, last = span.strip().partition("-")
        try:
            start, end = time.fromisoformat(first.strip()), time.fromisoformat(last.strip())
        except ValueError as error:
            raise ValueError("must be times such as 12:00-13:45,19:00-22:00") from error
        if start > end:
            raise ValueError(f"{span.strip()} ends before it begins")
        found.append((start, end))
    return tuple(found)


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
    """What the operator decides. `Settings.load` reports all problems at once."""

    model_config = SettingsConfigDict(env_prefix="RESTAURANT_", extra="ignore", frozen=True)

    database_url: str = Field(default_factory=_default_database_url)
    """`sqlite:///FILE` or `postgresql://USER@HOST:PORT/NAME`; the password may come from a file."""
    database_password_file: Path | None = None
    database_pool_size: int = Field(default=2, ge=1, le=100)
    """Connections this process may hold; there is no overflow, so pods x this is what the server sees."""

    secret_key: SecretStr | None = None
    secret_key_file: Path | None = None
    secret_key_fallbacks_file: Path | None = None
    """Retired signing keys, one a line: cookies signed with them stay valid."""

    listen: str = "0.0.0.0:8080"
    probes_listen: str = "0.0.0.0:9797"
    threads: int = Field(default=8, ge=2, le=256)
    streams: int | None = Field(default=None, ge=1, le=255)
    """Kitchen screens connected at the same time; half of the threads without it. Each holds a thread."""
    drain_seconds: float = Field(default=8.0, ge=0, le=300)
    """How long `/drain` keeps serving, so that load balancers stop sending before the process stops."""
    grace_seconds: int = Field(default=20, ge=1, le=300)
    """How long requests in flight may take after SIGTERM."""
    keepalive_seconds: int = Field(default=75, ge=0, le=3600)
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    https: bool = False
    """True when users come by HTTPS: cookies become Secure and HSTS is sent."""

    cancellation_minutes: int = Field(default=120, ge=0, le=10_080)
    """Until how long before their table guests may cancel by themselves; afterwards they call the house."""

    booking_times: str = "12:00-13:45,19:00-22:00"
    """First and last time at which a booking may begin, service by service."""
    booking_covers: int = Field(default=20, ge=1, le=1000)
    """Guests who may begin within a quarter of an hour: what the kitchen can start with at once."""
    booking_stays: str = "2:90,4:105,6:120,150"
    """For how many minutes a party holds its table: of up to 2, of up to 4, of up to 6, of more."""
    closed_days: str = ""
    """Days of the week without bookings, such as `sun,mon`."""

    kitchen_soon_minutes: int = Field(default=10, ge=1, le=240)
    """After how many minutes a dish in the kitchen is shown as soon late."""
    kitchen_late_minutes: int = Field(default=20, ge=1, le=240)
    """After how many minutes it is late: in the kitchen, on the floor's plan and for the alert."""

    name: str = Field(default="Gestion Restaurant", min_length=1, max_length=120)
    address: str = Field(default="", max_length=300)
    """Where the restaurant is; printed on receipts, like `registration`."""
    registration: str = Field(default="", max_length=120)
    """The numbers that tax law wants on a receipt, such as SIRET and VAT."""
    timezone: str = "Europe/Paris"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    traces_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Where traces go by OTLP over HTTP, such as http://collector:4318/v1/traces; nothing is traced without it."""
    traces_ratio: float = Field(default=0.1, ge=0, le=1)
    """The share of requests that are traced, unless who calls has decided."""

    faults: bool = False
    """Whether faults may be switched on at the probes' port, to see how the platform copes."""

    _signing_keys: tuple[str, ...] = PrivateAttr(default=())

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

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value} is no time zone; use a name such as Europe/Paris") from error
        return value

    @field_validator("booking_times")
    @classmethod
    def _known_times(cls, value: str) -> str:
        _services(value)
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
        if self.streams is not None and self.streams >= self.threads:
            raise ValueError(
                f"RESTAURANT_STREAMS ({self.streams}) kitchen screens would hold all of RESTAURANT_THREADS "
                f"({self.threads}), and no page could be answered: at most {self.threads - 1}"
            )
        return self

    @model_validator(mode="after")
    def _soon_before_late(self) -> Self:
        if self.kitchen_soon_minutes >= self.kitchen_late_minutes:
            raise ValueError(
                f"RESTAURANT_KITCHEN_SOON_MINUTES ({self.kitchen_soon_minutes}) must be less than "
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

    @classmethod
    def load(cls) -> Settings:
        """Read the environment. Raises `SettingsError` with one line per problem."""
        try:
            return cls()
        except ValidationError as error:
            lines = []
            for problem in error.errors(include_url=False, include_input=False):
                where = "_".join(str(part) for part in problem["loc"]).upper()
                message = problem["msg"].removeprefix("Value error, ")
                lines.append(f"RESTAURANT_{where}: {message}" if where else message)
            raise SettingsError("\n".join(lines)) from error

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The current key for cookies first, then the retired ones."""
        return self._signing_keys

    @property
    def opening(self) -> Opening:
        """When guests may come."""
        return Opening(
            zone=self.zone,
            services=_services(self.booking_times),
            covers=self.booking_covers,
            closed=_weekdays(self.closed_days),
            stays=_stays(self.booking_stays),
        )

    @property
    def patience(self) -> Patience:
        """How long the kitchen may take."""
        return Patience(
            soon=timedelta(minutes=self.kitchen_soon_minutes), late=timedelta(minutes=self.kitchen_late_minutes)
        )

    @property
    def cancellation(self) -> timedelta:
        """`cancellation_minutes` as a span."""
        return timedelta(minutes=self.cancellation_minutes)

    @property
    def stream_capacity(self) -> int:
        """Kitchen screens that may be connected; the other threads stay free for pages."""
        return self.streams if self.streams is not None else self.threads // 2

    @property
    def zone(self) -> ZoneInfo:
        """The restaurant's own time zone: its day begins and ends there."""
        return ZoneInfo(self.timezone)

    def sqlite_file(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        url = make_url(self.database_url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    def engine_url(self) -> URL:
        """The URL for SQLAlchemy with its driver and the password from the secret file."""
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite":
            return url.set(drivername="sqlite+pysqlite")
        url = url.set(drivername="postgresql+psycopg")
        if self.database_password_file is not None:
            url = url.set(password=_read_secret(self.database_password_file).get_secret_value())
        return url


def _kept_key(path: Path) -> str:
    """The single-user key beside the SQLite file, made on first use and readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        key = secrets.token_urlsafe(48)
        file.write(key)
    return key
