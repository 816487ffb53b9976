"""The script that applies changed settings to static pods: it restarts what differs, once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from pathlib import Path

FILES = CONTENT / "roles" / "control_plane" / "files"
containers = load_file(FILES / "maas_containers.py", "maas_containers")
static_pods = load_file(FILES / "static_pods.py", "maas_static_pods")


class World:
    """A control plane: `written` is what kubeadm would write, by component."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.calls = home, list[tuple[str, ...]]()
        self.written = dict.fromkeys(static_pods.COMPONENTS, "old")
        self.running = dict.fromkeys(static_pods.COMPONENTS, "first")
        (home / "manifests").mkdir()
        for name, text in self.written.items():
            (home / "manifests" / f"{name}.yaml").write_text(text)
        for constant, name in (("CONFIGURATION", "kubeadm.yaml"), ("POLICY", "policy.yaml")):
            (home / name).write_text("1")
            monkeypatch.setattr(static_pods, constant, home / name)
        monkeypatch.setattr(static_pods, "MANIFESTS", home / "manifests")
        monkeypatch.setattr(static_pods, "APPLIED", home / "applied.json")
        monkeypatch.setattr(static_pods, "wait_ready", lambda: self.calls.append(("ready",)))
        for module in (static_pods, containers):
            monkeypatch.setattr(module, "run", self.run)
        self.monkeypatch = monkeypatch

    def run(self, *words: str) -> Any:
        if words[1] == "ps":
            return self.running[words[-1].strip("^$")] + "\n"
        self.calls.append(words[1:])
        if words[1] == "stop":
            self.running["kube-apiserver"] = "next"
        if "control-plane" in words:
            for name, text in self.written.items():
                file = self.home / "manifests" / f"{name}.yaml"
                if file.read_text() != text:
                    self.running[name] = "next"
                file.write_text(text)
        return ""

    def start(self, *arguments: str) -> None:
        self.calls.clear()
        self.monkeypatch.setattr(sys, "argv", ["static-pods", *arguments])
        static_pods.main()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_nothing_happens_after_kubeadm_init(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.start("--record")
    world.start()
    assert world.calls == []
    assert capsys.readouterr().out == ""


def test_a_changed_setting_restarts_what_has_it_and_reaches_the_cluster(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.start("--record")
    (world.home / "kubeadm.yaml").write_text("2")
    world.written["kube-scheduler"] = "new"
    world.start()
    assert capsys.readouterr().out == "restarted kube-scheduler\n"
    assert [call[2] if call[0] == "init" else call[0] for call in world.calls] == [
        "control-plane",
        "ready",
        "upload-config",
    ]
    world.start()
    assert world.calls == [], "the second run has nothing to do"


def test_a_changed_policy_restarts_the_api_server(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.start("--record")
    (world.home / "policy.yaml").write_text("2")
    world.start()
    assert capsys.readouterr().out == "restarted kube-apiserver\n"
    assert ("stop", "--timeout", "20", "first") in world.calls


def test_a_control_plane_of_an_earlier_release_gets_the_settings(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.written["kube-apiserver"] = "new"
    world.start()
    assert capsys.readouterr().out == "restarted kube-apiserver\n"
    assert not [call for call in world.calls if call[0] == "stop"], "the kubelet restarts it"


def test_an_interrupted_run_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start("--record")
    (world.home / "kubeadm.yaml").write_text("2")
    monkeypatch.setattr(static_pods, "wait_ready", lambda: sys.exit("late"))
    with pytest.raises(SystemExit):
        world.start()
    monkeypatch.setattr(static_pods, "wait_ready", lambda: None)
    world.start()
    assert [call[2] for call in world.calls if call[0] == "init"] == ["control-plane", "upload-config"]
