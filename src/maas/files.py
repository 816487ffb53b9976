"""Atomic writes, and locks between processes.

A lock is the kernel's (flock), so it ends with its process and no file has to be deleted after a crash. The file names
its owner for the second one. The library filelock would be a second dependency, polls instead of queueing in the
kernel, and does not record an owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pydantic import BaseModel, ValidationError

from maas.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PUBLIC = 0o644
_PRIVATE = 0o600


class Owner(BaseModel):
    """The process that holds a lock, or that held it until it was killed.

    Attributes:
        user: Login name.
        host: The machine that the process runs on.
        pid: Its process ID there.
        command: What it does.
        since: When it acquired the lock.
    """

    user: str
    host: str
    pid: int
    command: str
    since: datetime

    def __str__(self) -> str:
        return f"{self.command}, started by {self.user} on {self.host} (PID {self.pid}) at {self.since:%F %T} UTC"


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = _PUBLIC) -> Iterator[Path]:
    """Yield an empty file that replaces `path` when the block ends without an error.

    Other processes see the old content or the new one, never a part of it, also after a power failure.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    fresh = Path(name)
    try:
        yield fresh
        fresh.chmod(mode)
        _sync(fresh)
        fresh.replace(path)
        _sync(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def write(path: Path, content: bytes | str, *, mode: int = _PUBLIC) -> None:
    """Replace a file's content atomically; text is written as UTF-8."""
    with replacing(path, mode=mode) as fresh:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)


def write_private(path: Path, content: bytes | str) -> None:
    """Replace the content of a file that only its owner can read."""
    write(path, content, mode=_PRIVATE)


def copy(source: Path, target: Path, *, mode: int = _PUBLIC) -> None:
    """Copy a file atomically, and create its directory; never a link, as damage to one would damage the other."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, mode=mode) as fresh:
        shutil.copyfile(source, fresh)


_held: set[int] = set()


def held() -> frozenset[int]:
    """Return the file descriptors of the locks that this process holds. A program that inherits one holds it too."""
    return frozenset(_held)


@contextlib.contextmanager
def lock(
    path: Path, *, command: str, on_wait: Callable[[str], None] | None = None, inherit: bool = True
) -> Iterator[Owner]:
    """Hold a lock until the block ends, as the owner that is returned.

    Args:
        path: The lock file; it is created if needed, and stays.
        command: What this process does, for others who want the lock meanwhile.
        on_wait: Wait for the lock, after calling this with a message that names its owner. By default, do not wait.
        inherit: Whether `held` names it.

    Raises:
        LockError: Another process holds the lock, and `on_wait` is not given.
    """
    # Not truncated: the content belongs to the owner.
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _PRIVATE)
    with os.fdopen(number, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(file) or f"unknown owner of {path}"
            if on_wait is None:
                raise LockError(
                    "another run is in progress",
                    context=[str(holder)],
                    hint="wait until it ends; the lock is released with its process, so there is no file to delete",
                    command=f"cat {path}",
                ) from None
            on_wait(f"waiting for another run: {holder}")
            fcntl.flock(file, fcntl.LOCK_EX)
        own = Owner(user=_user(), host=socket.gethostname(), pid=os.getpid(), command=command, since=datetime.now(UTC))
        _write(file, own)
        if inherit:
            _held.add(number)
        try:
            yield own
        finally:
            _held.discard(number)
            _write(file, None)


def owner(path: Path) -> Owner | None:
    """Return who holds a lock, or who was killed while holding it; None if that is nobody, or not known."""
    try:
        with path.open(encoding="utf-8") as file:
            return _read(file)
    except OSError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user ID has no name, as in some containers
        return f"user {os.getuid()}"


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _write(file: TextIO, owner: Owner | None) -> None:
    file.seek(0)
    file.truncate()
    file.write(owner.model_dump_json() + "\n" if owner else "")
    file.flush()


def _read(file: TextIO) -> Owner | None:
    file.seek(0)
    try:
        return Owner.model_validate_json(file.read())
    except (ValueError, ValidationError):
        return None
