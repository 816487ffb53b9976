"""Run the application's command once its database accepts connections.

On a new cluster the pods start before the database, DNS and the pod network. Without this script, their containers
would fail and restart with increasing delays.
"""

# ruff: noqa: INP001 - a script of the chart
from __future__ import annotations

import os
import socket
import sys
import time
from urllib.parse import parse_qs, urlsplit

TIMEOUT = 300.0
"""Seconds after which the command runs anyway, so that its own error is visible."""

database = urlsplit(os.environ["RESTAURANT_DATABASE_URL"])
hosts = [database.netloc.rpartition("@")[2]] if database.hostname else parse_qs(database.query).get("host", [])
servers = [urlsplit(f"//{host}") for host in hosts]


def accepts(host: str | None, port: int) -> bool:
    """Whether a server accepts connections."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


until = time.monotonic() + TIMEOUT
while servers and time.monotonic() < until:
    if any(accepts(server.hostname, server.port or 5432) for server in servers):
        break
    time.sleep(0.5)

os.execvp("python3", ["python3", "-m", "restaurant", *sys.argv[1:]])  # noqa: S606, S607 - the image's own entry point
