"""One lab for all end-to-end tests: made by the very command that a user types, removed at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maas import console, paths
from maas.cluster import tunnel
from maas.loadtest import runner as guests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from maas.cluster.client import Cluster

NAME = "e2e"
ROOT = Path(__file__).parents[2]
KEEP = "MAAS_KEEP_LAB" in os.environ
"""For those who write these tests: take the lab that is there, and leave it."""

VALUES = ROOT / "tests" / "e2e" / "values.yaml"


def maas(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the tool as a user does; what it says is shown as it comes."""
    began = time.monotonic()
    print(f"\n$ maas {' '.join(arguments)}", flush=True)
    said: list[str] = []

    def follow(stream: TextIO) -> None:
        for line in stream:
            said.append(line)
            print(line, end="", flush=True)

    with subprocess.Popen(
        [sys.executable, "-m", "maas", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        follower = threading.Thread(target=follow, args=(process.stderr,))
        follower.start()
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        output = process.stdout.read()
        follower.join()
        killer.cancel()
    print(f"[{process.returncode}, {time.monotonic() - began:.1f} s]", flush=True)
    return subprocess.CompletedProcess(process.args, process.returncode, output, "".join(said))


def load(cluster: Cluster, *, rate: float, orders: float, seconds: float, node: str) -> guests.Result:
    """Guests who read the menu and order, the same ones each time; bounded by `seconds`."""
    with console.phase("Load") as step:
        return guests.run(
            cluster,
            url="http://restaurant.restaurant",
            image=guests.image(cluster),
            rate=rate,
            seconds=seconds,
            orders=orders,
            seed=7,
            node=node,
            step=step,
        )


@dataclass
class Lab:
    """The running lab.

    Attributes:
        transcript: What `up` said.
        seconds: How long it took.
    """

    name: str
    transcript: str
    seconds: float

    @property
    def state(self) -> Path:
        return paths.state(self.name)

    @property
    def cluster(self) -> Cluster:
        return tunnel.connect(self.name)

    def on(self, host: str, *command: str, timeout: float = 60) -> str:
        """Run a command on a host of the lab and give its output."""
        words = ["docker", "exec", f"maas-{self.name}-{host}", *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=True).stdout


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    began = time.monotonic()
    if not KEEP:
        # A lab that an interrupted run left behind is not what is tested; mostly there is none, and it says so.
        maas("down", "--name", NAME)
    done = maas("up", "--name", NAME, "--values", str(VALUES), "--yes", timeout=4500)
    try:
        assert done.returncode == 0, done.stderr[-4000:]
        yield Lab(NAME, done.stderr, time.monotonic() - began)
    finally:
        if not KEEP:
            maas("down", "--name", NAME)
