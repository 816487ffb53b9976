from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.ansible.conftest import ExitError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.ansible.conftest import Host

UNIT = "containerd.service"


@dataclass
class Systemd:
    """What systemctl would do with one unit."""

    active: str = "inactive"
    enabled: str = "disabled"
    broken: bool = False
    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        match command[1:]:
            case ["show", _, _, *names]:
                state = f"ActiveState={self.active}\nUnitFileState={self.enabled}\nNeedDaemonReload=no\n"
                return 0, "\n".join([f"{state}LoadState=loaded\n"] * len(names)), ""
            case ["enable", *_]:
                self.enabled = "enabled"
            case ["restart" | "reload" | "start", *_]:
                if self.broken:
                    return 1, "", "Job failed."
                self.active = "active"
        if command[0] == "journalctl":
            return 0, "cannot bind to the address", ""
        self.calls.append(command[1:])
        return 0, "", ""


@pytest.fixture
def systemd(host: Host) -> Systemd:
    host.answer = systemd = Systemd()
    return systemd


def test_a_unit_is_enabled_and_started(host: Host, systemd: Systemd) -> None:
    answer = host.run("services", names=[UNIT], files=[])
    assert answer["changes"] == [f"enable {UNIT}", f"start {UNIT}"]
    assert (systemd.active, systemd.enabled) == ("active", "enabled")


def test_a_second_run_changes_nothing(host: Host, systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.touch()
    host.run("services", names=[UNIT], files=[str(config)])
    systemd.calls.clear()
    assert not host.run("services", names=[UNIT], files=[str(config)])["changed"]
    assert systemd.calls == []


def test_a_change_of_its_files_restarts_it_even_in_a_later_run(host: Host, systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("a")
    host.run("services", names=[UNIT], files=[str(config)])
    config.write_text("bb")  # and here the run was interrupted
    assert host.run("services", names=[UNIT], files=[str(config)])["changes"] == [f"restart {UNIT}"]
    assert systemd.active == "active"


def test_a_unit_that_others_start_is_not_started_here(host: Host, systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("a")
    first = host.run("services", names=[UNIT], files=[str(config)], started=False)
    assert first["changes"] == [f"enable {UNIT}"]
    systemd.active = "active"  # kubeadm did that, with the files of now
    assert not host.run("services", names=[UNIT], files=[str(config)], started=False)["changed"]
    config.write_text("bb")
    later = host.run("services", names=[UNIT], files=[str(config)], started=False)
    assert later["changes"] == [f"restart {UNIT}"]


def test_a_start_that_is_under_way_is_joined_and_is_no_change(host: Host, systemd: Systemd) -> None:
    systemd.active, systemd.enabled = "activating", "enabled"
    assert not host.run("services", names=[UNIT], files=[])["changed"]
    assert systemd.calls == [["start", UNIT]]


def test_a_unit_that_fails_tells_its_last_words(host: Host, systemd: Systemd) -> None:
    systemd.broken = True
    with pytest.raises(ExitError, match="cannot bind to the address"):
        host.run("services", names=[UNIT], files=[])


def test_a_unit_that_does_not_do_its_work_tells_its_last_words(host: Host, systemd: Systemd) -> None:
    host.answer = lambda command: (1, "", "no address") if command == ["wait-address"] else systemd(command)
    with pytest.raises(ExitError, match=r"wait-address: no address\ncannot bind"):
        host.run("services", names=[UNIT], files=[], until=["wait-address"])


def test_check_mode_reports_and_starts_nothing(host: Host, systemd: Systemd) -> None:
    answer = host.run("services", check_mode=True, names=[UNIT], files=[], until=["wait-address"])
    assert answer["changes"] == [f"enable {UNIT}", f"start {UNIT}"]
    assert systemd.calls == []


def test_files_and_the_unit_that_reads_them_go_together(host: Host, systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    group = {"names": [UNIT], "files": [str(config)], "reload": [], "enabled": True}
    group |= {"started": True, "wait": True, "until": []}
    for content, changes in (
        ("a", [f"create {config}", f"enable {UNIT}", f"start {UNIT}"]),
        ("a", []),
        ("bb", [f"change {config}", f"restart {UNIT}"]),
    ):
        files = [{"path": str(config), "content": content, "mode": "0644"}]
        assert host.run("install", files=files, units=[group])["changes"] == changes
    assert systemd.active == "active"


def test_a_group_that_was_started_is_remembered_when_a_later_one_fails(
    host: Host, systemd: Systemd, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.touch()
    known = {"files": [str(config)], "reload": [], "enabled": True, "started": True, "wait": True}
    first, second = (
        {**known, "names": [UNIT], "until": []},
        {**known, "names": ["later.service"], "until": ["wait-address"]},
    )
    host.answer = lambda command: (1, "", "no address") if command == ["wait-address"] else systemd(command)
    with pytest.raises(ExitError):
        host.run("install", units=[first, second])
    assert not host.run("install", units=[first])["changed"]


def test_a_unit_is_reloaded_if_only_what_it_can_reload_has_changed(
    host: Host, systemd: Systemd, tmp_path: Path
) -> None:
    config, unit = tmp_path / "config", tmp_path / "unit"
    config.touch()
    unit.touch()
    given: dict[str, Any] = {"names": [UNIT], "files": [str(unit)], "reload": [str(config)]}
    assert host.run("services", **given)["changes"] == [f"enable {UNIT}", f"start {UNIT}"]
    config.write_text("changed")
    assert host.run("services", **given)["changes"] == [f"reload {UNIT}"]
    assert systemd.calls[-1][0] == "reload"
    config.write_text("changed again")
    unit.write_text("changed")
    assert host.run("services", **given)["changes"] == [f"restart {UNIT}"]
    assert not host.run("services", **given)["changed"]


def test_the_first_drop_in_of_a_running_unit_is_read_before_its_restart(
    host: Host, systemd: Systemd, tmp_path: Path
) -> None:
    systemd.active, systemd.enabled = "active", "enabled"
    drop_in = tmp_path / f"{UNIT}.d" / "maas.conf"
    drop_in.parent.mkdir()
    drop_in.touch()
    given: dict[str, Any] = {"names": [UNIT], "files": [str(drop_in)]}
    assert host.run("services", **given)["changes"] == [f"restart {UNIT}"]
    assert systemd.calls == [["daemon-reload"], ["restart", UNIT]]
    systemd.calls.clear()
    assert not host.run("services", **given)["changed"]
    assert systemd.calls == []
