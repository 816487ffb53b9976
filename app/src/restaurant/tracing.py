"""OpenTelemetry traces: a span for each request and one for each statement. Loaded only when an endpoint is set.

Made by hand: the ready-made instrumentations of Flask and SQLAlchemy are betas, and two spans need no more than this.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, request
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from sqlalchemy import Engine, event
from structlog.contextvars import bind_contextvars

from restaurant import __version__
from restaurant.metrics import route_template


def register(
    app: Flask, engine: Engine, *, endpoint: str, ratio: float, exporter: SpanExporter | None = None
) -> TracerProvider:
    """Trace every request of `app` and its database statements, and send the spans to `endpoint`."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": "restaurant", "service.version": __version__}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    tracer = provider.get_tracer("restaurant", __version__)

    @app.before_request
    def begin() -> None:
        caller = propagate.extract({name.lower(): value for name, value in request.headers.items()})
        g.span = tracer.start_span(f"{request.method} {route_template()}", context=caller, kind=trace.SpanKind.SERVER)
        g.span_scope = trace.use_span(g.span)
        g.span_scope.__enter__()
        bind_contextvars(trace_id=f"{g.span.get_span_context().trace_id:032x}")

    @app.after_request
    def describe(response: Response) -> Response:
        if (span := g.get("span")) is not None:
            span.set_attributes(
                {
                    "http.request.method": request.method,
                    "http.route": route_template(),
                    "http.response.status_code": response.status_code,
                    "restaurant.request_id": g.get("request_id", ""),
                }
            )
            if response.status_code >= 500:
                span.set_status(trace.StatusCode.ERROR)
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        span, scope = g.pop("span", None), g.pop("span_scope", None)
        if span is not None and scope is not None:
            scope.__exit__(None, None, None)
            if error is not None:
                span.record_exception(error)
            span.end()

    _trace_statements(engine, tracer)
    return provider


def _trace_statements(engine: Engine, tracer: trace.Tracer) -> None:
    system = "postgresql" if engine.dialect.name == "postgresql" else "sqlite"

    @event.listens_for(engine, "before_cursor_execute")
    def before(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        verb = statement.split(None, 1)[0].upper()
        # The text, never its parameters: those are guests' names.
        attributes = {"db.system.name": system, "db.query.text": statement[:2000]}
        context.restaurant_span = tracer.start_span(verb, kind=trace.SpanKind.CLIENT, attributes=attributes)

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.restaurant_span.end()

    @event.listens_for(engine, "handle_error")
    def failed(context: Any) -> None:
        span = getattr(context.execution_context, "restaurant_span", None)
        if span is not None:
            span.set_status(trace.StatusCode.ERROR)
            span.end()
