#!/usr/bin/python3
"""Refuse a node's certificate on the hub, and end its connection: revoke NAME SERIAL ADDRESS.

OpenVPN looks into the list of refused certificates when a node connects, and again only when keys are renewed an hour
later; so the present connection is ended. Other nodes keep theirs. Ends well when the node was not connected for some
seconds, in which it tried again more than once, and does not answer.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

HOME = Path("/etc/openvpn/server/maas")
MANAGEMENT = "/run/openvpn-server/maas.management"
PATIENCE, QUIET = 30, 12
"""Seconds in all, and seconds without the node; a node that lost its hub tries again within five."""


def ask(command):
    """The answer of OpenVPN's management interface to a command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(MANAGEMENT)
        lines = connection.makefile("r", encoding="utf-8")
        connection.sendall(f"{command}\n".encode())
        said = []
        for line in lines:
            said.append(line.rstrip("\r\n"))
            if said[-1] == "END" or said[-1].startswith(("SUCCESS", "ERROR")):
                break
        return said


def connected(name):
    """Whether a client of the name is connected."""
    return any(line.split("\t")[:2] == ["CLIENT_LIST", name] for line in ask("status 3"))


def answers(address):
    """Whether the node answers through the tunnel."""
    words = ["ping", "-n", "-c", "1", "-W", "1", address]
    return subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0


def main():
    name, serial, address = sys.argv[1:]
    (HOME / "revoked" / serial).touch(mode=0o644)
    (HOME / "nodes" / name).unlink(missing_ok=True)
    if connected(name):
        ask(f"kill {name}")
    deadline, since = time.monotonic() + PATIENCE, time.monotonic()
    while time.monotonic() - since < QUIET:
        if time.monotonic() > deadline:
            sys.exit(f"{name} is still connected")
        time.sleep(1)
        if connected(name):
            since = time.monotonic()
    if answers(address):
        sys.exit(f"{name} is not connected, and {address} still answers")


if __name__ == "__main__":
    main()
