from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import INVENTORY

from maas import console
from maas.cluster import _reboot_script as script
from maas.cluster import host_programs, reboots
from maas.cluster.host_programs import Hosts
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maas.cluster.reboots import HostState

STAT = "1 (systemd (x) y) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {} 1 2 3"
SIMULATED = """\
NOTE: This is only a simulation!
Inst perl-base [5.36.0-7+deb12u2] (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64]) []
Inst libgnutls30 [3.7.9-2] (3.7.9-3 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2025b-0+deb12u1] (2026a-0+deb12u1 Debian:12.15/oldstable-updates [all])
Inst linux-image-6.8.0-60-generic (6.8.0-60.63 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])
Conf perl-base (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64])
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a host."""
    files = {
        "proc/sys/kernel/random/boot_id": "0d5f\n",
        "proc/1/stat": STAT.format(0),
        "proc/uptime": "100.5 20.0\n",
        "boot/vmlinuz-6.1.0-9-amd64": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr("platform.release", lambda: "6.1.0-9-amd64")
    return tmp_path


def inspect() -> dict[str, Any]:
    return script.inspect({"updates": False, "refresh": False})


def test_a_boot_of_a_machine_and_one_of_a_container_change_the_identifier(root: Path) -> None:
    before, since = script.boot()
    (root / "proc/1/stat").write_text(STAT.format(5 * os.sysconf("SC_CLK_TCK")))
    container, later = script.boot()
    assert container != before
    assert later - since == pytest.approx(5, abs=1)
    (root / "proc/sys/kernel/random/boot_id").write_text("77aa\n")
    assert script.boot()[0] not in {before, container}


def test_this_machine_reports_when_it_has_booted() -> None:
    _, since = script.boot()
    assert 0 < since < datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    ("running", "installed", "newer"),
    [
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], "6.1.0-10-amd64"),
        ("6.1.0-10-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], ""),
        ("6.12.48+deb13-amd64", ["6.12.48+deb13-amd64", "6.12.57+deb13-amd64"], "6.12.57+deb13-amd64"),
        ("6.1.0-9-cloud-amd64", ["6.1.0-9-cloud-amd64", "6.1.0-20-amd64"], ""),
        ("6.8.0-59-generic", ["6.8.0-59-generic", "6.8.0-60-generic", "6.11.0-8-lowlatency"], "6.8.0-60-generic"),
        ("6.8.0-59-generic", [], ""),
        ("5.15.own", ["6.8.0-60-generic"], ""),
    ],
)
def test_a_newer_kernel_is_one_of_the_running_flavor(
    root: Path, running: str, installed: list[str], newer: str
) -> None:
    (root / "boot/vmlinuz-6.1.0-9-amd64").unlink()
    for name in installed:
        (root / f"boot/vmlinuz-{name}").touch()
    assert script.newer_kernel(running) == newer


def test_a_host_that_is_current_needs_no_reboot(root: Path) -> None:
    assert root.exists()
    state = reboots.parse(inspect())
    assert state.kernel == "6.1.0-9-amd64"
    assert state.reasons == []


def test_the_reasons_for_a_reboot_are_named(root: Path) -> None:
    (root / "boot/vmlinuz-6.1.0-10-amd64").touch()
    (root / "run/reboot-required").touch()
    (root / "run/reboot-required.pkgs").write_text("linux-base\nlibc6\nlibc6\n")
    assert reboots.parse(inspect()).reasons == [
        "kernel 6.1.0-10-amd64 is installed, 6.1.0-9-amd64 is running",
        "reboot required by libc6, linux-base",
    ]


def test_a_container_has_no_kernel_of_its_own(root: Path) -> None:
    (root / "boot/vmlinuz-6.1.0-10-amd64").touch()
    (root / "run/systemd").mkdir()
    (root / "run/systemd/container").write_text("docker")
    assert reboots.parse(inspect()).reasons == []


def test_security_updates_are_told_from_other_updates() -> None:
    assert script.security_updates(SIMULATED) == {
        "perl-base": "5.36.0-7+deb12u4",
        "libgnutls30": "3.7.9-3",
        "linux-image-6.8.0-60-generic": "6.8.0-60.63",
    }


