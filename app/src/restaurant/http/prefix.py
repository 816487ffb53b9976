"""Serving below a path of a host, such as ``https://example.org/restaurant``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Segments of unreserved characters: nothing that a browser reads as another host or that needs quoting.
PATTERN = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){0,8}"
_VALID = re.compile(PATTERN)


class Prefix:
    """WSGI middleware with the path below which the service is reached, so that all its addresses begin with it.

    A proxy that removes the path from its requests says so in X-Forwarded-Prefix, which `ProxyFix` has read if the
    proxy is trusted. The prefix that is set is for all other requests; it is removed from those that have it.
    """

    def __init__(self, app: WSGIApplication, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Set SCRIPT_NAME, from which addresses are made."""
        forwarded = str(environ.get("SCRIPT_NAME", "")).rstrip("/")
        if forwarded and len(forwarded) <= 200 and _VALID.fullmatch(forwarded):
            environ["SCRIPT_NAME"] = forwarded
        else:
            environ["SCRIPT_NAME"] = self.prefix
            path = environ.get("PATH_INFO", "")
            if self.prefix and (path == self.prefix or path.startswith(self.prefix + "/")):
                environ["PATH_INFO"] = path[len(self.prefix) :] or "/"
        return self.app(environ, start_response)


def own_path() -> str:
    """The path of this request with its query, as a browser sends it."""
    return request.root_path + request.full_path.rstrip("?")


def cookie_path() -> str:
    """The path of this service's cookies, which other services of the host do not get."""
    return request.root_path or "/"
