#!/usr/bin/python3
"""Revoke a node's certificate on the hub and close its connection: revoke NAME SERIAL ADDRESS.

OpenVPN checks revoked certificates when a node connects, and again only when keys are renewed an hour later. So this
closes the current connection of the node, and not those of others. It succeeds if the node stays disconnected for some
seconds, in which it has tried to reconnect more than once, and does not answer.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

HOME = Path("/etc/openvpn/server/maas")
MANAGEMENT = "/run/openvpn-server/maas.management"
TIMEOUT, QUIET = 30, 12
"""Time limit, and seconds without a connection; a node tries to reconnect within five seconds."""


def manage(command):
    """Send a command to OpenVPN's management interface and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(MANAGEMENT)
        lines = connection.makefile("r", encoding="utf-8")
        connection.sendall(f"{command}\n".encode())
        answer = []
        for line in lines:
            answer.append(line.rstrip("\r\n"))
            if answer[-1] == "END" or answer[-1].startswith(("SUCCESS", "ERROR")):
                break
        return answer


def connected(name):
    """Return whether a client is connected."""
    return any(line.split("\t")[:2] == ["CLIENT_LIST", name] for line in manage("status 3"))


def answers(address):
    """Return whether the node answers through the tunnel."""
    words = ["ping", "-n", "-c", "1", "-W", "1", address]
    return subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0


def main():
    name, serial, address = sys.argv[1:]
    (HOME / "revoked" / serial).touch(mode=0o644)
    (HOME / "nodes" / name).unlink(missing_ok=True)
    if connected(name):
        manage(f"kill {name}")
    deadline, since = time.monotonic() + TIMEOUT, time.monotonic()
    while time.monotonic() - since < QUIET:
        if time.monotonic() > deadline:
            sys.exit(f"{name} is still connected")
        time.sleep(1)
        if connected(name):
            since = time.monotonic()
    if answers(address):
        sys.exit(f"{name} is disconnected, but {address} still answers")


if __name__ == "__main__":
    main()
