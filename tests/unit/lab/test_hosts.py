"""What the lab writes is what bootstrap reads, and what is not a lab's is left alone."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from maas import paths
from maas.errors import LabError
from maas.hosts import inventory
from maas.lab import Host, LabState, docker_host, hosts, ssh_key

if TYPE_CHECKING:
    from pathlib import Path

HOST = Host(
    name="master",
    role="control-plane",
    address="172.28.0.10",
    gateway="172.28.0.1",
    container="maas-t-master",
    fingerprint="SHA256:6ZWGXwN/dg8v0qlhczDXYsMtlqOF5aZSZQBNvBUQfv8",
    state="running",
    system="running",
)
NODE = Host(
    name="node1",
    role="worker",
    address="172.28.1.10",
    gateway="172.28.1.1",
    container="maas-t-node1",
    fingerprint="SHA256:VUerKxOkzwWoAKfFc+8APOlig8OdUSoTaTO3zVycnvE",
    state="running",
    system="running",
)


@pytest.fixture(autouse=True)
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return paths.states()


def test_the_inventory_of_a_lab_is_one_that_bootstrap_accepts(states: Path) -> None:
    directory = paths.state("t")
    key = ssh_key.login_key(directory)
    state = LabState("t", directory, directory / "hosts.yaml", key, (HOST, NODE))
    hosts.write_inventory(state)
    read = inventory.load(states / "t" / "hosts.yaml")
    assert read.cluster == "t"
    assert [(str(host.address), host.fingerprint) for host in read.hosts] == [
        (HOST.address, HOST.fingerprint),
        (NODE.address, NODE.fingerprint),
    ]
    node = read.hosts[1]
    assert node.hub is not None
    assert (str(node.hub.endpoint), node.hub.port) == (NODE.gateway, 1194)


def test_the_hubs_of_a_lab_differ_in_their_ports(states: Path) -> None:
    directory = paths.state("t")
    more = (replace(HOST, name=f"master{n}", address=f"172.28.{n}.10", gateway=f"172.28.{n}.1") for n in (2, 3))
    state = LabState("t", directory, directory / "hosts.yaml", ssh_key.login_key(directory), (HOST, *more, NODE))
    hosts.write_inventory(state)
    read = inventory.load(states / "t" / "hosts.yaml")
    assert {hub.name: (own.endpoint, own.port) for hub in read.hubs if (own := read.server_of(hub))} == {
        "master": (docker_host.HUB_NAME, 1194),
        "master2": (docker_host.HUB_NAME, 1204),
        "master3": (docker_host.HUB_NAME, 1214),
    }


def test_a_host_gets_the_ports_that_the_plan_uses() -> None:
    hubs = hosts.names(control_planes=3, workers=1)[:3]
    assert hubs == ("master", "master2", "master3")
    ports = {
        (hub, to): docker_host.relayed_ports(hubs, hub, to) for hub in hubs for to in (*hubs, "node1") if to != hub
    }
    assert ports == {
        ("master", "master2"): [1194, 1195],
        ("master", "master3"): [1194, 1196],
        ("master", "node1"): [1194],
        ("master2", "master"): [1204],
        ("master2", "master3"): [1204, 1205],
        ("master2", "node1"): [1204],
        ("master3", "master"): [1214],
        ("master3", "master2"): [1214],
        ("master3", "node1"): [1214],
    }


def test_the_default_lab_is_the_one_of_before() -> None:
    assert hosts.names(control_planes=1, workers=2) == hosts.HOSTS == ("master", "node1", "node2")


@pytest.mark.parametrize(("control_planes", "workers"), [(0, 2), (2, 1), (7, 0), (1, -1)])
def test_a_lab_whose_etcd_would_be_no_better_is_refused(control_planes: int, workers: int) -> None:
    with pytest.raises(LabError) as caught:
        hosts.names(control_planes=control_planes, workers=workers)
    assert str(caught.value) == f"a lab cannot have {control_planes} control planes and {workers} workers"


def test_the_key_of_a_lab_is_made_once_and_is_for_its_owner_only() -> None:
    directory = paths.state("t")
    key = ssh_key.login_key(directory)
    content = key.read_bytes()
    assert ssh_key.login_key(directory) == key
    assert key.read_bytes() == content
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700


def test_fingerprints_are_those_that_openssh_shows(tmp_path: Path) -> None:
    _, public = ssh_key.generate()
    (tmp_path / "key.pub").write_text(f"{public.kind} {public.data}", encoding="ascii")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert public.fingerprint == shown.split()[1]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Lab", ["master"]),
        ("../lab", ["master"]),
        ("", ["master"]),
        ("lab-", ["master"]),
        ("l" * 33, ["master"]),
        ("lab", []),
        ("lab", ["master", "master"]),
        ("lab", ["master", "node_1"]),
    ],
)
def test_names_that_no_host_could_have_are_refused(name: str, names: list[str]) -> None:
    with pytest.raises(LabError) as caught:
        hosts.check_names(name, names)
    assert caught.value.code == "InvalidName"


def test_a_directory_of_a_real_cluster_is_refused_and_that_of_a_lab_is_not() -> None:
    directory = paths.state("t")
    hosts.check_names("t", ["master"])
    (directory / "ca.key").write_text("precious", encoding="utf-8")
    with pytest.raises(LabError) as caught:
        hosts.check_names("t", ["master"])
    assert caught.value.code == "NotALab"
    ssh_key.login_key(directory)
    hosts.check_names("t", ["master"])


def test_a_missing_bundle_is_said_before_an_engine_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        hosts.up("t", bundle=tmp_path / "nowhere")
    assert caught.value.code == "LabFailed"
    assert caught.value.command == "./nox -s bundle"
    assert not (tmp_path / "maas" / "t").exists()
