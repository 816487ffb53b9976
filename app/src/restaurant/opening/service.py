"""Whether the restaurant is open, for bookings and for take-away orders, and editing when it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from restaurant.errors import Conflict, Invalid, NotFound
from restaurant.http.api import Versions, require_version, stale
from restaurant.i18n import format_day, format_time
from restaurant.i18n import gettext as _
from restaurant.menu.models import Revision
from restaurant.opening.hours import Calendar, Hours, Purpose, SpecialDays, parse_hours, write_hours
from restaurant.opening.models import OpeningWeek, SpecialPeriod
from restaurant.settings import Opening
from restaurant.types import now

#: Special days are kept for as long as the past of a calendar may be looked at.
_KEPT = timedelta(days=400)
_REVISION = "opening"
_ALL_REVISIONS = select(Revision.name, Revision.number)

#: The last calendar read through each engine, with its revision and what the settings said.
_KNOWN: WeakKeyDictionary[Engine | Connection, tuple[int, Opening, Calendar]] = WeakKeyDictionary()


def revisions(connection: Connection) -> Mapping[str, int]:
    """The revisions of all that is kept in memory."""
    return {name: number for name, number in connection.execute(_ALL_REVISIONS)}  # noqa: C416  # a Row is a tuple of any length to the type checker


def calendar_in_memory(bind: Engine | Connection, opening: Opening, *, revision: int) -> Calendar | None:
    """The calendar as last read, None when that was another revision."""
    known = _KNOWN.get(bind)
    return known[2] if known is not None and known[:2] == (revision, opening) else None


def read_calendar(session: Session, opening: Opening, *, revision: int | None = None) -> Calendar:
    """When the restaurant is open; the settings where nothing was edited. `revision` is known from `revisions`."""
    number = revisions(session.connection()).get(_REVISION, 0) if revision is None else revision
    bind = session.get_bind()
    known = calendar_in_memory(bind, opening, revision=number)
    if known is not None:
        return known
    week = read_week(session, opening)
    calendar = Calendar(
        zone=opening.zone,
        week={
            Purpose.BOOKINGS: [parse_hours(text) for text in week.bookings],
            Purpose.TAKE_AWAY: [parse_hours(text) for text in week.take_away],
        },
        exceptions=[
            SpecialDays(
                first=entry.first_day, last=entry.last_day, name=entry.name,
                hours={
                    Purpose.BOOKINGS: parse_hours(entry.bookings), Purpose.TAKE_AWAY: parse_hours(entry.take_away)
                },
            )
            for entry in list_periods(session, since=now().date() - _KEPT)
        ],
    )  # fmt: skip
    _KNOWN[bind] = (number, opening, calendar)
    return calendar


def require_open(calendar: Calendar, purpose: Purpose, *, at: datetime) -> None:
    """Raise `Conflict` unless the restaurant is open at the instant `at`, saying when it is."""
    if not calendar.is_open(purpose, at):
        raise Conflict(closed_now(calendar, purpose, at=at), code="closed")


def closed_now(calendar: Calendar, purpose: Purpose, *, at: datetime) -> str:
    """That the restaurant is closed, and when it opens."""
    following = calendar.next_opening(purpose, at)
    if following is None:
        return _("We are closed at the moment.")
    return _("We are closed at the moment. We open on {day} at {time}.", day=format_day(following),
             time=format_time(following))  # fmt: skip


def read_week(session: Session, opening: Opening) -> OpeningWeek:
    """The hours of the week; those of the settings, with version 0, when they were never edited."""
    found = session.get(OpeningWeek, 1)
    if found is not None:
        return found
    week = [opening.week[purpose] for purpose in (Purpose.BOOKINGS, Purpose.TAKE_AWAY)]
    bookings, take_away = ([write_hours(hours) for hours in days] for days in week)
    return OpeningWeek(id=1, bookings=bookings, take_away=take_away, version=0)


def write_week(
    session: Session,
    *,
    bookings: Sequence[Hours],
    take_away: Sequence[Hours],
    version: int | Versions,
    opening: Opening,
) -> OpeningWeek:
    """Change the hours of the week. Raises `Stale` unless `version` is that of what is changed."""
    week = read_week(session, opening)
    require_version(week, version)
    if week.version == 0:
        week = OpeningWeek(id=1)
    week.bookings = [write_hours(hours) for hours in bookings]
    week.take_away = [write_hours(hours) for hours in take_away]
    session.add(week)
    try:
        session.flush()
    except IntegrityError as error:
        # Somebody else made the first edit at the same time.
        raise stale() from error
    _count_change(session)
    return week


def list_periods(session: Session, *, since: date) -> Sequence[SpecialPeriod]:
    """The special days that are not over on `since`, by their first day."""
    query = select(SpecialPeriod).where(SpecialPeriod.last_day >= since)
    return session.scalars(query.order_by(SpecialPeriod.first_day, SpecialPeriod.id)).all()


def read_period(session: Session, key: int) -> SpecialPeriod:
    """One entry of special days. Raises `NotFound`."""
    found = session.get(SpecialPeriod, key)
    if found is None:
        raise NotFound(_("These days are no longer listed."))
    return found


def write_period(
    session: Session, period: SpecialPeriod | None, *, first_day: date, last_day: date, name: str, bookings: Hours,
    take_away: Hours,
) -> SpecialPeriod:  # fmt: skip
    """Add special days, or change those of `period`.

    Raises `Invalid` for days in the wrong order, `Conflict` when another entry begins on the same day.
    """
    if first_day > last_day:
        detail = _("The last day must not be before the first day.")
        raise Invalid(detail, code="days", fields={"/last_day": detail})
    same = select(SpecialPeriod.id).where(SpecialPeriod.first_day == first_day)
    if period is not None:
        same = same.where(SpecialPeriod.id != period.id)
    if session.scalar(same.limit(1)) is not None:
        raise Conflict(_("Other special days begin on the same day. Change those instead."), code="days-taken")
    found = period if period is not None else SpecialPeriod()
    found.first_day, found.last_day, found.name = first_day, last_day, name
    found.bookings, found.take_away = write_hours(bookings), write_hours(take_away)
    session.add(found)
    session.flush()
    _count_change(session)
    return found


def remove_period(session: Session, period: SpecialPeriod) -> None:
    """Remove special days: the hours of the week apply again."""
    session.delete(period)
    session.flush()
    _count_change(session)


def _count_change(session: Session) -> None:
    """Have every process read the calendar again."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(Revision).values(name=_REVISION, number=1)
    session.execute(
        statement.on_conflict_do_update(index_elements=[Revision.name], set_={"number": Revision.number + 1})
    )
