"""An API server with one Lease: versions of objects, preconditions and the clock are those of Kubernetes, nothing else is."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Object = dict[str, Any]

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
_STARTED = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)


def lease(holder: str = "anna@laptop (PID 7, upgrade of shop)", **spec: Any) -> Object:
    """Return a Lease that was acquired and renewed when the server started."""
    times = {"acquireTime": f"{_STARTED:%FT%T.%fZ}", "renewTime": f"{_STARTED:%FT%T.%fZ}"}
    return {"holderIdentity": holder, "leaseDurationSeconds": 60, **times, **spec}


@dataclass
class LeaseServer:
    """The Lease, and how the server answers.

    Attributes:
        port: Its port on loopback.
        now: Its clock.
        spec: The Lease; None while there is none.
        version: The version of the Lease.
        status: The status of every answer, in place of the right one.
        html: Whether every answer is a web page.
    """

    port: int = 0
    now: datetime = _STARTED
    spec: Object | None = None
    version: int = 1
    status: int | None = None
    html: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def holder(self) -> str:
        """Who holds the Lease, empty if that is nobody."""
        return str((self.spec or {}).get("holderIdentity", ""))

    def later(self, seconds: float) -> None:
        """Set the clock forward."""
        self.now += timedelta(seconds=seconds)

    def kubeconfig(self, directory: Path) -> Path:
        """Write a kubeconfig into a directory."""
        file = directory / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        file.write_text(json.dumps(config), encoding="utf-8")
        return file

    def answer(self, method: str, path: str, body: Object) -> tuple[int, Object]:
        """Return status and body of the answer to a request."""
        if self.status is not None:
            return self.status, _failure(self.status)
        if path == "/version":
            return 200, {"gitVersion": "v1.37.0"}
        if not path.startswith(_LEASES):
            return 404, _failure(404)
        with self.lock:
            return self._change(method, body)

    def _change(self, method: str, body: Object) -> tuple[int, Object]:
        if (self.spec is None) == (method == "POST"):
            meta: Object = body.get("metadata") or body.get("preconditions") or {}
            given = meta.get("resourceVersion")
            if method in {"PUT", "DELETE"} and given != str(self.version):
                return 409, _failure(409)
            times = [value for name, value in body.get("spec", {}).items() if name.endswith("Time")]
            if not all(_MICRO_TIME.fullmatch(value) for value in times):
                return 400, _failure(400)
            if method != "GET":
                self.version += 1
                self.spec = None if method == "DELETE" else body["spec"]
            return (201 if method == "POST" else 200), self._lease() if self.spec is not None else {"kind": "Status"}
        wrong = 409 if method == "POST" else 404
        return wrong, _failure(wrong)

    def _lease(self) -> Object:
        metadata = {"name": "maas-operation", "namespace": "kube-system", "resourceVersion": str(self.version)}
        found: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        return {**found, "spec": self.spec} if self.spec else found


def _failure(code: int) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": f"status {code}", "code": code}


@contextlib.contextmanager
def serve() -> Iterator[LeaseServer]:
    """Serve a Lease on loopback while the block runs."""
    made = LeaseServer()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = made.answer(self.command, self.path.partition("?")[0], json.loads(text or "{}"))
            kind, content = ("text/html", "<p>Log in</p>") if made.html else ("application/json", json.dumps(body))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the base class names them so

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - it has the server's clock
            return format_datetime(made.now, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.port = server.server_port
        yield made
        server.shutdown()
