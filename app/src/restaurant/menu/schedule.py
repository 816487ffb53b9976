"""When something of the menu is offered: on which days, and between which times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from restaurant.business_day import BusinessDay


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_WEEK = tuple(Weekday)


@dataclass(frozen=True)
class Schedule:
    """Days of the week, all if none is named, and times of the restaurant's clock, all day without any."""

    days: frozenset[Weekday]
    starts: time | None
    ends: time | None

    @classmethod
    def of(cls, days: Iterable[str], starts: time | None, ends: time | None) -> Schedule:
        """The schedule of a row."""
        return cls(frozenset(Weekday(day) for day in days), starts, ends)

    def covers(self, at: datetime, business_day: BusinessDay) -> bool:
        """Whether the instant `at` is within it.

        Hours belong to the business day on which they begin: those of Friday from 22:00 to 02:00 end on Saturday.
        """
        today = business_day.of(at)
        if self.starts is None or self.ends is None:
            return self._has(today.weekday())
        # What the clock shows decides, also in the night in which it is changed.
        clock = at.astimezone(business_day.zone).replace(tzinfo=None)
        for day in (today, today - timedelta(days=1)):
            late = timedelta(days=1) if self.starts < business_day.start else timedelta()
            begin = datetime.combine(day + late, self.starts)
            end = datetime.combine(begin.date(), self.ends)
            if end <= begin:
                end += timedelta(days=1)
            if begin <= clock < end and self._has(day.weekday()):
                return True
        return False

    def _has(self, weekday: int) -> bool:
        return not self.days or _WEEK[weekday] in self.days
