"""Requests to the API of a cluster from a host, until they are stopped, each with a new connection.

    steady_traffic.py API CREDENTIALS LABEL

CREDENTIALS is a directory with ca.crt, client.crt and client.key. Every request is a read and then a write: a ConfigMap with a
number in its name. It creates the file `started` there after the first success, ends when there is the file `stop`, and
prints a JSON object: the number of requests, of those that failed, why and when in seconds since 1970, the longest time without
a success, and the numbers of the writes that the API acknowledged.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

PAUSE = 0.2
LIMIT = 5.0


def request(context: ssl.SSLContext, address: str, method: str, path: str, body: object = None) -> str:
    """Return an empty text, or why a request failed."""
    connection = http.client.HTTPSConnection(address, 6443, timeout=LIMIT, context=context)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    # One that was stored, but whose answer was lost, exists when it is repeated.
    return "" if answer.status in (200, 201, 409) else f"status {answer.status}"


def credentials(directory: Path) -> ssl.SSLContext:
    """Return the trust and the certificate of the client. They are read again for each request: a rotation replaces them."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "client.crt", directory / "client.key")
    return context


def main() -> None:
    address, text, label = sys.argv[1:]
    directory = Path(text)
    found: dict[str, Any] = {"requests": 0, "failed": 0, "longest": 0.0, "acknowledged": [], "errors": []}
    last, number = time.monotonic(), 0
    while not (directory / "stop").exists():
        body = {"metadata": {"name": f"{label}-{number}", "labels": {"maas.test": label}}}
        context = credentials(directory)
        failures = [
            request(context, address, "GET", "/api/v1/namespaces/default"),
            request(context, address, "POST", "/api/v1/namespaces/default/configmaps", body),
        ]
        found["requests"] += 2
        for failure in filter(None, failures):
            found["failed"] += 1
            found["errors"].append(f"{time.time():.1f} {failure}")
        if not any(failures):
            found["longest"] = max(found["longest"], time.monotonic() - last)
            last = time.monotonic()
            (directory / "started").touch()
        if not failures[1]:
            found["acknowledged"].append(number)
            number += 1
        time.sleep(PAUSE)
    found["longest"] = max(found["longest"], time.monotonic() - last)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
