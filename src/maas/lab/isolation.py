"""Proof that hosts are cut off from each other and that the nodes can reach the hub's one port."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from maas import process
from maas.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker.models.containers import Container

# Each host tries the others' addresses in two ways; what answers is printed. A refused connection is an answer too.
_TRY = """
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

# Status 3 says that somebody listens on the UDP port.
_TAKEN = """
import errno, socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("", int(sys.argv[1])))
except OSError as e:
    sys.exit(3 if e.errno == errno.EADDRINUSE else 1)
"""

# An echo on the hub's port until every node was answered.
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


def _python(container: Container, program: str, *arguments: str) -> tuple[int | None, str]:
    done = container.exec_run(["python3", "-c", program, *arguments], stderr=False)
    # A stream comes only when one is asked for, which the stub does not say.
    return done.exit_code, cast("bytes", done.output).decode().strip()


def crossings(hosts: Mapping[str, tuple[Container, str]]) -> list[tuple[str, str]]:
    """Pairs of hosts of which the first reaches the second at its own address, which none should.

    Args:
        hosts: Container and address of each host, by name.
    """

    def reached(name: str) -> list[tuple[str, str]]:
        others = {address: other for other, (_, address) in hosts.items() if other != name}
        if not others:
            return []
        _, answer = _python(hosts[name][0], _TRY, *others)
        return [(name, others[address]) for address in json.loads(answer)]

    with ThreadPoolExecutor() as pool:
        return [pair for pairs in pool.map(reached, hosts) for pair in pairs]


def prove_hub(hub: Container, nodes: Sequence[tuple[str, Container, str]], *, port: int) -> bool:
    """Show that each node reaches the hub's UDP port at the address it was told, and gets an answer.

    Args:
        hub: The container of the hub.
        nodes: Name, container and told address of each node.
        port: The hub's port.

    Returns:
        False where it could not be tried because the hub itself is listening already.

    Raises:
        LabError: A node gets no answer.
    """
    if not nodes:
        return True
    taken, _ = _python(hub, _TAKEN, str(port))
    if taken == 3:  # noqa: PLR2004 - the status that the program above gives a meaning
        return False
    with ThreadPoolExecutor() as pool:
        echo = pool.submit(_python, hub, _ECHO, str(port), *(name for name, _, _ in nodes))
        sent = [pool.submit(_python, node, _SEND, address, str(port), name) for name, node, address in nodes]
        echo.result()
        silent = [name for (name, _, _), future in zip(nodes, sent, strict=True) if future.result()[0] != 0]
    if silent:
        raise LabError(
            f"{' and '.join(silent)} cannot reach UDP port {port} of the hub at the gateway of their own network",
            hint="the engine publishes the port through its userland proxy; see whether it was turned off "
            "(userland-proxy in /etc/docker/daemon.json) or a firewall drops what comes in from its bridges",
        )
    return True


def _comment(lab: str) -> str:
    return f"maas.lab={lab}"


def cut(lab: str, bridges: Sequence[str]) -> None:
    """Drop what the machine would forward between the lab's bridges, where the engine does not see to it.

    Args:
        lab: The lab, by whose name `mend` finds the rules again.
        bridges: Names of the bridges' interfaces.
    """
    for one in bridges:
        for other in bridges:
            if one != other:
                between = ["--in-interface", one, "--out-interface", other]
                mark = ["--match", "comment", "--comment", _comment(lab)]
                process.run(["iptables", "--wait", "--insert", "FORWARD", *between, *mark, "--jump", "DROP"])


def rules_of(lab: str, saved: str) -> list[list[str]]:
    """The arguments that delete each rule that `cut` made for a lab, from the output of `iptables-save`."""
    found = [shlex.split(line) for line in saved.splitlines() if line.startswith("-A FORWARD")]
    return [["-D", *words[1:]] for words in found if _comment(lab) in words]


def mend(lab: str) -> int:
    """Remove the rules that `cut` made for a lab; returns how many there were."""
    if os.geteuid() != 0 or shutil.which("iptables-save") is None:
        return 0  # then `cut` cannot have made any
    rules = rules_of(lab, process.run(["iptables-save", "--table", "filter"]).stdout)
    for rule in rules:
        process.run(["iptables", "--wait", *rule])
    return len(rules)
