#!/usr/bin/python3
"""Revoked certificates on a hub.

    revoke NAME SERIAL ADDRESS   revoke the certificate of a node, and close its connection
    revoke --list                print the revoked certificates, for other hubs
    revoke --fetch ADDRESS...    learn what was revoked from other hubs, at the ends of the links to them

OpenVPN checks revoked certificates when a node connects, and again only when keys are renewed an hour later. So this
closes the current connection of the node, and not those of others. To revoke succeeds if the node stays disconnected for
some seconds, in which it has tried to reconnect more than once, and does not answer.

A hub that was away fetches before its OpenVPN server starts, as it would otherwise let a revoked node in. If no other hub
answers, as when all hosts boot, it starts with what it knows; a timer fetches again. Hubs trust each other: the links
between them have the certificates of hubs, and what is revoked once stays revoked.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path("/etc/openvpn/server/maas")
MANAGEMENT = "/run/openvpn-server/maas.management"
TIMEOUT, QUIET = 30, 12
"""Time limit, and seconds without a connection; a node tries to reconnect within five seconds."""
PORT = 7194
"""TCP port on which a hub prints its list, see maas-revocations.socket."""
FIRST, OTHERS = 15, 3
"""Seconds to wait for the first hub that answers, and after that for the others."""
LONGEST = 1 << 20
"""Bytes that are read from a hub at most."""
END = "END"
LINE = re.compile(r"(?P<serial>[0-9]{1,50}) (?P<name>[a-z0-9.-]*)")


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
            if answer[-1] == END or answer[-1].startswith(("SUCCESS", "ERROR")):
                break
        return answer


def connected(name):
    """Return whether a client is connected; without an OpenVPN server that runs, none is."""
    try:
        return any(line.split("\t")[:2] == ["CLIENT_LIST", name] for line in manage("status 3"))
    except (FileNotFoundError, ConnectionRefusedError):
        return False


def answers(address):
    """Return whether the node answers through the tunnel."""
    words = ["ping", "-n", "-c", "1", "-W", "1", address]
    return subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0


def known():
    """Return the names of the nodes by the serial numbers of their revoked certificates."""
    files = (path for path in (HOME / "revoked").iterdir() if path.name.isdigit())
    return {path.name: path.read_text(encoding="utf-8").strip() for path in files}


def add(serial, name):
    """Note a revoked certificate. OpenVPN finds it by the name of the file, and other hubs read whose it was."""
    handle, temporary = tempfile.mkstemp(dir=HOME / "revoked", prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(name)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(HOME / "revoked" / serial)


def read(address):
    """Return what another hub prints with --list, None if it does not answer."""
    try:
        with socket.create_connection((address, PORT), timeout=2) as connection:
            connection.settimeout(2)
            text = connection.makefile("r", encoding="utf-8", errors="replace").read(LONGEST)
    except OSError:
        return None
    lines = text.split("\n")
    if lines[-2:] != [END, ""]:
        return None
    found = (LINE.fullmatch(line) for line in lines)
    return {match["serial"]: match["name"] for match in found if match}


def fetch(addresses):
    """Yield what each of the other hubs prints, as soon as it answers."""
    left, deadline = list(addresses), time.monotonic() + FIRST
    with ThreadPoolExecutor(len(left) or 1) as pool:
        while left:
            lists = dict(zip(left, pool.map(read, left), strict=True))
            found = {address: one for address, one in lists.items() if one is not None}
            yield from found.values()
            if found:
                deadline = min(deadline, time.monotonic() + OTHERS)
            left = [address for address in left if address not in found]
            if left and time.monotonic() > deadline:
                sys.stderr.write(f"no list of revoked certificates from {', '.join(left)}\n")
                return
            if left:
                time.sleep(0.5)


def learn(addresses):
    """Add what other hubs know, and close the connections of these nodes."""
    for found in fetch(addresses):
        for serial, name in found.items():
            if serial in known():
                continue
            add(serial, name)
            sys.stdout.write(f"certificate {int(serial):x} of {name or 'a node'} is revoked\n")
            if name and connected(name):
                manage(f"kill {name}")


def revoke(name, serial, address):
    """Revoke the certificate of a node, and wait until it is disconnected."""
    add(serial, name)
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


def main():
    if sys.argv[1] == "--list":
        sys.stdout.write("".join(f"{serial} {name}\n" for serial, name in sorted(known().items())) + f"{END}\n")
    elif sys.argv[1] == "--fetch":
        learn(sys.argv[2:])
    else:
        revoke(*sys.argv[1:])


if __name__ == "__main__":
    main()
