"""Closings of months and years, made of the closings of their days as soon as the period is over."""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from restaurant.billing import journal
from restaurant.billing.models import Closing, EntryKind, PeriodClosing, RateShare
from restaurant.errors import NotFound
from restaurant.i18n import gettext as _
from restaurant.types import now


def close_periods(session: Session, *, by: str, today: date) -> None:
    """Close each month and each year before that of `today` that has closings and is not closed.

    The caller holds the lock of the closings (`journal.next_number`).
    """
    for length, current in ((7, f"{today:%Y-%m}"), (4, f"{today:%Y}")):
        done = session.scalar(
            select(func.max(PeriodClosing.last_closing)).where(func.length(PeriodClosing.period) == length)
        )
        closings = session.scalars(select(Closing).where(Closing.number > (done or 0)).order_by(Closing.number)).all()
        of_period: dict[str, list[Closing]] = defaultdict(list)
        for closing in closings:
            of_period[closing.day.isoformat()[:length]].append(closing)
        for period, days in of_period.items():
            if period < current:
                _close(session, period, days, by=by)


def list_periods(session: Session) -> Sequence[PeriodClosing]:
    """The closings of months and years, newest first."""
    return session.scalars(select(PeriodClosing).order_by(PeriodClosing.number.desc())).all()


def read_period(session: Session, number: int) -> PeriodClosing:
    """The closing of one month or year. Raises `NotFound`."""
    found = session.get(PeriodClosing, number)
    if found is None:
        raise NotFound(_("This closing does not exist."))
    return found


def _close(session: Session, period: str, days: Sequence[Closing], *, by: str) -> None:
    by_method: Tally[str] = Tally()
    tips: Tally[str] = Tally()
    totals: Tally[int] = Tally()
    taxes: Tally[int] = Tally()
    deposits: Tally[str] = Tally()
    for day in days:
        deposits.update(day.deposits)
        by_method.update(day.by_method)
        tips.update(day.tips_by_method)
        for share in day.by_rate:
            totals[share["rate"]] += share["total"]
            taxes[share["rate"]] += share["tax"]
    closing = PeriodClosing(
        number=journal.next_number(session, "period"),
        period=period,
        closed_at=now(),
        by=by,
        first_closing=days[0].number,
        last_closing=days[-1].number,
        total=sum(day.total for day in days),
        tips=sum(day.tips for day in days),
        perpetual_total=days[-1].perpetual_total,
        by_method=dict(sorted(by_method.items())),
        tips_by_method=dict(sorted(tips.items())),
        by_rate=[RateShare(rate=rate, total=totals[rate], tax=taxes[rate]) for rate in sorted(totals)],
        deposits={kind: cents for kind, cents in sorted(deposits.items()) if cents},
    )
    session.add(closing)
    content = {
        "period": period, "total": closing.total, "perpetual_total": closing.perpetual_total, "by": by,
        "at": closing.closed_at.isoformat(),
    }  # fmt: skip
    journal.record(session, EntryKind.PERIOD, content, [closing])
