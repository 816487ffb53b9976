"""The OpenAPI 3.1 document, made from the declared operations. `restaurant openapi` writes it."""

from __future__ import annotations

import inspect
import json
import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from restaurant import __version__
from restaurant.http.api import KEY_LENGTH, Api, Operation
from restaurant.http.guard import Guard
from restaurant.people.permissions import Access, Permission, Rule

_PARAMETER = re.compile(r"<(\w+):(\w+)>")
_PATH_TYPES: dict[str, dict[str, Any]] = {
    "key": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
}


_REFERENCE = "#/components/schemas/{model}"

web = Blueprint("openapi", __name__)


class FieldFault(BaseModel):
    """Where in the request something is wrong, as a JSON pointer, and what."""

    pointer: str
    detail: str


class ProblemView(BaseModel):
    """Problem details (RFC 9457). `type` is stable for programs, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldFault] = Field(default=[])


@web.get("/api/v1/openapi.json")
def served() -> Response:
    """The document, for clients and their generators."""
    found = document(current_app, root=request.root_path)
    return Response(json.dumps(found, ensure_ascii=False), content_type="application/json")


def document(app: Flask, *, root: str = "") -> dict[str, Any]:
    """The document of all operations of `app`, which is reached below the path `root`."""
    guard: Guard = app.extensions["guard"]
    pairs = [(api, operation) for api in _apis(app) for operation in api.operations]
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemView, "serialization"): None}
    for _api, operation in pairs:
        for model, mode in ((operation.reply, "serialization"), (operation.body, "validation")):
            if model is not None:
                models[(model, "serialization" if mode == "serialization" else "validation")] = None
    references, schemas = models_json_schema(list(models), ref_template=_REFERENCE)
    for _api, operation in pairs:
        if operation.query is not None:
            # What a query refers to, such as the states of an order, is a schema of its own too.
            schemas["$defs"] |= operation.query.model_json_schema(ref_template=_REFERENCE).get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for api, operation in sorted(pairs, key=lambda pair: (pair[1].path, pair[1].method)):
        path = "/api/v1" + _PARAMETER.sub(r"{\2}", operation.path)
        rule = guard.rule(f"{api.name}.{operation.function.__name__}", operation.method)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, api, rule, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gestion Restaurant",
            "version": __version__,
            "description": "Amounts are whole cents with tax; VAT rates are hundredths of a percent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def _apis(app: Flask) -> list[Api]:
    return [blueprint for blueprint in app.blueprints.values() if isinstance(blueprint, Api)]


def _operation(operation: Operation, api: Api, rule: Rule | None, references: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.function.__name__,
        "tags": [api.name.removeprefix("api_")],
        "summary": (inspect.getdoc(operation.function) or "").splitlines()[0],
        "parameters": _parameters(operation),
        "responses": _responses(operation, rule, references),
    }
    if rule is not Access.PUBLIC:
        described["security"] = [{"session": []}]
    if isinstance(rule, Permission):
        described["x-permission"] = rule.value
    if operation.body is not None:
        schema = references[(operation.body, "validation")]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_TYPES[kind]}
        for kind, name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        schema = operation.query.model_json_schema(ref_template=_REFERENCE)
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": entry}
            for name, entry in schema["properties"].items()
        ]
    if operation.idempotent:
        key = {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[!-~]+$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": True, "schema": key})
    if operation.if_match:
        tag = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'}
        parameters.append({"name": "If-Match", "in": "header", "required": True, "schema": tag})
    return parameters


def _responses(operation: Operation, rule: Rule | None, references: dict[Any, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": operation.status.phrase}
    if operation.reply is not None:
        schema = references[(operation.reply, "serialization")]
        success["content"] = {"application/json": {"schema": schema}}
    if operation.versioned:
        success["headers"] = {"ETag": {"schema": {"type": "string"}}}
    refusals = {*operation.refusals, HTTPStatus.SERVICE_UNAVAILABLE}
    if operation.method != "GET":
        refusals |= {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
    if rule is not Access.PUBLIC:
        refusals |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if _PARAMETER.search(operation.path):
        refusals.add(HTTPStatus.NOT_FOUND)
    if operation.query is not None or operation.body is not None or operation.idempotent:
        refusals.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    if operation.body is not None:
        refusals.add(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if operation.if_match:
        refusals |= {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED}
    problem = {"application/problem+json": {"schema": references[(ProblemView, "serialization")]}}
    return {
        str(int(operation.status)): success,
        **{str(int(status)): {"description": status.phrase, "content": problem} for status in sorted(refusals)},
    }
