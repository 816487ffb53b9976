"""The lock of a cluster: one run at a time changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import files

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

FILE = "lock.json"


def hold(state: Path, *, command: str) -> AbstractContextManager[None]:
    """Lock a cluster until the end of the block.

    Args:
        state: The cluster's state directory.
        command: What this run does, for others that want to change the cluster meanwhile.

    Raises:
        LockError: Another run works on the cluster.
    """
    return files.lock(state / FILE, command=command)
