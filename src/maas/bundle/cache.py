"""The content-addressed store of everything that was made or fetched.

An entry is a directory named by the digest of all that determines its content. It appears whole, by one rename, so an
interrupted run leaves nothing half made and the next one goes on where it stopped.
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
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(**determinants: object) -> str:
    """A digest of everything that determines an entry's content, given as JSON values."""
    text = json.dumps(determinants, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find(name: str, digest: str) -> Path | None:
    """The entry of this name and key, when there is one."""
    path = _entry(name, digest)
    return path if path.is_dir() else None


@contextlib.contextmanager
def create(name: str, digest: str) -> Iterator[Path]:
    """A directory to fill, which becomes the entry of this name and key when the block ends without an error."""
    path = _entry(name, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch() as filling:
        yield filling
        if not path.exists():  # another process may have been faster; its entry is as good as this one
            filling.rename(path)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty directory on the cache's own disk, gone when the block ends."""
    directory = paths.cache() / "scratch"
    directory.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        filling = Path(temporary) / "entry"
        filling.mkdir()
        yield filling


def partial(digest: str) -> Path:
    """Where a download of this digest is collected until it is whole; what is there is gone on with."""
    directory = paths.cache() / "partial"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / digest


@functools.cache
def forget_old(directory: Path) -> None:
    """Remove the files of a directory that were last asked for a week before the newest of them; once in a process.

    Whoever asks for one touches it. The newest file is the clock, since that of the process may be another.
    """
    times = {}
    for file in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            times[file] = file.stat().st_mtime
    newest = max(times.values(), default=0.0)
    for file, touched in times.items():
        if touched < newest - _WEEK:
            file.unlink(missing_ok=True)


def lock(name: str) -> AbstractContextManager[None]:
    """Hold a lock of the cache until the end of the block; wait for it, with a line that says so."""
    return files.lock(paths.cache() / f"{name}.lock", command=f"work on the {name}", on_wait=console.line)


def _entry(name: str, digest: str) -> Path:
    return paths.cache() / "components" / name / digest[:32]
