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
from urllib.parse import urlsplit

TIMEOUT = 300.0
"""Seconds after which the command runs anyway, so that its own error is visible."""

database = urlsplit(os.environ["RESTAURANT_DATABASE_URL"])
until = time.monotonic() + TIMEOUT
while database.hostname and time.monotonic() < until:
    try:
        socket.create_connection((database.hostname, database.port or 5432), timeout=2).close()
        break
    except OSError:
        time.sleep(0.5)

os.execvp("python3", ["python3", "-m", "restaurant", *sys.argv[1:]])  # noqa: S606, S607 - the image's own entry point