def programs(directory: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> Path:
    """Put programs in front of those of this machine; each writes its arguments to the file that is returned."""
    calls = directory / "calls"
    home = directory / "bin"
    home.mkdir()
    for name, text in scripts.items():
        path = home / name.replace("_", "-")
        path.write_text(f'#!/bin/sh\necho "{path.name} $*" >> {calls}\n{text}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(home), prepend=":")
    return calls


def test_security_updates_are_installed_and_changed_configuration_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "simulated").write_text(SIMULATED)
    text = f'case "$*" in *--simulate*) cat {root}/simulated ;; esac'
    calls = programs(root, monkeypatch, apt_get=text)
    assert script.upgrade() == {"installed": ["libgnutls30", "linux-image-6.8.0-60-generic", "perl-base"]}
    update, simulate, install = calls.read_text().splitlines()
    assert update.endswith(" update")
    assert "--simulate" in simulate
    assert "--force-confold install perl-base=5.36.0-7+deb12u4 libgnutls30=3.7.9-3" in install


def test_the_words_of_apt_are_shown_when_it_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(root, monkeypatch, apt_get="echo 'E: Failed to fetch http://mirror' >&2; exit 100")
    with pytest.raises(SystemExit) as ended:
        script.pending(refresh=True)
    assert ended.value.code == "apt-get update: E: Failed to fetch http://mirror"


def test_a_host_reboots_after_it_has_answered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = programs(root, monkeypatch, systemd_run="exit 0", sync="exit 0")
    assert script.reboot() == {"boot": "0d5f/0"}
    assert (
        calls.read_text().splitlines()[-1].endswith("--on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")
    )


class Answers:
    """What a host answers to one attempt after the other."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.started = 0

    def run(self, *_: object, **__: object) -> dict[str, dict[str, Any]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"node1": {"boot": answer, "since": 10.0, "kernel": "6", "packages": [], "updates": []}}

    def start(self) -> None:
        self.started += 1


def wait_booted(answers: Answers, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 60) -> HostState:
    monkeypatch.setattr(host_programs, "run", answers.run)
    monkeypatch.setattr(Hosts, "disconnect", lambda *_: None)
    monkeypatch.setattr("time.sleep", lambda _: None)
    hosts = Hosts(INVENTORY, Path("/nowhere"))
    with console.phase("reboot") as step:
        return reboots.wait_booted(hosts, INVENTORY.hosts[1], "a", seconds=seconds, step=step, started=answers.start)


def test_a_host_has_booted_once_it_answers_with_another_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers("a", ClusterError("no answer"), ClusterError("no answer"), "b")
    assert wait_booted(answers, monkeypatch).boot == "b"
    assert answers.started == 4


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("a", "it answers, and has not rebooted"),
        (ClusterError("gone", context=["node1: timed out"]), "node1: timed out"),
    ],
)
def test_a_host_that_does_not_return_is_an_error(
    monkeypatch: pytest.MonkeyPatch, answer: str | Exception, said: str
) -> None:
    with pytest.raises(ClusterError, match="node1 did not boot within 0 s") as caught:
        wait_booted(Answers(answer), monkeypatch, seconds=0.05)
    assert caught.value.context == (said,)


@pytest.mark.parametrize(
    ("status", "reported", "ready"), [("True", 100, True), ("True", 99, False), ("False", 101, False)]
)
def test_a_report_of_before_the_boot_does_not_count(status: str, reported: int, ready: bool) -> None:
    condition = {"type": "Ready", "status": status, "last_heartbeat_time": datetime.fromtimestamp(reported, UTC)}
    node: Mapping[str, Any] = {"status": {"conditions": [{"type": "DiskPressure"}, condition]}}
    assert reboots.reported_ready(node, 100.0) is ready


def test_a_request_is_continued_by_the_same_command_only(tmp_path: Path) -> None:
    assert reboots.remembered(tmp_path, "all") == {}
    reboots.remember(tmp_path, "all", {"node1": "a"})
    assert reboots.remembered(tmp_path, "all") == {"node1": "a"}
    assert reboots.remembered(tmp_path, "node2") == {}
    reboots.forget(tmp_path)
    reboots.forget(tmp_path)
    assert reboots.remembered(tmp_path, "all") == {}
