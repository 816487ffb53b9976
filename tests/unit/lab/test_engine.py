"""What is installed and started on which machine, and what is said before."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import docker.errors
import pytest
import requests

from maas.errors import LabError
from maas.lab import engine
from maas.lab.engine import Facts, Plan, Start, plan

if TYPE_CHECKING:
    from pathlib import Path

BARE = Facts(
    answers=False,
    reason="No such file or directory",
    dockerd=False,
    firewall=("iptables", "nftables"),
    mmdebstrap=False,
    image=False,
    systemd=False,
    root=True,
    distribution="debian",
    file_system="ext2/ext3",
)
READY = replace(BARE, answers=True, reason="", dockerd=True, firewall=(), mmdebstrap=True, image=True)

TABLE = [
    pytest.param(READY, Plan((), Start.RUNNING, None), id="runs"),
    pytest.param(replace(READY, distribution="fedora", root=False), Plan((), Start.RUNNING, None), id="runs-anywhere"),
    pytest.param(
        replace(READY, image=False, mmdebstrap=False),
        Plan(("mmdebstrap",), Start.RUNNING, None),
        id="runs-without-image",
    ),
    pytest.param(
        BARE, Plan(("docker.io", "iptables", "nftables", "mmdebstrap"), Start.PROCESS, "overlay2"), id="bare-no-init"
    ),
    pytest.param(
        replace(BARE, systemd=True, distribution="ubuntu"),
        Plan(("docker.io", "iptables", "nftables", "mmdebstrap"), Start.SYSTEMD, None),
        id="bare-systemd",
    ),
    pytest.param(
        replace(READY, answers=False, systemd=True), Plan((), Start.SYSTEMD, None), id="stopped-under-systemd"
    ),
    pytest.param(
        replace(READY, answers=False, file_system="overlayfs"), Plan((), Start.PROCESS, None), id="disk-is-an-overlay"
    ),
    pytest.param(
        replace(READY, answers=False, firewall=("nftables",), distribution="arch"),
        Plan((), Start.PROCESS, "overlay2"),
        id="no-apt",
    ),
]


@pytest.mark.parametrize(("facts", "expected"), TABLE)
def test_the_machine_decides_what_is_installed_and_started(facts: Facts, expected: Plan) -> None:
    assert plan(facts) == expected


def test_a_machine_that_has_all_is_not_touched() -> None:
    assert not plan(READY).changes
    assert plan(READY).sentences() == []


def test_the_plan_names_the_packages_and_how_the_engine_is_started() -> None:
    install, start = plan(BARE).sentences()
    assert "docker.io, iptables, nftables, mmdebstrap" in install
    assert "no init system" in start
    assert "/var/lib/docker" in start
    assert "`down` stops it" in start


def test_starting_by_systemd_says_so() -> None:
    assert "systemctl" in plan(replace(BARE, systemd=True)).sentences()[1]


def test_a_user_who_is_not_root_gets_the_command_to_install() -> None:
    with pytest.raises(LabError) as caught:
        plan(replace(BARE, root=False))
    assert caught.value.code == "RootRequired"
    assert caught.value.command == "sudo apt-get install --yes docker.io mmdebstrap"


def test_a_user_who_is_not_root_gets_the_command_to_start_docker() -> None:
    with pytest.raises(LabError) as caught:
        plan(replace(READY, answers=False, reason="Permission denied", root=False, systemd=True))
    assert caught.value.code == "RootRequired"
    assert caught.value.command == "sudo systemctl start docker"
    assert "group docker" in (caught.value.hint or "")
    assert caught.value.context == ("Permission denied",)


def test_on_a_distribution_without_apt_the_error_names_the_packages() -> None:
    with pytest.raises(LabError, match="Debian and Ubuntu only") as caught:
        plan(replace(BARE, distribution="fedora"))
    assert "the distribution of this machine is fedora" in caught.value.context


@dataclass
class Listed:
    """Containers or networks as the engine lists them."""

    names: list[str] = field(default_factory=list)

    def list(self, **_: object) -> list[Any]:
        return [type("Named", (), {"name": name}) for name in self.names]


@dataclass
class Engine:
    """As much of an engine as decides whether it may be stopped."""

    containers: Listed = field(default_factory=Listed)
    networks: Listed = field(default_factory=lambda: Listed(["bridge", "host", "none"]))


@pytest.mark.parametrize(
    ("started", "there"),
    [
        pytest.param(False, Engine(), id="it-ran-before-the-lab"),
        pytest.param(True, Engine(containers=Listed(["web"])), id="somebody-has-a-container"),
        pytest.param(True, Engine(networks=Listed(["bridge", "host", "none", "web"])), id="somebody-has-a-network"),
    ],
)
def test_an_engine_that_others_use_or_started_is_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, started: bool, there: Engine
) -> None:
    note = tmp_path / "engine-before.json"
    monkeypatch.setattr(engine, "_SNAPSHOT", note)
    if started:
        note.write_text("{}", encoding="utf-8")
    # Stopping would fail on this stand-in, which has no close().
    assert engine.release(cast("docker.DockerClient", there)) == []
    assert note.exists() is started


def test_a_process_that_took_over_the_daemons_number_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfile = tmp_path / "dockerd.pid"
    monkeypatch.setattr(engine, "_PIDFILE", pidfile)
    assert engine.daemon_pid() is None
    pidfile.write_text(str(os.getpid()), encoding="ascii")
    assert engine.daemon_pid() is None


def test_errors_of_docker_contain_its_message() -> None:
    with pytest.raises(LabError, match="port is already allocated"), engine.errors():
        raise docker.errors.APIError("500 Server Error", explanation="port is already allocated")
    with pytest.raises(LabError, match="was lost"), engine.errors():
        raise requests.exceptions.ConnectionError("Connection aborted")


def test_no_engine_is_an_error_with_the_command_that_brings_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(LabError) as caught:
        engine.connect()
    assert caught.value.code == "DockerUnavailable"
    assert caught.value.command == "./nox -s up"
    assert not engine.examine(image=True).answers
