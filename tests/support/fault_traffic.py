"""Traffic on a host of a lab while a fault happens: reads and writes of the API, and packets to another host.

    fault_traffic.py API CREDENTIALS ADDRESS SECONDS

CREDENTIALS is a directory with ca.crt, client.crt and client.key. It creates the file `started` there after the first read
and the first write. It prints a JSON object with the longest time in seconds
without a success of each kind, and the numbers of the writes that the API acknowledged. Every request is a new connection,
as that of a client which has just started, and does not wait for earlier requests that are still without an answer.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

PAUSE = 0.1
"""Seconds between two requests of all clients together, if answers come at once."""
CLIENTS = 5
LIMIT = 2.0
"""Seconds after which a request has failed."""
NAMESPACE = "default"


class Longest:
    """The longest time without a success, from the first one on."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.seconds = 0.0
        self._lock = threading.Lock()

    def success(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self.since is not None:
                self.seconds = max(self.seconds, now - self.since)
            self.since = now


class Api:
    def __init__(self, address: str, credentials: str) -> None:
        self.address = address
        self.context = ssl.create_default_context(cafile=f"{credentials}/ca.crt")
        self.context.load_cert_chain(f"{credentials}/client.crt", f"{credentials}/client.key")

    def request(self, method: str, path: str, body: object = None) -> int:
        """Return the status of an answer, 0 without one."""
        connection = http.client.HTTPSConnection(self.address, 6443, timeout=LIMIT, context=self.context)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        else:
            return answer.status
        finally:
            connection.close()


def reads(api: Api, until: float, longest: Longest) -> None:
    while time.monotonic() < until:
        if api.request("GET", f"/api/v1/namespaces/{NAMESPACE}") == 200:
            longest.success()
        time.sleep(CLIENTS * PAUSE)


def writes(api: Api, until: float, longest: Longest, acknowledged: list[int], number: int) -> None:
    """Create one ConfigMap after the other, each with a number in its name; a repeated one exists already."""
    while time.monotonic() < until:
        content = {"metadata": {"name": f"fault-{number}", "labels": {"maas.test": "fault"}}}
        if api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", content) in (201, 409):
            longest.success()
            acknowledged.append(number)
            number += CLIENTS
        time.sleep(CLIENTS * PAUSE)


def packets(address: str, seconds: float) -> float:
    """Return the longest time in which no ping was answered."""
    words = ["ping", "-n", "-D", "-i", str(PAUSE), "-w", str(int(seconds)), address]
    began = time.time()
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    replies = [float(line[1:].partition("]")[0]) for line in lines if line.startswith("[") and "bytes from" in line]
    times = [began, *replies, began + int(seconds)]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def main() -> None:
    address, credentials, other, text = sys.argv[1:]
    seconds = float(text)
    until = time.monotonic() + seconds
    api, read, written = Api(address, credentials), Longest(), Longest()
    acknowledged: list[int] = []
    threads = [
        thread
        for number in range(CLIENTS)
        for thread in (
            threading.Thread(target=reads, args=(api, until, read)),
            threading.Thread(target=writes, args=(api, until, written, acknowledged, number)),
        )
    ]
    for thread in threads:
        thread.start()
    while (read.since is None or written.since is None) and time.monotonic() < until:
        time.sleep(PAUSE)
    (Path(credentials) / "started").touch()
    ping = packets(other, max(1.0, until - time.monotonic()))
    for thread in threads:
        thread.join()
    read.success()
    written.success()
    found = {"reads": read.seconds, "writes": written.seconds, "packets": ping, "acknowledged": acknowledged}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    socket.setdefaulttimeout(LIMIT)
    main()
