"""Run the application's command as soon as its database takes connections.

On a new cluster the pods start before the database, the cluster's DNS and even its network: without this each of them
would fail, and be tried again after ever longer pauses.
"""

# ruff: noqa: INP001 - a script that travels in the chart
from __future__ import annotations

import os
import socket
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 300.0
"""Seconds after which the command is run anyway, so that its own error is seen."""

database = urlsplit(os.environ["RESTAURANT_DATABASE_URL"])
until = time.monotonic() + PATIENCE
while database.hostname and time.monotonic() < until:
    try:
        socket.create_connection((database.hostname, database.port or 5432), timeout=2).close()
        break
    except OSError:
        time.sleep(0.5)

os.execvp("python3", ["python3", "-m", "restaurant", *sys.argv[1:]])  # noqa: S606, S607 - the image's own entry point
