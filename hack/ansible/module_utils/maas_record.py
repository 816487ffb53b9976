"""The record of what MaaS installed on a host, so that a reset removes exactly that.

The record is a JSON file on the host, written atomically:

    files     path -> {"before": copy of the original file or null, "sha256", "size", "mtime": of files of the bundle}
    made      directories that MaaS created
    sysctl    key -> original value
    packages  names of the packages that MaaS installed
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path("/var/lib/maas")
LOCK = Path("/run/maas/lock")


def write(path, data, mode):
    """Replace a file atomically."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Record:
    """The record of a host; `save` writes it."""

    def __init__(self, home=HOME):
        self.home = Path(home)
        if self.home == HOME:
            # A module that lost its controller may still be at work on this host. The lock ends with the process.
            LOCK.parent.mkdir(exist_ok=True)
            self.lock = LOCK.open("w", encoding="ascii")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.path = self.home / "record.json"
        try:
            self.data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.data = {"files": {}, "made": [], "sysctl": {}, "packages": []}
        self._saved = json.dumps(self.data, sort_keys=True)

    def directory(self, path):
        """Create a directory and its parents, and record those that did not exist."""
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o755)
            if not parent.is_relative_to(self.home) and str(parent) not in self.data["made"]:
                self.data["made"].append(str(parent))

    def own(self, path, **facts):
        """Record a file as installed by MaaS; keep a copy of the original file the first time."""
        entry = self.data["files"].get(str(path))
        if entry is None:
            entry = {"before": None}
            if path.is_file():
                keep = self.home / "before" / path.relative_to("/")
                keep.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copy2(path, keep)
                entry["before"] = str(keep)
            self.data["files"][str(path)] = entry
        entry.update(facts)

    def disown(self, path):
        """Remove an installed file, or restore the original one."""
        entry = self.data["files"].pop(str(path), None)
        path.unlink(missing_ok=True)  # it can be a link, of a masked unit
        if entry and entry["before"]:
            shutil.copy2(entry["before"], path)
            Path(entry["before"]).unlink()

    def save(self):
        """Write the record if it has changed."""
        text = json.dumps(self.data, sort_keys=True)
        if text != self._saved:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o755)
            write(self.path, text.encode(), 0o600)
            self._saved = text
