from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.ansible_content import CONTENT
from tests.support.hosts import INVENTORY, facts_of

from maas import console, paths
from maas.errors import HostsError, LockError
from maas.hosts import ansible, journal, lock, network_plan
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_a_phase_that_may_not_begin_ends_the_run() -> None:
    def refuse() -> None:
        raise LockError("lost", code="LeaseLost")

    progress = ansible.Progress("site", inputs={})
    first, second = [*phase("Prepare the hosts"), host("node1", "changed")], phase("Join the workers")
    progress.read(io.StringIO("".join(json.dumps(event) + "\n" for event in first)))
    with console.checked(refuse), pytest.raises(LockError):
        progress.read(io.StringIO("".join(json.dumps(event) + "\n" for event in second)))
    progress.read(io.StringIO(json.dumps(host("node1", "changed")) + "\n"))
    progress.close()
    assert [(entry.phase, entry.outcome) for entry in progress.entries] == [("Prepare the hosts", "changed")]


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


# It runs a playbook whose task starts a program and waits for it, on two hosts in place of which this machine is.
RUN = """\
import signal, sys
from pathlib import Path
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)  # nohup, or a shell's &, may have made the tests ignore them
from maas import cli, paths
from maas.hosts import ansible, lock
state = Path(sys.argv[1])
paths.content = lambda: state / "content"
variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
hosts = {"master": variables, "node1": variables}
inventory = {"all": {"vars": {}, "children": {"workers": {"hosts": hosts}}}}
def run(**_):
    with lock.hold(state, command="bootstrap of shop"):
        ansible.run("site", inventory=inventory, state=state, retry="maas bootstrap")
cli.app = run
sys.argv = ["maas"]
cli.main()
"""


def runs(pid: str) -> bool:
    """Whether a process runs; one that ended is a zombie until its parent asks for its status."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_works_on_hosts_without_the_lock(tmp_path: Path, number: signal.Signals) -> None:
    content = tmp_path / "content" / "hack" / "ansible"
    content.mkdir(parents=True)
    for name in ("ansible.cfg", "library", "module_utils", "plugins"):
        (content / name).symlink_to(CONTENT / name)
    started = f"echo $$ > {tmp_path}/pid-{{{{ inventory_hostname }}}}; sleep 300; true"
    task = {"name": "Work", "ansible.builtin.shell": started}
    play = {"name": "Prepare the hosts", "hosts": "all", "gather_facts": False, "tasks": [task]}
    (content / "site.yml").write_text(yaml.safe_dump([play]))
    words = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as tool:
        files = [tmp_path / "pid-master", tmp_path / "pid-node1"]
        deadline = time.monotonic() + 120
        while not all(file.exists() and file.read_text().strip() for file in files):
            assert tool.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(tool.pid, number)
        tool.wait(60)
        # The lock is free when no task runs.
        deadline = time.monotonic() + 60
        while True:
            try:
                with lock.hold(tmp_path, command="the next run"):
                    # Its whole group was killed at once; each of them needs processor time to end.
                    ending = time.monotonic() + 5
                    while (working := [pid for file in files if runs(pid := file.read_text().strip())]) and (
                        time.monotonic() < ending
                    ):
                        time.sleep(0.02)
                break
            except LockError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    assert working == []
