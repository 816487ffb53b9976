"""An evening on PostgreSQL with three processes, one of which is killed in the middle of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import signal
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from postgresql import Rows
from restaurant.billing import verification
from restaurant.billing.models import Receipt
from restaurant.database import Database
from restaurant.orders.models import Order, OrderKind, OrderLine, OrderStatus
from restaurant.people.models import LoginSession, User
from restaurant.people.permissions import Role
from support import EGGS, STEW, WINE, make_settings, serving

#: How many dinners each of the servers serves, and how many of all have begun when a process is killed.
SERVERS, DINNERS, KILLED_AFTER = 4, 4, 5


@dataclass
class House:
    """Processes of one service, and what became of the requests to them."""

    ports: list[int]
    token: str
    killed: int
    """The port of the process that is killed."""
    broken: Counter[int] = field(default_factory=Counter)
    """Requests without a reply, by port."""
    failed: list[str] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def ask(self, turn: Iterator[int], path: str, body: object, *, staff: bool = True) -> dict[str, Any]:
        """Send a request to the process whose turn it is, and again with its key to the next one without a reply."""
        key = uuid.uuid4().hex
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if staff:
            headers["Authorization"] = f"Bearer {self.token}"
        again = False
        for _attempt in range(len(self.ports) + 1):
            port = next(turn)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            try:
                connection.request("POST", f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
                reply = connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException):
                self.broken[port] += 1
                again = True
                continue
            finally:
                connection.close()
            found: dict[str, Any] = json.loads(text)
            # What has no key and was done before the reply was lost is refused the second time.
            if reply.status >= 500 or (reply.status >= 400 and not (again and reply.status == 409)):
                self.failed.append(f"{path}: {reply.status} {found}")
            return found
        raise AssertionError(f"nobody answered {path}")

    def dinner(self, turn: Iterator[int], table: int) -> None:
        """Seat guests, serve and bill them, and take away what others ordered meanwhile."""
        self.begun.release()
        order = self.ask(turn, "/seatings", {"table": table, "covers": 2})["reference"]
        for dishes in ((EGGS, STEW), (WINE,)):
            self.ask(turn, f"/orders/{order}/lines", {"lines": [{"dish": dish} for dish in dishes]})
        self.ask(turn, "/orders", {"guest": f"Guest {table}", "lines": [{"dish": EGGS}]}, staff=False)
        self.ask(turn, f"/kitchen/orders/{order}/ready", None)
        self.ask(turn, f"/orders/{order}/serve", None)
        self.ask(turn, f"/orders/{order}/bill", None)
        for amount in (1000, EGGS_STEW_WINE - 1000):
            self.ask(turn, f"/orders/{order}/payments", {"amount": amount, "method": "card"})


EGGS_STEW_WINE = 620 + 1890 + 690


@pytest.fixture
def url(postgresql_database: Rows) -> Iterator[str]:
    """The address of a seeded database."""
    yield postgresql_database.url
    postgresql_database.bring_back("seeded")


def test_a_process_that_is_killed_in_the_evening_loses_and_doubles_nothing(url: str, tmp_path: Path) -> None:
    settings, token = make_settings(url), secrets.token_urlsafe()
    with Database(settings) as database, ExitStack() as stack:
        with database.writing() as session:
            boss = User(username="boss", name="Boss", role=Role.MANAGER, password_hash="none")
            session.add(boss)
            session.flush()
            hashed = hashlib.sha256(token.encode()).hexdigest()
            session.add(LoginSession(token_hash=hashed, user_id=boss.id))
        with ThreadPoolExecutor(3) as pool:
            running = [
                pool.submit(
                    stack.enter_context, serving(settings, tmp_path / f"log{number}", RESTAURANT_DATABASE_POOL_SIZE="4")
                )
                for number in range(3)
            ]
            processes: list[subprocess.Popen[bytes]] = [entry.result()[0] for entry in running]
            ports = [entry.result()[1] for entry in running]
        house = House(ports, token, killed=ports[1])

        def serve(table: int) -> None:
            turn = cycle(ports[table % 3 :] + ports[: table % 3])
            for _dinner in range(DINNERS):
                house.dinner(turn, table)

        with ThreadPoolExecutor(SERVERS) as pool:
            evening = [pool.submit(serve, table) for table in range(1, SERVERS + 1)]
            for _dinner in range(KILLED_AFTER):
                assert house.begun.acquire(timeout=300)
            processes[1].send_signal(signal.SIGKILL)
            for entry in evening:
                entry.result()

        assert house.failed == []
        assert set(house.broken) == {house.killed}, "only the killed process leaves a request without a reply"
        assert [process.poll() for process in processes] == [None, -signal.SIGKILL, None]
        dinners = SERVERS * DINNERS
        with database.snapshot() as session:
            kinds = {row[0]: row[1] for row in session.execute(select(Order.kind, func.count()).group_by(Order.kind))}
            assert kinds == {OrderKind.DINE_IN: dinners, OrderKind.TAKE_AWAY: dinners}
            eaten = select(OrderLine.dish_id, func.count()).join(OrderLine.order).where(Order.kind == OrderKind.DINE_IN)
            by_dish = {row[0]: row[1] for row in session.execute(eaten.group_by(OrderLine.dish_id))}
            assert by_dish == {EGGS: dinners, STEW: dinners, WINE: dinners}
            paid = session.execute(select(Order.status, Order.paid).where(Order.kind == OrderKind.DINE_IN))
            assert {tuple(row) for row in paid} == {(OrderStatus.CLOSED, EGGS_STEW_WINE)}
            numbers = session.scalars(select(Receipt.number).order_by(Receipt.number)).all()
            assert list(numbers) == list(range(1, 2 * dinners + 1))
            assert verification.verify(session)[1] == []
