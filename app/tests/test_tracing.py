"""Traces: a span for each request with the statements in it, none unless an endpoint is set."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from restaurant import tracing
from restaurant.app import create_app
from restaurant.settings import Settings
from support import order_body, place

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_request_is_a_span_of_its_callers_trace_and_its_statements_are_spans_in_it(settings: Settings) -> None:
    app = create_app(settings)
    found = InMemorySpanExporter()
    database = app.extensions["database"]
    provider = tracing.register(app, database.engine, endpoint="http://unused", ratio=0.0, exporter=found)
    client = app.test_client()
    assert client.get("/").status_code == 200
    client.environ_base["HTTP_TRACEPARENT"] = PARENT
    assert place(client, order_body(guest="Secret Name")).status_code == 201
    client.environ_base["HTTP_TRACEPARENT"] = PARENT
    assert place(client, order_body(lines=[{"dish": 999}]), key="k2").status_code == 422
    provider.force_flush()
    spans = found.get_finished_spans()
    requests = [span for span in spans if span.name == "POST /api/v1/orders"]
    # The first request had no caller that wanted it traced, and the ratio is 0.
    assert [span.attributes["http.response.status_code"] for span in requests if span.attributes] == [201, 422]
    assert {f"{span.context.trace_id:032x}" for span in spans if span.context} == {PARENT.split("-")[1]}
    assert requests[0].context is not None
    inside = [span for span in spans if span.parent and span.parent.span_id == requests[0].context.span_id]
    assert len(inside) >= 3
    assert "Secret Name" not in repr([dict(span.attributes or {}) for span in spans])
    database.engine.dispose()


def test_nothing_of_opentelemetry_is_loaded_without_an_endpoint() -> None:
    code = "import sys, restaurant.server; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
