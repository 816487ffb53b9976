"""Drives Ansible: from validated models to a run of a playbook, with one line per phase on the terminal.

In the cluster's state directory a run leaves

    ansible/inventory.json    all that Ansible was told, private keys among it (0600)
    log/PLAYBOOK-TIME.log     everything that Ansible said
    journal.jsonl             how each phase ended on each host
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from maas import console, paths, process
from maas.errors import HostsError, ProcessError
from maas.files import write_private
from maas.hosts import journal, pki
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import TextIO

    from maas.bundle import Bundle
    from maas.hosts.inventory import Inventory
    from maas.hosts.network_plan import Plan
    from maas.hosts.preflight import HostFacts

Playbook = Literal["site", "reset"]

KNOWN_HOSTS = "known_hosts"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Change:
    """Something that a task did, or in a dry run would do, on a host."""

    host: str
    task: str
    what: str


@dataclass(frozen=True)
class Failure:
    """A task that did not end well on a host."""

    host: str
    phase: str
    task: str
    message: str
    unreachable: bool


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        changed: Tasks that changed something, over all hosts.
        ok: Tasks that had nothing to change.
        seconds: How long each phase took, by its title.
        changes: What was changed, where the task tells it.
        log: The file with everything that Ansible said.
    """

    changed: int
    ok: int
    seconds: dict[str, float]
    changes: tuple[Change, ...]
    log: Path


def run(
    playbook: Playbook,
    *,
    inventory: Inventory,
    plan: Plan,
    facts: Mapping[str, HostFacts],
    bundle: Bundle | None = None,
    state: Path,
    check: bool = False,
    without: Collection[str] = (),
    after: Mapping[str, Callable[[], None]] | None = None,
) -> Result:
    """Run a playbook on all hosts of the inventory.

    A host that fails or cannot be reached does not stop the others.

    Args:
        playbook: `site` sets hosts up, `reset` takes away what that put there.
        inventory: The hosts.
        plan: Their network plan.
        facts: What preflight found.
        bundle: Where programs and images come from; `reset` needs none.
        state: The cluster's state directory, with the pinned host keys.
        check: Say what would be changed, and change nothing.
        without: Hosts that nothing is done to, though the others know of them.
        after: What to call when the phase of a title has ended well on all its hosts, while the next one runs. It must
            not take long.

    Raises:
        HostsError: At least one host failed or could not be reached.
        BundleError: The bundle lacks something that hosts need.
    """
    keys = pki.ensure(state / "pki", plan.cluster, list(plan.hosts), hub=plan.hub)
    content = ansible_inventory(
        inventory, plan=plan, facts=facts, bundle=bundle, pki=keys, known_hosts=state / KNOWN_HOSTS
    )
    own = state / "ansible"
    logs = state / "log"
    for directory in (own, logs):
        directory.mkdir(mode=0o700, exist_ok=True)
    hosts = own / "inventory.json"
    write_private(hosts, json.dumps(content, indent=1).encode())
    events = own / "events.jsonl"
    write_private(events, b"")
    log = logs / f"{playbook}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    log.touch(mode=0o600)

    content_directory = paths.content() / "hack" / "ansible"
    command: list[str | Path] = [sys.executable, "-P", "-m", "ansible", "playbook", "--inventory", hosts]
    command += [content_directory / f"{playbook}.yml", *(["--check"] if check else [])]
    if without:
        command += ["--limit", ":".join(["all", *(f"!{name}" for name in sorted(without))])]
    view = _View(playbook, inputs=_digests(content), after=after or {})
    with events.open(encoding="utf-8") as source, contextlib.suppress(ProcessError):
        try:
            for _ in process.lines(
                command,
                env={
                    "ANSIBLE_CONFIG": str(content_directory / "ansible.cfg"),
                    "ANSIBLE_HOME": str(own),
                    "ANSIBLE_FORKS": str(len(inventory.hosts)),
                    "ANSIBLE_NOCOLOR": "1",
                    "MAAS_EVENTS": str(events),
                },
                log=log,
            ):
                view.read(source)
            view.ended_well = True
        finally:
            view.read(source)
            view.close()
            if not check:
                journal.record(state / JOURNAL, view.entries)
    again = paths.command("bootstrap" if playbook == "site" else playbook, f"--inventory {inventory.file}")
    if view.failures or not view.ended_well:
        raise _error(view, log, again)
    if check and view.changes:
        console.table(
            "dry run", ("host", "what would be done"), [(change.host, change.what) for change in view.changes]
        )
    elif check:
        console.line("nothing would be changed")
    return Result(view.changed, view.ok, view.seconds, tuple(view.changes), log)


