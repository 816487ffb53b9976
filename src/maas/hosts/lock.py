"""The lock of a cluster on this controller: one run at a time changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import files

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

FILE = "lock.json"


def hold(state: Path, *, command: str) -> AbstractContextManager[files.Owner]:
    """Lock a cluster until the end of the block.

    Args:
        state: The cluster's state directory.
        command: What this run does, for others that want to change the cluster meanwhile.

    Raises:
        LockError: Another run works on the cluster.
    """
    return files.lock(state / FILE, command=command)


def owner(state: Path) -> files.Owner | None:
    """Return the run that works on a cluster, or that was killed while it did; None if that is nobody."""
    return files.owner(state / FILE)
