"""Static files under addresses that change with their content, so that browsers may cache them without limit."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, request, url_for

STATIC = Path(__file__).parent.parent / "static"


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of the static file `name`."""
    return url_for("static", filename=name, v=_version(name))


def register(app: Flask) -> None:
    """Give templates `asset` and let versioned files be cached."""
    app.jinja_env.globals["asset"] = asset

    @app.after_request
    def cache_versioned(response: Response) -> Response:
        if request.endpoint == "static" and "v" in request.args and response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
