"""A simulated service: whatever people do in whatever sequence, the books stay right."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from restaurant.billing import journal
from restaurant.billing import service as billing
from restaurant.billing.models import Method, Payment, Receipt
from restaurant.database import Database
from restaurant.errors import Problem
from restaurant.floor.models import Table
from restaurant.orders import service as orders
from restaurant.orders.models import LineStatus, Order, OrderStatus
from restaurant.orders.schemas import LinePlacement
from restaurant.orders.state_machine import status_of
from restaurant.people import service as people
from restaurant.people.permissions import Role
from restaurant.types import now
from support import make_settings


class Evening(RuleBasedStateMachine):
    """Servers, cooks and a cashier act at random; every refusal is a `Problem`, and nothing else may fail."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        file = Path(self.directory) / "restaurant.sqlite3"
        shutil.copy(self.template, file)
        self.settings = make_settings(f"sqlite:///{file}")
        self.database = Database(self.settings)
        with self.database.writing() as session:
            self.boss = people.add_person(
                session, username="boss", name="Boss", role=Role.MANAGER, password="une phrase assez longue"
            )

    def teardown(self) -> None:
        self.database.engine.dispose()
        shutil.rmtree(self.directory)

    seated = Bundle("seated")

    def act(self, reference: Any, change: Any) -> None:
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

    @rule(order=seated, dish=st.sampled_from([1, 2, 3, 7, 13, 20]), quantity=st.integers(1, 4), hold=st.booleans())
    def order_dish(self, order: Any, dish: int, quantity: int, hold: bool) -> None:
        lines = [LinePlacement(dish=dish, quantity=quantity)]
        zone = self.settings.zone
        self.act(order, lambda s, o: orders.add_lines(s, o, lines, at=now(), zone=zone, fire=not hold))

    @rule(order=seated)
    def fire(self, order: Any) -> None:
        self.act(order, lambda s, o: orders.fire(s, o, course=None))

    @rule(order=seated, place=st.integers(0, 5), status=st.sampled_from(LineStatus))
    def move(self, order: Any, place: int, status: LineStatus) -> None:
        self.act(order, lambda s, o: orders.move_line(s, o, o.lines[place], status) if place < len(o.lines) else None)

    @rule(order=seated, place=st.integers(0, 5))
    def void(self, order: Any, place: int) -> None:
        self.act(
            order,
            lambda s, o: (
                orders.void_line(s, o, o.lines[place], reason="x", by=self.boss) if place < len(o.lines) else None
            ),
        )

    @rule(order=seated, table=st.integers(1, 3))
    def transfer(self, order: Any, table: int) -> None:
        self.act(order, lambda s, o: orders.transfer(s, o, s.get_one(Table, table)))

    @rule(order=seated, into=seated)
    def merge(self, order: Any, into: Any) -> None:
        try:
            with self.database.writing() as session:
                orders.merge(session, *orders.lock_pair(session, order, into))
        except Problem:
            pass

    @rule(order=seated)
    def cancel(self, order: Any) -> None:
        self.act(order, lambda s, o: orders.cancel(s, o, reason="x", by=self.boss))

    @rule(order=seated)
    def present(self, order: Any) -> None:
        self.act(order, billing.present)

    @rule(order=seated)
    def reopen(self, order: Any) -> None:
        self.act(order, billing.reopen)

    @rule(order=seated, amount=st.integers(1, 3000))
    def discount(self, order: Any, amount: int) -> None:
        self.act(order, lambda s, o: billing.discount(s, o, amount=amount, reason="x", by=self.boss))

    @rule(order=seated, amount=st.integers(1, 4000), everything=st.booleans())
    def pay(self, order: Any, amount: int, everything: bool) -> None:
        self.act(
            order,
            lambda s, o: billing.pay(
                s, o, amount=max(1, o.due - o.paid) if everything else amount, tip=0, method=Method.CARD, by=self.boss
            ),
        )

    @rule(amount=st.integers(1, 3000))
    def refund(self, amount: int) -> None:
        try:
            with self.database.writing() as session:
                payment = session.scalars(select(Payment).order_by(Payment.id.desc())).first()
                if payment is not None:
                    billing.refund(session, payment, amount=amount, reason="x", by=self.boss)
        except Problem:
            pass

    @rule()
    def close_day(self) -> None:
        try:
            with self.database.writing() as session:
                billing.close_day(session, by="boss", zone=self.settings.zone)
        except Problem:
            pass

    @invariant()
    def books_are_right(self) -> None:
        with self.database.snapshot() as session:
            _count, faults = journal.verify(session)
            assert faults == []
            every = session.scalars(select(Order).options(selectinload(Order.lines))).all()
            payments = session.scalars(select(Payment)).all()
            receipts = session.scalars(select(Receipt)).all()
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
        for receipt in receipts:
            assert sum(share["total"] for share in receipt.shares) == receipt.amount


@pytest.fixture
def _template(sqlite_template: Path) -> None:
    Evening.template = sqlite_template


@pytest.mark.usefixtures("_template")
def test_whatever_happens_in_an_evening_the_books_stay_right() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Evening,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
