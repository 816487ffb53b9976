"""The cash drawer: counted when a till session opens and closes, and every movement in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from restaurant.billing import journal
from restaurant.billing.models import CashMovement, Counter, EntryKind, Method, Movement, Payment, Receipt, TillSession
from restaurant.billing.service import Sums, add_up
from restaurant.errors import Conflict, NotFound
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.people.models import User
from restaurant.types import now

D = TypeVar("D", bound=str)

#: The notes and coins of the euro, in cents.
DENOMINATIONS = (50000, 20000, 10000, 5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)


def total_of(count: Mapping[D, int]) -> int:
    """The cents of a count."""
    return sum(int(denomination) * pieces for denomination, pieces in count.items())


def open_till(session: Session, *, count: Mapping[D, int], by: User) -> TillSession:
    """Open a till session with what is in the drawer. Raises `Conflict` while one is open."""
    number = journal.next_number(session, "till")
    before = session.get(TillSession, number - 1)
    if before is not None and before.closed_at is None:
        raise Conflict(_("The till is already open."), code="till-open")
    last = _last_receipt(session)
    expected = None
    if before is not None and before.closing_total is not None and before.last_receipt is not None:
        expected = before.closing_total + _cash(session, after=before.last_receipt)
    opened = TillSession(
        number=number, opened_at=now(), opened_by=by.username, opening_count=_kept(count),
        opening_total=total_of(count), opening_expected=expected, first_receipt=last + 1, movements=[],
    )  # fmt: skip
    session.add(opened)
    content = {
        "till": number, "counted": opened.opening_total, "expected": expected, "by": by.username,
        "at": opened.opened_at.isoformat(),
    }  # fmt: skip
    journal.record(session, EntryKind.TILL_OPENING, content, [opened])
    return opened


def move_cash(session: Session, *, kind: Movement, amount: int, reason: str, by: User) -> CashMovement:
    """Put cash into the drawer or take it out. Raises `Conflict` unless the till is open and contains it."""
    current = _lock_current(session)
    if kind.sign < 0 and amount > expected(session, current):
        raise Conflict(_("There is less in the drawer than that."), code="drawer-too-low")
    movement = CashMovement(
        session_number=current.number, kind=kind, amount=amount, reason=reason, by=by.username, created_at=now()
    )
    current.movements.append(movement)
    content = {
        "till": current.number, "movement": kind.value, "amount": kind.sign * amount, "reason": reason,
        "by": by.username, "at": movement.created_at.isoformat(),
    }  # fmt: skip
    session.flush()
    journal.record(session, EntryKind.CASH_MOVEMENT, content, [movement])
    return movement


def close_till(session: Session, *, count: Mapping[D, int], note: str, by: User) -> TillSession:
    """Close the till session with what is in the drawer. Raises `Conflict` unless one is open."""
    current = _lock_current(session)
    current.last_receipt = _last_receipt(session)
    sums = takings(session, current)
    current.closing_expected = expected(session, current)
    current.closed_at, current.closed_by = now(), by.username
    current.closing_count, current.closing_total = _kept(count), total_of(count)
    current.by_method, current.tips_by_method = sums.by_method, sums.tips_by_method
    current.note = note or None
    content = {
        "till": current.number, "counted": current.closing_total, "expected": current.closing_expected,
        "by": by.username, "at": current.closed_at.isoformat(),
    }  # fmt: skip
    journal.record(session, EntryKind.TILL_CLOSING, content, [current])
    return current


def read_current(session: Session) -> TillSession | None:
    """The till session that is open."""
    query = select(TillSession).where(TillSession.closed_at.is_(None)).options(selectinload(TillSession.movements))
    return session.scalars(query).one_or_none()


def read_session(session: Session, number: int) -> TillSession:
    """One till session with its movements. Raises `NotFound`."""
    found = session.get(TillSession, number, options=[selectinload(TillSession.movements)])
    if found is None:
        raise NotFound(_("This till session does not exist."))
    return found


def last_session(session: Session) -> int:
    """The number of the last till session, 0 without one."""
    return session.scalar(select(func.max(TillSession.number))) or 0


def list_sessions(session: Session, page: PageQuery) -> tuple[Sequence[TillSession], str | None]:
    """A page of the till sessions, newest first, and where the following page begins."""
    query = select(TillSession).options(selectinload(TillSession.movements))
    return read_page(session, query, page, by=[Sort(TillSession.number, descending=True)])


def expected(session: Session, of: TillSession) -> int:
    """What must be in the drawer, in cents."""
    moved = sum(movement.kind.sign * movement.amount for movement in of.movements)
    return of.opening_total + moved + _cash(session, after=of.first_receipt - 1, last=of.last_receipt)


def takings(session: Session, of: TillSession) -> Sums:
    """What the receipts of a till session add up to."""
    query = select(Receipt).where(Receipt.number >= of.first_receipt).options(joinedload(Receipt.payment))
    if of.last_receipt is not None:
        query = query.where(Receipt.number <= of.last_receipt)
    return add_up(session.scalars(query.order_by(Receipt.number)).all())


def _lock_current(session: Session) -> TillSession:
    query = select(TillSession).where(TillSession.closed_at.is_(None)).with_for_update()
    current = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if current is None:
        raise Conflict(_("Open the till first."), code="till-closed")
    return current


def _last_receipt(session: Session) -> int:
    """The number of the last receipt; nobody takes the next one until this unit of work ends."""
    return session.scalar(select(Counter.value).where(Counter.name == "receipt").with_for_update()) or 0


def _cash(session: Session, *, after: int, last: int | None = None) -> int:
    """Cash of the receipts after one number, up to another, with tips and without what was refunded."""
    query = (
        select(func.coalesce(func.sum(Receipt.amount + Receipt.tip), 0))
        .join(Receipt.payment)
        .where(Receipt.number > after, Payment.method == Method.CASH)
    )
    if last is not None:
        query = query.where(Receipt.number <= last)
    return int(session.scalar(query) or 0)


def _kept(count: Mapping[D, int]) -> dict[str, int]:
    return {str(denomination): pieces for denomination, pieces in count.items() if pieces}
