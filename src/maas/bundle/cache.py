"""The content-addressed cache of everything that was built or downloaded.

An entry is a directory whose name is the digest of everything that determines its content. It appears by one rename, so an
interrupted run leaves no partial entry.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maas import console, files, paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_WEEK = 7 * 24 * 3600


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(**determinants: object) -> str:
    """Return the digest of everything that determines an entry's content, given as JSON values."""
    text = json.dumps(determinants, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find(name: str, digest: str) -> Path | None:
    """Return the entry with this name and key; None if there is none."""
    path = _entry(name, digest)
    return path if path.is_dir() else None


@contextlib.contextmanager
def create(name: str, digest: str) -> Iterator[Path]:
    """Yield a directory that becomes the entry with this name and key when the block ends without an error."""
    path = _entry(name, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch() as filling:
        yield filling
        if not path.exists():  # another process may have been faster; its entry has the same content
            filling.rename(path)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty directory on the cache's file system. It is deleted when the block ends."""
    directory = paths.cache() / "scratch"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        filling = Path(temporary) / "entry"
        filling.mkdir()
        yield filling


def partial(digest: str) -> Path:
    """Return the file of an incomplete download with this digest, which the next run continues."""
    directory = paths.cache() / "partial"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / digest


@functools.cache
def forget_old(directory: Path) -> None:
    """Delete the files of a directory that were last used a week before the newest one; at most once per process.

    Every use updates a file's modification time. The newest file serves as the clock, because the system's may be wrong.
    """
    times = {}
    for file in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            times[file] = file.stat().st_mtime
    newest = max(times.values(), default=0.0)
    for file, touched in times.items():
        if touched < newest - _WEEK:
            file.unlink(missing_ok=True)


def lock(name: str) -> AbstractContextManager[files.Owner]:
    """Hold a lock of the cache until the end of the block; wait for it with a message."""
    paths.cache().mkdir(parents=True, exist_ok=True)
    return files.lock(paths.cache() / f"{name}.lock", command=f"build of the {name}", on_wait=console.line)


def _entry(name: str, digest: str) -> Path:
    return paths.cache() / "components" / name / digest[:32]
