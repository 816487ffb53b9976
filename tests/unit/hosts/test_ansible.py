from __future__ import annotations

import io
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.ansible_content import CONTENT
from tests.support.hosts import INVENTORY, bundle_of, facts_of

from maas import paths
from maas.errors import HostsError
from maas.hosts import ansible, journal, network_plan
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
        "message": "",
        **more,
    }


def phase(name: str) -> list[dict[str, Any]]:
    now = time.time()
    return [{"time": now, "event": "phase", "name": name}, {"time": now, "event": "task", "name": "Set the kernel up"}]


def read(*events: dict[str, Any]) -> ansible.Progress:
    view = ansible.Progress("site", inputs={"node1": "ab"})
    view.read(io.StringIO("".join(json.dumps(event) + "\n" for event in events)))
    view.close()
    return view


def test_each_phase_is_one_line_with_its_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    read(
        *phase("Prepare the hosts"),
        host("master", "changed"),
        host("node1", "ok"),
        *phase("Verify the hosts"),
        host("node1", "ok"),
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "Prepare the hosts" in lines[0]
    assert "master, node1: 1 changed" in lines[0]
    assert "node1: unchanged" in lines[1]


def test_a_phase_without_tasks_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    read({"event": "phase", "name": "Join the workers"})
    assert capsys.readouterr().err == ""


def test_changed_tasks_are_counted() -> None:
    view = read(
        *phase("Prepare the hosts"),
        host("master", "changed"),
        host("node1", "changed"),
        host("node1", "ok"),
        host("node1", "skipped"),
    )
    assert view.changed == 2


def test_the_journal_has_an_entry_for_each_host_and_phase() -> None:
    view = read(*phase("Prepare the hosts"), host("master", "ok"), host("node1", "changed"), host("node1", "failed"))
    found = {entry.host: entry for entry in view.entries}
    assert {name: (entry.outcome, entry.changed) for name, entry in found.items()} == {
        "master": ("ok", 0),
        "node1": ("failed", 1),
    }
    assert found["node1"].inputs == "ab"


def test_times_are_those_of_the_events_and_not_of_their_reading() -> None:
    view = read(*phase("Prepare the hosts"), host("master", "ok", at=5.0), host("node1", "ok", at=2.0))
    assert {entry.host: round(entry.seconds) for entry in view.entries} == {"master": 5, "node1": 2}


def test_a_failed_phase_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    view = read(*phase("Verify the hosts"), host("node1", "unreachable", message="no route"))
    assert capsys.readouterr().err.startswith("✗ Verify the hosts")
    (failure,) = view.failures
    assert (failure.host, failure.phase, failure.unreachable) == ("node1", "Verify the hosts", True)


@pytest.mark.parametrize(("result", "failed"), [("changed", []), ("failed", ["master"]), ("unreachable", ["master"])])
def test_the_end_of_a_phase_is_reported_while_the_next_one_runs(result: str, failed: list[str]) -> None:
    ends: list[ansible.PhaseEnd] = []
    progress = ansible.Progress("site", inputs={}, on_phase_end=ends.append)
    events = [
        *phase("Start the control plane"),
        host("master", result),
        *phase("Join the workers"),
        host("node1", "ok"),
    ]
    for event in events[:3]:
        progress.read(io.StringIO(json.dumps(event) + "\n"))
    assert ends == [], "the phase may continue"
    progress.read(io.StringIO("".join(json.dumps(event) + "\n" for event in events[3:])))
    assert [(end.title, [one.host for one in end.failures]) for end in ends] == [("Start the control plane", failed)]
    progress.close()
    assert [end.title for end in ends] == ["Start the control plane", "Join the workers"]


def test_the_phase_that_starts_the_api_is_a_play() -> None:
    plays = yaml.safe_load((CONTENT / "site.yml").read_text())
    assert ansible.CONTROL_PLANE_STARTED in [play["name"] for play in plays]


def test_an_event_that_is_still_being_written_is_waited_for() -> None:
    view = ansible.Progress("site", inputs={})
    line = json.dumps(host("node1", "changed")) + "\n"
    for event in phase("Prepare the hosts"):
        view.read(io.StringIO(json.dumps(event) + "\n"))
    view.read(io.StringIO(line[:20]))
    assert view.changed == 0
    view.read(io.StringIO(line[20:]))
    assert view.changed == 1


def entries() -> list[journal.Entry]:
    """The journal of the cluster."""
    lines = (paths.state("shop") / ansible.JOURNAL).read_text().splitlines()
    return [journal.Entry.model_validate_json(line) for line in lines]


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ansible.Result]:
    """Runs a playbook by Ansible itself, with the product's settings and plugins, on this machine in place of hosts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    content = tmp_path / "content"
    copied = content / "hack" / "ansible"
    copied.mkdir(parents=True)
    for name in ("ansible.cfg", "library", "module_utils", "plugins"):
        (copied / name).symlink_to(CONTENT / name)
    (content / "hack" / "build").symlink_to(CONTENT.parent / "build")
    monkeypatch.setattr(paths, "content", lambda: content)

    def run(tasks: list[dict[str, Any]], *, connection: str = "local", without: tuple[str, ...] = ()) -> ansible.Result:
        variables = {"ansible_connection": connection, "ansible_python_interpreter": sys.executable}
        play = {"name": "Prepare the hosts", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
        (copied / "site.yml").write_text(yaml.safe_dump([play]))
        facts = {one.name: facts_of() for one in INVENTORY.hosts}
        state = paths.state("shop")
        plan = network_plan.compute(INVENTORY, facts)
        content = ansible_inventory(
            INVENTORY, plan=plan, facts=facts, bundle=bundle_of(tmp_path), known_hosts=state / ansible.KNOWN_HOSTS
        )
        return ansible.run("site", inventory=content, state=state, retry="maas bootstrap", without=without)

    return run


def test_a_host_that_is_left_out_is_not_touched_but_still_known(drive: Callable[..., ansible.Result]) -> None:
    task = {"name": "Ask", "ansible.builtin.command": "echo {{ hostvars['node1'].node.vpn_address }}"}
    result = drive([task], without=("node1",))
    assert result.changed == 1
    assert {entry.host for entry in entries()} == {"master"}


def test_a_run_counts_changes_and_keeps_its_log_and_journal(drive: Callable[..., ansible.Result]) -> None:
    result = drive([{"name": "Change it", "ansible.builtin.command": "true"}])
    assert result.changed == 2
    assert "Change it" in result.log.read_text()
    assert {(entry.phase, entry.host, entry.outcome) for entry in entries()} == {
        ("Prepare the hosts", "master", "changed"),
        ("Prepare the hosts", "node1", "changed"),
    }
    state = paths.state("shop")
    assert (state / "ansible" / "inventory.json").stat().st_mode & 0o777 == 0o600


def test_a_host_that_fails_does_not_stop_the_others(drive: Callable[..., ansible.Result]) -> None:
    failing = {"name": "Break", "ansible.builtin.command": "false", "when": "inventory_hostname == 'master'"}
    with pytest.raises(HostsError, match="master: task “Break” failed") as caught:
        drive([failing, {"name": "Go on", "ansible.builtin.command": "true"}])
    assert {entry.host: entry.outcome for entry in entries()} == {"master": "failed", "node1": "changed"}
    assert caught.value.command == "maas bootstrap"
    assert any(line.startswith("log: ") for line in caught.value.context)


def test_secrets_of_a_task_reach_neither_the_events_nor_the_log(drive: Callable[..., ansible.Result]) -> None:
    secret = "s3cr3t-t0k3n"  # noqa: S105 - nobody's
    task = {"name": "Hide", "ansible.builtin.command": {"argv": ["echo", secret]}, "no_log": True}
    result = drive([task])
    assert secret not in result.log.read_text()
    assert secret not in (paths.state("shop") / "ansible" / "events.jsonl").read_text()


def test_a_playbook_that_ansible_refuses_is_an_error_with_its_words(drive: Callable[..., ansible.Result]) -> None:
    with pytest.raises(HostsError) as caught:
        drive([{"name": "Nothing", "no.such.action": {}}])
    assert caught.value.code == "AnsibleFailed"
    assert any("no.such.action" in line for line in caught.value.context)


def test_a_reset_needs_neither_the_bundle_nor_the_keys_of_the_vpn(tmp_path: Path) -> None:
    facts = {one.name: facts_of() for one in INVENTORY.hosts}
    plan = network_plan.compute(INVENTORY, facts)
    content = ansible_inventory(INVENTORY, plan=plan, facts=facts, known_hosts=tmp_path / "known_hosts")
    assert content["all"]["vars"]["cluster"]["name"] == "shop"
    for group in content["all"]["children"].values():
        assert not any("vpn" in variables for variables in group["hosts"].values())
