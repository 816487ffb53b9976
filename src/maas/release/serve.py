"""A chart repository on this machine alone, to try a release before anybody else does."""

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
    """A web server on loopback that hands out a directory; port 0 takes any free one.

    Raises:
        UsageError: The directory is no chart repository, or the port is taken.
    """
    if not (directory / repository.FILE).is_file():
        raise UsageError(
            f"{directory} is no chart repository",
            hint="publish a release to it first",
            command=paths.command("publish", "dist/VERSION", "--to", str(directory)),
        )
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(directory)))
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used", context=[str(error)], hint="give another one: --port"
        ) from error


def serve(directory: Path, port: int) -> None:
    """Hand out a chart repository until Ctrl-C.

    Raises:
        UsageError: The directory is no chart repository, or the port is taken.
    """
    with server(directory, port) as http, contextlib.suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{http.server_port}"
        console.line(f"{directory} is on {address}; Ctrl-C ends it")
        console.line(f"  helm repo add maas-local {address} && helm search repo maas-local")
        console.line("  helm install maas maas-local/maas --namespace maas --create-namespace")
        http.serve_forever()
