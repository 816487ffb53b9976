"""Labs of the proofs' own, made and removed by the very commands that a user types."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e import conftest

from maas.cluster import tunnel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from maas.cluster.client import Cluster


def maas(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the tool as a user does, to the status that is expected."""
    done = conftest.maas(*words, timeout=4500)
    assert done.returncode == status, done.stderr[-4000:]
    return done


@contextmanager
def lab(name: str, *options: str) -> Iterator[Cluster]:
    """The cluster of a lab that is there while the block runs; with MAAS_KEEP_LAB one that is there already, and stays."""
    if not conftest.KEEP:
        maas("up", "--name", name, *options, "--yes")
    try:
        yield tunnel.connect(name)
    finally:
        if not conftest.KEEP:
            maas("down", "--name", name)
