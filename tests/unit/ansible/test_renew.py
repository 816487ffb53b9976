"""The program that renews the certificates of a control plane, and the playbook that runs it."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.ansible_content import CONTENT, load_file

from maas.cluster import certificates

if TYPE_CHECKING:
    from pathlib import Path

load_file(CONTENT / "roles" / "base" / "files" / "maas_certificates.py", "maas_certificates")
containers = load_file(CONTENT / "roles" / "control_plane" / "files" / "maas_containers.py", "maas_containers")
renew = load_file(CONTENT / "roles" / "control_plane" / "files" / "renew.py", "maas_renew")

DAY = 86400


class World:
    """A control plane whose certificates expire after some days, and what was done on it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.days = {"apiserver.crt": 300.0, "ca.crt": 3.0}
        self.home, self.running = home, dict.fromkeys(renew.COMPONENTS, "old")
        self.healthy, self.renews, self.monkeypatch = True, True, monkeypatch
        for name in self.days:
            (home / name).touch()
        monkeypatch.setattr(renew, "RESTARTING", home / "renewal")
        monkeypatch.setattr(renew, "LOCK", home / "run" / "renewal.lock")
        monkeypatch.setattr(renew, "control_plane", self.control_plane)
        monkeypatch.setattr(renew, "ready", lambda: self.healthy)
        monkeypatch.setattr(renew, "wait_ready", lambda: self.done.append("ready"))
        monkeypatch.setattr(renew.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 0))
        for module in (renew, containers):
            monkeypatch.setattr(module, "run", self.run)

    def control_plane(self) -> list[tuple[Path, float, bool]]:
        return [(self.home / name, time.time() + days * DAY, name == "ca.crt") for name, days in self.days.items()]

    def run(self, *words: str) -> Any:
        if words[1] == "ps":
            return self.running[words[-1].strip("^$")] + "\n"
        if words[1] == "stop" and "crictl" in words[0]:
            stopped = next(name for name, state in self.running.items() if state == "old")
            self.running[stopped] = f"new {stopped}"
            self.done.append(stopped)
            return ""
        if "kubeadm" in words[0]:
            self.done.append("renewed")
            if self.renews:
                self.days["apiserver.crt"] = 365
                (self.home / "apiserver.crt").touch()
            return "renewed\n"
        self.done.append(" ".join(words[1:]))
        return ""

    def start(self, *arguments: str) -> list[str]:
        self.done.clear()
        self.running = dict.fromkeys(renew.COMPONENTS, "old")
        self.monkeypatch.setattr(sys, "argv", ["renew", *arguments])
        renew.main()
        return self.done


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


ALL = ["renewed", f"stop {renew.ADDRESS}", *renew.COMPONENTS, "ready", f"start {renew.ADDRESS}"]


def test_nothing_is_restarted_while_all_certificates_hold_and_authorities_are_not_renewed(world: World) -> None:
    assert world.start() == []


def test_a_certificate_in_its_last_three_months_is_renewed_once(world: World) -> None:
    world.days["apiserver.crt"] = 80
    assert world.start() == ALL
    assert world.start() == []


def test_certificates_from_before_a_time_are_renewed_once(world: World) -> None:
    later = str(int(time.time()) + 1)
    assert world.start("--before", str(int(time.time()) - 60)) == []
    with pytest.raises(SystemExit, match="apiserver"):  # as they are older than that, after the renewal too
        world.start("--before", str(int(later) + 60))


def test_an_interrupted_renewal_restarts_what_has_the_old_certificates(world: World) -> None:
    world.days["apiserver.crt"] = 80
    world.monkeypatch.setattr(renew, "restart", lambda _: sys.exit("killed"))
    with pytest.raises(SystemExit, match="killed"):
        world.start()
    assert world.done == ["renewed", f"stop {renew.ADDRESS}", f"start {renew.ADDRESS}"], "the address stays withdrawn"
    world.monkeypatch.setattr(renew, "restart", containers.restart)
    assert world.start() == ALL[1:], "the files are renewed, the programs are not"
    assert world.start() == []


def test_two_renewals_at_once_restart_everything_once(world: World) -> None:
    world.days["apiserver.crt"] = 80
    world.monkeypatch.setattr(sys, "argv", ["renew"])
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(renew.main) for _ in range(2)]:
            one.result()
    assert world.done == ALL


def test_the_controller_knows_the_mark_of_an_interrupted_renewal() -> None:
    text = (CONTENT / "roles" / "control_plane" / "files" / "renew.py").read_text(encoding="utf-8")
    assert f'RESTARTING = Path("{certificates.RESTARTING}")' in text


def test_an_api_server_that_expired_certificates_stopped_is_not_waited_for(world: World) -> None:
    world.days["apiserver.crt"], world.healthy = -1, False
    assert "ready" not in world.start()


def test_a_certificate_that_kubeadm_did_not_renew_is_an_error(world: World) -> None:
    world.days["apiserver.crt"], world.renews = 80, False
    with pytest.raises(SystemExit, match=r"not renewed: .*apiserver\.crt"):
        world.start()


def test_hubs_and_control_planes_are_renewed_one_at_a_time_and_hubs_first() -> None:
    plays = [
        play
        for one in yaml.safe_load((CONTENT / "certificates.yml").read_text(encoding="utf-8"))
        for play in (
            yaml.safe_load((CONTENT / one["ansible.builtin.import_playbook"]).read_text(encoding="utf-8"))
            if "ansible.builtin.import_playbook" in one
            else [one]
        )
    ]
    assert [(play["hosts"], play.get("serial")) for play in plays] == [
        ("control_plane:hubs", 1),
        ("all", None),
        ("control_plane", 1),
        ("all", None),
    ]
    (hub,) = plays[0]["tasks"]
    assert hub["when"] == "node.server is not none"
    assert any("until" in task for task in hub["block"]), "the next hub restarts while nodes have no tunnel to this one"
