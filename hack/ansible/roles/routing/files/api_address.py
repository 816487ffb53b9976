#!/usr/bin/python3
"""Add the address of the Kubernetes API to this host while its API server is ready: api-address OWN API SECONDS.

BIRD announces the address to the other hosts. Readiness decides, which includes etcd: an API server that runs but cannot
write is as bad as none. Two checks in a row must fail, so that a single slow answer moves no connections.

While etcd elects a leader, no API server is ready, and requests wait where they are. If the address were withdrawn, they
would be lost, and later ones would be refused until some seconds after the election. So while nothing but a leader is
missing, the address stays for SECONDS, which an election takes at most. After that, this host is cut off from the others.
"""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import time

AUTHORITY = "/etc/kubernetes/pki/ca.crt"
PORT, ETCD_PORT = 6443, 2381
INTERVAL, MISSES = 1.0, 2
AGAIN = 0.3
"""Seconds until the next check while the API server is not ready, also after the first miss."""


def good(connection, path):
    """Return whether a server answers a request, and with the status 200."""
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ready(address, excluded=""):
    """Return whether the API server is ready, and shows a certificate of the cluster for its address."""
    try:
        context = ssl.create_default_context(cafile=AUTHORITY)
    except OSError:
        return False
    connection = http.client.HTTPSConnection(address, PORT, timeout=INTERVAL, context=context)
    return good(connection, f"/readyz{excluded}")


def lacks_at_most_leader(address):
    """Return whether the API server is ready but for etcd, and the etcd of this host runs and answers without a leader."""
    etcd = http.client.HTTPConnection(address, ETCD_PORT, timeout=INTERVAL)
    return ready(address, "?exclude=etcd&exclude=etcd-readiness") and good(etcd, "/livez")


def announce(address, wanted):
    """Add the address to the loopback device, or delete it."""
    action = "replace" if wanted else "del"
    subprocess.run(["ip", "address", action, f"{address}/32", "dev", "lo"], check=False)
    sys.stdout.write(f"{address} {'announced' if wanted else 'withdrawn'}\n")
    sys.stdout.flush()


def main():
    own, api, seconds = sys.argv[1:]
    announced, misses, last = False, 0, time.monotonic()
    while True:
        since = time.monotonic()
        if ready(own):
            misses, last, wanted = 0, since, True
        else:
            misses += 1
            wanted = announced and (misses < MISSES or (since - last < float(seconds) and lacks_at_most_leader(own)))
        if announced != wanted:
            announced = wanted
            announce(api, announced)
        interval = INTERVAL if misses == 0 else AGAIN
        time.sleep(max(0.0, interval - (time.monotonic() - since)))


if __name__ == "__main__":
    main()
