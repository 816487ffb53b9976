"""Run a playbook with Ansible and show its phases, one line each on the terminal.

A run leaves in the cluster's state directory

    ansible/inventory.json    the inventory that Ansible was given, with private keys (0600)
    log/PLAYBOOK-TIME.log     Ansible's output
    journal.jsonl             the outcome of each phase on each host
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from maas import console, files, paths, process
from maas.errors import HostsError, ProcessError
from maas.hosts import journal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import TextIO

Playbook = Literal["site", "disconnect", "reset", "certificates", "vpn", "stage", "upgrade"]

KNOWN_HOSTS = "known_hosts"
JOURNAL = "journal.jsonl"
CONTROL_PLANE_STARTED = "Start the control plane"
"""The phase of the playbook `site` after which the Kubernetes API answers."""
_LOG_LINES = 12


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host."""

    host: str
    phase: str
    task: str
    message: str
    unreachable: bool


@dataclass(frozen=True)
class PhaseEnd:
    """The end of a phase on all its hosts.

    Attributes:
        title: Its title, the name of the play.
        failures: The tasks that failed in it.
    """

    title: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Result:
    """The outcome of a run in which nothing failed.

    Attributes:
        changed: Number of tasks that changed something, over all hosts.
        log: The file with Ansible's output.
    """

    changed: int
    log: Path


def run(
    playbook: Playbook,
    *,
    inventory: Mapping[str, Any],
    state: Path,
    retry: str,
    without: Collection[str] = (),
    tags: str = "",
    become_password: str | None = None,
    on_phase_end: Callable[[PhaseEnd], None] | None = None,
) -> Result:
    """Run a playbook on the hosts of an inventory. A host that fails does not stop the others.

    Args:
        playbook: `site` sets hosts up, `disconnect` removes the tunnels and routes to hosts that are not in the inventory,
            `reset` removes what `site` installed, `certificates` renews certificates, `vpn` those of the VPN alone, `stage`
            brings the components of another version to hosts, `upgrade` upgrades to it.
        inventory: The inventory in Ansible's form, see `maas.hosts.ansible_inventory`.
        state: The cluster's state directory.
        retry: The command that runs the playbook again, for errors.
        without: Hosts of the inventory that the playbook does not run on.
        tags: The plays to run, by their tag; empty for all.
        become_password: The password for sudo.
        on_phase_end: Called at the end of each phase, while the next phase runs already. It must return quickly.

    Raises:
        HostsError: A host failed or was unreachable.
    """
    own, logs = state / "ansible", state / "log"
    for directory in (own, logs):
        directory.mkdir(mode=0o700, exist_ok=True)
    hosts = own / "inventory.json"
    files.write_private(hosts, json.dumps(inventory, indent=1).encode())
    events = own / "events.jsonl"
    files.write_private(events, b"")
    log = logs / f"{playbook}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    log.touch(mode=0o600)

    inputs = _digests(inventory)
    progress = Progress(playbook, inputs=inputs, on_phase_end=on_phase_end)
    completed = False
    with events.open(encoding="utf-8") as source, contextlib.suppress(ProcessError):
        try:
            for _ in process.lines(
                _command(playbook, hosts=hosts, without=without, tags=tags, ask=become_password is not None),
                env=_environment(events, forks=len(inputs)),
                input=become_password,
                log=log,
                keep=files.held(),  # Ansible works on hosts, so it holds the lock too
            ):
                progress.read(source)
            completed = True
        finally:
            progress.read(source)
            progress.close()
            journal.record(state / JOURNAL, progress.entries)
    if progress.failures:
        raise _failed(progress.failures, log, retry)
    if not completed:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        raise HostsError(
            "Ansible failed before it ran a task", context=[*tail, f"log: {log}"], command=retry, code="AnsibleFailed"
        )
    return Result(progress.changed, log)


def _content() -> Path:
    return paths.content() / "hack" / "ansible"


def _command(playbook: Playbook, *, hosts: Path, without: Collection[str], tags: str, ask: bool) -> list[str | Path]:
    command: list[str | Path] = [sys.executable, "-P", "-m", "ansible", "playbook", "--inventory", hosts]
    if ask:
        command += ["--become-password-file", "-"]  # from standard input
    command.append(_content() / f"{playbook}.yml")
    if tags:
        command += ["--tags", tags]
    if without:
        command += ["--limit", ":".join(["all", *(f"!{name}" for name in sorted(without))])]
    return command


def _environment(events: Path, *, forks: int) -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(_content() / "ansible.cfg"),
        "ANSIBLE_HOME": str(events.parent),
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_NOCOLOR": "1",
        "MAAS_EVENTS": str(events),
    }


