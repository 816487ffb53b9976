"""A local web server for a chart repository, to test a release before it is published."""

from __future__ import annotations

import contextlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from maas import console, paths
from maas.errors import UsageError
from maas.release import repository

if TYPE_CHECKING:
    from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        console.line(f"  {self.address_string()} {format % args}")


def server(directory: Path, port: int) -> ThreadingHTTPServer:
    """Return a web server on loopback that serves a directory; port 0 means any free port.

    Raises:
        UsageError: The directory is not a chart repository, or the port is in use.
    """
    if not (directory / repository.FILE).is_file():
        raise UsageError(
            f"{directory} is not a chart repository",
            hint="publish a release to it first",
            command=paths.command("publish", "dist/VERSION", "--to", str(directory)),
        )
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(directory)))
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port}", context=[str(error)], hint="use another one with --port"
        ) from error


def serve(directory: Path, port: int) -> None:
    """Serve a chart repository until Ctrl-C.

    Raises:
        UsageError: The directory is not a chart repository, or the port is in use.
    """
    with server(directory, port) as http, contextlib.suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{http.server_port}"
        console.line(f"serving {directory} at {address}; stop with Ctrl-C")
        console.line(f"  helm repo add maas-local {address} && helm search repo maas-local")
        console.line("  helm install maas maas-local/maas --namespace maas --create-namespace")
        http.serve_forever()
