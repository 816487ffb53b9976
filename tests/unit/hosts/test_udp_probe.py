from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from maas.hosts import _udp_script, udp_probe
from maas.hosts.inventory import Host, Hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Inventory

    Inventories = Callable[..., Inventory]
    Facts = Callable[..., HostFacts]


def on_this_machine(host: Host, program: str) -> str:  # noqa: ARG001 - all hosts are this machine
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_probe, "_WORKER_SECONDS", 2)
    monkeypatch.setattr(udp_probe, "_HUB_SECONDS", 4)


@pytest.fixture
def world(inventory_of: Inventories, facts_of: Facts) -> Callable[..., tuple[Inventory, dict[str, HostFacts]]]:
    def make(hub: Hub, *workers: str, address: str | None = "127.0.0.1", **changes: Any) -> Any:
        path = {"address": address, "rtt_ms": 1.0, "path_mtu": 1500}
        facts = {"master": facts_of(**changes), **{name: facts_of(to_hubs={"master": path}) for name in workers}}
        return inventory_of(*workers, hub=hub), facts

    return make


@pytest.fixture
def relay() -> Callable[[int, bool], int]:
    """A forwarded port: returns a port whose datagrams go to another one; its answers come back, or they do not."""

    def start(target: int, answers: bool) -> int:
        front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        front.bind(("127.0.0.1", 0))
        back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        back.settimeout(0.2)

        def work() -> None:
            while True:
                data, sender = front.recvfrom(65535)
                back.sendto(data, ("127.0.0.1", target))
                try:
                    answer = back.recv(65535)
                except OSError:
                    continue
                if answers:
                    front.sendto(answer, sender)

        threading.Thread(target=work, daemon=True).start()
        port: int = front.getsockname()[1]
        return port

    return start


def messages(problems: list[Any]) -> list[str]:
    return [re.sub(r"\b[0-9]+ datagrams", "N datagrams", str(problem)) for problem in problems]


def test_a_port_that_workers_reach_is_no_problem(world: Any) -> None:
    inventory, facts = world(Hub(endpoint="127.0.0.1", port=free_port()), "node1", "node2")
    assert udp_probe.check(inventory, facts, run=on_this_machine) == []


def test_a_forwarded_port_is_tried_from_outside(world: Any, relay: Any) -> None:
    listening = free_port()
    hub = Hub(endpoint="127.0.0.1", port=relay(listening, True), listen=listening)
    assert udp_probe.check(*world(hub, "node1"), run=on_this_machine) == []


@pytest.mark.usefixtures("quick")
def test_a_closed_port_is_named_with_what_was_tried_and_the_next_step(world: Any) -> None:
    listening, closed = free_port(), free_port()
    inventory, facts = world(Hub(endpoint="127.0.0.1", port=closed, listen=listening), "node1")
    assert messages(udp_probe.check(inventory, facts, run=on_this_machine)) == [
        (
            f"node1: it does not reach the hub at 127.0.0.1:{closed}/udp: N datagrams from 127.0.0.1 in 2 s, "
            f"Connection refused; none arrived at master (allow UDP port {listening} of master in the firewall of its "
            f"provider or network, and forward port {closed} of 127.0.0.1 to it; to watch: tcpdump -ni any udp port {listening})"
        )
    ]


@pytest.mark.usefixtures("quick")
def test_answers_that_are_lost_are_told_from_datagrams_that_are(world: Any, relay: Any) -> None:
    listening = free_port()
    public = relay(listening, False)
    inventory, facts = world(Hub(endpoint="hub.example.org", port=public, listen=listening), "node1")
    (message,) = messages(udp_probe.check(inventory, facts, run=on_this_machine))
    assert f"node1: it does not reach the hub at hub.example.org:{public}/udp (127.0.0.1): N datagrams" in message
    assert "they arrived from 127.0.0.1:" in message
    assert "but no answer of master came back" in message


