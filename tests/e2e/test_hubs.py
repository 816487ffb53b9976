"""Two hubs and two nodes, as network namespaces with the configuration that the roles install: what a failure costs.

Each failure happens while a UDP flow of full-size packets and one TCP connection run between the nodes.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import hub_network
from tests.support.ansible_content import CONTENT, load_file
from tests.support.hub_network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FILES = CONTENT / "roles" / "base" / "files"
load_file(FILES / "maas_certificates.py", "maas_certificates")  # which the program imports
metrics = load_file(FILES / "metrics.py", "maas_metrics")

LONGEST = 1.5
"""Seconds without a reply that a failure may cost. TCP repeats a lost packet after twice the time before."""
LONGEST_API = 2.0
"""Seconds without an answer that the end of an API server may cost; that of its host one more."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    # Not the temporary directory of pytest, which only root can read: OpenVPN and BIRD drop their privileges.
    with tempfile.TemporaryDirectory(prefix="maas-hubs-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        hub_network.unpack(directory / "programs")
        with Network.of(directory, directory / "programs", hubs=("hub1", "hub2"), nodes=("node1", "node2")) as made:
            made.wait("all BGP sessions", made.established, seconds=180)
            yield made


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = {}
    yield found
    print(f"\nlongest time without a reply between two nodes\n{hub_network.shown(found)}")


def device(network: Network) -> str:
    return network.path("node1", network.address("node2"))


def settled(network: Network) -> None:
    """Wait until everything is as it was, and traffic takes the way through the first hub again."""
    network.wait("all BGP sessions", network.established)
    network.wait("the way through the first hub", lambda: device(network) == "maas0")


def lives(result: dict[str, Any]) -> None:
    """Check that a failure was short, and that the connection outlived it."""
    assert result["udp"] <= LONGEST
    assert result["tcp"] <= 2 * LONGEST


def test_every_host_has_a_way_to_every_other_one(network: Network, results: dict[str, Any]) -> None:
    settled(network)
    for name in network.underlay:
        for other in set(network.underlay) - {name}:
            assert network.path(name, network.address(other)).startswith("maas"), (name, other)
    with network.traffic("hub2", "node1", seconds=0.5) as near, network.traffic("hub1", "hub2", seconds=0.5) as linked:
        pass
    lives(near)
    lives(linked)
    with network.traffic("node1", "node2", seconds=2) as result:
        pass
    results["none"] = result
    lives(result)


def test_a_host_exports_its_sessions_and_paths(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(network)
    monkeypatch.setattr(metrics, "PATHS", network.home("node1") / "paths.json")

    def samples(name: str) -> dict[str, float]:
        def output(*words: str) -> str:
            return network.bird(name, *words[1:]) if words[0] == "birdc" else network.run(name, *words)

        monkeypatch.setattr(metrics, "output", output)
        peers = {neighbor["name"]: neighbor for neighbor in network.variables(name)["node"]["neighbors"]}
        found = metrics.Samples()
        metrics.routing(found, {"peers": peers, "bfd": True, "api_address": ""})
        lines = found.text().splitlines()
        return {key: float(value) for key, value in (line.split(" ") for line in lines if not line.startswith("#"))}

    for name in network.underlay:
        found = samples(name)
        for neighbor in network.variables(name)["node"]["neighbors"]:
            peer = f'{{peer="{neighbor["name"]}"}}'
            assert found[f"vpn_bgp_session_up{peer}"] == found[f"vpn_bfd_session_up{peer}"] == 1, (name, peer)
            assert 0 <= time.time() - found[f"vpn_bgp_session_since_seconds{peer}"] < 3600, (name, peer)
    # Its own hub and the other node through the first hub, the second hub through its own tunnel.
    found = samples("node1")
    assert (found['vpn_routes{peer="hub1"}'], found['vpn_routes{peer="hub2"}']) == (2, 1)
    before = found["vpn_path_changes_total"]
    network.cut("node1", "hub1")
    try:
        network.wait("the way through the second hub", lambda: device(network) == "maas1")
        found = samples("node1")
        assert (found['vpn_routes{peer="hub1"}'], found['vpn_routes{peer="hub2"}']) == (0, 3)
        assert found['vpn_bfd_session_up{peer="hub1"}'] == 0
        assert found["vpn_path_changes_total"] == before + 1
    finally:
        network.reconnect("node1", "hub1")


def test_a_node_receives_nothing_that_is_for_another_one(network: Network) -> None:
    settled(network)
    stolen = network.address("node2")
    before = {hub: refused(network, hub) for hub in ("hub1", "hub2")}
    network.run("node1", "ip", "address", "add", f"{stolen}/32", "dev", "lo")
    try:
        for hub, count in before.items():
            network.wait(f"{hub} to refuse it", partial(refuses_more, network, hub, count))
            assert f"via {transit(network, hub, 'node2')} " in network.run(hub, "ip", "route", "get", stolen)
    finally:
        network.run("node1", "ip", "address", "del", f"{stolen}/32", "dev", "lo")


def refuses_more(network: Network, hub: str, count: int) -> bool:
    """Return whether a hub has refused more routes of node1 than before."""
    return refused(network, hub) > count


def refused(network: Network, hub: str) -> int:
    """Return how many routes of node1 a hub has refused."""
    lines = network.bird(hub, "show", "protocols", "all", "'node1'").splitlines()
    (words,) = (line.split() for line in lines if "Import updates" in line)
    return int(words[3]) + int(words[4])  # by BIRD itself, and by the filter


def transit(network: Network, hub: str, node: str) -> str:
    neighbors = network.variables(hub)["node"]["neighbors"]
    return next(str(neighbor["address"]) for neighbor in neighbors if neighbor["name"] == node)


def test_masqueraded_packets_have_the_address_of_the_host(network: Network) -> None:
    pod = "10.91.0.1"
    network.run("node1", "ip", "address", "add", f"{pod}/32", "dev", "lo")
    rule = ("POSTROUTING", "-s", pod, "-o", "maas+", "-j", "MASQUERADE")
    network.run("node1", "iptables", "-w", "-t", "nat", "-I", *rule)
    try:
        for other in ("node2", "hub1"):
            assert network.source("node1", other, own=pod) == network.address("node1")
    finally:
        network.run("node1", "iptables", "-w", "-t", "nat", "-D", *rule)
        network.run("node1", "ip", "address", "del", f"{pod}/32", "dev", "lo")


def test_a_hubs_program_is_killed(network: Network, results: dict[str, Any]) -> None:
    settled(network)
    with network.traffic("node1", "node2", seconds=4) as result:
        network.kill("hub1", "server")
        time.sleep(2)
        assert device(network) == "maas1"
    network.start("hub1")
    results["OpenVPN of a hub killed"] = result
    lives(result)


def test_the_firewall_rules_of_a_hub_are_loaded_again(network: Network, results: dict[str, Any]) -> None:
    # A hub gets the rules of its links when others join it.
    settled(network)
    with network.traffic("node1", "node2", seconds=4) as result:
        network.run("hub1", "sh", str(network.home("hub1") / "firewall"), "up")
    results["firewall rules of a hub loaded again"] = result
    lives(result)


def test_routes_that_something_else_deleted_return(network: Network) -> None:
    settled(network)
    network.run("node1", "ip", "route", "flush", "proto", "bird")
    network.wait("the routes", lambda: device(network) == "maas0", seconds=60)


def test_nodes_are_cut_from_hubs(network: Network, results: dict[str, Any]) -> None:
    settled(network)
    with network.traffic("node1", "node2", seconds=4) as result:
        network.cut("node1", "hub1")
    results["one node cut from one hub"] = result
    with network.traffic("node1", "node2", seconds=4) as apart:
        network.cut("node2", "hub2")
    results["two nodes without a common hub"] = apart
    assert network.path("hub2", network.address("node2")) == "maas0-1"
    network.reconnect("node1", "hub1")
    network.reconnect("node2", "hub2")
    lives(result)
    lives(apart)


def test_the_address_of_the_api_moves(network: Network, results: dict[str, Any]) -> None:
    settled(network)
    for hub in ("hub1", "hub2"):
        network.start_api(hub)
    network.wait("the address of the API", lambda: network.path("node1", network.api) == "maas0")
    network.wait("the address of the API", lambda: network.path("hub2", network.api) == "lo")
    poll = network.poll_api("node1", seconds=6)
    time.sleep(1)
    network.kill("hub1", "api")
    poll.wait(20)
    assert network.path("node1", network.api) == "maas1"
    assert network.path("hub1", network.api) == "maas0-1", "a hub whose own server is gone uses the other one"
    results["API server killed"] = gone = json.loads((network.home("node1") / "poll.json").read_text())
    network.start_api("hub1")
    network.wait("the address of the API", lambda: network.path("node1", network.api) == "maas0")
    assert gone["api"] <= LONGEST_API


def test_a_hub_dies(network: Network, results: dict[str, Any]) -> None:
    settled(network)
    with network.traffic("node1", "node2", seconds=6) as result:
        poll = network.poll_api("node1", seconds=4)
        time.sleep(1)
        network.unplug("hub1")
        network.kill("hub1")
        poll.wait(20)
    results["a hub is gone"] = result | json.loads((network.home("node1") / "poll.json").read_text())
    network.unplug("hub1", plugged=True)
    with network.traffic("node1", "node2", seconds=12) as back:
        network.start("hub1")
    results["it returns, with all its programs"] = back
    settled(network)
    lives(result)
    lives(back)
    assert results["a hub is gone"]["api"] <= LONGEST_API + 1


@pytest.mark.parametrize(("host", "clock"), [("node2", 3600), ("hub2", -3600)])
def test_a_host_whose_clock_is_an_hour_off_stays_connected(
    network: Network, results: dict[str, Any], host: str, clock: int
) -> None:
    settled(network)
    network.kill(host)
    network.start(host, clock=clock)
    settled(network)
    # OpenVPN writes the time of its start to its log.
    log = (network.home(host) / ("server.log" if host == "hub2" else "maas0.log")).read_text()
    began = datetime.strptime(log[:19], "%Y-%m-%d %H:%M:%S").astimezone().timestamp()
    assert abs(began - time.time() - clock) < 120
    with network.traffic("node1", "node2", seconds=4) as result:
        if host == "hub2":
            network.kill("hub1", "server")
    results[f"clock {clock:+d} s on {host}" + (", the other hub killed" if host == "hub2" else "")] = result
    network.kill(host)
    network.start(host)
    network.start("hub1")
    lives(result)


def test_a_hub_that_was_away_learns_of_a_revocation_before_its_server_starts(network: Network) -> None:
    settled(network)
    network.unplug("hub1")
    network.kill("hub1")
    network.serve_revocations("hub2")
    # A revocation on one hub ends the connection there at once; the other one is away.
    assert "node2" in network.clients("hub2")
    network.revoke("hub2", "node2")
    assert network.clients("hub2") == {"node1"}
    network.unplug("hub1", plugged=True)
    # As systemd does: everything starts, and the server waits for what ExecStartPre= of its drop-in learns.
    network.start("hub1", without="server")
    said = network.fetch_revocations("hub1")
    assert said.endswith("of node2 is revoked\n")
    network.start("hub1")
    network.wait("node1 to connect", lambda: "node1" in network.clients("hub1"))
    # The node tries to reconnect within five seconds, and does so more than once.
    seen = set()
    until = time.monotonic() + 12
    while time.monotonic() < until:
        seen |= network.clients("hub1") | network.clients("hub2")
        time.sleep(0.2)
    assert seen == {"node1"}
    assert re.search("VERIFY CRL: .* is revoked", (network.home("hub1") / "server.log").read_text())
    assert network.fetch_revocations("hub1") == "", "it has learned everything"


def test_a_hub_that_runs_closes_the_connection_of_a_node_that_another_hub_revoked(network: Network) -> None:
    network.wait("node1 to connect", lambda: "node1" in network.clients("hub1"))
    # The controller reaches one hub only, and the node is still connected to the other one.
    with pytest.raises(AssertionError, match="still answers"):
        network.revoke("hub2", "node1")
    assert "node1" in network.clients("hub1")
    assert network.fetch_revocations("hub1").endswith("of node1 is revoked\n")
    network.wait("the connection to be closed", lambda: network.clients("hub1") == set(), seconds=5)


@pytest.fixture(scope="module")
def small(network: Network) -> Iterator[Network]:
    """Two small hubs without Kubernetes, a control plane that is not a hub, and a node."""
    with tempfile.TemporaryDirectory(prefix="maas-small-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Network.of(
            directory, network.programs, hubs=("hub1", "hub2"), planes=("plane1",), nodes=("node1",)
        ) as made:
            made.wait("all BGP sessions", made.established, seconds=180)
            yield made


def test_small_hubs_carry_the_api_of_a_control_plane_that_is_not_a_hub(
    small: Network, results: dict[str, dict[str, Any]]
) -> None:
    variables = small.variables("hub1")["node"]
    assert (variables["role"], variables["announces_api"]) == ("hub", False)
    small.start_api("plane1")
    small.wait("the address of the API", lambda: small.path("node1", small.api) == "maas0")
    small.wait("the address of the API on a hub", lambda: small.path("hub2", small.api) != "")
    poll = small.poll_api("node1", seconds=5)
    time.sleep(1)
    small.unplug("hub1")
    small.kill("hub1")
    poll.wait(20)
    results["a small hub is gone"] = gone = json.loads((small.home("node1") / "poll.json").read_text())
    assert small.path("node1", small.api) == "maas1"
    assert gone["api"] <= LONGEST_API + 1


def test_a_node_does_not_receive_what_is_for_the_api(small: Network) -> None:
    before = refused(small, "hub2")
    small.run("node1", "ip", "address", "add", f"{small.api}/32", "dev", "lo")
    try:
        small.wait("hub2 to refuse it", partial(refuses_more, small, "hub2", before))
        assert f"via {transit(small, 'hub2', 'plane1')} " in small.run("hub2", "ip", "route", "get", small.api)
    finally:
        small.run("node1", "ip", "address", "del", f"{small.api}/32", "dev", "lo")
