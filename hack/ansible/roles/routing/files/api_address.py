#!/usr/bin/python3
"""Add the address of the Kubernetes API to this host while its API server is ready: api-address OWN API.

BIRD announces the address to the other hosts. Readiness decides, which includes etcd: an API server that runs but cannot
write is as bad as none. Two checks in a row must fail, so that a single slow answer moves no connections.
"""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import time

AUTHORITY = "/etc/kubernetes/pki/ca.crt"
PORT = 6443
INTERVAL, MISSES = 1.0, 2
AGAIN = 0.3
"""Seconds until the next check while the API server is not ready, also after the first miss."""


def ready(address):
    """Return whether the API server is ready, and shows a certificate of the cluster for its address."""
    try:
        context = ssl.create_default_context(cafile=AUTHORITY)
        connection = http.client.HTTPSConnection(address, PORT, timeout=INTERVAL, context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def announce(address, wanted):
    """Add the address to the loopback device, or delete it."""
    action = "replace" if wanted else "del"
    subprocess.run(["ip", "address", action, f"{address}/32", "dev", "lo"], check=False)
    sys.stdout.write(f"{address} {'announced' if wanted else 'withdrawn'}\n")
    sys.stdout.flush()


def main():
    own, api = sys.argv[1:]
    announced, misses = False, 0
    while True:
        since = time.monotonic()
        misses = 0 if ready(own) else misses + 1
        if announced != (misses == 0) and (not announced or misses >= MISSES):
            announced = not announced
            announce(api, announced)
        interval = INTERVAL if misses == 0 else AGAIN
        time.sleep(max(0.0, interval - (time.monotonic() - since)))


if __name__ == "__main__":
    main()
