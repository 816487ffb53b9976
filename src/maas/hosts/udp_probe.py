"""Check that UDP datagrams of each host reach the hubs and are answered, before OpenVPN is installed."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from maas.hosts import _udp_script
from maas.hosts.facts import program_text
from maas.hosts.preflight import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Host, Inventory

    Run = Callable[[Host, str], str]
    """Runs a Python program as root on a host, and returns what it printed; empty if it failed."""

_WORKER_SECONDS = 10
# Both ends start at the same time, but one connection can take longer than the other.
_HUB_SECONDS = 15


@dataclass(frozen=True)
class _Port:
    """A UDP port of a hub, and the hosts that send to it.

    Attributes:
        hub: The hub.
        number: The port on which it listens.
        offset: What is added to its public port.
        senders: The hosts.
    """

    hub: Host
    number: int
    offset: int
    senders: tuple[Host, ...]


def check(
    inventory: Inventory, facts: Mapping[str, HostFacts], *, run: Run, order: Sequence[str] = ()
) -> list[Problem]:
    """Try the UDP ports of each hub from the other hosts, all at the same time.

    A port on which OpenVPN runs, or another program, is not tried.

    Args:
        inventory: The hosts.
        facts: Their facts.
        run: Runs a program on a host.
        order: The hubs of the cluster by their numbers, which decide about the end that listens on a link.
    """
    ports = list(_ports(inventory, order))
    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        found = list(pool.map(lambda port: _check_port(inventory, port, facts, run), ports))
    problems = []
    for hub in inventory.hubs:
        own = [result for port, result in zip(ports, found, strict=True) if port.hub == hub]
        silent = [name for result in own for name in result.silent]
        if len(silent) > 1 and len(silent) == sum(len(result.tried) for result in own):
            problems.append(_nobody(inventory, hub, silent))
        else:
            problems += [problem for result in own for problem in result.problems]
    return problems


def _nobody(inventory: Inventory, hub: Host, silent: Sequence[str]) -> Problem:
    """Return a single problem for a hub that no other host reaches: its address is wrong, or nothing is let through."""
    server = inventory.server_of(hub)
    forwarded = f", and that UDP port {server.port} is forwarded to {server.listening_port}" if server.listen else ""
    return Problem(
        host=hub.name,
        severity="error",
        message=f"no other host reaches it at its endpoint {server.endpoint}:{server.port}/udp: no datagram of "
        f"{', '.join(dict.fromkeys(silent))} arrived",
        fix=f"check that {server.endpoint} is the address of {hub.name}{forwarded}, and that the firewall of its provider or "
        "network allows the port",
    )


def _ports(inventory: Inventory, order: Sequence[str]) -> Iterator[_Port]:
    """Yield the ports of all hubs: of their servers, for the hosts that are no hubs, and of the links to later hubs."""
    hubs = sorted(inventory.hubs, key=lambda hub: order.index(hub.name) if hub.name in order else len(order))
    nodes = tuple(host for host in inventory.hosts if host not in hubs)
    for number, hub in enumerate(hubs):
        first = inventory.server_of(hub).listening_port
        yield _Port(hub, first, 0, nodes)
        for offset, later in enumerate(hubs[number + 1 :], start=1):
            yield _Port(hub, first + offset, offset, (later,))


@dataclass(frozen=True)
class _Result:
    """What trying a port of a hub found.

    Attributes:
        tried: Names of the hosts that sent to it.
        silent: Names of those of whose datagrams none arrived.
        problems: The problems, one for each host that does not reach it.
    """

    tried: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def _check_port(inventory: Inventory, port: _Port, facts: Mapping[str, HostFacts], run: Run) -> _Result:
    hub = port.hub
    used = any((one.protocol, one.port) == ("udp", port.number) for one in facts[hub.name].listeners)
    tried: list[tuple[Host, str]] = []
    for host in port.senders:
        path = facts[host.name].to_hubs.get(hub.name)
        if path is not None and path.address is not None and ":" not in path.address:
            tried.append((host, path.address))
    if used or not tried:
        return _Result()
    tokens = {"question": f"maas-{secrets.token_hex(16)} ", "answer": f"maas-{secrets.token_hex(16)} "}
    names = [host.name for host, _ in tried]

    def send(host: Host, address: str) -> dict[str, Any]:
        at = inventory.servers_for(host)[hub.name].port + port.offset
        target = {"name": host.name, "address": address, "port": at}
        return _result(run, host, "request", {**tokens, **target, "seconds": _WORKER_SECONDS})

    with ThreadPoolExecutor(len(tried) + 1) as pool:
        end = {**tokens, "port": port.number, "workers": names, "seconds": _HUB_SECONDS}
        answers = pool.submit(_result, run, hub, "respond", end)
        sent = [pool.submit(send, host, address) for host, address in tried]
        found = [(host, address, one.result()) for (host, address), one in zip(tried, sent, strict=True)]
        hub_end = answers.result()
    problems = tuple(_problems(inventory, port, found, hub_end))
    if not hub_end or hub_end["error"]:
        return _Result(tuple(names), (), problems)
    silent = [host.name for host, _, end in found if not end.get("answered") and host.name not in hub_end["arrived"]]
    return _Result(tuple(names), tuple(silent), problems)


def _result(run: Run, host: Host, function: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run a function of the script on a host; return what it printed, or nothing."""
    source = resources.files("maas.hosts").joinpath("_udp_script.py").read_text(encoding="utf-8")
    printed = run(host, program_text(source, parameters, function=function))
    line = next((line for line in printed.splitlines() if line.startswith(_udp_script.MARK)), None)
    found: dict[str, Any] = json.loads(line.removeprefix(_udp_script.MARK)) if line else {}
    return found


def _problems(
    inventory: Inventory, port: _Port, found: list[tuple[Host, str, dict[str, Any]]], hub_end: dict[str, Any]
) -> Iterator[Problem]:
    hub, listening = port.hub.name, port.number
    if not hub_end or hub_end["error"]:
        reason = hub_end.get("error") or "the program that answers could not run"
        yield Problem(
            host=hub,
            severity="error",
            message=f"cannot listen on UDP port {listening} to check it: {reason}",
            fix="stop the program that uses the port, or set hub.listen in the inventory",
        )
        return
    for host, address, end in found:
        if end.get("answered"):
            continue
        at = inventory.servers_for(host)[hub]
        public = at.port + port.offset
        target = f"{at.endpoint}:{public}/udp" + ("" if at.endpoint == address else f" ({address})")
        source = end.get("source") or "it"
        tried = f"{end.get('sent', 0)} datagrams from {source} in {_WORKER_SECONDS} s"
        fix = f"allow UDP port {listening} of {hub} in the firewall of its provider or network"
        if public != listening:
            fix += f", and forward port {public} of {at.endpoint} to it"
        if host.name in hub_end["arrived"]:
            outcome = f"they arrived from {hub_end['arrived'][host.name]}, but no answer of {hub} came back"
            fix = f"allow outgoing UDP of {hub}, and answers to {host.name}, in the firewalls on the path"
        elif end.get("error"):
            outcome = f"{end['error']}; none arrived at {hub}"
        else:
            outcome = f"none arrived at {hub}"
        yield Problem(
            host=host.name,
            severity="error",
            message=f"it does not reach the hub at {target}: {tried}, {outcome}",
            fix=f"{fix}; to watch: tcpdump -ni any udp port {listening}",
        )
