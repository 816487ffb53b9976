"""Structured logs on standard output: one JSON object a line, with the request's id on each.

Libraries that use `logging` (gunicorn, SQLAlchemy, Alembic) go through the same renderer.
"""

from __future__ import annotations

import logging
import secrets
import sys
import time
from typing import Any

import structlog
from flask import Flask, Response, g, request
from structlog.typing import Processor

from restaurant.metrics import route_template

log = structlog.get_logger()


def configure(*, level: str, log_format: str) -> None:
    """Set up structlog and the root logger. `log_format` is ``json`` or ``text``."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)


class GunicornLogger:
    """gunicorn's logger class, on top of `logging`; the application itself logs requests."""

    def __init__(self, _config: object) -> None:
        self.error_log = logging.getLogger("gunicorn")
        for name in ("critical", "error", "warning", "info", "debug", "exception", "log"):
            setattr(self, name, getattr(self.error_log, name))

    def access(self, *_arguments: object) -> None:
        """Nothing: `register` logs each request with its route and id."""

    def reopen_files(self) -> None:
        """Nothing: the logs go to standard output."""

    def close_on_exec(self) -> None:
        """Nothing: there are no log files."""


def register(app: Flask) -> None:
    """Give every request of `app` an id, echo it in the answer and log the request when it is answered."""

    @app.before_request
    def identify() -> None:
        given = request.environ.get("HTTP_X_REQUEST_ID", "")
        if not (0 < len(given) <= 64 and given.isascii() and given.isprintable()):
            given = secrets.token_hex(16)
        g.request_id = given
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=given)

    @app.after_request
    def record(response: Response) -> Response:
        response.headers.add("X-Request-ID", g.request_id)
        fields: dict[str, Any] = {
            "method": request.method,
            "route": route_template(),
            "status": response.status_code,
            "milliseconds": round((time.perf_counter() - g.started) * 1000, 1),
            "client": request.remote_addr,
        }
        # Every screen asks every two seconds whether the service is within reach.
        log.log(logging.DEBUG if request.endpoint == "network.pulse" else logging.INFO, "request", **fields)
        return response
