"""What is installed and started on which machine, and what is said before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maas.errors import LabError
from maas.lab.engine import Facts, Plan, Start, plan

BARE = Facts(
    answers=False,
    reason="No such file or directory",
    dockerd=False,
    nft=False,
    mmdebstrap=False,
    image=False,
    systemd=False,
    root=True,
    distribution="debian",
    file_system="ext2/ext3",
)
READY = replace(BARE, answers=True, reason="", dockerd=True, nft=True, mmdebstrap=True, image=True)

TABLE = [
    pytest.param(READY, Plan((), Start.RUNS, None), id="runs"),
    pytest.param(replace(READY, distribution="fedora", root=False), Plan((), Start.RUNS, None), id="runs-anywhere"),
    pytest.param(
        replace(READY, image=False, mmdebstrap=False), Plan(("mmdebstrap",), Start.RUNS, None), id="runs-without-image"
    ),
    pytest.param(BARE, Plan(("docker.io", "nftables", "mmdebstrap"), Start.BY_HAND, "overlay2"), id="bare-no-init"),
    pytest.param(
        replace(BARE, systemd=True, distribution="ubuntu"),
        Plan(("docker.io", "nftables", "mmdebstrap"), Start.SYSTEMD, None),
        id="bare-systemd",
    ),
    pytest.param(
        replace(READY, answers=False, systemd=True), Plan((), Start.SYSTEMD, None), id="stopped-under-systemd"
    ),
    pytest.param(
        replace(READY, answers=False, file_system="overlayfs"), Plan((), Start.BY_HAND, None), id="disk-is-an-overlay"
    ),
    pytest.param(
        replace(READY, answers=False, nft=False, distribution="arch"), Plan((), Start.BY_HAND, "overlay2"), id="no-apt"
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
    assert "docker.io, nftables, mmdebstrap" in install
    assert "no init system" in start
    assert "/var/lib/docker" in start
    assert "`down` stops it again" in start


def test_starting_by_systemd_says_so() -> None:
    assert "systemctl" in plan(replace(BARE, systemd=True)).sentences()[1]


def test_a_user_who_is_not_root_is_told_the_command_to_install_with() -> None:
    with pytest.raises(LabError, match="only root may install") as caught:
        plan(replace(BARE, root=False))
    assert caught.value.command == "sudo apt-get install --yes docker.io mmdebstrap"


def test_a_user_who_is_not_root_is_told_how_to_start_an_engine_that_is_there() -> None:
    with pytest.raises(LabError, match="only root may start") as caught:
        plan(replace(READY, answers=False, reason="Permission denied", root=False, systemd=True))
    assert caught.value.command == "sudo systemctl start docker"
    assert "group docker" in (caught.value.hint or "")
    assert caught.value.context == ("Permission denied",)


def test_a_distribution_without_apt_is_told_what_to_install_in_its_own_way() -> None:
    with pytest.raises(LabError, match="Debian and Ubuntu only") as caught:
        plan(replace(BARE, distribution="fedora"))
    assert "this system calls itself fedora" in caught.value.context
