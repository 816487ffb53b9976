"""How much of a bare Flask's speed the service keeps, measured side by side in one run.

    python benchmarks/compare.py [--seconds 3] [--rounds 5]

Both run on the same gunicorn (one process, eight threads) and the same private PostgreSQL, and are measured in turns.
What is compared is the processor time that the server's process takes for a request, because a machine that does other
things meanwhile changes how long a request takes, not how much work it is: requests per second of one core, and the
ratio of the two. Latencies are taken at a constant arrival rate of 70 % of what each could do a moment before, counted
from the moment a request should have been sent, so that a stall is not hidden by clients that wait for it. All figures
are medians of the rounds; those of the bare Flask tell what of a long tail is the machine's own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psycopg

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "src")]

from postgresql import cluster  # noqa: E402  # from the tests' directory
from restaurant.cli import main as restaurant  # noqa: E402

Request = Callable[[], tuple[str, str, bytes | None, dict[str, str]]]

_TICKS = os.sysconf("SC_CLK_TCK")
_ORDER = json.dumps({"guest": "Ana", "lines": [{"dish": 2, "quantity": 1}, {"dish": 14, "quantity": 2}]}).encode()
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Service:
    """A running server: where it listens, and its processes."""

    port: int
    pid: int

    def seconds(self) -> float:
        """Processor seconds that its processes took so far."""
        total = 0.0
        for pid in [self.pid, *_children(self.pid)]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
        return total


@dataclass(frozen=True)
class Figures:
    """What one kind of request costs."""

    per_core: float
    """Requests per second of processor time."""
    p50: float
    p99: float
    """Milliseconds at 70 % of what the service can do."""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def saturate(service: Service, request: Request, *, seconds: float, clients: int = 4) -> tuple[float, float]:
    """Send as fast as answers come; requests per processor second, and per second."""
    counts = [0] * clients
    stop = time.monotonic() + seconds

    def run(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=30)
        while time.monotonic() < stop:
            _send(connection, request)
            counts[number] += 1
        connection.close()

    before, began = service.seconds(), time.monotonic()
    _together(run, clients)
    return sum(counts) / (service.seconds() - before), sum(counts) / (time.monotonic() - began)


def at_rate(service: Service, request: Request, *, rate: float, seconds: float, clients: int = 16) -> list[float]:
    """Send at a constant rate whatever the answers do; milliseconds from when each request should have begun."""
    total = int(rate * seconds)
    lock, sent = threading.Lock(), iter(range(total))
    found: list[float] = []
    began = time.monotonic() + 0.2

    def run(_number: int) -> None:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=30)
        while True:
            with lock:
                turn = next(sent, None)
            if turn is None:
                break
            due = began + turn / rate
            time.sleep(max(0.0, due - time.monotonic()))
            _send(connection, request)
            found.append((time.monotonic() - due) * 1000)
        connection.close()

    _together(run, clients)
    return sorted(found)


def _together(run: Callable[[int], None], clients: int) -> None:
    # The garbage collector would stop all clients to look through what this process has made before them.
    gc.freeze()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _send(connection: HTTPConnection, request: Request) -> bytes:
    method, path, body, headers = request()
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status >= 400:
        raise SystemExit(f"{method} {path} answered {reply.status}: {text[:300].decode()}")
    return text


@contextmanager
def started(command: list[str], environment: dict[str, str], port: int) -> Iterator[Service]:
    """A server in a process of its own, once it answers."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, cwd=HERE)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                _send(HTTPConnection("127.0.0.1", port, timeout=30), lambda: ("GET", "/", None, {}))
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield Service(port=port, pid=process.pid)
    finally:
        process.terminate()
        process.wait(30)


