"""Charges and refunds at providers: begun in one unit of work, asked for outside of any, and recorded in another.

An attempt is committed before its provider hears of it, and its outcome is recorded with the payment in one unit of
work. So whatever fails in between, the attempt stands, and is looked up until its outcome is known. Until then its
amount is held: nothing else can be paid with that part of the bill, and the bill cannot be changed.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Self

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, joinedload

from restaurant.billing import service
from restaurant.billing.models import Method, Payment
from restaurant.database import Database
from restaurant.deposits import service as deposits
from restaurant.errors import Conflict, NotFound, Problem
from restaurant.http.paging import PageQuery, Sort, read_page
from restaurant.i18n import gettext as _
from restaurant.orders import service as orders
from restaurant.orders.models import Order, OrderStatus
from restaurant.payments import attempts
from restaurant.payments.models import OPEN, UNRESOLVED, Action, Attempt, AttemptState, Channel
from restaurant.payments.providers import Charge, HttpProvider, Outcome, OutcomeUnknown, Provider, Refund, State
from restaurant.payments.stripe import Stripe
from restaurant.people.models import User
from restaurant.settings import Settings
from restaurant.types import now

log = structlog.get_logger()

#: Seconds between two looks at attempts whose outcome is unknown.
PERIOD = 5.0
#: How long another process that began an attempt is left alone with it.
_PATIENCE = timedelta(seconds=20)
#: How long a guest may take.
_LONGEST = timedelta(minutes=15)

#: What an attempt is about.
_SUBJECT = (joinedload(Attempt.order), joinedload(Attempt.deposit))


def begin_charge(
    session: Session, order: Order, *, channel: Channel, amount: int, tip: int, by: User, seat: int | None = None,
    lines: Sequence[int] = (), back: str = "",
) -> Attempt:  # fmt: skip
    """Begin a charge for an order, which must be locked (`lock_order`); it holds its amount of what is left.

    Raises as `billing.service.pay` does.
    """
    if order.status is not OrderStatus.BILLED:
        raise Conflict(_("Present the bill first."), code="not-billed")
    if order.deposit:
        raise Conflict(_("Deduct the deposit of these guests first."), code="deposit-first")
    service.check_purpose(session, order, seat=seat, lines=lines)
    if order.paid + service.held(session, order) + amount > order.due:
        raise Conflict(_("This is more than what is left to pay."), code="overpayment")
    attempt = Attempt(
        order_id=order.id, channel=channel, action=Action.CHARGE, amount=amount, tip=tip, seat=seat,
        line_ids=list(lines), back=back, by_id=by.id, reference=uuid.uuid4(),
    )  # fmt: skip
    attempts.move(session, attempt, AttemptState.STARTED, by=by)
    return attempt


def begin_refund(session: Session, payment: Payment, *, amount: int, tip: int, reason: str, by: User) -> Attempt:
    """Begin to refund a payment that was made at a provider. Raises `Conflict` when it was not, or is too much."""
    order = session.scalars(select(Order).where(Order.id == payment.order_id).with_for_update()).one()
    session.refresh(payment)
    charge = charge_of(session, payment)
    if charge is None:
        raise Conflict(_("This payment was not made at a provider."), code="no-provider")
    asked = session.execute(
        select(func.coalesce(func.sum(Attempt.amount), 0), func.coalesce(func.sum(Attempt.tip), 0)).where(
            Attempt.payment_id == payment.id, Attempt.action == Action.REFUND, Attempt.state.in_(OPEN)
        )
    ).one()
    if payment.refunded + asked[0] + amount > payment.amount or payment.tip_refunded + asked[1] + tip > payment.tip:
        raise Conflict(_("This is more than what was paid."), code="refund-too-large")
    attempt = Attempt(
        order_id=order.id, payment_id=payment.id, channel=charge.channel, action=Action.REFUND, amount=amount, tip=tip,
        reason=reason, by_id=by.id, reference=uuid.uuid4(), line_ids=[],
    )  # fmt: skip
    attempts.move(session, attempt, AttemptState.STARTED, by=by)
    return attempt


def charge_of(session: Session, payment: Payment) -> Attempt | None:
    """The attempt that became this payment, None for one that was not made at a provider."""
    return session.scalar(select(Attempt).where(Attempt.payment_id == payment.id, Attempt.action == Action.CHARGE))


def read_attempt(session: Session, reference: uuid.UUID) -> Attempt:
    """One attempt with its order. Raises `NotFound`."""
    query = select(Attempt).where(Attempt.reference == reference).options(*_SUBJECT)
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise NotFound(_("This attempt does not exist."))
    return found


def attempts_of(session: Session, order: Order) -> Sequence[Attempt]:
    """The attempts for an order, the newest first."""
    return session.scalars(select(Attempt).where(Attempt.order_id == order.id).order_by(Attempt.id.desc())).all()


def list_attempts(session: Session, page: PageQuery) -> tuple[Sequence[Attempt], str | None]:
    """A page of the attempts, newest first, and where the following page begins."""
    query = select(Attempt).options(*_SUBJECT)
    return read_page(session, query, page, by=[Sort(Attempt.id, descending=True)])


def refunds_of(session: Session, payment: uuid.UUID) -> Sequence[Attempt]:
    """The refunds of a payment at its provider, the newest first."""
    query = select(Attempt).join(Payment, Payment.id == Attempt.payment_id)
    return session.scalars(
        query.where(Payment.reference == payment, Attempt.action == Action.REFUND).order_by(Attempt.id.desc())
    ).all()


def unresolved(session: Session) -> Sequence[Attempt]:
    """The attempts whose outcome is not known, the oldest first."""
    query = select(Attempt).where(Attempt.state.in_(UNRESOLVED)).options(*_SUBJECT)
    return session.scalars(query.order_by(Attempt.id)).all()


def abandon(session: Session, reference: uuid.UUID, *, by: User) -> Attempt:
    """Give up waiting for a charge: its part of the bill can be paid otherwise. What is taken yet is given back.

    Raises `Conflict` for an attempt whose outcome is known, and for a refund.
    """
    attempt = _lock(session, reference)
    if not attempt.open or attempt.action is not Action.CHARGE:
        raise Conflict(_("The outcome of this attempt is known."), code="attempt-over")
    attempts.move(session, attempt, AttemptState.ABANDONED, by=by)
    return attempt


class Gateway:
    """The providers of a restaurant, and the thread that asks them."""

    def __init__(self, database: Database, providers: Mapping[Channel, Provider]) -> None:
        self._database = database
        self.providers = providers
        self._woken: SimpleQueue[uuid.UUID] = SimpleQueue()

    @classmethod
    def of(cls, database: Database, settings: Settings) -> Self:
        """The providers of the settings."""
        channels = {"terminal": Channel.TERMINAL, "online": Channel.ONLINE}
        providers: dict[Channel, Provider] = {}
        for name, (url, secret) in settings.providers().items():
            made: Callable[..., Provider] = HttpProvider
            if name == "online" and settings.online_provider == "stripe":
                made = partial(Stripe, page=settings.public_url)
            providers[channels[name]] = made(url, secret, timeout=settings.provider_seconds)
        return cls(database, providers)

    def wake(self, reference: uuid.UUID) -> None:
        """Ask the provider about an attempt soon; called once it is committed."""
        self._woken.put(reference)

    def start(self) -> None:
        """Ask providers from now on, in a thread that does not keep the process alive."""
        if self.providers:
            threading.Thread(target=self._run, name="payments", daemon=True).start()

    def resolve(self, *, patience: timedelta = _PATIENCE) -> int:
        """Ask about every attempt that nobody has asked about for `patience`; returns how many are unresolved."""
        with self._database.reading() as session:
            waiting = [(attempt.reference, attempt.changed_at) for attempt in unresolved(session)]
        states = [self.advance(reference) for reference, changed_at in waiting if changed_at <= now() - patience]
        return sum(state in UNRESOLVED for state in states)

    def release(self) -> int:
        """Cancel the bookings whose deposit was not paid in time; returns how many."""
        from restaurant.reservations import service as bookings

        with self._database.reading() as session:
            late = deposits.overdue(session, at=now())
        done = 0
        for reference in late:
            with self._database.writing() as session:
                done += bookings.release(session, reference, at=now())
        return done

    def advance(self, reference: uuid.UUID) -> AttemptState:
        """Ask the provider about an attempt, as far as it is, and record the outcome."""
        with self._database.reading() as session:
            attempt = read_attempt(session, reference)
            charge = self._charge(session, attempt)
        provider = self.providers.get(attempt.channel)
        if provider is None or not attempt.unresolved:
            return attempt.state
        try:
            outcome = self._ask(provider, attempt, charge)
            if outcome.state is State.AUTHORIZED and attempt.state is not AttemptState.ABANDONED:
                if self._record(reference, outcome) is AttemptState.AUTHORIZED:
                    outcome = provider.capture(replace(charge, reference=outcome.reference or charge.reference))
                else:
                    return self.advance(reference)
        except OutcomeUnknown as error:
            log.warning("payment outcome unknown", attempt=str(reference), error=str(error))
            return self._record(reference, None)
        return self._record(reference, outcome)

    def cancel(self, reference: uuid.UUID) -> AttemptState:
        """Cancel a charge that the guest has not finished; if they have, it is paid all the same."""
        with self._database.reading() as session:
            attempt = read_attempt(session, reference)
        provider = self.providers.get(attempt.channel)
        if provider is None or not attempt.open or attempt.action is not Action.CHARGE:
            raise Conflict(_("The outcome of this attempt is known."), code="attempt-over")
        try:
            return self._record(reference, provider.cancel(_charge_of(attempt)))
        except OutcomeUnknown as error:
            log.warning("payment outcome unknown", attempt=str(reference), error=str(error))
            return self._record(reference, None)

    def _charge(self, session: Session, attempt: Attempt) -> Charge:
        """The charge of an attempt; of a refund, what it gives back."""
        if attempt.action is Action.CHARGE:
            return _charge_of(attempt)
        query = select(Attempt).where(Attempt.action == Action.CHARGE).options(*_SUBJECT)
        if attempt.deposit_id is not None:
            query = query.where(Attempt.deposit_id == attempt.deposit_id, Attempt.state == AttemptState.DONE)
        else:
            query = query.where(Attempt.payment_id == attempt.payment_id)
        return _charge_of(session.scalars(query).first() or attempt)

    def _ask(self, provider: Provider, attempt: Attempt, charge: Charge) -> Outcome:
        if attempt.state is AttemptState.ABANDONED:
            return self._give_back(provider, charge)
        if attempt.action is Action.REFUND:
            # Sent again with the same key, it is done once.
            key, whole = str(attempt.reference), attempt.amount + attempt.tip
            return provider.refund(Refund(key, whole, charge, attempt.provider_reference))
        if attempt.state is AttemptState.STARTED and attempt.page is None and attempt.changed_at == attempt.created_at:
            return provider.authorize(charge)
        outcome = provider.look_up(charge)
        late = outcome.state is State.PENDING and attempt.created_at < now() - _LONGEST
        # A request that is still on its way must not be carried out later.
        return provider.cancel(charge) if outcome.state is State.MISSING or late else outcome

    def _give_back(self, provider: Provider, charge: Charge) -> Outcome:
        outcome = provider.look_up(charge)
        if outcome.state in {State.MISSING, State.PENDING, State.AUTHORIZED}:
            outcome = provider.cancel(charge)
        if outcome.state is State.CAPTURED:
            key = str(uuid.uuid5(uuid.UUID(charge.key), "given up"))
            given = provider.refund(Refund(key, charge.amount, charge)).state
            # The attempt keeps the reference of its charge, which is looked up until all is given back.
            return Outcome(State.CANCELLED if given is State.CAPTURED else State.PENDING)
        return outcome

    def _record(self, reference: uuid.UUID, outcome: Outcome | None) -> AttemptState:
        """Record an outcome, None for an unknown one, and what follows from it."""
        with self._database.writing() as session:
            attempt = _lock(session, reference)
            if not attempt.unresolved:
                return attempt.state  # another process was faster
            by = session.get(User, attempt.by_id) if attempt.by_id is not None else None
            if outcome is not None:
                attempt.provider_reference = (outcome.reference or attempt.provider_reference or "")[:100] or None
                attempt.page = outcome.page or attempt.page
            wanted = _following(attempt, outcome)
            if wanted is AttemptState.DONE:
                self._finish(session, attempt, by)
            if wanted is attempt.state and not session.is_modified(attempt):
                attempt.changed_at = now()
            else:
                attempts.move(session, attempt, wanted, by=by)
            if attempt.deposit_id is not None and not attempt.unresolved:
                deposits.concluded(session, attempt)
            return wanted

    def _finish(self, session: Session, attempt: Attempt, by: User | None) -> None:
        order = attempt.order
        # Only an attempt for a deposit may be nobody's.
        if order is None or by is None:
            deposits.finish(session, attempt, by=by)
        elif attempt.action is Action.CHARGE:
            payment = service.pay(
                session, order, amount=attempt.amount, tip=attempt.tip, method=Method.CARD, by=by, seat=attempt.seat,
                lines=attempt.line_ids, attempt=attempt,
            )  # fmt: skip
            attempt.payment_id = payment.id
        else:
            payment = session.get_one(Payment, attempt.payment_id)
            service.refund(
                session, payment, amount=attempt.amount, tip=attempt.tip, reason=attempt.reason, by=by, attempt=attempt
            )

    def _run(self) -> None:
        while True:
            try:
                try:
                    self.advance(self._woken.get(timeout=PERIOD))
                except Empty:
                    self.resolve()
                    self.release()
            except (SQLAlchemyError, Problem):
                log.exception("attempt not recorded")
                threading.Event().wait(PERIOD)


def _charge_of(attempt: Attempt) -> Charge:
    return Charge(
        key=str(attempt.reference), amount=attempt.amount + attempt.tip, description=_subject(attempt),
        back=attempt.back, begun_at=attempt.created_at, reference=attempt.provider_reference,
    )  # fmt: skip


def _subject(attempt: Attempt) -> str:
    """What a guest is asked to pay, as the provider shows it."""
    of = attempt.order or attempt.deposit
    return str(of.reference) if of is not None else ""


def _following(attempt: Attempt, outcome: Outcome | None) -> AttemptState:
    """What becomes of an attempt with this outcome."""
    state = attempt.state
    if outcome is None:
        return state if state is AttemptState.ABANDONED else AttemptState.UNKNOWN
    if state is AttemptState.ABANDONED:
        # It is over once nothing was taken, or all was given back.
        return AttemptState.CANCELLED if outcome.state in {State.CANCELLED, State.DECLINED} else state
    match outcome.state:
        case State.AUTHORIZED:
            return AttemptState.AUTHORIZED
        case State.CAPTURED:
            return AttemptState.DONE
        case State.DECLINED:
            return AttemptState.DECLINED
        case State.CANCELLED:
            return AttemptState.CANCELLED
        case State.MISSING:
            return AttemptState.UNKNOWN
        case State.PENDING:
            return AttemptState.STARTED


def _lock(session: Session, reference: uuid.UUID) -> Attempt:
    """An attempt with its order or its deposit, both locked, in the sequence in which payments lock them."""
    known = session.scalar(select(Attempt).where(Attempt.reference == reference).options(*_SUBJECT))
    if known is None:
        raise NotFound(_("This attempt does not exist."))
    if known.order is not None:
        orders.lock_order(session, known.order.reference)
    else:
        deposits.lock_for(session, known)
    locked = select(Attempt).where(Attempt.reference == reference).with_for_update()
    return session.scalars(locked.execution_options(populate_existing=True)).one()
