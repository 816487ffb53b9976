from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import inventory_of

from maas import console
from maas.cluster import _authorities_script as script
from maas.cluster import authorities, host_programs
from maas.cluster.host_programs import Hosts
from maas.errors import ClusterError
from maas.hosts import rotations
from maas.hosts.rotations import Rotation

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINERS = """\
import pathlib
STEPS = pathlib.Path({steps!r})
def restart(name):
    with STEPS.open("a") as file:
        file.write("restart " + name + "\\n")
    if pathlib.Path(str(STEPS) + ".fails").exists():
        raise SystemExit("timed out")
def wait_ready():
    with STEPS.open("a") as file:
        file.write("ready\\n")
"""


def made(kind: str = "etcd", phase: str = "trusted") -> Rotation:
    return Rotation.model_validate(
        {"kind": kind, "phase": phase, "began": datetime.now(UTC), "old": "old\n", "new": "new\n", "key": "secret\n"}
    )


class HostWorld:
    """The files of a control plane, and what was done on it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.steps_file = root, root / "steps"
        library = root / "usr/local/lib/maas"
        library.mkdir(parents=True)
        (library / "maas_containers.py").write_text(CONTAINERS.format(steps=str(self.steps_file)))
        (root / "etc/kubernetes/pki/etcd").mkdir(parents=True)
        (root / "etc/kubernetes/pki/etcd/ca.crt").write_text("old\n")
        (root / "etc/kubernetes/pki/etcd/ca.key").write_text("old secret\n")
        monkeypatch.setattr(script, "ROOT", root)
        monkeypatch.setattr(script, "announced", lambda: True)
        monkeypatch.setattr("time.sleep", lambda _: None)
        monkeypatch.setattr("subprocess.run", self.run)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "maas_containers", raising=False)

    def run(self, words: list[str], **_: object) -> None:
        self.note(" ".join(words[1:]) if words[0].endswith("kubeadm") else " ".join(words[:2]))

    def note(self, text: str) -> None:
        with self.steps_file.open("a") as file:
            file.write(f"{text}\n")

    def steps(self) -> list[str]:
        found = self.steps_file.read_text().splitlines() if self.steps_file.exists() else []
        self.steps_file.unlink(missing_ok=True)
        return found

    def apply(self, rotation: Rotation) -> list[str]:
        text = json.dumps({"action": "apply", **authorities.parameters(rotation)})
        restarted: list[str] = script.apply(json.loads(text))["restarted"]
        return restarted


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostWorld:
    return HostWorld(tmp_path, monkeypatch)


AROUND = ["systemctl stop", "systemctl start"]


def test_a_control_plane_trusts_both_before_it_has_the_new_key(host: HostWorld) -> None:
    pki = host.root / "etc/kubernetes/pki/etcd"
    assert host.apply(made()) == ["etcd", "kube-apiserver"]
    assert host.steps() == [AROUND[0], "restart etcd", "restart kube-apiserver", "ready", AROUND[1]]
    assert (pki / "ca.crt").read_text() == "old\nnew\n"
    assert (pki / "ca.key").read_text() == "old secret\n"


def test_certificates_are_issued_in_the_second_phase_only(host: HostWorld) -> None:
    host.apply(made(phase="issued"))
    pki = host.root / "etc/kubernetes/pki/etcd"
    issued = [step for step in host.steps() if step.startswith("certs renew")]
    names = ("etcd-server", "etcd-peer", "etcd-healthcheck-client", "apiserver-etcd-client")
    assert issued == [f"certs renew {name} --config /etc/maas/kubernetes/kubeadm.yaml" for name in names]
    assert (pki / "ca.crt").read_text() == "new\nold\n", "kubeadm issues by the first one"
    assert ((pki / "ca.key").read_text(), (pki / "ca.key").stat().st_mode & 0o777) == ("secret\n", 0o600)
    host.apply(made(phase="dropped"))
    assert not any(step.startswith("certs") for step in host.steps())
    assert (pki / "ca.crt").read_text() == "new\n"


def test_a_phase_that_was_completed_on_a_host_restarts_nothing_there(host: HostWorld) -> None:
    host.apply(made())
    host.steps()
    assert host.apply(made()) == []
    assert host.steps() == []


def test_a_phase_that_failed_is_repeated_and_the_host_announces_the_api_again(host: HostWorld) -> None:
    fails = Path(f"{host.steps_file}.fails")
    fails.touch()
    with pytest.raises(SystemExit):
        host.apply(made())
    assert host.steps()[-1] == AROUND[1]
    fails.unlink()
    assert host.apply(made()) == ["etcd", "kube-apiserver"]


def token(key: str) -> str:
    def part(content: Mapping[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'ES256', 'kid': key})}.{part({'sub': 'x'})}.c2lnbmF0dXJl"


def test_tokens_of_a_key_are_found_in_volumes_and_in_the_configuration_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "var/lib/kubelet/pods/7/volumes/kubernetes.io~projected/kube-api-access"
    (volume / "..2026").mkdir(parents=True)
    (volume / "..2026/token").write_text(token("old"))
    (volume / "token").symlink_to("..2026/token")
    (volume / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\neyJhbGci\n")
    (volume / "gone").symlink_to("..2025/token")
    network = tmp_path / "etc/cni/net.d"
    network.mkdir(parents=True)
    (network / "calico-kubeconfig").write_text(f'users:\n- user: {{token: "{token("new")}"}}\n')
    monkeypatch.setattr(script, "ROOT", tmp_path)
    assert script.tokens({"key": "old"}) == {"old": [str(volume / "token")], "tokens": 2}
    assert script.tokens({"key": "new"}) == {"old": [str(network / "calico-kubeconfig")], "tokens": 2}
    assert script.tokens({"key": "other"})["old"] == []
    assert script.signer("no base64!") == ""


def hosts() -> Hosts:
    return Hosts(inventory_of("node1", "node2"), Path("/nowhere"))


class Answers:
    def __init__(self, *answers: dict[str, dict[str, Any]]) -> None:
        self.answers = list(answers)

    def run(self, _: Hosts, program: str, *__: object, **___: object) -> dict[str, dict[str, Any]]:
        if "restart-kubelet" in program:
            return {}
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_rotation_begins_with_what_all_control_planes_have(monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = rotations.new_signer()
    monkeypatch.setattr(host_programs, "run", Answers({"master": {"text": old}}).run)
    rotation = authorities.begin(hosts(), "service-accounts")
    assert (rotation.phase, rotation.old) == ("trusted", old)
    assert rotation.new != old
    assert rotations.matches(rotation.new, rotation.key)


@pytest.mark.parametrize("other", ["another", "both"])
def test_what_another_controller_has_begun_is_refused(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    old, _ = rotations.new_signer()
    new, _ = rotations.new_signer()
    planes = {"master": {"text": old}, "master2": {"text": new if other == "another" else old + new}}
    if other == "both":
        planes["master"] = planes["master2"]
    monkeypatch.setattr(host_programs, "run", Answers(planes).run)
    with pytest.raises(ClusterError) as caught:
        authorities.begin(hosts(), "service-accounts")
    assert caught.value.code == "OperationUnfinished"


def replace_tokens(answers: Answers, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    old, _ = rotations.new_signer()
    rotation = made("service-accounts", "issued").model_copy(update={"old": old})
    monkeypatch.setattr(host_programs, "run", answers.run)
    monkeypatch.setattr(authorities, "_renew_secrets", lambda _: 0)
    monkeypatch.setattr(authorities, "_restart_network", lambda *_: None)
    monkeypatch.setattr("time.sleep", waits.append)
    cluster: Any = None
    with console.phase("tokens") as step:
        authorities.replace_tokens(hosts(), cluster, rotation, step)


def test_the_old_key_is_kept_until_no_host_has_a_token_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    some, none = {"node1": {"old": ["/token"], "tokens": 3}}, {"node1": {"old": [], "tokens": 3}}
    replace_tokens(Answers(some, some, none), monkeypatch, waits)
    assert waits == [5, 5, 90]


def test_tokens_that_are_not_replaced_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorities, "_TOKEN_SECONDS", -1)
    with pytest.raises(ClusterError, match="1 tokens that the old key has signed are still in use") as caught:
        replace_tokens(Answers({"node1": {"old": ["/token"], "tokens": 3}}), monkeypatch, [])
    assert caught.value.context == ("node1: /token",)
