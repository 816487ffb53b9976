"""`maas reboot`: restart the hosts that need it, one at a time."""

from __future__ import annotations

import contextlib
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from maas import console, lab, paths
from maas.cluster import control_planes, drain, operation, reboots
from maas.commands import _gates, _hosts
from maas.errors import ClusterError, LabError, UsageError
from maas.hosts import ansible, journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import time as clock_time
    from pathlib import Path

    from maas.cluster.drain import NodeContents
    from maas.cluster.reboots import HostState
    from maas.commands._gates import Gates
    from maas.commands._hosts import Members
    from maas.hosts.inventory import Host

_GATE_SECONDS = 600


@dataclass(frozen=True)
class Window:
    """The hours in which hosts may restart, by the clock of this machine. It can include midnight.

    Attributes:
        begin: The first moment.
        end: The first moment after it.
    """

    begin: clock_time
    end: clock_time

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    def includes(self, now: datetime | None = None) -> bool:
        """Return whether a time of day is in the window; by default the present one."""
        time_of_day = (now or datetime.now().astimezone()).time()
        if self.begin < self.end:
            return self.begin <= time_of_day < self.end
        return time_of_day >= self.begin or time_of_day < self.end

    @classmethod
    def parse(cls, text: str) -> Window:
        """Return the window that a text such as `02:00-05:00` describes.

        Raises:
            UsageError: It does not describe one.
        """
        try:
            begin, end = (datetime.strptime(part, "%H:%M").time() for part in text.split("-"))  # noqa: DTZ007 - no date
        except ValueError as error:
            raise UsageError(
                f'"{text}" is not a window', hint="write its begin and end, such as 02:00-05:00"
            ) from error
        if begin == end:
            raise UsageError(f'the window "{text}" is empty', hint="write its begin and end, such as 02:00-05:00")
        return cls(begin, end)


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        names: The hosts; empty for all that need a reboot.
        everything: Also hosts that do not need one.
        packages: Install security updates first.
        window: When hosts may restart; None for any time.
        ignored: Alerts that may fire.
        drain_seconds: Seconds that each drain may take.
        boot_seconds: Seconds that each host may take to boot.
    """

    names: tuple[str, ...] = ()
    everything: bool = False
    packages: bool = False
    window: Window | None = None
    ignored: tuple[str, ...] = ()
    drain_seconds: float = 300
    boot_seconds: float = 900

    @property
    def key(self) -> str:
        """What makes a run the continuation of another one."""
        return f"{sorted(self.names)} {self.everything} {self.packages}"


def reboot(
    name: str,
    file: Path | None,
    options: Options,
    *,
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Restart hosts of a cluster, one after the other, each after its pods run on other nodes.

    The same command continues after an interruption.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        options: Which hosts, and how.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or no such host.
        ClusterError: The cluster is not healthy, or a host was not drained or did not return.
    """
    members = _hosts.connect(name, file, become_password=become_password)
    cluster, state = members.hosts.inventory.cluster, members.hosts.state
    _refuse(members, options)
    if options.window and not options.window.includes() and not dry_run:
        console.line(
            f"nothing was changed: it is {datetime.now().astimezone():%H:%M}, and the window is {options.window}"
        )
        return
    with nullcontext() if dry_run else operation.hold(state, command=f"reboots of hosts of {cluster}"):
        _release(members, dry_run=dry_run)
        gates = _gates.Gates(members, frozenset(options.ignored), frozenset(_gates.workloads(members)))
        with console.phase("Hosts") as step:
            found = reboots.inspect(members.hosts, updates=options.packages, refresh=not dry_run)
            begun = reboots.remembered(state, options.key)
            chosen = _choose(members, options, found, begun)
            step.note(f"{len(found)} hosts, {len(chosen)} to restart")
        if not chosen:
            if not dry_run:
                reboots.forget(state)
            console.line(f"no host of {cluster} needs a reboot")
            return
        gates.refuse(before="the first reboot")
        held = {host.name: drain.contents(members.cluster, host.name) for host in chosen}
        _show(members, chosen, found, held, begun=bool(begun))
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Restart {len(chosen)} hosts of {cluster}, one at a time?", assume_yes=yes):
            console.line("nothing was changed")
            return
        reboots.remember(state, options.key, begun or {host.name: found[host.name].boot for host in chosen})
        _all(members, options, gates, chosen)
        reboots.forget(state)
    console.line(f"restarted: {', '.join(host.name for host in chosen)}")


def _refuse(members: Members, options: Options) -> None:
    known = {host.name for host in members.hosts.inventory.hosts}
    if unknown := sorted(set(options.names) - known):
        raise UsageError(
            f"{members.hosts.inventory.cluster} has no host {', '.join(unknown)}",
            hint=f"its hosts are {', '.join(sorted(known))}",
        )
    if options.names and options.everything:
        raise UsageError("--all is every host", hint="name hosts, or pass --all")


def _release(members: Members, *, dry_run: bool) -> None:
    """Make the nodes schedulable again that an interrupted run has cordoned."""
    for node in reboots.cordoned(members.cluster):
        if dry_run:
            console.line(f"{node} was cordoned by a run that was interrupted; it would accept pods again")
        else:
            reboots.uncordon(members.cluster, node)
            console.line(f"{node} accepts pods again: a run that was interrupted had cordoned it")


