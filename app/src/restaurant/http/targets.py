"""Where a request may send a browser to: paths of this service, and nothing else."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from flask import request


def local_path(target: str, *, default: str) -> str:
    """`target` rebuilt from its parts if it is a path of this service, else `default`.

    Browsers drop tabs and line breaks from addresses and read a backslash as a slash, so ``/<tab>/evil.example`` is
    another site's address to them.
    """
    if "\\" in target or any(ord(character) < 33 or ord(character) == 127 for character in target):
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    if parts.scheme or parts.netloc or not parts.path.startswith("/") or parts.path.startswith("//"):
        return default
    if request.root_path and not parts.path.startswith(f"{request.root_path}/"):
        return default
    return urlunsplit(("", "", parts.path, parts.query, ""))


def previous_page(*, default: str) -> str:
    """The page of this service that the request came from, else `default`."""
    try:
        parts = urlsplit(request.referrer or "")
    except ValueError:
        return default
    if parts.netloc != request.host:
        return default
    return local_path(urlunsplit(("", "", parts.path, parts.query, "")), default=default)
