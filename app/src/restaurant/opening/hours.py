"""Opening hours as texts such as ``12:00-14:30,19:00-22:00``, and the calendar that is made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from restaurant.types import Labelled

DAY = 24 * 60
#: A day has no more spans than this.
MOST_SPANS = 6
#: Guests choose a time of these steps, in minutes.
STEP = 15
#: How far ahead the next opening is looked for.
_HORIZON = 370

_SPAN = re.compile(r"(\d{1,2})[:h](\d{2})\s*[-–]\s*(\d{1,2})[:h](\d{2})")


class Purpose(Labelled):
    """What the restaurant is open for."""

    BOOKINGS = "bookings"
    TAKE_AWAY = "take_away"


@dataclass(frozen=True)
class Span:
    """From one minute of a day to another; past 24:00 are minutes of the following day."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)}"


Hours = tuple[Span, ...]


def parse_hours(text: str) -> Hours:
    """The spans of a day, none when it is closed. A span that ends before it begins ends on the following day.

    Raises `ValueError` for anything else, and for spans that overlap.
    """
    found = []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise ValueError("must be times such as 12:00-13:45,19:00-22:00")
        start, end = (int(match[i]) * 60 + int(match[i + 1]) for i in (1, 3))
        if start >= DAY or end > DAY or int(match[2]) > 59 or int(match[4]) > 59:
            raise ValueError(f"{part.strip()} is not within a day")
        found.append(Span(start, end if end >= start else end + DAY))
    spans = tuple(sorted(found, key=lambda span: span.start))
    if len(spans) > MOST_SPANS:
        raise ValueError(f"must be at most {MOST_SPANS} ranges")
    if any(one.end >= following.start for one, following in pairwise(spans)):
        raise ValueError("must not overlap")
    return spans


def write_hours(hours: Hours) -> str:
    """`hours` as `parse_hours` reads it."""
    return ",".join(map(str, hours))


def show_hours(hours: Hours) -> str:
    """``12:00–13:45, 19:00–22:00``."""
    return ", ".join(str(span).replace("-", "–") for span in hours)


def _clock(minute: int) -> str:
    minute = minute if minute <= DAY else minute - DAY
    return f"{minute // 60:02}:{minute % 60:02}"


@dataclass(frozen=True)
class SpecialDays:
    """Days on which other hours apply, such as a holiday; both ends are included."""

    first: date
    last: date
    name: str
    hours: Mapping[Purpose, Hours]


@dataclass(frozen=True)
class Calendar:
    """When the restaurant is open: the hours of each weekday, and the days that differ."""

    zone: ZoneInfo
    week: Mapping[Purpose, Sequence[Hours]]
    """Seven per purpose, Monday first."""
    exceptions: Sequence[SpecialDays] = ()
    """In the order of their first days; of two that share a day, the one that begins later applies."""

    def exception(self, day: date) -> SpecialDays | None:
        """What makes `day` differ from its weekday."""
        return next((entry for entry in reversed(self.exceptions) if entry.first <= day <= entry.last), None)

    def hours(self, purpose: Purpose, day: date) -> Hours:
        """The hours that begin on `day`."""
        found = self.exception(day)
        return found.hours[purpose] if found is not None else self.week[purpose][day.weekday()]

    def is_open(self, purpose: Purpose, at: datetime) -> bool:
        """Whether the restaurant is open at the instant `at`; a span's last minute is not part of it.

        For bookings these are the times at which one may begin, and the last one is (see `starts`).
        """
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        today, before = local.date(), local.date() - timedelta(days=1)
        if purpose is Purpose.BOOKINGS:
            return any(local == start for day in (today, before) for start in self.starts(day))
        return any(span.start <= minute < span.end for span in self.hours(purpose, today)) or any(
            minute + DAY < span.end for span in self.hours(purpose, before)
        )

    def starts(self, day: date) -> list[datetime]:
        """The instants at which a booking may begin in the hours of `day`, the last one of each span included."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        return [
            midnight + timedelta(minutes=minute)
            for span in self.hours(Purpose.BOOKINGS, day)
            for minute in range(span.start, span.end + 1, STEP)
        ]

    def next_opening(self, purpose: Purpose, at: datetime) -> datetime | None:
        """When the restaurant opens next after the instant `at`, None within a year."""
        local = at.astimezone(self.zone)
        for ahead in range(_HORIZON):
            day = local.date() + timedelta(days=ahead)
            for span in self.hours(purpose, day):
                start = datetime(day.year, day.month, day.day, tzinfo=self.zone) + timedelta(minutes=span.start)
                if start > local:
                    return start
        return None
