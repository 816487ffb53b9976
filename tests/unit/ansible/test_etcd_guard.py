"""The program that keeps an etcd whose data is lost from starting a second cluster."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from pathlib import Path

FILES = CONTENT / "roles" / "control_plane" / "files"
load_file(FILES / "maas_etcd.py", "maas_etcd")  # which the program imports
guard = load_file(FILES / "etcd_guard.py", "maas_etcd_guard")

# As `kubeadm init` of 1.37 writes it, without what does not matter here.
FIRST = """\
apiVersion: v1
kind: Pod
metadata:
  name: etcd
spec:
  containers:
  - command:
    - etcd
    - --advertise-client-urls=https://10.90.0.1:2379
    - --election-timeout=1000
    - --heartbeat-interval=100
    - --initial-advertise-peer-urls=https://10.90.0.1:2380
    - --initial-cluster=master=https://10.90.0.1:2380
    - --name=master
    image: etcd
"""
# As `kubeadm join` writes it.
LATER = FIRST.replace("master", "m2").replace("10.90.0.1", "10.90.0.2")
LATER = LATER.replace(
    "--initial-cluster=m2=https://10.90.0.2:2380",
    "--initial-cluster=master=https://10.90.0.1:2380,m2=https://10.90.0.2:2380\n    - --initial-cluster-state=existing",
)
FLAGS = {"heartbeat-interval": "120", "election-timeout": "3000"}


def flags(manifest: str) -> dict[str, str]:
    command = yaml.safe_load(manifest)["spec"]["containers"][0]["command"]
    assert command[0] == "etcd"
    assert len({word.partition("=")[0] for word in command}) == len(command), "no flag is there twice"
    return dict(word.removeprefix("--").split("=", 1) for word in command[1:])


@pytest.mark.parametrize(
    ("manifest", "own"), [(FIRST, "master=https://10.90.0.1:2380"), (LATER, "m2=https://10.90.0.2:2380")]
)
def test_a_member_without_data_finds_nobody_to_start_a_cluster_with(manifest: str, own: str) -> None:
    made = guard.guarded(manifest, FLAGS)
    found = flags(made)
    assert (found["initial-cluster"], found["initial-cluster-state"]) == (own, "existing")
    assert (found["heartbeat-interval"], found["election-timeout"]) == ("120", "3000")
    assert guard.guarded(made, FLAGS) == made, "a second run changes nothing"
    rest = {"initial-cluster", "initial-cluster-state", *FLAGS}
    assert {k: v for k, v in found.items() if k not in rest} == {
        k: v for k, v in flags(manifest).items() if k not in rest
    }


class World:
    """A control plane that is a member of etcd."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sick: set[str] = set()
        self.calls: list[tuple[str, str, bool]] = []
        self.manifest = home / "kubernetes" / "manifests" / "etcd.yaml"
        self.manifest.parent.mkdir(parents=True)
        self.manifest.write_text(FIRST)
        self.data, self.member = home / "member", home / "initialised"
        self.data.mkdir()
        self.member.touch()
        members = {"master": "10.90.0.1", "m2": "10.90.0.2", "m3": "10.90.0.3"}
        (home / "etcd.json").write_text(json.dumps({"flags": FLAGS, "members": members}))
        places: dict[str, Any] = {
            "MANIFEST": self.manifest,
            "MEMBER": self.member,
            "DATA": self.data,
            "TIMERS": home / "etcd.json",
            "health": lambda address: address not in self.sick,
            # Another container as soon as the static pod is another one.
            "container": lambda: "first" if self.manifest.read_text() == FIRST else "second",
            "SECONDS": 0.1,
            "systemctl": self.systemctl,
            "hand_over": lambda: None,
            "stop": lambda running: self.calls.append(("stop", running, self.manifest.read_text() == FIRST)),
        }
        for name, value in places.items():
            monkeypatch.setattr(guard, name, value)
        monkeypatch.setattr(guard.time, "sleep", lambda _: None)
        self.monkeypatch = monkeypatch

    def systemctl(self, action: str, unit: str) -> None:
        self.calls.append((action, unit, self.manifest.read_text() == FIRST))

    def run(self, *arguments: str) -> bool:
        """Run the program, and return whether it changed the static pod."""
        before = self.manifest.read_text()
        self.monkeypatch.setattr(sys, "argv", ["etcd-guard", *arguments])
        guard.main()
        assert [path.name for path in self.manifest.parent.iterdir()] == ["etcd.yaml"], "the kubelet reads every file"
        return self.manifest.read_text() != before


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_member_is_restarted_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run()
    assert capsys.readouterr().out
    assert world.manifest.stat().st_mode & 0o777 == 0o600
    assert not world.run()
    assert not capsys.readouterr().out


ADDRESS = "maas-api-address.service"
KUBELET = "kubelet.service"


@pytest.mark.parametrize("returns", [True, False])
def test_the_other_control_planes_answer_while_a_member_restarts(world: World, *, returns: bool) -> None:
    if returns:
        world.run()
    else:
        # The container of the new static pod never starts.
        world.monkeypatch.setattr(guard, "container", lambda: "first")
        with pytest.raises(SystemExit):
            world.run()
    # The kubelet finds the new static pod when it starts, and the container of the old one is gone.
    assert world.calls == [
        ("stop", ADDRESS, True),
        ("stop", KUBELET, True),
        ("stop", "first", True),
        ("start", KUBELET, False),
        ("start", ADDRESS, False),
    ]


def test_the_kubelet_runs_again_if_etcd_cannot_be_stopped(world: World) -> None:
    def fail(running: str) -> None:
        raise OSError(running)

    world.monkeypatch.setattr(guard, "stop", fail)
    with pytest.raises(OSError, match="first"):
        world.run()
    assert world.manifest.read_text() == FIRST
    assert world.calls[-2:] == [("start", KUBELET, True), ("start", ADDRESS, True)]


def test_no_member_is_restarted_while_another_one_is_down(world: World) -> None:
    world.sick = {"10.90.0.3"}
    with pytest.raises(SystemExit) as caught:
        world.run()
    assert caught.value.code == "timed out after 0.1 s waiting for etcd on m3 to be healthy"
    assert world.manifest.read_text() == FIRST
    assert world.calls == []


def test_a_host_that_is_no_member_yet_is_left_alone(world: World) -> None:
    world.member.unlink()
    world.data.rmdir()
    assert not world.run("--boot")
    assert not world.run()


def test_at_boot_a_lost_directory_is_said_and_guarded(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.sick = {"127.0.0.1"}
    world.data.rmdir()
    assert world.run("--boot")
    assert flags(world.manifest.read_text())["initial-cluster-state"] == "existing"
    assert "is lost: etcd does not start here, so that it cannot start a second cluster" in capsys.readouterr().err


def test_a_restart_of_the_kubelet_does_not_restart_etcd(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert not world.run("--boot")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("leader", "target"), [("1", "3"), ("3", None)])
def test_the_leader_hands_over_to_a_member_that_votes(
    leader: str, target: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, str]] = []

    def call(path: str, body: dict[str, str]) -> dict[str, Any]:
        if path == "maintenance/transfer-leadership":
            made.append(body)
        members = [{"ID": "1"}, {"ID": "2", "isLearner": True}, {"ID": "3"}]
        return {"header": {"member_id": "1"}, "leader": leader, "members": members}

    monkeypatch.setattr(guard, "call", call)
    guard.hand_over()
    assert made == ([{"targetID": target}] if target else [])


def test_an_etcd_that_does_not_answer_is_restarted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(guard, "call", call)
    guard.hand_over()
