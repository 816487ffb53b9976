"""Security headers, and protection against cross-site requests."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, RequestEntityTooLarge

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)

_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def register(app: Flask, *, https: bool) -> None:
    """Protect every request and answer of `app`."""

    always = [*_HEADERS]
    if https:
        always.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))

    @app.before_request
    def refuse_cross_site() -> None:
        # The browser itself says where a request comes from (Fetch Metadata, or Origin in older browsers), so
        # no token is needed; programs send neither header and carry no cookies of a user's browser.
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            return
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            allowed = site in {"same-origin", "none"}
        else:
            origin = request.headers.get("Origin")
            allowed = origin is None or urlsplit(origin).netloc == request.host
        if not allowed:
            raise Forbidden

    @app.before_request
    def refuse_long_chunks() -> None:
        # A body without a length is cut at the limit, not refused: what was read of it must not pass for the whole.
        chunked = "HTTP_TRANSFER_ENCODING" in request.environ and request.content_length is None
        if chunked and len(request.get_data()) >= app.config["MAX_CONTENT_LENGTH"]:
            raise RequestEntityTooLarge

    @app.before_request
    def refuse_nul() -> None:
        # PostgreSQL's text cannot hold it and no person ever types it: it is refused before any form is read.
        if request.method == "GET" and not request.query_string:
            return
        given = [request.args] if request.query_string else []
        if request.mimetype in _FORMS:
            given.append(request.form)
        for values in given:
            if any("\0" in name or "\0" in value for name, value in values.items(multi=True)):
                raise BadRequest

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
        headers.setdefault("Cache-Control", "no-store")
        headers.extend(always)
        return response
