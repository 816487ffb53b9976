"""Operations of the REST API: one declaration says how a request is read, what it may answer, and runs it.

The same declaration is the source of the OpenAPI document, so the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from restaurant.database import Database
from restaurant.errors import BadRequest, Invalid
from restaurant.http import idempotency
from restaurant.i18n import gettext as _

Handler = Callable[..., BaseModel]

#: The longest Idempotency-Key that is accepted.
KEY_LENGTH = 100


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    function: Handler
    reply: type[BaseModel]
    status: HTTPStatus
    body: type[BaseModel] | None
    idempotent: bool
    refusals: tuple[HTTPStatus, ...]


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
        reply: type[BaseModel],
        status: HTTPStatus = HTTPStatus.OK,
        body: type[BaseModel] | None = None,
        idempotent: bool = False,
        refusals: tuple[HTTPStatus, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declare an operation. Its function takes the session, the path's values and, if declared, `body`."""

        def declare(function: Handler) -> Handler:
            operation = Operation(
                method=method,
                path=path,
                function=function,
                reply=reply,
                status=status,
                body=body,
                idempotent=idempotent,
                refusals=refusals,
            )
            self.operations.append(operation)
            self.add_url_rule(path, function.__name__, _view(operation), methods=[method])
            return function

        return declare


def _view(operation: Operation) -> Callable[..., Response]:
    def view(**values: object) -> Response:
        database: Database = current_app.extensions["database"]
        if operation.method == "GET":
            with database.reading() as session:
                return _json(operation.status, operation.function(session, **values).model_dump_json())
        arguments: dict[str, Any] = dict(values)
        key = _idempotency_key() if operation.idempotent else None
        if operation.body is not None:
            arguments["body"] = _read_body(operation.body)
        with database.writing() as session:
            if key is None:
                return _json(operation.status, operation.function(session, **arguments).model_dump_json())
            claimed = idempotency.claim(session, scope=request.path[:80], key=key, content=request.get_data())
            if claimed.replay is not None:
                status, text = claimed.replay
                response = _json(status, text)
                response.headers["Idempotent-Replayed"] = "true"
                return response
            text = operation.function(session, **arguments).model_dump_json()
            idempotency.keep(session, claimed, status=operation.status, body=text)
        return _json(operation.status, text)

    return view


def _json(status: int, text: str) -> Response:
    return Response(text, status=status, content_type="application/json")


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise BadRequest(
            _("Send an Idempotency-Key header of 1 to {length} characters.", length=KEY_LENGTH),
            code="idempotency-key-missing",
        )
    return key


def _read_body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        if problems[0]["type"] == "json_invalid":
            raise BadRequest(_("The body is not valid JSON."), code="malformed-json") from error
        fields = {"/" + "/".join(str(part) for part in entry["loc"]): entry["msg"] for entry in problems}
        raise Invalid(_("Some values are missing or wrong."), fields=fields) from error
