"""The two ends of a check whether UDP datagrams of workers reach the hub, before OpenVPN is installed.

The source of this module is sent to ``python3 -`` over SSH, followed by a call of `respond` on the hub and of `request` on
each worker. So it uses only the standard library and the syntax of Python 3.10 (Ubuntu 22.04). It makes no changes, and
both programs end by themselves.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from typing import Any

MARK = "maas-udp:"
_IPV4 = 0x0800
_UDP = 17
_INTERVAL = 0.5


def _datagram(packet: bytes, port: int) -> tuple[bytes, tuple[str, int]] | None:
    """Return payload and sender of an IPv4 packet, if it is a UDP datagram to a port."""
    header = (packet[0] & 0x0F) * 4
    if len(packet) < header + 8 or packet[9] != _UDP or packet[6] & 0x1F or packet[7]:
        return None
    source, target = (int.from_bytes(packet[header + n : header + n + 2], "big") for n in (0, 2))
    return (packet[header + 8 :], (socket.inet_ntoa(packet[12:16]), source)) if target == port else None


def _tap() -> socket.socket | None:
    """Return a socket that receives packets before the firewall of this host, which bootstrap opens; None without one."""
    with contextlib.suppress(OSError):
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IPV4))
    return None


def respond(parameters: dict[str, Any]) -> None:
    """Answer the datagrams of workers on the hub's port, and print who sent some."""
    port, question, answer = parameters["port"], parameters["question"].encode(), parameters["answer"].encode()
    waiting = set(parameters["workers"])
    arrived: dict[str, str] = {}
    result: dict[str, Any] = {"error": None, "arrived": arrived}
    until = time.monotonic() + parameters["seconds"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            server.bind(("", port))
        except OSError as error:
            result["error"] = error.strerror
            until = 0.0
        tap = _tap()
        sockets = [server] if tap is None else [server, stack.enter_context(tap)]
        while (left := until - time.monotonic()) > 0:
            for ready in select.select(sockets, [], [], min(left, _INTERVAL))[0]:
                received = ready.recvfrom(65535)
                found = received if ready is server else _datagram(received[0], port)
                if found is None or not found[0].startswith(question):
                    continue
                name = found[0].removeprefix(question).decode("utf-8", "replace")
                if name.startswith("done "):
                    waiting.discard(name.removeprefix("done "))
                elif name in waiting:
                    arrived.setdefault(name, "{}:{}".format(*found[1]))
                    with contextlib.suppress(OSError):
                        server.sendto(answer + name.encode(), found[1])
            if not waiting:
                break
    sys.stdout.write(f"{MARK}{json.dumps(result)}\n")


def request(parameters: dict[str, Any]) -> None:
    """Send datagrams to the hub until it answers, and print what happened."""
    question, answer, name = (parameters[key].encode() for key in ("question", "answer", "name"))
    result: dict[str, Any] = {"answered": False, "sent": 0, "error": None, "source": None}
    until = time.monotonic() + parameters["seconds"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_INTERVAL)
        try:
            client.connect((parameters["address"], parameters["port"]))
            result["source"] = client.getsockname()[0]
        except OSError as error:
            result["error"] = error.strerror
            until = 0.0
        while not result["answered"] and time.monotonic() < until:
            try:
                client.send(question + name)
                result["sent"] += 1
                result["answered"] = client.recv(65535) == answer + name
            except TimeoutError:
                result["error"] = None
            except OSError as error:
                result["error"] = error.strerror
                time.sleep(_INTERVAL)
        if result["answered"]:
            for _ in range(3):  # one can be lost
                client.send(question + b"done " + name)
    sys.stdout.write(f"{MARK}{json.dumps(result)}\n")