@pytest.mark.usefixtures("quick")
def test_a_port_that_another_program_took_meanwhile_is_an_error(world: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        port = other.getsockname()[1]
        inventory, facts = world(Hub(endpoint="127.0.0.1", port=port), "node1")
        assert messages(udp_probe.check(inventory, facts, run=on_this_machine)) == [
            (
                f"master: cannot listen on UDP port {port} to check it: Address already in use "
                "(stop the program that uses the port, or set hub.listen in the inventory)"
            )
        ]


@pytest.mark.parametrize(
    "changes",
    [
        {"listeners": ({"protocol": "udp", "port": 1194, "program": "openvpn"},)},
        {"address": None},
        {"address": "2001:db8::10"},
    ],
)
def test_nothing_is_tried_where_it_cannot_succeed_or_openvpn_runs(world: Any, changes: dict[str, Any]) -> None:
    def run(host: Host, program: str) -> str:
        raise AssertionError(host, program)

    inventory, facts = world(Hub(endpoint="vpn.example.org"), "node1", **changes)
    assert udp_probe.check(inventory, facts, run=run) == []


def test_a_datagram_that_the_firewall_of_the_hub_drops_has_arrived() -> None:
    """bootstrap opens the port in the firewall of the hub, so it does not matter for the check."""
    payload = b"\x45\x00" + bytes(4) + b"\x40\x00\x40\x11\x00\x00" + bytes([192, 0, 2, 9]) + bytes([192, 0, 2, 1])
    payload += (40000).to_bytes(2, "big") + (1194).to_bytes(2, "big") + bytes(4) + b"hello"
    found = _udp_script._datagram(payload, 1194)  # noqa: SLF001
    assert found == (b"hello", ("192.0.2.9", 40000))
    assert _udp_script._datagram(payload, 1195) is None  # noqa: SLF001
    assert _udp_script._datagram(payload[:24], 1194) is None  # noqa: SLF001


@pytest.fixture
def two_hubs(inventory_of: Inventories, facts_of: Facts) -> Callable[..., tuple[Inventory, dict[str, HostFacts]]]:
    """Two hubs and a worker, with the listening port of each hub; datagrams to the second port of `a` are for its link."""

    def make(first: int, second: int, **changes: Any) -> Any:
        ports = {"a": first, "b": second}
        hubs = [
            Host(name=name, address="127.0.0.1", role="control-plane", hub=Hub(endpoint="127.0.0.1", port=port))
            for name, port in ports.items()
        ]
        path = {"address": "127.0.0.1", "rtt_ms": 1.0, "path_mtu": 1500}
        node = Host(name="node1", address="127.0.0.2", role="worker")
        facts = {
            "a": facts_of(to_hubs={"b": path}, **changes),
            "b": facts_of(to_hubs={"a": path}),
            "node1": facts_of(to_hubs={"a": path, "b": path}),
        }
        return inventory_of(hub=None, hosts=(*hubs, node)), facts

    return make


def parameters_of(program: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ast.literal_eval(re.findall(r"json\.loads\((.*)\)\)\n$", program)[0]))
    return found


def test_the_links_between_hubs_are_tried_on_the_ports_after_that_of_the_server(two_hubs: Any) -> None:
    first, second = free_port(), free_port()
    tried: list[tuple[str, int]] = []

    def run(host: Host, program: str) -> str:
        tried.append((host.name, parameters_of(program)["port"]))
        return on_this_machine(host, program)

    inventory, facts = two_hubs(first, second)
    assert udp_probe.check(inventory, facts, run=run) == []
    link = first + 1
    assert sorted(tried) == sorted(
        [("a", first), ("node1", first), ("b", second), ("node1", second), ("a", link), ("b", link)]
    )


@pytest.mark.usefixtures("quick")
def test_a_link_that_does_not_arrive_is_an_error_although_the_server_runs(two_hubs: Any) -> None:
    """The server of an existing cluster is not tried, but the new link to a hub that is added is."""
    first, second = free_port(), free_port()
    inventory, facts = two_hubs(first, second, listeners=({"protocol": "udp", "port": first, "program": "openvpn"},))

    def run(host: Host, program: str) -> str:
        if host.name == "b" and parameters_of(program)["port"] == first + 1:
            program = program.replace(f'"port": {first + 1}', f'"port": {free_port()}')
        return on_this_machine(host, program)

    (message,) = messages(udp_probe.check(inventory, facts, run=run))
    assert message.startswith(f"b: it does not reach the hub at 127.0.0.1:{first + 1}/udp: N datagrams")
    assert f"allow UDP port {first + 1} of a in the firewall of its provider" in message


def test_the_hub_with_the_lower_number_listens_on_a_link(two_hubs: Any) -> None:
    inventory, facts = two_hubs(11940, 12940)
    tried: list[tuple[str, int]] = []

    def run(host: Host, program: str) -> str:
        tried.append((host.name, parameters_of(program)["port"]))
        return ""

    udp_probe.check(inventory, facts, run=run, order=["b"])
    assert ("b", 12941) in tried
    assert ("a", 12941) in tried


@pytest.mark.usefixtures("quick")
def test_an_endpoint_that_no_other_host_reaches_is_one_problem(world: Any) -> None:
    listening, closed = free_port(), free_port()
    inventory, facts = world(Hub(endpoint="127.0.0.1", port=closed, listen=listening), "node1", "node2")
    assert messages(udp_probe.check(inventory, facts, run=on_this_machine)) == [
        (
            f"master: no other host reaches it at its endpoint 127.0.0.1:{closed}/udp: no datagram of node1, node2 arrived "
            f"(check that 127.0.0.1 is the address of master, and that UDP port {closed} is forwarded to {listening}, and that "
            "the firewall of its provider or network allows the port)"
        )
    ]
