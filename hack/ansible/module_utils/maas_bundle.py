"""Verify and install files of a bundle on a host.

The host trusts the manifest with the digest that the controller gave, and verifies other files against the manifest. It
verifies an installed file again only if its size or modification time has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

CHUNK = 1 << 20


class RefusedError(Exception):
    """A file does not match the manifest."""


def sha256(path):
    """Return the digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def manifest(directory, digest):
    """Verify the manifest and return the sha256 of each path in it."""
    data = (directory / "manifest.json").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise RefusedError(f"{directory}/manifest.json has sha256 {found}, expected {digest} as on the controller")
    return {item["path"]: item["sha256"] for item in json.loads(data)["items"]}


def verified(directory, digest, path):
    """Verify a file of the bundle and return its path."""
    file, expected = directory / path, manifest(directory, digest)[path]
    found = sha256(file)
    if found != expected:
        raise RefusedError(f"{file} has sha256 {found}, expected {expected} as in the manifest")
    return file


def copy(source, dest, expected):
    """Copy a program and verify its digest; does not replace the destination if the digest is wrong."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=dest.parent, prefix=f".{dest.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink, source.open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
                sink.write(block)
        if digest.hexdigest() != expected:
            raise RefusedError(f"{source} has sha256 {digest.hexdigest()}, expected {expected} as in the manifest")
        part.chmod(0o755)
        part.replace(dest)  # a running program keeps its old file
    finally:
        part.unlink(missing_ok=True)


def receive(directory, received, digest, record):
    """Verify files from the controller, move them to the bundle directory and record them."""
    carried = record.data.setdefault("carried", {})
    for path, source in received.items():
        dest = directory / path
        record.directory(dest.parent)
        expected = digest if path == "manifest.json" else manifest(directory, digest)[path]
        copy(Path(source), dest, expected)
        dest.chmod(0o644)
        carried[path] = expected
    if "manifest.json" in received:
        # Files of an earlier bundle.
        for path in set(carried) - {"manifest.json", *manifest(directory, digest)}:
            (directory / path).unlink(missing_ok=True)
            del carried[path]


def missing_files(directory, wanted, digests, record, *, carry):
    """Return the wanted files that are missing, or, if the controller transfers them, of an earlier bundle."""
    carried = record.data.get("carried", {})
    return [
        path for path in wanted if not (directory / path).is_file() or (carry and carried.get(path) != digests[path])
    ]


def current(dest, expected, entry):
    """Return whether an installed program is up to date; `entry` is the record of its last verification."""
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


def copy_programs(directory, files, digests, record, check_mode):
    """Install the programs that differ; return the changes."""
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


def install_programs(bundle, record, check_mode):
    """Install programs of a bundle; `bundle` has the options of the module `install`.

    Returns the changes, and the files that the bundle directory lacks. Installs nothing while a file is missing.
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
        raise RefusedError(f"the bundle's manifest does not contain {', '.join(unknown)}")
    missing = missing_files(directory, wanted, digests, record, carry=bool(bundle.get("source")))
    return changes + ([] if missing else copy_programs(directory, files, digests, record, check_mode)), missing
