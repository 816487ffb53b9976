"""A simulated service: whatever people do in whatever sequence, the books stay right."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from postgresql import Rows
from restaurant.app import connect
from restaurant.billing import service as billing
from restaurant.billing import verification
from restaurant.billing.api import divide
from restaurant.billing.models import Method, Payment, Receipt
from restaurant.billing.schemas import SplitQuery
from restaurant.deposits import ledger
from restaurant.deposits import service as deposits
from restaurant.deposits.models import Deposit
from restaurant.errors import Problem
from restaurant.floor.models import Table
from restaurant.menu.models import HappyHour, SetMenu
from restaurant.menu.offer_editing import write_happy_hour, write_set_menu
from restaurant.menu.schemas import HappyHourEntry, SetMenuEntry
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderStatus
from restaurant.orders.schemas import ChosenDish, LinePlacement, MenuPlacement
from restaurant.orders.state_machine import status_of
from restaurant.payments.gateway import Gateway
from restaurant.payments.models import UNRESOLVED, Action, Attempt, AttemptState, Channel
from restaurant.people import service as people
from restaurant.people.models import LoginSession
from restaurant.people.permissions import Role
from restaurant.reservations import service as bookings
from restaurant.reservations.models import BookedTable, Booking, BookingStatus
from restaurant.types import now
from support import Direct, make_settings

MENU = SetMenuEntry.model_validate(
    {
        "name": "Formule", "price": 2501,
        "courses": [
            {"name": "Entrée", "course": "starter", "choices": [{"dish": 1}, {"dish": 2, "supplement": 149}]},
            {"name": "Plat", "course": "main", "choices": [{"dish": 7}]},
            {"name": "Vin", "course": "drink", "choices": [{"dish": 20}]},
        ],
    }
)  # fmt: skip
#: At all times, so that what is ordered twice has two prices.
HAPPY = HappyHourEntry.model_validate(
    {
        "name": "Apéro",
        "percent": 33,
        "starts": "00:00",
        "ends": "00:00",
        "items": [{"dish": 3}, {"dish": 13, "price": 1}],
    }
)


class Undone(Exception):  # noqa: N818  # nothing is wrong
    """What was tried is undone."""


class Evening(RuleBasedStateMachine):
    """Servers, cooks and a cashier act at random; every refusal is a `Problem`, and nothing else may fail."""

    fresh: ClassVar[Callable[[], str]]
    """Makes a seeded database and returns its address."""
    app: ClassVar[Flask]

    def __init__(self) -> None:
        super().__init__()
        self.settings = make_settings(type(self).fresh())
        self.database = connect(self.app, self.settings)
        with self.database.writing() as session:
            self.boss = people.add_person(
                session, username="boss", name="Boss", role=Role.MANAGER, password="une phrase assez longue"
            )
            self.menu = write_set_menu(session, SetMenu(), MENU).id
            write_happy_hour(session, HappyHour(), HAPPY)
            token = hashlib.sha256(b"boss").hexdigest()
            session.add(LoginSession(token_hash=token, user_id=self.boss.id))
        self.desk = self.app.test_client()
        self.desk.set_cookie("session", "boss")
        self.touched: Any = None
        self.provider = Direct()
        self.provider.book.online = False
        self.gateway = Gateway(self.database, {Channel.ONLINE: self.provider})
        self.booked: list[Any] = []

    def teardown(self) -> None:
        self.database.engine.dispose()

    seated = Bundle("seated")

    def act(self, reference: Any, change: Any) -> None:
        self.touched = reference
        try:
            with self.database.writing() as session:
                change(session, orders.lock_order(session, reference))
        except Problem:
            pass

    @rule(target=seated, table=st.integers(1, 3), covers=st.integers(1, 6))
    def sit_down(self, table: int, covers: int) -> Any:
        try:
            with self.database.writing() as session:
                found = session.get_one(Table, table)
                order = orders.open_table(session, found, covers=covers, guest="", allergies=[], server=None)
                return order.reference
        except Problem:
            with self.database.reading() as session:
                return session.scalars(select(Order.reference).where(Order.table_id == table)).first()

    @contextmanager
    def trying(self) -> Iterator[Session]:
        """A unit of work of which nothing stays."""
        with suppress(Undone), self.database.writing() as session:
            yield session
            raise Undone

    def act_on_booking(self, place: int, change: Callable[[Session, Booking], object]) -> Any:
        """Returns what the change does, None when it is refused or there are fewer bookings."""
        with suppress(Problem):
            if place < len(self.booked):
                with self.database.writing() as session:
                    return change(session, bookings.lock_booking(session, self.booked[place]))
        return None

    @rule(
        target=seated, table=st.integers(4, 6), amount=st.sampled_from([600, 2500]), in_time=st.booleans(),
        paid=st.booleans(), back=st.booleans(), comes=st.booleans(),
    )  # fmt: skip
    def book_with_deposit(self, table: int, amount: int, in_time: bool, paid: bool, back: bool, comes: bool) -> Any:
        """Guests book and begin to pay; some have it paid, ask for it back, and sit down all the same."""
        start = now() - timedelta(days=len(self.booked))
        with self.database.writing() as session:
            booking = Booking(
                guest="Ana", contact="", covers=2, starts_at=start, ends_at=start + timedelta(hours=1), note="",
                status=BookingStatus.CONFIRMED, allergies=[],
            )  # fmt: skip
            booking.places = [BookedTable(table_id=table, starts_at=start, ends_at=booking.ends_at)]
            session.add(booking)
            session.flush()
            until = now() + timedelta(hours=1 if in_time else -1)
            session.add(Deposit(booking_id=booking.id, amount=amount, refundable_until=until))
            attempt = deposits.begin_payment(session, booking, back="").reference
            self.booked.append(booking.reference)
        if paid:
            self.gateway.advance(attempt)
        if back:
            self.give_back(len(self.booked) - 1)
        return self.arrive(len(self.booked) - 1) if comes else multiple()

    def arrive(self, place: int) -> Any:
        day = self.settings.business_day
        reference = self.act_on_booking(
            place, lambda s, b: bookings.arrive(s, b, server=self.boss, business_day=day).reference
        )
        return reference or multiple()

    @rule(target=seated, place=st.integers(0, 1))
    def come(self, place: int) -> Any:
        return self.arrive(place)

    @rule(place=st.integers(0, 1), status=st.sampled_from([BookingStatus.CANCELLED, BookingStatus.NO_SHOW]))
    def not_come(self, place: int, status: BookingStatus) -> None:
        host, day = bookings.Host(self.boss), self.settings.business_day
        self.act_on_booking(place, lambda s, b: bookings.move(s, b, status, by=host, business_day=day))

    @rule(place=st.integers(0, 1))
    def undo(self, place: int) -> None:
        self.act_on_booking(place, lambda s, b: bookings.undo(s, b, by=bookings.Host(self.boss)))

    @rule(place=st.integers(0, 1))
    def join(self, place: int) -> None:
        """Guests with a deposit sit down with others."""
        order = self.act_on_booking(place, lambda _s, b: b.order.reference if b.order is not None else None)
        with self.database.reading() as session:
            others = select(Order.reference).where(Order.closed_at.is_(None), Order.reference != order)
            into = session.scalars(others.order_by(Order.id)).first()
        if order is not None and into is not None:
            self.merge(order, into)

    @rule(place=st.integers(0, 1))
    def give_back(self, place: int) -> None:
        self.act_on_booking(
            place, lambda s, b: deposits.begin_refund(s, deposits.require(s, b), reason="x", by=self.boss)
        )

    @rule(refuses=st.booleans(), lost=st.integers(0, 1))
    def provider_answers(self, refuses: bool, lost: int) -> None:
        self.provider.refuses, self.provider.lost = refuses, lost
        self.gateway.resolve(patience=timedelta())
        self.provider.lost = 0

    @rule(order=seated)
    def deduct(self, order: Any) -> None:
        self.act(order, lambda s, o: billing.deduct_deposit(s, o, by=self.boss))

    @rule(
        order=seated, dish=st.sampled_from([1, 2, 3, 7, 13, 20]), quantity=st.integers(1, 4), hold=st.booleans(),
        seat=st.none() | st.integers(1, 3),
    )  # fmt: skip
    def order_dish(self, order: Any, dish: int, quantity: int, hold: bool, seat: int | None) -> None:
        lines = [LinePlacement(dish=dish, quantity=quantity, seat=seat)]
        day = self.settings.business_day
        self.act(order, lambda s, o: orders.add_lines(s, o, lines, at=now(), business_day=day, fire=not hold))

    @rule(
        order=seated, starter=st.sampled_from([1, 2]), quantity=st.integers(1, 3), hold=st.booleans(),
        seat=st.none() | st.integers(1, 3),
    )  # fmt: skip
    def order_menu(self, order: Any, starter: int, quantity: int, hold: bool, seat: int | None) -> None:
        dishes = [ChosenDish(dish=key) for key in (starter, 7, 20)]
        menus = [MenuPlacement(set_menu=self.menu, quantity=quantity, seat=seat, dishes=dishes)]
        day = self.settings.business_day
        self.act(order, lambda s, o: orders.add_lines(s, o, menus, at=now(), business_day=day, fire=not hold))

    @rule(order=seated)
    def fire(self, order: Any) -> None:
        self.act(order, lambda s, o: orders.fire(s, o, course=None))

    @rule(order=seated, place=st.integers(0, 5), status=st.sampled_from(LineStatus))
    def move(self, order: Any, place: int, status: LineStatus) -> None:
        self.act(order, lambda s, o: orders.move_line(s, o, o.lines[place], status) if place < len(o.lines) else None)

    @rule(order=seated)
    def serve_ready(self, order: Any) -> None:
        self.act(order, orders.serve_ready)

    @rule(order=seated)
    def finish(self, order: Any) -> None:
        self.act(order, orders.finish)

    @rule(order=seated, place=st.integers(0, 5), quantity=st.none() | st.integers(1, 4))
    def void(self, order: Any, place: int, quantity: int | None) -> None:
        self.act(
            order,
            lambda s, o: (
                orders.void_line(s, o, o.lines[place], reason="x", by=self.boss, quantity=quantity)
                if place < len(o.lines)
                else None
            ),
        )

    @rule(order=seated, table=st.integers(1, 3))
    def transfer(self, order: Any, table: int) -> None:
        self.act(order, lambda s, o: orders.transfer(s, o, s.get_one(Table, table)))

    @rule(order=seated, into=seated)
    def merge(self, order: Any, into: Any) -> None:
        try:
            with self.database.writing() as session:
                found, target = orders.lock_pair(session, order, into)
                before = found.deposit + target.deposit
                billing.merge(session, found, target, by=self.boss)
                assert target.deposit == before
                assert not ledger.lock_of_order(session, found.id)
        except Problem:
            pass

    @rule(order=seated, into=seated, places=st.sets(st.integers(0, 5), min_size=1))
    def move_lines(self, order: Any, into: Any, places: set[int]) -> None:
        self.touched = order
        try:
            with self.database.writing() as session:
                found, target = orders.lock_pair(session, order, into)
                keys = [line.id for place, line in enumerate(found.lines) if place in places]
                own = billing.read_bill(session, target).discounts
                before = billing.read_bill(session, found).due + billing.read_bill(session, target).due
                billing.move_lines(session, found, target, keys, by=self.boss)
                after = billing.read_bill(session, found).due + billing.read_bill(session, target).due
                # A percentage of the other table follows what is on it now.
                assert own or before == after
        except Problem:
            pass

    @rule(order=seated)
    def cancel(self, order: Any) -> None:
        self.act(order, lambda s, o: orders.cancel(s, o, reason="x", by=self.boss))

    @rule(order=seated)
    def present(self, order: Any) -> None:
        self.act(order, lambda s, o: billing.present(s, o, by=self.boss))

    @rule(order=seated)
    def reopen(self, order: Any) -> None:
        self.act(order, lambda s, o: billing.reopen(s, o, by=self.boss))

    @rule(order=seated, amount=st.integers(1, 3000))
    def discount(self, order: Any, amount: int) -> None:
        self.act(order, lambda s, o: billing.discount(s, o, amount=amount, reason="x", by=self.boss))

    @rule(order=seated, percent=st.integers(1, 100))
    def discount_percent(self, order: Any, percent: int) -> None:
        self.act(order, lambda s, o: billing.discount(s, o, percent=percent, reason="x", by=self.boss))

    @rule(order=seated, place=st.integers(0, 2))
    def remove_discount(self, order: Any, place: int) -> None:
        def remove(session: Session, found: Order) -> None:
            given = billing.read_bill(session, found).discounts
            if place < len(given):
                billing.remove_discount(session, found, given[place].id, by=self.boss)

        self.act(order, remove)

    @rule(order=seated, amount=st.integers(1, 4000), everything=st.booleans(), tip=st.integers(0, 300))
    def pay(self, order: Any, amount: int, everything: bool, tip: int) -> None:
        self.act(
            order,
            lambda s, o: billing.pay(
                s, o, amount=max(1, o.due - o.paid) if everything else amount, tip=tip, method=Method.CARD, by=self.boss
            ),
        )

    @rule(order=seated, seat=st.integers(1, 3))
    def pay_for_a_seat(self, order: Any, seat: int) -> None:
        def pay(session: Session, found: Order) -> None:
            before = billing.read_bill(session, found).owed
            own = sum(cents for cell, cents in before.items() if cell.seat == seat)
            if own:
                billing.pay(session, found, amount=own, tip=0, method=Method.CASH, by=self.boss, seat=seat)
                after = billing.read_bill(session, found).owed
                assert after == {cell: 0 if cell.seat == seat else cents for cell, cents in before.items()}

        self.act(order, pay)

    @rule(order=seated, place=st.integers(0, 5))
    def pay_for_a_line(self, order: Any, place: int) -> None:
        def pay(session: Session, found: Order) -> None:
            line = found.lines[place].id if place < len(found.lines) else 0
            own = sum(cents for cell, cents in billing.read_bill(session, found).owed.items() if cell.line == line)
            if own:
                billing.pay(session, found, amount=own, tip=0, method=Method.CASH, by=self.boss, lines=[line])

        self.act(order, pay)

    @rule(amount=st.integers(0, 3000), tip=st.integers(0, 300))
    def refund(self, amount: int, tip: int) -> None:
        try:
            with self.database.writing() as session:
                payment = session.scalars(select(Payment).order_by(Payment.id.desc())).first()
                if payment is not None and amount + tip:
                    billing.refund(session, payment, amount=amount, tip=tip, reason="x", by=self.boss)
        except Problem:
            pass

    @rule()
    def close_day(self) -> None:
        try:
            with self.database.writing() as session:
                billing.close_day(session, by="boss", business_day=self.settings.business_day)
        except Problem:
            pass

    @invariant()
    def the_bill_and_its_split_are_shown(self) -> None:
        if self.touched is not None:
            for way in ("by=seat", "by=equal&parts=3"):
                reply = self.desk.get(f"/caisse/{self.touched}?{way}")
                assert reply.status_code == 200, (way, reply.text)

    @invariant()
    def books_are_right(self) -> None:
        with self.database.snapshot() as session:
            _count, faults = verification.verify(session)
            assert faults == []
            every = session.scalars(select(Order).options(selectinload(Order.lines))).all()
            payments = session.scalars(select(Payment)).all()
            receipts = session.scalars(select(Receipt)).all()
            bills = {order.id: billing.read_bill(session, order) for order in every}
        for order in every:
            self.bill_is_right(bills[order.id], order, [entry for entry in payments if entry.order_id == order.id])
        open_tables = [order.table_id for order in every if order.closed_at is None]
        assert len(open_tables) == len(set(open_tables))
        for order in every:
            taken = sum(payment.amount for payment in payments if payment.order_id == order.id)
            assert taken == order.paid <= max(order.due, 0)
            assert (order.closed_at is not None) == (order.status in {OrderStatus.CLOSED, OrderStatus.CANCELLED})
            if order.status is not OrderStatus.CANCELLED:
                wanted = status_of(
                    (line.status for line in order.lines),
                    billed=order.billed_at is not None,
                    paid=order.paid_at is not None,
                )
                assert order.status is wanted
            if order.paid_at is not None:
                assert order.paid == order.due
        assert sum(receipt.amount for receipt in receipts) == sum(p.amount - p.refunded for p in payments)
        assert sum(receipt.tip for receipt in receipts) == sum(p.tip - p.tip_refunded for p in payments)
        for receipt in receipts:
            assert sum(share["total"] for share in receipt.shares) == receipt.amount

    @invariant()
    def deposits_are_right(self) -> None:
        """What was paid is deducted, given back, kept or held, as the provider and the bills have it."""
        with self.database.snapshot() as session:
            every = session.scalars(select(Deposit)).all()
            attempts = session.scalars(select(Attempt)).all()
            payments = session.scalars(select(Payment).where(Payment.method == Method.DEPOSIT)).all()
            free = {deposit.id: ledger.free(session, deposit) for deposit in every}
            found = session.scalars(select(Order)).all()
        for deposit in every:
            own = [attempt for attempt in attempts if attempt.deposit_id == deposit.id]
            done: Counter[Action] = Counter()
            for attempt in own:
                done[attempt.action] += attempt.amount if attempt.state is AttemptState.DONE else 0
            assert (deposit.paid, deposit.refunded) == (done[Action.CHARGE], done[Action.REFUND])
            back = sum(one.amount for one in own if one.action is Action.REFUND and one.state in UNRESOLVED)
            held = deposit.paid - deposit.used - deposit.refunded - deposit.kept
            assert held == free[deposit.id] + back
            assert min(free[deposit.id], back) >= 0
        assert sum(deposit.used for deposit in every) == sum(entry.amount - entry.refunded for entry in payments)
        for order in found:
            settled = order.paid_at is not None or order.closed_at is not None
            own_cents = [free[deposit.id] for deposit in every if deposit.order_id == order.id]
            assert order.deposit == (0 if settled else sum(own_cents))
        if not any(attempt.state in UNRESOLVED for attempt in attempts):
            assert self.provider.book.taken() == sum(deposit.paid - deposit.refunded for deposit in every)

    @invariant()
    def every_bill_can_be_paid(self) -> None:
        with self.database.reading() as session:
            billed = session.scalars(select(Order.reference).where(Order.status == OrderStatus.BILLED)).all()
        for reference in billed:
            with self.trying() as session:
                order = orders.lock_order(session, reference)
                while order.deposit:
                    billing.deduct_deposit(session, order, by=self.boss)
                if order.paid < order.due:
                    billing.pay(session, order, amount=order.due - order.paid, tip=0, method=Method.CARD, by=self.boss)
                assert order.paid_at is not None

    @invariant()
    def a_deposit_is_given_back_exactly_when_its_page_offers_it(self) -> None:
        for reference in self.booked:
            with self.trying() as session:
                deposit = deposits.require(session, bookings.lock_booking(session, reference))
                offered = deposits.refundable(session, deposit)
                try:
                    deposits.begin_refund(session, deposit, reason="x", by=self.boss)
                except Problem:
                    assert not offered
                else:
                    assert offered

    def bill_is_right(self, bill: billing.Bill, order: Order, payments: list[Payment]) -> None:
        """Nothing is below zero, and what is left adds up by seat, by line, in equal parts and by VAT rate."""
        assert 0 <= bill.due <= bill.total
        assert all(given.amount >= 0 for given in bill.discounts)
        if order.billed_at is None or order.status is OrderStatus.CANCELLED:
            return
        assert bill.due == order.due
        assert all(cents >= 0 for cents in bill.owed.values())
        queries = [SplitQuery(by="equal", parts=3), SplitQuery(by="seat")]
        queries += [SplitQuery(by="lines", lines=str(line.id)) for line in order.lines[:1]]
        for query in queries if bill.owed else queries[:1]:
            assert sum(share.amount for share in divide(bill, query)) == bill.left
        by_rate: Counter[int] = Counter({share["rate"]: share["total"] for share in bill.shares})
        for cell, cents in bill.owed.items():
            by_rate[cell.rate] -= cents
        for payment in payments:
            for share in next(receipt for receipt in payment.receipts if receipt.amount > 0).shares:
                by_rate[share["rate"]] -= share["total"]
        assert set(by_rate.values()) <= {0}


@pytest.fixture(params=["sqlite", "postgresql"])
def _fresh(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def sqlite() -> str:
        file = tmp_path / "restaurant.sqlite3"
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"

    def postgresql() -> str:
        rows: Rows = request.getfixturevalue("postgresql_database")
        rows.bring_back("seeded")
        return rows.url

    fresh = sqlite if request.param == "sqlite" else postgresql
    monkeypatch.setattr(Evening, "app", request.getfixturevalue("one_app"), raising=False)
    monkeypatch.setattr(Evening, "fresh", staticmethod(fresh), raising=False)
    yield
    # Other tests share the server's database.
    fresh()


@pytest.mark.usefixtures("_fresh")
def test_whatever_happens_in_an_evening_the_books_stay_right() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Evening,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
