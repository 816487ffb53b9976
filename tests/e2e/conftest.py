"""One lab for all end-to-end tests: made by the very command that a user types, removed at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maas import access, paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster import Cluster

NAME = "e2e"
ROOT = Path(__file__).parents[2]
VALUES = ROOT / "tests" / "e2e" / "values.yaml"


def maas(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the tool as a user does; what it says is shown in the test's output."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "maas", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(
        f"\n$ maas {' '.join(arguments)}\n{done.stdout}{done.stderr}[{done.returncode}, {time.monotonic() - began:.1f} s]"
    )
    return done


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
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return paths.state(self.name)

    @property
    def cluster(self) -> Cluster:
        return access.connect(self.name)

    def on(self, host: str, *command: str, timeout: float = 60) -> str:
        """Run a command on a host of the lab and give its output."""
        words = ["docker", "exec", f"maas-{self.name}-{host}", *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=True).stdout


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    began = time.monotonic()
    # A lab that an interrupted run left behind is not what is tested.
    maas("down", "--name", NAME)
    done = maas("up", "--name", NAME, "--values", str(VALUES), "--yes", timeout=4500)
    try:
        assert done.returncode == 0, done.stderr[-4000:]
        yield Lab(NAME, done.stderr, time.monotonic() - began)
    finally:
        if "MAAS_KEEP_LAB" not in os.environ:
            maas("down", "--name", NAME)
