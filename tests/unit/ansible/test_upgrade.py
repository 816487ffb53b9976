"""The program that upgrades a control plane, and the playbook that runs it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
import yaml
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from pathlib import Path

load_file(CONTENT / "roles" / "control_plane" / "files" / "maas_containers.py", "maas_containers")
upgrade = load_file(CONTENT / "roles" / "upgrade" / "files" / "upgrade.py", "maas_upgrade")

APPLY = "upgrade apply --config /etc/maas/kubernetes/upgrade.yaml --yes"
NODE = "upgrade node --config /etc/maas/kubernetes/upgrade.yaml"
UPLOAD = "init phase upload-config kubeadm --config /etc/maas/kubernetes/kubeadm.yaml"


class World:
    """A control plane with the static pods of a version, and what was done on it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.done, self.announces, self.failing = home, list[str](), True, ""
        for name in ("DONE", "MANIFESTS", "BACKUPS", "ADMIN"):
            monkeypatch.setattr(upgrade, name, home / name.lower())
        monkeypatch.setattr(upgrade, "LOCK", home / "run" / "lock")
        (home / "manifests").mkdir()
        (home / "backups").mkdir()
        (home / "admin").write_text("    server: https://10.90.0.254:6443\n")
        self.write("v1.39.4")
        monkeypatch.setattr(upgrade, "run", self.run)
        monkeypatch.setattr(upgrade, "wait_ready", lambda: self.done.append("ready"))
        monkeypatch.setattr(upgrade.subprocess, "run", self.is_active)

    def write(self, version: str) -> None:
        for name in upgrade.COMPONENTS:
            text = f"spec:\n  containers:\n  - image: x\n    image: registry.k8s.io/{name}:{version}\n"
            (self.home / "manifests" / f"{name}.yaml").write_text(text)

    def is_active(self, words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 0 if self.announces else 3)

    def run(self, program: str, *words: str) -> str:
        if program.endswith("/ip"):
            return "1: lo inet 10.90.0.254/32 scope global lo\n"
        self.done.append(" ".join([program.rpartition("/")[2], *words]))
        if self.failing and self.failing in self.done[-1]:
            raise subprocess.CalledProcessError(1, program)
        if "upgrade" in words:
            self.write("v1.40.2")
            return "upgraded\n"
        return ""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def run(monkeypatch: pytest.MonkeyPatch, action: str, control_planes: int = 3) -> None:
    monkeypatch.setattr("sys.argv", ["upgrade", "v1.40.2", action, str(control_planes)])
    upgrade.main()


@pytest.mark.parametrize(("action", "command"), [("apply", APPLY), ("node", NODE)])
def test_others_answer_while_a_control_plane_is_upgraded(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str, command: str
) -> None:
    run(monkeypatch, action)
    assert world.done == [
        "systemctl stop maas-api-address.service",
        f"kubeadm {UPLOAD}",
        f"kubeadm {command}",
        "ready",
        "etcd-guard",
        "ready",
        "systemctl start maas-api-address.service",
        "static-pods --record",
    ]
    assert not (world.home / "backups").exists()
    run(monkeypatch, action)
    assert len(world.done) == 8, "the same command again changes nothing"


def test_a_single_control_plane_keeps_the_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "apply", 1)
    assert world.done == [f"kubeadm {UPLOAD}", f"kubeadm {APPLY}", "ready", "static-pods --record"]


def test_a_control_plane_that_is_no_hub_has_no_address_to_withdraw(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.announces = False
    run(monkeypatch, "node")
    assert not [one for one in world.done if one.startswith("systemctl")]


def test_the_address_returns_after_a_failure_and_the_next_run_starts_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.failing = "upgrade apply"
    with pytest.raises(subprocess.CalledProcessError):
        run(monkeypatch, "apply")
    assert world.done[-1] == "systemctl start maas-api-address.service"
    assert not upgrade.DONE.exists()
    world.failing = ""
    world.done.clear()
    run(monkeypatch, "apply")
    assert f"kubeadm {APPLY}" in world.done


def test_static_pods_of_another_version_are_upgraded_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "apply")
    world.write("v1.39.4")
    world.done.clear()
    run(monkeypatch, "apply")
    assert f"kubeadm {APPLY}" in world.done


@pytest.mark.parametrize(("role", "patches"), [("control-plane", True), ("worker", False)])
def test_kubeadm_pulls_no_image_and_patches_only_on_control_planes(role: str, patches: bool) -> None:
    loader = jinja2.FileSystemLoader(CONTENT / "roles" / "upgrade" / "templates")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, autoescape=False)  # noqa: S701 - YAML
    environment.filters["to_json"] = lambda value: str(value).replace("'", '"')
    node: dict[str, Any] = {"role": role, "ignore_preflight": ["SystemVerification"]}
    cluster = {"kubernetes_version": "v1.40.2", "timeouts": {"kubeadm": {"upgradeManifests": "600s"}}}
    made = yaml.safe_load(environment.get_template("upgrade.yaml.j2").render(node=node, cluster=cluster))
    assert made["apply"]["kubernetesVersion"] == "v1.40.2"
    for action in ("apply", "node"):
        assert made[action]["imagePullPolicy"] == "Never"
        assert made[action]["ignorePreflightErrors"] == ["SystemVerification", "CreateJob"]
        assert ("patches" in made[action]) == patches
    assert made["timeouts"] == {"upgradeManifests": "600s"}


def test_control_planes_follow_one_another_and_nothing_restarts_while_components_are_staged() -> None:
    plays = yaml.safe_load((CONTENT / "upgrade.yml").read_text(encoding="utf-8"))
    assert [play["tags"] for play in plays] == [["control-planes"], ["kubelets"]]
    assert plays[0]["serial"] == 1
    stage = yaml.safe_load((CONTENT / "roles" / "upgrade" / "tasks" / "stage.yml").read_text(encoding="utf-8"))
    assert "files" not in stage[0]["install"]["bundle"]
    assert [one["path"] for one in stage[0]["install"]["files"]] == ["/etc/maas/images.json"]