def _time(event: Mapping[str, Any]) -> float:
    """Return when an event happened, on the monotonic clock; it may have been read a little later."""
    return float(event["time"]) - time.time() + time.monotonic()


def _digests(inventory: Mapping[str, Any]) -> dict[str, str]:
    """Return for each host the digest of its variables."""
    shared = inventory["all"]["vars"]
    return {
        name: hashlib.sha256(json.dumps([shared, own], sort_keys=True).encode()).hexdigest()
        for group in inventory["all"]["children"].values()
        for name, own in group["hosts"].items()
        if own  # some groups only name hosts of others
    }


def _failed(failures: list[Failure], log: Path, retry: str) -> HostsError:
    first = failures[0]
    context = [f"{first.host}: {line}" for line in first.message.splitlines()]
    others = [failure for failure in failures[1:] if failure.host != first.host]
    context += [f"also {failure.host}: {failure.task}: {failure.message.splitlines()[-1]}" for failure in others]
    what = "host is unreachable" if first.unreachable else f"task “{first.task}” failed"
    return HostsError(
        f"{', '.join(dict.fromkeys(failure.host for failure in failures))}: {what}",
        context=[f"phase: {first.phase}", *context, f"log: {log}"],
        hint="completed steps are kept; fix the cause, then run the same command again to continue",
        command=retry,
        code="HostUnreachable" if first.unreachable else None,
    )


@dataclass
class _HostPhase:
    """The outcome of the current phase on one host."""

    outcome: journal.Outcome = "ok"
    changed: int = 0
    ended: float = 0.0


@dataclass
class Progress:
    """Reads the events of a run, shows its phases and counts."""

    playbook: str
    inputs: Mapping[str, str]
    on_phase_end: Callable[[PhaseEnd], None] | None = None
    changed: int = 0
    failures: list[Failure] = field(default_factory=list)
    entries: list[journal.Entry] = field(default_factory=list)
    _partial: str = ""
    _title: str = ""
    _shown: AbstractContextManager[console.Phase] | None = None
    _phase: console.Phase | None = None
    _hosts: dict[str, _HostPhase] = field(default_factory=dict)

    def read(self, source: TextIO) -> None:
        """Process the events that were written since the last call."""
        while line := source.readline():
            self._partial += line
            if not line.endswith("\n"):
                return  # Ansible is still writing the rest of the line
            event, self._partial = json.loads(self._partial), ""
            match event["event"]:
                case "phase":
                    self.close()
                    self._title = event["name"]
                case "task":
                    self._task(event["name"], _time(event))
                case "host":
                    self._host(event)

    def close(self) -> None:
        """End the phase that is shown."""
        if self._shown is None or self._phase is None:
            return
        changed = sum(host.changed for host in self._hosts.values())
        self._phase.note(f"{', '.join(self._hosts)}: {f'{changed} changed' if changed else 'unchanged'}")
        failures = tuple(failure for failure in self.failures if failure.phase == self._title)
        self.entries += self._journal(self._phase.began)
        # Leave the context manager with an error, so that it shows the phase as failed. The error itself is raised
        # when all hosts have finished.
        error = HostsError(failures[0].message) if failures else None
        self._shown.__exit__(type(error) if error else None, error, None)
        self._shown = self._phase = None
        self._hosts = {}
        if self.on_phase_end is not None:
            self.on_phase_end(PhaseEnd(self._title, failures))

    def _journal(self, began: float) -> list[journal.Entry]:
        now = datetime.now(UTC)
        start = now - timedelta(seconds=time.monotonic() - began)
        return [
            journal.Entry(
                time=now,
                playbook=self.playbook,
                phase=self._title,
                host=name,
                outcome=host.outcome,
                changed=host.changed,
                seconds=round(host.ended - began, 2),
                inputs=self.inputs.get(name, ""),
                began=start,
            )
            for name, host in self._hosts.items()
        ]

    def _task(self, name: str, began: float) -> None:
        if self._shown is None:
            self._shown = console.phase(self._title)
            self._phase = self._shown.__enter__()
            self._phase.began = began
        if self._phase is not None:
            self._phase.note(name)

    def _host(self, event: Mapping[str, Any]) -> None:
        name, result = event["host"], event["result"]
        host = self._hosts.setdefault(name, _HostPhase())
        host.ended = _time(event)
        match result:
            case "changed":
                self.changed += 1
                host.changed += 1
                host.outcome = "changed"
            case "failed" | "unreachable":
                host.outcome = result
                message = event["message"] or "no reason given"
                self.failures.append(
                    Failure(name, self._title, event["task"], message, unreachable=result == "unreachable")
                )
