"""What a host may believe of a bundle: the manifest whose digest the controller gave, and the digests in it."""

from __future__ import annotations

import hashlib
import json

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
