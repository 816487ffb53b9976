"""One run at a time on a cluster.

The lock is held by the kernel (flock) for as long as the process lives, so that nothing is left behind by a run that
was killed; what the file says is who holds it, for whoever comes second.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from pydantic import BaseModel, ValidationError

from maas.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "lock.json"


class Owner(BaseModel):
    """Who works on a cluster.

    Attributes:
        user: Login name.
        host: The machine that the tool runs on.
        pid: Process on that machine.
        command: What is being done.
        since: When it began.
    """

    user: str
    host: str
    pid: int
    command: str
    since: datetime

    def __str__(self) -> str:
        return (
            f"{self.user} on {self.host}, process {self.pid}, {self.command} since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        )


@contextlib.contextmanager
def hold(state: Path, *, command: str) -> Iterator[None]:
    """Have the cluster for oneself until the end of the block.

    Args:
        state: The cluster's state directory.
        command: What is being done, for whoever is refused meanwhile.

    Raises:
        LockError: Somebody else works on the cluster.
    """
    path = state / FILE
    # Not opened for writing alone: that would empty the file of the one who holds it.
    with path.open("a+", encoding="utf-8") as file:
        path.chmod(0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(file, path) from None
        mine = Owner(
            user=getpass.getuser(), host=socket.gethostname(), pid=os.getpid(), command=command, since=datetime.now(UTC)
        )
        _write(file, mine.model_dump_json() + "\n")
        try:
            yield
        finally:
            _write(file, "")


def owner(state: Path) -> Owner | None:
    """Who works on a cluster now; None when nobody does, whatever an interrupted run left in the file."""
    try:
        with (state / FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
    except FileNotFoundError:
        pass
    return None


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _read(file: TextIO) -> Owner | None:
    file.seek(0)
    try:
        return Owner.model_validate(json.loads(file.read()))
    except (ValueError, ValidationError):
        return None


def _refusal(file: TextIO, path: Path) -> LockError:
    holder = _read(file)
    return LockError(
        "somebody else is working on this cluster",
        context=[str(holder) if holder else "the owner has not written down who it is"],
        hint="wait until it has ended; the lock goes with its process, so there is never a file to remove",
        command=f"cat {path}",
    )
