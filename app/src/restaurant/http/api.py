"""Operations of the REST API: one declaration defines a request, its responses and the function that handles it.

The same declaration is the source of the OpenAPI document, so the two cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Protocol, cast

from flask import Blueprint, Response, current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from restaurant.database import Database
from restaurant.errors import BadRequest, Invalid, Problem
from restaurant.http import faults, idempotency
from restaurant.i18n import gettext as _

Handler = Callable[..., BaseModel | None]

#: A list of entity tags (RFC 9110, 8.8.3), of which some may be empty, and one of them.
_ENTITY_TAGS = re.compile(r'(?:\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")?\s*(?:,|$))+')
_ENTITY_TAG = re.compile(r'"([^"]*)"')

#: The longest Idempotency-Key that is accepted.
KEY_LENGTH = 100


class PreconditionRequired(Problem):
    """An edit without `If-Match` could overwrite someone else's."""

    status = HTTPStatus.PRECONDITION_REQUIRED
    code = "if-match-missing"


class Stale(Problem):
    """The thing has changed since the client read it."""

    status = HTTPStatus.PRECONDITION_FAILED
    code = "stale"


class Versioned(Protocol):
    """A reply or a model that counts its changes."""

    version: int


@dataclass(frozen=True)
class Versions:
    """The versions that an `If-Match` names; `anything` for `*`, which only asks that the thing exists."""

    named: frozenset[int]
    anything: bool = False


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    function: Handler
    reply: type[BaseModel] | None
    status: HTTPStatus
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    idempotent: bool
    if_match: bool
    refusals: tuple[HTTPStatus, ...]

    @cached_property
    def versioned(self) -> bool:
        """Whether the reply carries an ETag."""
        return self.reply is not None and "version" in self.reply.model_fields


class Api(Blueprint):
    """A blueprint whose routes are operations under ``/api/v1``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"api_{name}", __name__, url_prefix="/api/v1")
        self.operations: list[Operation] = []

    def operation(
        self,
        method: str,
        path: str,
        *,
        reply: type[BaseModel] | None,
        status: HTTPStatus = HTTPStatus.OK,
        body: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
        idempotent: bool = False,
        if_match: bool = False,
        refusals: tuple[HTTPStatus, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declare an operation.

        Its function takes the session, the path's values and, if declared, `body`, `query` and as `version` what the
        client's `If-Match` names. Without a `reply` the answer is 204.
        """

        def declare(function: Handler) -> Handler:
            operation = Operation(
                method=method,
                path=path,
                function=function,
                reply=reply,
                status=HTTPStatus.NO_CONTENT if reply is None else status,
                body=body,
                query=query,
                idempotent=idempotent,
                if_match=if_match,
                refusals=refusals,
            )
            self.operations.append(operation)
            self.add_url_rule(path, function.__name__, _view(operation), methods=[method])
            return function

        return declare


def require_version(thing: Versioned, version: int | Versions) -> None:
    """Raise `Stale` unless the client has seen the present state of `thing`."""
    seen = version if isinstance(version, Versions) else Versions(frozenset({version}))
    if not seen.anything and thing.version not in seen.named:
        raise stale()


def stale() -> Stale:
    """The refusal of a change that was made from an earlier state."""
    return Stale(_("Someone else has changed this in the meantime. Reload the page and make your change again."))


def _view(operation: Operation) -> Callable[..., Response]:
    def view(**values: object) -> Response:
        database: Database = current_app.extensions["database"]
        arguments: dict[str, Any] = dict(values)
        if operation.query is not None:
            arguments["query"] = _read_query(operation.query)
        if operation.method == "GET":
            with database.reading() as session:
                # What the client already has, by its ETag, is not sent again (RFC 9110, 13.1.2).
                response = _answer(operation, operation.function(session, **arguments))
                if operation.versioned:
                    response.make_conditional(request)
                return response
        key = _idempotency_key() if operation.idempotent else None
        if operation.if_match:
            arguments["version"] = _if_match()
        if operation.body is not None:
            arguments["body"] = _read_body(operation.body)
        with database.writing() as session:
            if key is None:
                return _answer(operation, operation.function(session, **arguments))
            scope = f"{request.method}:{request.path}"
            claimed = idempotency.claim(session, scope=scope, key=key, content=request.get_data())
            if claimed.replay is not None:
                status, text = claimed.replay
                response = Response(text, status=status, content_type="application/json")
                response.headers["Idempotent-Replayed"] = "true"
                return response
            response = _answer(operation, operation.function(session, **arguments))
            idempotency.keep(session, claimed, status=response.status_code, body=response.get_data(as_text=True))
        return response

    return view


def _answer(operation: Operation, reply: BaseModel | None) -> Response:
    if reply is None:
        return Response(status=HTTPStatus.NO_CONTENT)
    response = Response(reply.model_dump_json(), status=operation.status, content_type="application/json")
    if operation.versioned:
        response.set_etag(str(cast("Versioned", reply).version))
    return response


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise BadRequest(
            _("Send an Idempotency-Key header of 1 to {length} characters.", length=KEY_LENGTH),
            code="idempotency-key-missing",
        )
    return key


def _if_match() -> Versions:
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise PreconditionRequired(_("Send the ETag you have read in an If-Match header."))
    if header == "*":
        return Versions(frozenset(), anything=True)
    tags = _ENTITY_TAG.findall(header) if _ENTITY_TAGS.fullmatch(header) else []
    # An ETag we never gave is one that does not match. Proxies that compress a reply make its ETag weak: ours names a
    # version of the thing, not the bytes of a reply, so it remains what was read.
    return Versions(frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 10))


def _read_body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        # Strictly: `true` is no amount of one cent, nor is "1".
        return model.model_validate_json(request.get_data(), strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise BadRequest(_("The body is not valid JSON."), code="malformed-json") from error
        raise _invalid(error) from error


def _read_query(model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> Invalid:
    fields = {"/" + "/".join(str(part) for part in entry["loc"]): faults.describe(entry) for entry in error.errors()}
    return Invalid(_("Some values are missing or invalid."), fields=fields)