def cold_start(environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until a fresh process is ready, and the processor seconds it took to get there."""
    command = [sys.executable, "-m", "restaurant", "serve"]
    began = time.monotonic()
    with started(command, {**environment, "RESTAURANT_LISTEN": "127.0.0.1:18090",
                           "RESTAURANT_PROBES_LISTEN": "127.0.0.1:18091"}, 18090) as service:  # fmt: skip
        return time.monotonic() - began, service.seconds()


def _key() -> dict[str, str]:
    return {**_JSON, "Idempotency-Key": uuid.uuid4().hex}


def _prepare(environment: dict[str, str]) -> None:
    for command in (["migrate"], ["seed"]):
        saved = dict(os.environ)
        os.environ.update(environment)
        try:
            restaurant(command, standalone_mode=False)
        finally:
            os.environ.clear()
            os.environ.update(saved)


def _session(database: str) -> str:
    """A cashier's session, made in the database: signing in is not what is measured."""
    import hashlib

    token = secrets.token_urlsafe()
    with psycopg.connect(database) as connection:
        user = connection.execute(
            "INSERT INTO staff (username, name, role, password_hash, active, created_at, version)"
            " VALUES ('bench', 'Bench', 'manager', 'none', true, now(), 1) RETURNING id"
        ).fetchone()
        assert user is not None
        connection.execute(
            "INSERT INTO login_session (token_hash, user_id, created_at, seen_at) VALUES (%s, %s, now(), now())",
            (hashlib.sha256(token.encode()).hexdigest(), user[0]),
        )
        connection.execute("CREATE TABLE floor_order (id serial PRIMARY KEY, guest text, lines text)")
        connection.execute("INSERT INTO floor_order (guest, lines) VALUES ('Ana', '[]')")
    return token


def main() -> None:
    """Measure, and print the report in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="turns of which the median is taken")
    options = parser.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(cluster())
        name = server.create()
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {
            "PYTHONPATH": str(HERE.parent / "src"),
            "RESTAURANT_DATABASE_URL": server.url(name),
            "RESTAURANT_DATABASE_POOL_SIZE": "8",
            "RESTAURANT_SECRET_KEY": secrets.token_urlsafe(48),
            "RESTAURANT_TAKE_AWAY_TIMES": "00:00-24:00",
            # Orders are counted as ever, and never too many.
            "RESTAURANT_ORDERS_PER_ADDRESS": "100000",
            "RESTAURANT_LISTEN": "127.0.0.1:18080",
            "RESTAURANT_PROBES_LISTEN": "127.0.0.1:18081",
            "TMPDIR": str(logs),
        }
        _prepare(environment)
        database = f"host={server.socket} user=postgres dbname={name}"
        token = _session(database)
        gunicorn = [sys.executable, "-m", "gunicorn", "floor:app", "-b", "127.0.0.1:18082", "-k", "gthread", "-w", "1"]
        gunicorn += ["--threads", "8", "--keep-alive", "75", "--log-level", "error", "--no-control-socket"]
        cold = sorted(cold_start(environment) for _ in range(3))[1]
        floor = stack.enter_context(started(gunicorn, {"FLOOR_DATABASE": database}, 18082))
        ours = stack.enter_context(started([sys.executable, "-m", "restaurant", "serve"], environment, 18080))

        placed = json.loads(
            _send(HTTPConnection("127.0.0.1", ours.port), lambda: ("POST", "/api/v1/orders", _ORDER, _key()))
        )
        bill = f"/api/v1/orders/{placed['reference']}/bill"
        signed_in = {"Authorization": f"Bearer {token}"}
        pairs: dict[str, tuple[Request, Request]] = {
            "menu page": (lambda: ("GET", "/", None, {}), lambda: ("GET", "/", None, {})),
            "order post": (
                lambda: ("POST", "/orders", _ORDER, _JSON),
                lambda: ("POST", "/api/v1/orders", _ORDER, _key()),
            ),
            "bill": (lambda: ("GET", "/bill", None, {}), lambda: ("GET", bill, None, signed_in)),
        }
        print("| request | bare Flask: requests/s per core | p50 ms | p99 ms | p99 / p50"
              " | service: requests/s per core | p50 ms | p99 ms | p99 / p50 | ratio |\n|" + "---|" * 10)  # fmt: skip
        for what, (bare, whole) in pairs.items():
            below, own = _measure((floor, bare), (ours, whole), seconds=options.seconds, rounds=options.rounds)
            cells = [f"{f.per_core:.0f} | {f.p50:.1f} | {f.p99:.1f} | {f.p99 / f.p50:.1f}" for f in (below, own)]
            print(f"| {what} | {' | '.join(cells)} | 1/{below.per_core / own.per_core:.1f} |", flush=True)
        print(
            f"\nCold start: {cold[1]:.2f} s of processor time until the first answer ({cold[0]:.2f} s here), which is "
            f"{cold[1] / 0.25:.1f} s at 250m if the processor may not burst."
        )


def _measure(*sides: tuple[Service, Request], seconds: float, rounds: int) -> list[Figures]:
    """The figures of each side, measured in turns."""
    found: list[list[Figures]] = [[] for _ in sides]
    for service, request in sides:
        saturate(service, request, seconds=1.0)
    for _ in range(rounds):
        for (service, request), figures in zip(sides, found, strict=True):
            per_core, per_second = saturate(service, request, seconds=seconds)
            latencies = at_rate(service, request, rate=0.7 * per_second, seconds=seconds)
            p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
            figures.append(Figures(per_core, p50, p99))
    return [
        Figures(
            statistics.median(f.per_core for f in figures),
            statistics.median(f.p50 for f in figures),
            statistics.median(f.p99 for f in figures),
        )
        for figures in found
    ]


if __name__ == "__main__":
    main()
