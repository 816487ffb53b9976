"""What a pod with a share of a processor does: how soon it is ready, and what 2 and 4 of them do against 1.

    python benchmarks/pods.py [--cpu 0.25] [--seconds 6]

Each pod is a process of its own in a control group with that share of a processor, as a limit in Kubernetes is, and all
of them share one PostgreSQL, which is not limited. It needs root and, for 4 pods at 250m, two processors with nothing
else to do: the four take one of them, PostgreSQL and the clients the other.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from compare import _JSON, _ORDER, HERE, Request, _prepare, _send, _together, cluster

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD = 100_000
_FIRST_PORT = 18100


@contextmanager
def share(name: str, cpu: float) -> Iterator[Path]:
    """A control group with a share of a processor; yields the file that takes the processes in it."""
    old = _GROUPS / "cpu" / name
    group = old if old.parent.is_dir() else _GROUPS / name
    group.mkdir()
    quota = int(cpu * _PERIOD)
    if group == old:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
    try:
        yield group / "cgroup.procs"
    finally:
        for _attempt in range(50):
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


@contextmanager
def pod(number: int, environment: dict[str, str], *, cpu: float) -> Iterator[float]:
    """A service on a port of its own; yields the seconds that it took to be ready."""
    port = _FIRST_PORT + 2 * number
    told = {
        **os.environ,
        **environment,
        "RESTAURANT_LISTEN": f"127.0.0.1:{port}",
        "RESTAURANT_PROBES_LISTEN": f"127.0.0.1:{port + 1}",
    }
    with share(f"restaurant-benchmark-{number}", cpu) as group:
        command = f'echo $$ > {group} && exec "{sys.executable}" -m restaurant serve'
        began = time.monotonic()
        process = subprocess.Popen(["sh", "-c", command], env=told, stdout=subprocess.DEVNULL, cwd=HERE)
        try:
            while not _ready(port + 1):
                if process.poll() is not None or time.monotonic() - began > 120:
                    raise SystemExit("the service did not become ready")
                time.sleep(0.02)
            yield time.monotonic() - began
        finally:
            process.terminate()
            process.wait(120)


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _guest(turn: int) -> Request:
    """Two of three look at the menu, the third one orders."""
    if turn % 3:
        return lambda: ("GET", "/", None, {})
    return lambda: ("POST", "/api/v1/orders", _ORDER, {**_JSON, "Idempotency-Key": uuid.uuid4().hex})


def saturate(ports: Sequence[int], *, seconds: float, clients: int = 4) -> float:
    """Requests per second of all pods together, with `clients` at each who send as fast as answers come."""
    counts = [0] * (clients * len(ports))
    stop = time.monotonic() + seconds

    def run(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60)
        while time.monotonic() < stop:
            _send(connection, _guest(counts[number] + number))
            counts[number] += 1
        connection.close()

    began = time.monotonic()
    _together(run, len(counts))
    return sum(counts) / (time.monotonic() - began)


def at_rate(ports: Sequence[int], *, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when each request of a constant rate should have begun, in order."""
    lock, turns, found = threading.Lock(), iter(range(int(rate * seconds))), list[float]()
    began = time.monotonic() + 0.2

    def run(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60)
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                break
            due = began + turn / rate
            time.sleep(max(0.0, due - time.monotonic()))
            _send(connection, _guest(turn))
            found.append((time.monotonic() - due) * 1000)
        connection.close()

    _together(run, 8 * len(ports))
    return sorted(found)


def main() -> None:
    """Measure, and print the report in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", type=float, default=0.25, help="share of a processor that a pod has")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    options = parser.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(cluster())
        environment = {
            "PYTHONPATH": str(HERE.parent / "src"),
            "RESTAURANT_DATABASE_URL": server.url(server.create()),
            "RESTAURANT_SECRET_KEY": secrets.token_urlsafe(48),
            "RESTAURANT_TAKE_AWAY_TIMES": "00:00-24:00",
            "RESTAURANT_ORDERS_PER_ADDRESS": "100000",
            "TMPDIR": stack.enter_context(tempfile.TemporaryDirectory()),
        }
        _prepare(environment)
        starts = []
        for _round in range(3):
            with pod(0, environment, cpu=options.cpu) as took:
                starts.append(took)
        print(f"Ready after {statistics.median(starts):.1f} s with {options.cpu * 1000:.0f}m of a processor.\n")
        print("| pods | requests/s | against 1 | p50 ms at 70 % | p99 ms | p99 / p50 |\n|---|---|---|---|---|---|")
        alone = 0.0
        for pods in (1, 2, 4):
            with ExitStack() as those:
                for number in range(pods):
                    those.enter_context(pod(number, environment, cpu=options.cpu))
                ports = [_FIRST_PORT + 2 * number for number in range(pods)]
                saturate(ports, seconds=2.0)
                rate = saturate(ports, seconds=options.seconds)
                alone = alone or rate
                waits = at_rate(ports, rate=0.7 * rate, seconds=options.seconds * 2)
                p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
                print(
                    f"| {pods} | {rate:.0f} | {rate / alone:.2f} | {p50:.0f} | {p99:.0f} | {p99 / p50:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
