"""Checks that a lab's hosts cannot reach each other directly, and that every node reaches the hub's port."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from maas import process
from maas.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker.models.containers import Container

# Runs on a host: prints which of the other addresses answer a ping or a TCP connection. A refused connection counts as
# an answer.
_REACH = """
import json, socket, subprocess, sys
others = sys.argv[1:]
pings = [subprocess.Popen(["ping", "-c1", "-W1", o], stdout=-3, stderr=-3) for o in others]
def answers(other):
    try:
        socket.create_connection((other, 22), timeout=0.5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
print(json.dumps([o for o, p in zip(others, pings) if answers(o) or p.wait() == 0]))
"""

# Runs on the hub: exits with status 3 if a program listens on the UDP port.
_LISTENING = 3
_IS_LISTENING = f"""
import errno, socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("", int(sys.argv[1])))
except OSError as e:
    sys.exit({_LISTENING} if e.errno == errno.EADDRINUSE else 1)
"""

# Runs on the hub: echoes datagrams until every node got an answer.
_ECHO = """
import socket, sys, time
end = time.monotonic() + 10
waiting = set(sys.argv[2:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
while waiting and time.monotonic() < end:
    s.settimeout(max(0.01, end - time.monotonic()))
    try:
        data, peer = s.recvfrom(100)
    except TimeoutError:
        break
    s.sendto(data, peer)
    waiting.discard(data.decode())
print(" ".join(sorted(waiting)))
"""

_SEND = """
import socket, sys, time
end = time.monotonic() + 8
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.1)
s.connect((sys.argv[1], int(sys.argv[2])))
while time.monotonic() < end:
    try:
        s.send(sys.argv[3].encode())
        s.recv(100)
        sys.exit(0)
    except TimeoutError:
        pass
    except OSError:
        time.sleep(0.1)
sys.exit(1)
"""


@dataclass(frozen=True)
class Node:
    """A node that has to reach the hub.

    Attributes:
        name: Its name.
        container: Its container.
        hub: The address at which it reaches the hub.
    """

    name: str
    container: Container
    hub: str


def _python(container: Container, program: str, *arguments: str) -> tuple[int | None, str]:
    done = container.exec_run(["python3", "-c", program, *arguments], stderr=False)
    # The output is a stream only if one is requested, which the stub does not say.
    return done.exit_code, cast("bytes", done.output).decode().strip()


def leaks(hosts: Mapping[str, tuple[Container, str]]) -> list[tuple[str, str]]:
    """Return the pairs of hosts whose first one reaches the second one at its own address. There should be none.

    Args:
        hosts: Container and address of each host, by name.
    """

    def reached(name: str) -> list[tuple[str, str]]:
        others = {address: other for other, (_, address) in hosts.items() if other != name}
        if not others:
            return []
        _, answer = _python(hosts[name][0], _REACH, *others)
        return [(name, others[address]) for address in json.loads(answer)]

    with ThreadPoolExecutor() as pool:
        return [pair for pairs in pool.map(reached, hosts) for pair in pairs]


def check_hub_reachable(hub: Container, nodes: Sequence[Node], *, port: int) -> bool:
    """Check that each node sends to the hub's UDP port and gets an answer.

    Args:
        hub: The container of the hub.
        nodes: The nodes.
        port: The hub's port.

    Returns:
        False if the check was not possible because the VPN server listens on the port already.

    Raises:
        LabError: A node gets no answer.
    """
    if not nodes:
        return True
    status, _ = _python(hub, _IS_LISTENING, str(port))
    if status == _LISTENING:
        return False
    with ThreadPoolExecutor() as pool:
        echo = pool.submit(_python, hub, _ECHO, str(port), *(node.name for node in nodes))
        sent = [pool.submit(_python, node.container, _SEND, node.hub, str(port), node.name) for node in nodes]
        echo.result()
        silent = [node.name for node, future in zip(nodes, sent, strict=True) if future.result()[0] != 0]
    if silent:
        raise LabError(
            f"{' and '.join(silent)} cannot reach UDP port {port} of the hub at the gateway of their network",
            hint="Docker publishes the port through its userland proxy; check that it is enabled (userland-proxy in "
            "/etc/docker/daemon.json) and that no firewall drops packets from Docker's bridges",
        )
    return True


def _comment(lab: str) -> str:
    return f"maas.lab={lab}"


def block(lab: str, bridges: Sequence[str]) -> None:
    """Drop packets that the machine would forward between the lab's bridges, where Docker does not do so itself.

    Args:
        lab: The lab, by whose name `unblock` finds the rules.
        bridges: Names of the bridges' interfaces.
    """
    for one in bridges:
        for other in bridges:
            if one != other:
                between = ["--in-interface", one, "--out-interface", other]
                comment = ["--match", "comment", "--comment", _comment(lab)]
                process.run(["iptables", "--wait", "--insert", "FORWARD", *between, *comment, "--jump", "DROP"])


def rules_of(lab: str, saved: str) -> list[list[str]]:
    """Return the arguments that delete each rule that `block` added for a lab, from the output of `iptables-save`."""
    found = [shlex.split(line) for line in saved.splitlines() if line.startswith("-A FORWARD")]
    return [["-D", *words[1:]] for words in found if _comment(lab) in words]


def unblock(lab: str) -> int:
    """Remove the rules that `block` added for a lab and return their number."""
    if os.geteuid() != 0 or shutil.which("iptables-save") is None:
        return 0  # `block` cannot have added any
    rules = rules_of(lab, process.run(["iptables-save", "--table", "filter"]).stdout)
    for rule in rules:
        process.run(["iptables", "--wait", *rule])
    return len(rules)
