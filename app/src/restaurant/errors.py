"""Refusals, as exceptions that every layer may raise, and their responses.

The API responds with RFC 9457 problem details, pages with a page; that is decided here alone.
"""

from __future__ import annotations

from http import HTTPStatus

import structlog
from flask import Flask, Response, g, json, render_template, request, url_for
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from restaurant.http.targets import previous_page
from restaurant.i18n import gettext as _

log = structlog.get_logger()

PROBLEM = "application/problem+json"


class Problem(Exception):  # noqa: N818  # the name RFC 9457 gives it
    """A refusal a person can act on. `code` is stable for programs, `detail` is for people."""

    status = HTTPStatus.BAD_REQUEST
    code = "bad-request"

    def __init__(self, detail: str, *, code: str | None = None, fields: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields or {}
        self.code = code or type(self).code
        self.headers: dict[str, str] = {}


class BadRequest(Problem):
    """The request itself cannot be understood."""


class Invalid(Problem):
    """The request is understood but its values are not acceptable; `fields` says which."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"


class NotFound(Problem):
    """There is no such thing, or not for this user."""

    status = HTTPStatus.NOT_FOUND
    code = "not-found"


class Conflict(Problem):
    """The thing's present state does not allow this."""

    status = HTTPStatus.CONFLICT
    code = "conflict"


def wants_problem_json() -> bool:
    """Whether this request is one of the API, or a page's script sent a form."""
    return request.path.startswith("/api/") or sent_by_script()


def sent_by_script() -> bool:
    """Whether a page's script sent this form: it shows a refusal where the form is."""
    return request.headers.get("Accept") == PROBLEM


def problem_response(status: int, *, code: str, detail: str, fields: dict[str, str] | None = None) -> Response:
    """An ``application/problem+json`` answer."""
    body: dict[str, object] = {
        "type": f"urn:restaurant:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "request_id": g.get("request_id", ""),
    }
    if fields:
        body["errors"] = [{"pointer": pointer, "detail": text} for pointer, text in fields.items()]
    return Response(json.dumps(body), status=status, content_type=PROBLEM)


def _answer(status: int, *, code: str, detail: str, fields: dict[str, str] | None = None) -> Response:
    if wants_problem_json():
        return problem_response(status, code=code, detail=detail, fields=fields)
    # The page must not query the signed-in user: the database may be what failed.
    g.setdefault("user", None)
    # Back to the form, where what was typed can be corrected; else to where this person begins.
    start = url_for("home.first_page" if g.user is not None else "orders.menu_page")
    back = previous_page(default=start)
    page = render_template("problem.html", status=status, detail=detail, fields=fields or {}, back=back, start=start)
    return Response(page, status=status, content_type="text/html; charset=utf-8")


def register(app: Flask) -> None:
    """Answer refusals and failures of `app`, and tell scripts where a form leads instead of leading them there."""

    @app.after_request
    def name_target(response: Response) -> Response:
        if response.status_code == HTTPStatus.SEE_OTHER and sent_by_script():
            response.status_code = HTTPStatus.NO_CONTENT
            response.set_data(b"")
            del response.headers["Content-Type"]
        return response

    @app.errorhandler(Problem)
    def refused(error: Problem) -> Response:
        response = _answer(error.status, code=error.code, detail=error.detail, fields=error.fields)
        response.headers.update(error.headers)
        return response

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        code = HTTPStatus(status).phrase.lower().replace(" ", "-")
        response = _answer(status, code=code, detail=_message(status))
        for name, value in error.get_headers():
            if name.lower() not in {"content-type", "content-length"}:
                response.headers[name] = value
        return response

    @app.errorhandler(OperationalError)
    @app.errorhandler(PoolTimeoutError)
    def database_away(error: OperationalError | PoolTimeoutError) -> Response:
        log.error("database unavailable", error=str(error.__cause__ or error))
        response = _answer(503, code="database-unavailable", detail=_message(503))
        response.headers["Retry-After"] = "5"
        return response

    @app.errorhandler(DataError)
    def unfit(error: DataError) -> Response:
        # Values are limited before they come here: this is for a sum of them that nobody thought of.
        log.error("value out of range", error=str(error.__cause__ or error))
        return _answer(422, code="out-of-range", detail=_("A number in this request is too large."))

    @app.errorhandler(Exception)
    def failed(_error: Exception) -> Response:
        log.exception("request failed")
        return _answer(500, code="internal", detail=_message(500))


def _message(status: int) -> str:
    match status:
        case 400:
            return _("The request could not be understood.")
        case 403:
            return _("This request came from another site.")
        case 404:
            return _("This page does not exist.")
        case 405:
            return _("This address does not accept that method.")
        case 413:
            return _("The request is too large.")
        case 503:
            return _("The service is temporarily unavailable. Please try again in a moment.")
        case _:
            return _("Something went wrong on our side. Nothing was changed.")