def _clock(event: Mapping[str, Any]) -> float:
    """When an event happened, on the monotonic clock; it may have been read a little later."""
    return float(event["time"]) - time.time() + time.monotonic()


def _digests(content: Mapping[str, Any]) -> dict[str, str]:
    """For each host, the digest of all that it is to be set up with."""
    shared = content["all"]["vars"]
    return {
        name: hashlib.sha256(json.dumps([shared, own], sort_keys=True).encode()).hexdigest()
        for group in content["all"]["children"].values()
        for name, own in group["hosts"].items()
    }


def _error(view: _View, log: Path, again: str) -> HostsError:
    if not view.failures:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return HostsError("Ansible could not run", context=[*tail, f"log: {log}"], command=again)
    first = view.failures[0]
    context = [f"{first.host}: {line}" for line in first.message.splitlines()]
    others = [failure for failure in view.failures[1:] if failure.host != first.host]
    context += [f"also {failure.host}: {failure.task}: {failure.message.splitlines()[-1]}" for failure in others]
    what = "cannot be reached" if first.unreachable else f"failed at “{first.task}”"
    return HostsError(
        f"{', '.join(dict.fromkeys(failure.host for failure in view.failures))}: {what}",
        context=[f"phase: {first.phase}", *context, f"log: {log}"],
        hint="what was done is kept: the same command goes on where this one stopped",
        command=again,
    )


@dataclass
class _HostPhase:
    """What happened to one host in the current phase."""

    outcome: journal.Outcome = "ok"
    changed: int = 0
    ended: float = 0.0


@dataclass
class _View:
    """Reads the events of a run, shows its phases and keeps count."""

    playbook: str
    inputs: Mapping[str, str]
    after: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    changed: int = 0
    ok: int = 0
    ended_well: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    entries: list[journal.Entry] = field(default_factory=list)
    _partial: str = ""
    _title: str = ""
    _shown: AbstractContextManager[console.Phase] | None = None
    _phase: console.Phase | None = None
    _hosts: dict[str, _HostPhase] = field(default_factory=dict)

    def read(self, source: TextIO) -> None:
        """Take in the events that were written since the last call."""
        while line := source.readline():
            self._partial += line
            if not line.endswith("\n"):
                return  # the rest of it is still being written
            event, self._partial = json.loads(self._partial), ""
            match event["event"]:
                case "phase":
                    self.close()
                    self._title = event["name"]
                case "task":
                    self._task(event["name"], _clock(event))
                case "host":
                    self._host(event)

    def close(self) -> None:
        """End the phase that is shown."""
        if self._shown is None or self._phase is None:
            return
        now = datetime.now(UTC)
        changed = sum(host.changed for host in self._hosts.values())
        note = f"{', '.join(self._hosts)}: {changed} changed" if changed else f"{', '.join(self._hosts)}: as it was"
        self._phase.note(note)
        ended = max((host.ended for host in self._hosts.values()), default=self._phase.began)
        self.seconds[self._title] = ended - self._phase.began
        self.entries += [
            journal.Entry(
                time=now,
                playbook=self.playbook,
                phase=self._title,
                host=name,
                outcome=host.outcome,
                changed=host.changed,
                seconds=round(host.ended - self._phase.began, 2),
                inputs=self.inputs.get(name, ""),
            )
            for name, host in self._hosts.items()
        ]
        failed = [failure for failure in self.failures if failure.phase == self._title]
        # The context manager marks a phase that an error left; here the error is raised when all hosts are through.
        error = HostsError(failed[0].message) if failed else None
        self._shown.__exit__(type(error) if error else None, error, None)
        self._shown = self._phase = None
        self._hosts = {}
        if not failed and self._title in self.after:
            self.after[self._title]()

    def _task(self, name: str, began: float) -> None:
        if self._shown is None:
            self._shown = console.phase(self._title)
            self._phase = self._shown.__enter__()
            self._phase.began = began
        if self._phase is not None:
            self._phase.note(name)

    def _host(self, event: Mapping[str, Any]) -> None:
        name, task, result = event["host"], event["task"], event["result"]
        host = self._hosts.setdefault(name, _HostPhase())
        host.ended = _clock(event)
        match result:
            case "changed":
                self.changed += 1
                host.changed += 1
                host.outcome = "changed"
                self.changes += [Change(name, task, what) for what in event["changes"] or [task]]
            case "ok":
                self.ok += 1
            case "failed" | "unreachable":
                host.outcome = result
                message = event["message"] or "it gave no reason"
                self.failures.append(Failure(name, self._title, task, message, unreachable=result == "unreachable"))
