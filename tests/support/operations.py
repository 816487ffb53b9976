"""Operations on a lab while guests order in its restaurant: how long each takes, what fails meanwhile, and whether it can be interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support import restaurant
from tests.support.labs import environment

from maas import paths
from maas.loadtest import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

HEADER = """\
| operation | seconds | answers | failed | orders | lost | the same command again |
|---|---|---|---|---|---|---|"""
RATE = 5.0
"""Guests per second of one generator; two of them run at once."""
TURNS = (11, 17)
"""Seconds that each generator runs until it starts again; they differ, so that one of them always runs."""
ORDERS = 0.3
"""The share of guests that order."""


def interrupt(*arguments: str, after: str, pause: float = 1.0) -> None:
    """Run the tool, and kill it some time after a phase has ended. Its programs are stopped by its reaper.

    Args:
        arguments: The command with its options.
        after: The title of the phase.
        pause: Seconds from the end of that phase.
    """
    print(f"\n$ maas {' '.join(arguments)}    # SIGKILL {pause:g} s after “{after}”", flush=True)
    words = [sys.executable, "-m", "maas", *arguments]
    with subprocess.Popen(
        words,
        cwd=paths.content(),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        killer = threading.Timer(pause, process.kill)
        for line in process.stderr:
            print(line, end="", flush=True)
            if line.startswith(f"✓ {after}"):
                killer.start()
        status = process.wait()
        killer.cancel()
    assert status == -signal.SIGKILL, f"it exited with {status} before it was killed"


@dataclass
class Row:
    """What an operation cost.

    Attributes:
        seconds: How long it took.
        answered: The requests of guests that were answered meanwhile.
        failures: Those that failed, by kind.
        orders: The orders that the restaurant confirmed.
        lost: Those of them that are not in the database.
        again: What the same command does once more.
    """

    operation: str
    seconds: float | None = None
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    orders: list[str] = field(default_factory=list)
    lost: int = 0
    again: str = ""
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        failed = self.failures.total()
        return f"| {self.operation} | {seconds} | {self.answered} | {failed} | {len(self.orders)} | {self.lost} | {self.again} |"


@dataclass
class Operations:
    """The lab, and what was measured."""

    lab: Lab
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def measured(self, operation: str) -> Iterator[Row]:
        """Send guests while the block runs, add a row to the table, and print it at once with its failures."""
        row = Row(operation)
        self.rows.append(row)
        try:
            with self._guests(row):
                began = time.monotonic()
                yield row
                row.seconds = time.monotonic() - began
            row.lost = len(set(row.orders) - restaurant.orders(self.lab))
            assert row.answered > 0, "no guest was answered"
            assert row.orders, "no order was accepted"
            assert row.failures.total() == 0, dict(row.failures)
            assert row.lost == 0, f"{row.lost} confirmed orders are not in the database"
        except Exception as error:
            context = getattr(error, "context", ())
            row.notes.append("\n".join([f"FAILED: {type(error).__name__}: {str(error)[-2000:]}", *context]))
            raise
        finally:
            print("\n" + "\n".join([HEADER, str(row), str(dict(row.failures)), *row.notes]) + "\n", flush=True)

    @contextmanager
    def _guests(self, row: Row) -> Iterator[None]:
        """Send guests from the host of the database, which stays, to the address of the Service."""
        (database,) = restaurant.pods(self.lab, restaurant.DATABASE)
        address = self.lab.kubectl(
            "get", "service", "restaurant", "-n", restaurant.NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"
        )
        program = "/run/guests.py"
        source = runner.GENERATOR.read_text(encoding="utf-8")
        self.lab.on(database.node, "sh", "-c", f"cat > {program}", stdin=source)
        password = runner.new_password(self.lab.cluster)
        try:
            self.lab.on(database.node, "sh", "-c", f"umask 077; cat > {program}.password", stdin=password)
            with self._turns(row, database.node, address, program):
                yield
        finally:
            runner.new_password(self.lab.cluster)  # whose tunnel may lead to another host than before

    @contextmanager
    def _turns(self, row: Row, node: str, address: str, program: str) -> Iterator[None]:
        """Send guests in turns that overlap, so that some come at any moment."""
        ended, lock = threading.Event(), threading.Lock()

        def come(seconds: int, seed: int) -> None:
            words = ["--url", f"http://{address}", "--rate", str(RATE), "--orders", str(ORDERS), "--threads", "8"]
            words += ["--username", runner.USER, "--password-file", f"{program}.password"]
            while not ended.is_set():
                seed += 2
                arguments = [*words, "--seconds", str(seconds), "--seed", str(seed)]
                done = self.lab.run(node, "python3", program, *arguments, timeout=seconds + 120)
                report: dict[str, Any] = json.loads((done.stdout.splitlines() or ["{}"])[-1])
                with lock:
                    if "answered" not in report or "orders" not in report:
                        row.failures[done.stderr.strip()[-200:] or "the guests did not come back"] += 1
                        continue
                    row.answered += report["answered"]
                    row.failures.update(report["failures"])
                    row.orders += report["orders"]
                    if report["unreached"]:
                        row.notes.append(f"connections that a guest had to open again: {report['unreached']}")

        threads = [threading.Thread(target=come, args=(turn, number)) for number, turn in enumerate(TURNS)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(2)
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def table(self) -> str:
        return "\n".join([HEADER, *map(str, self.rows)])
