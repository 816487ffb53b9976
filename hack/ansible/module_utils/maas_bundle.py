"""Files of a bundle on a host, each verified.

A host believes the manifest whose digest the controller gave, and of any other file the sha256 that the manifest has
for it. A file already in place is hashed again only when its size or time changed since it was verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

CHUNK = 1 << 20


class RefusedError(Exception):
    """A file is not what the manifest says."""


def sha256(path):
    """The digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def manifest(directory, digest):
    """The manifest's path -> sha256, once the manifest itself is verified."""
    data = (directory / "manifest.json").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise RefusedError(f"{directory}/manifest.json has sha256 {found}, the controller's bundle has {digest}")
    return {item["path"]: item["sha256"] for item in json.loads(data)["items"]}


def verified(directory, digest, path):
    """The place of a file of the bundle, once it is verified."""
    place, expected = directory / path, manifest(directory, digest)[path]
    found = sha256(place)
    if found != expected:
        raise RefusedError(f"{place} has sha256 {found}, the manifest says {expected}")
    return place


def copy(source, dest, expected):
    """Copy a program into place while hashing it; nothing is left behind when the digest is wrong."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=dest.parent, prefix=f".{dest.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink, source.open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
                sink.write(block)
        if digest.hexdigest() != expected:
            raise RefusedError(f"{source} has sha256 {digest.hexdigest()}, the manifest says {expected}")
        part.chmod(0o755)
        part.replace(dest)  # a program that runs keeps its old file
    finally:
        part.unlink(missing_ok=True)


def receive(directory, received, digest, record):
    """Move files that came from the controller into the bundle directory, each verified; note what they are."""
    carried = record.data.setdefault("carried", {})
    for path, source in received.items():
        dest = directory / path
        record.directory(dest.parent)
        expected = digest if path == "manifest.json" else manifest(directory, digest)[path]
        copy(Path(source), dest, expected)
        dest.chmod(0o644)
        carried[path] = expected
    if "manifest.json" in received:
        # What only an earlier bundle had.
        for path in set(carried) - {"manifest.json", *manifest(directory, digest)}:
            (directory / path).unlink(missing_ok=True)
            del carried[path]


def lacking(directory, wanted, digests, record, *, carry):
    """The wanted files that are not there; of those that the controller carries, also those of an earlier bundle."""
    carried = record.data.get("carried", {})
    return [
        path for path in wanted if not (directory / path).is_file() or (carry and carried.get(path) != digests[path])
    ]


def current(dest, expected, entry):
    """Whether a program in place is the wanted one; `entry` is the record of its last verification."""
    try:
        status = dest.stat()
    except FileNotFoundError:
        return False
    if status.st_mode & 0o7777 != 0o755:
        return False
    known = (entry.get("sha256"), entry.get("size"), entry.get("mtime"))
    if known == (expected, status.st_size, status.st_mtime_ns):
        return True
    return sha256(dest) == expected


def put(directory, files, digests, record, check_mode):
    """Bring the programs into place; return the changes."""
    changes = []
    for entry in files:
        dest, expected = Path(entry["dest"]), digests[entry["path"]]
        if not current(dest, expected, record.data["files"].get(str(dest), {})):
            changes.append(f"{'change' if dest.exists() else 'create'} {dest}")
            if check_mode:
                continue
            record.directory(dest.parent)
            record.own(dest)
            copy(directory / entry["path"], dest, expected)
        if not check_mode:
            status = dest.stat()
            record.own(dest, sha256=expected, size=status.st_size, mtime=status.st_mtime_ns)
    return changes


def bring(bundle, record, check_mode):
    """Bring programs of a bundle into place; `bundle` has the options of the module `install`.

    Returns what was done, and what the host's bundle directory lacks: nothing is done while there is any.
    """
    directory, digest, files = Path(bundle["directory"]), bundle["digest"], bundle.get("files") or []
    received = bundle.get("received") or {}
    receive(directory, received, digest, record)
    changes = [f"receive {path}" for path in received]
    if bundle.get("source") and record.data.get("carried", {}).get("manifest.json") != digest:
        return changes, ["manifest.json"]
    digests = manifest(directory, digest)
    wanted = [*(entry["path"] for entry in files), *(bundle.get("need") or [])]
    if unknown := [path for path in wanted if path not in digests]:
        raise RefusedError(f"the bundle's manifest does not name {', '.join(unknown)}")
    missing = lacking(directory, wanted, digests, record, carry=bool(bundle.get("source")))
    return changes + ([] if missing else put(directory, files, digests, record, check_mode)), missing
