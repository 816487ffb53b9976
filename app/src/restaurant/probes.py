"""The second port: /healthz, /readyz, /metrics and /drain.

It has threads of its own, so full request threads can never fail a liveness probe and get the pod killed for
being busy. Liveness never touches the database; readiness does.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from restaurant.fault_injection import Faults
from restaurant.lifecycle import Lifecycle


class ProbeServer(ThreadingHTTPServer):
    """Serves the probes of one process until that process ends."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], lifecycle: Lifecycle, *, drain_seconds: float) -> None:
        super().__init__(address, _Handler)
        self.lifecycle = lifecycle
        self.drain_seconds = drain_seconds

    def start(self) -> None:
        """Serve in a thread that does not keep the process alive."""
        threading.Thread(target=self.serve_forever, name="probes", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: ProbeServer

    def do_GET(self) -> None:
        """Answer a probe."""
        match self.path.partition("?")[0]:
            case "/healthz":
                self._answer(200, {"status": "ok"})
            case "/readyz":
                problem = self.server.lifecycle.problem()
                self._answer(503 if problem else 200, {"status": problem or "ok"})
            case "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, generate_latest())
            case "/drain":
                # A preStop hook waits for this answer: it comes when load balancers have had the time to
                # see the failing readiness and to send no more.
                self.server.lifecycle.drain()
                time.sleep(self.server.drain_seconds)
                self._answer(200, {"status": "drained"})
            case "/faults" if self.server.lifecycle.switch is not None:
                try:
                    faults = Faults.parse(self.path.partition("?")[2])
                except ValueError:
                    self._answer(422, {"status": "supported faults: slow, slow_database, error, unready"})
                    return
                self.server.lifecycle.switch.faults = faults
                self._answer(200, {"status": repr(faults)})
            case _:
                self._answer(404, {"status": "not found"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Log nothing: probes arrive every few seconds."""

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