def _choose(members: Members, options: Options, found: Mapping[str, HostState], begun: Mapping[str, str]) -> list[Host]:
    """Return the hosts to restart, in order; of an interrupted run, those that are left."""
    inventory = members.hosts.inventory
    if begun:
        names = {name for name, boot in begun.items() if name in found and found[name].boot == boot}
    elif options.names:
        names = set(options.names)
    else:
        names = {name for name, state in found.items() if options.everything or state.reasons}
        if len(members.hosts.control_planes) == 1 and members.hosts.control_planes & names:
            (only,) = members.hosts.control_planes
            names.remove(only)
            command = paths.command("reboot", only, "--inventory", inventory.file)
            console.warn(f"{only} is left out: it is the only control plane, so it restarts only by name: {command}")
    first = inventory.control_planes[0].name
    return reboots.order((host for host in inventory.hosts if host.name in names), last=first)


def _show(
    members: Members,
    chosen: Sequence[Host],
    found: Mapping[str, HostState],
    held: Mapping[str, NodeContents | None],
    *,
    begun: bool,
) -> None:
    rows = []
    for host in chosen:
        own = held[host.name]
        what = [f"evict {len(own.evicted) + len(own.deleted)} pods"] if own else []
        if own and own.deleted:
            what.append(f"nothing creates {', '.join(own.deleted)} again")
        if own and own.volumes:
            what.append(f"away meanwhile: {', '.join(map(str, own.volumes))}")
        if host.role == "control-plane":
            alone = len(members.hosts.control_planes) == 1
            what.append("the API is not available meanwhile" if alone else "other control planes answer meanwhile")
        if list(members.plan.hubs) == [host.name]:
            what.append("every host is disconnected from the VPN meanwhile")
        why = "; ".join(found[host.name].reasons) or "requested"
        rows.append((host.name, host.role, why, "; ".join(what)))
    console.table("hosts to restart, in this order", ("host", "role", "why", "meanwhile"), rows)
    for host in chosen:
        own = held[host.name]
        for reason in own.blocked if own else ():
            console.line(f"  blocked now on {host.name}, waits: {reason}")
    if begun:
        console.line("this continues a run that was interrupted; hosts that it has restarted are left out")


def _all(members: Members, options: Options, gates: Gates, chosen: Sequence[Host]) -> None:
    for number, host in enumerate(chosen):
        done = ", ".join(one.name for one in chosen[:number])
        if number:
            with console.phase(f"Before {host.name}") as step:
                gates.wait(
                    before=host.name, done=f"restarted: {done}", step=step, seconds=_GATE_SECONDS * members.hosts.factor
                )
        if options.window and not options.window.includes():
            raise ClusterError(
                f"stopped before {host.name}: the window {options.window} has ended",
                context=[f"restarted: {done}"] if done else [],
                hint="the same command continues in the next window",
                code="WindowEnded",
            )
        with _journal(members.hosts.state, host.name):
            _one(members, options, host)
    with console.phase("Verify") as step:
        gates.wait(
            before="the end",
            done=f"restarted: {', '.join(host.name for host in chosen)}",
            step=step,
            seconds=_GATE_SECONDS * members.hosts.factor,
        )


@contextlib.contextmanager
def _journal(state: Path, host: str) -> Iterator[None]:
    """Record the outcome of the block in the journal of the cluster."""
    began, since = datetime.now(UTC), time.monotonic()
    outcome: journal.Outcome = "failed"
    try:
        yield
        outcome = "changed"
    finally:
        seconds = round(time.monotonic() - since, 2)
        entry = journal.Entry(
            time=began + timedelta(seconds=seconds),
            playbook="reboot",
            phase="Reboot the host",
            host=host,
            outcome=outcome,
            changed=int(outcome == "changed"),
            seconds=seconds,
            inputs="",
            began=began,
        )
        journal.record(state / ansible.JOURNAL, [entry])


def _one(members: Members, options: Options, host: Host) -> None:
    """Restart a host, and make its node schedulable again whatever happens."""
    cluster = members.cluster
    with console.phase(f"Drain {host.name}") as step:
        own = reboots.cordon(cluster, host.name)
        try:
            held = drain.contents(cluster, host.name)
            if held is not None:
                drain.drain(cluster, host.name, moved=held.moved, timeout=options.drain_seconds, step=step, release=own)
                step.note(f"{len(held.evicted) + len(held.deleted)} pods")
        except BaseException:
            if own:
                reboots.uncordon(cluster, host.name)
            raise
    try:
        _restart(members, options, host)
    finally:
        if own:
            reboots.uncordon(cluster, host.name)


def _restart(members: Members, options: Options, host: Host) -> None:
    hosts, cluster = members.hosts, members.cluster
    if options.packages:
        with console.phase(f"Security updates of {host.name}") as step:
            installed = reboots.upgrade(hosts, host)
            step.note(", ".join(installed) or "none")
    try:
        if host.role == "control-plane":
            with console.phase(f"Leave {host.name}") as step:
                moved = control_planes.leave(hosts, members.plan, host)
                step.note(f"{moved} leads etcd" if moved else "it does not lead etcd")
        before = reboots.reboot(hosts, host)
    except BaseException:
        if host.role == "control-plane":  # the host did not stop, so it announces the address again
            control_planes.stay(hosts, members.plan, host)
        raise
    with console.phase(f"Reboot {host.name}") as step:
        booted = reboots.wait_booted(
            hosts,
            host,
            before,
            seconds=options.boot_seconds * hosts.factor,
            step=step,
            started=lambda: _power_on(members, host.name),
        )
        step.note(f"kernel {booted.kernel}")
    with console.phase(f"Node {host.name}") as step:
        reboots.wait_node(cluster, host.name, since=booted.since, step=step)
        step.note("Ready")


def _power_on(members: Members, host: str) -> None:
    """Start a host of a lab that has stopped: a container does not reboot by itself."""
    if lab.is_lab(members.hosts.state):
        with contextlib.suppress(LabError):
            lab.power_on(members.hosts.inventory.cluster, host)
