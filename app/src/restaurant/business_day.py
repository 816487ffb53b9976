"""The business day: sales after midnight belong to the evening before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class BusinessDay:
    """Days that change at `start` in the restaurant's time zone; one for closings, reports, bookings and pages."""

    zone: ZoneInfo
    start: time

    def of(self, moment: datetime) -> date:
        """The day that `moment` belongs to."""
        local = moment.astimezone(self.zone)
        return local.date() if local.time() >= self.start else local.date() - timedelta(days=1)

    def begin(self, day: date) -> datetime:
        """The instant at which `day` begins. Raises `OverflowError` beyond the calendar."""
        return datetime.combine(day, self.start, self.zone)

    def hours(self) -> list[int]:
        """The hours of the clock in the order of the day."""
        return [(self.start.hour + hour) % 24 for hour in range(24)]
