"""Labs of end-to-end and acceptance tests: created and removed by the commands that a user types."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import paths
from maas.bundle import tools
from maas.cluster import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from maas.cluster.client import Cluster

KEEP = "MAAS_KEEP_LAB" in os.environ
"""Whether to use the existing lab and keep it; for the development of tests."""


def environment() -> dict[str, str]:
    """Return the environment in which the tool of this checkout runs."""
    return {**os.environ, "PYTHONPATH": str(paths.content() / "src")}


def maas(
    *arguments: str, status: int | None = 0, timeout: float = 4500, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the tool as a user does, and show its output as it comes.

    Args:
        arguments: The command with its options.
        status: The expected exit status; None accepts any.
        timeout: Seconds after which it is killed.
        more: Further variables of its environment.
    """
    began = time.monotonic()
    print(f"\n$ maas {' '.join(arguments)}", flush=True)
    lines: list[str] = []

    def follow(stream: TextIO) -> None:
        for line in stream:
            lines.append(line)
            print(line, end="", flush=True)

    with subprocess.Popen(
        [sys.executable, "-m", "maas", *arguments],
        cwd=paths.content(),
        env={**environment(), **more},
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
    assert status is None or process.returncode == status, "".join(lines)[-4000:]
    return subprocess.CompletedProcess(process.args, process.returncode, output, "".join(lines))


@dataclass(frozen=True)
class Lab:
    """A running lab.

    Attributes:
        name: Its name.
        transcript: What `up` reported.
    """

    name: str
    transcript: str = ""

    @property
    def state(self) -> Path:
        return paths.state(self.name)

    @property
    def cluster(self) -> Cluster:
        return tunnel.connect(self.name)

    def run(self, host: str, *command: str, stdin: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on a host, whatever its exit status."""
        words = ["docker", "exec", "--interactive", f"maas-{self.name}-{host}", *command]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def on(self, host: str, *command: str, stdin: str = "", timeout: float = 60) -> str:
        """Run a command on a host and return its output."""
        done = self.run(host, *command, stdin=stdin, timeout=timeout)
        done.check_returncode()
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run the pinned kubectl on the cluster and return its output.

        Raises:
            ValueError: It failed.
        """
        words = [str(tools.tool("kubectl")), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode != 0:
            raise ValueError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout


@contextmanager
def running(name: str, *options: str) -> Iterator[Lab]:
    """Run a lab while the block runs; with MAAS_KEEP_LAB, use and keep the one that exists."""
    if not KEEP:
        # An interrupted run may have left one; mostly there is none, which is an error of `down`.
        maas("down", "--name", name, status=None)
    try:
        done = maas("up", "--name", name, *options, "--yes")
        yield Lab(name, done.stderr)
    finally:
        if not KEEP:
            maas("down", "--name", name)
