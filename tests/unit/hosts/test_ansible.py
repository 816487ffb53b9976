from __future__ import annotations

import io
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.unit.ansible.conftest import CONTENT
from tests.unit.hosts.conftest import facts_of
from tests.unit.hosts.test_ansible_inventory import INVENTORY, bundle_of

from maas import bootstrap, paths
from maas.errors import HostsError
from maas.hosts import ansible, journal, network_plan, pki
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def host(name: str, result: str, *, at: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "time": time.time() + at,
        "event": "host",
        "host": name,
        "task": "Set the kernel up",
        "result": result,
        "changes": [],
        "message": "",
        **more,
    }


def phase(name: str) -> list[dict[str, Any]]:
    now = time.time()
    return [{"time": now, "event": "phase", "name": name}, {"time": now, "event": "task", "name": "Set the kernel up"}]


def read(*events: dict[str, Any]) -> ansible._View:
    view = ansible._View("site", inputs={"node1": "ab"})
    view.read(io.StringIO("".join(json.dumps(event) + "\n" for event in events)))
    view.close()
    return view


def test_each_phase_is_one_line_with_its_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    read(
        *phase("Hosts prepared"),
        host("master", "changed"),
        host("node1", "ok"),
        *phase("VPN connected"),
        host("node1", "ok"),
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "Hosts prepared" in lines[0]
    assert "master, node1: 1 changed" in lines[0]
    assert "node1: as it was" in lines[1]


def test_a_phase_without_tasks_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    read({"event": "phase", "name": "Workers joined"})
    assert capsys.readouterr().err == ""


def test_changes_are_counted_and_told() -> None:
    view = read(
        *phase("Hosts prepared"),
        host("master", "changed", changes=["set a to 1", "set b to 2"]),
        host("node1", "changed"),
        host("node1", "ok"),
        host("node1", "skipped"),
    )
    assert (view.changed, view.ok) == (2, 1)
    assert [(change.host, change.what) for change in view.changes] == [
        ("master", "set a to 1"),
        ("master", "set b to 2"),
        ("node1", "Set the kernel up"),
    ]


def test_the_journal_has_an_entry_for_each_host_and_phase() -> None:
    view = read(*phase("Hosts prepared"), host("master", "ok"), host("node1", "changed"), host("node1", "failed"))
    found = {entry.host: entry for entry in view.entries}
    assert {name: (entry.outcome, entry.changed) for name, entry in found.items()} == {
        "master": ("ok", 0),
        "node1": ("failed", 1),
    }
    assert found["node1"].inputs == "ab"


def test_times_are_those_of_the_events_and_not_of_their_reading() -> None:
    view = read(*phase("Hosts prepared"), host("master", "ok", at=5.0), host("node1", "ok", at=2.0))
    assert view.seconds["Hosts prepared"] == pytest.approx(5.0, abs=0.2)
    assert {entry.host: round(entry.seconds) for entry in view.entries} == {"master": 5, "node1": 2}


def test_a_failed_phase_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    view = read(*phase("VPN connected"), host("node1", "unreachable", message="no route"))
    assert capsys.readouterr().err.startswith("✗ VPN connected")
    (failure,) = view.failures
    assert (failure.host, failure.phase, failure.unreachable) == ("node1", "VPN connected", True)


@pytest.mark.parametrize(("result", "calls"), [("changed", 1), ("failed", 0), ("unreachable", 0)])
def test_what_waits_for_a_phase_begins_when_it_has_ended_well(result: str, calls: int) -> None:
    called: list[str] = []
    view = ansible._View("site", inputs={}, after={"Control plane started": lambda: called.append("now")})
    events = [*phase("Control plane started"), host("master", result), *phase("Workers joined"), host("node1", "ok")]
    for event in events[:3]:
        view.read(io.StringIO(json.dumps(event) + "\n"))
    assert called == [], "the phase may go on"
    view.read(io.StringIO("".join(json.dumps(event) + "\n" for event in events[3:])))
    assert len(called) == calls
    view.close()
    assert len(called) == calls


def test_the_network_is_brought_after_a_play_that_there_is() -> None:
    plays = yaml.safe_load((CONTENT / "site.yml").read_text())
    assert bootstrap._API_UP in [play["name"] for play in plays]


def test_an_event_that_is_still_being_written_is_waited_for() -> None:
    view = ansible._View("site", inputs={})
    line = json.dumps(host("node1", "ok")) + "\n"
    for event in phase("Hosts prepared"):
        view.read(io.StringIO(json.dumps(event) + "\n"))
    view.read(io.StringIO(line[:20]))
    assert view.ok == 0
    view.read(io.StringIO(line[20:]))
    view.close()
    assert view.ok == 1


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ansible.Result]:
    """Runs a playbook by Ansible itself, with the product's settings and plugins, on this machine in place of hosts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    content = tmp_path / "content"
    copied = content / "hack" / "ansible"
    copied.mkdir(parents=True)
    for name in ("ansible.cfg", "library", "module_utils", "plugins"):
        (copied / name).symlink_to(CONTENT / name)
    monkeypatch.setattr(paths, "content", lambda: content)

    def run(
        tasks: list[dict[str, Any]], *, check: bool = False, connection: str = "local", without: tuple[str, ...] = ()
    ) -> ansible.Result:
        variables = {"ansible_connection": connection, "ansible_python_interpreter": sys.executable}
        play = {"name": "Hosts prepared", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
        (copied / "site.yml").write_text(yaml.safe_dump([play]))
        facts = {one.name: facts_of() for one in INVENTORY.hosts}
        state = paths.state("shop")
        bundle = bundle_of(tmp_path)
        planned = network_plan.make(INVENTORY, facts)
        return ansible.run(
            "site",
            inventory=INVENTORY,
            plan=planned,
            facts=facts,
            bundle=bundle,
            state=state,
            check=check,
            without=without,
        )

    return run


def test_a_host_that_is_left_out_is_not_touched_and_still_known(drive: Callable[..., ansible.Result]) -> None:
    task = {"name": "Ask", "ansible.builtin.command": "echo {{ hostvars['node1'].node.vpn_address }}"}
    result = drive([task], without=("node1",))
    assert {change.host for change in result.changes} == {"master"}


def test_a_run_tells_what_changed_and_keeps_its_traces(drive: Callable[..., ansible.Result]) -> None:
    result = drive([{"name": "Change it", "ansible.builtin.command": "true"}])
    assert (result.changed, result.ok) == (2, 0)
    assert list(result.seconds) == ["Hosts prepared"]
    assert "Change it" in result.log.read_text()
    state = paths.state("shop")
    assert {(entry.host, entry.outcome) for entry in journal.read(state / ansible.JOURNAL)} == {
        ("master", "changed"),
        ("node1", "changed"),
    }
    assert (state / "ansible" / "inventory.json").stat().st_mode & 0o777 == 0o600


def test_a_host_that_fails_does_not_stop_the_others(drive: Callable[..., ansible.Result]) -> None:
    failing = {"name": "Break", "ansible.builtin.command": "false", "when": "inventory_hostname == 'master'"}
    with pytest.raises(HostsError, match="master: failed at “Break”") as caught:
        drive([failing, {"name": "Go on", "ansible.builtin.command": "true"}])
    outcomes = {entry.host: entry.outcome for entry in journal.read(paths.state("shop") / ansible.JOURNAL)}
    assert outcomes == {"master": "failed", "node1": "changed"}
    assert caught.value.command is not None
    assert "bootstrap" in caught.value.command
    assert any(line.startswith("log: ") for line in caught.value.context)


def test_secrets_of_a_task_reach_neither_the_events_nor_the_log(drive: Callable[..., ansible.Result]) -> None:
    secret = "s3cr3t-t0k3n"  # noqa: S105 - nobody's
    task = {"name": "Hide", "ansible.builtin.command": {"argv": ["echo", secret]}, "no_log": True}
    result = drive([task])
    assert secret not in result.log.read_text()
    assert secret not in (paths.state("shop") / "ansible" / "events.jsonl").read_text()


def test_a_dry_run_is_told_and_not_journalled(
    drive: Callable[..., ansible.Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "never"
    task = {"name": "Make it", "ansible.builtin.file": {"path": str(target), "state": "touch"}}
    result = drive([task], check=True)
    assert result.changed == 2
    assert not target.exists()
    assert "what would be done" in capsys.readouterr().err
    assert not (paths.state("shop") / ansible.JOURNAL).exists()


def test_a_playbook_that_ansible_refuses_is_an_error_with_its_words(drive: Callable[..., ansible.Result]) -> None:
    with pytest.raises(HostsError, match="Ansible could not run") as caught:
        drive([{"name": "Nothing", "no.such.action": {}}])
    assert any("no.such.action" in line for line in caught.value.context)


def test_a_reset_needs_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    facts = {one.name: facts_of() for one in INVENTORY.hosts}
    planned = network_plan.make(INVENTORY, facts)
    keys = pki.ensure(tmp_path / "pki", "shop", list(planned.hosts), hub=planned.hub)
    content = ansible_inventory(
        INVENTORY, plan=planned, facts=facts, bundle=None, pki=keys, known_hosts=tmp_path / "known_hosts"
    )
    assert content["all"]["vars"]["cluster"]["name"] == "shop"
