"""The stage before every change to hosts: scan host keys, gather facts, run preflight checks, compute the network plan."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maas import console, files, paths
from maas.commands import _hosts
from maas.errors import PreflightError
from maas.hosts import ansible, encryption, known_hosts, network_plan, preflight, udp_probe
from maas.hosts import facts as host_facts
from maas.hosts import ssh as host_ssh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maas.console import Phase
    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.known_hosts import Trusted
    from maas.hosts.network_plan import Plan
    from maas.hosts.preflight import Problem


@dataclass(frozen=True)
class PreflightResult:
    """Everything that is known before anything is changed.

    Attributes:
        inventory: All hosts of the cluster.
        state: The cluster's state directory, which `save` writes to.
        facts: The facts of each host; for hosts that are left out, those of the last run.
        plan: The network plan of all hosts.
        host_keys: The SSH host key to trust of each host that is present.
        warnings: What preflight found that does not prevent a cluster.
        without: Names of the hosts that are left out this time.
        untouched: Those of them that are not down.
        become_password: The password for sudo.
    """

    inventory: Inventory
    state: Path
    facts: dict[str, HostFacts]
    plan: Plan
    host_keys: tuple[Trusted, ...]
    warnings: tuple[Problem, ...] = ()
    without: frozenset[str] = frozenset()
    untouched: frozenset[str] = frozenset()
    become_password: str | None = field(default=None, repr=False)

    @property
    def control_plane(self) -> Host:
        """The control plane that the others join, and through which the cluster is reached."""
        return network_plan.primary(self.inventory, self.facts, without=self.without)

    @property
    def absent(self) -> frozenset[str]:
        """Names of the hosts that are down."""
        return self.without - self.untouched

    @property
    def node_count(self) -> int:
        """How many nodes the cluster has, without those that are down."""
        return sum(host.name not in self.absent for host in self.inventory.nodes)

    @property
    def known_hosts(self) -> Path:
        """The file that `save` pins the host keys in."""
        return self.state / ansible.KNOWN_HOSTS

    def ssh(self, host: Host) -> list[str]:
        """Return the words of an ssh command to a host, the destination last."""
        control = host_ssh.control_path(self.inventory.cluster, host)
        factor = self.plan.timeouts.factor
        return host_ssh.command(host, known_hosts=self.known_hosts, control_path=control, factor=factor)

    def save(self) -> None:
        """Pin the host keys, and store facts and plan in the state directory, where the next run finds them."""
        known_hosts.pin(self.inventory, self.host_keys, known_hosts=self.known_hosts)
        facts = {name: found.model_dump(mode="json") for name, found in self.facts.items()}
        files.write_private(self.state / _hosts.FACTS, json.dumps(facts))
        files.write_private(self.state / _hosts.PLAN, self.plan.to_json())

    def data(self) -> dict[str, Any]:
        """Return the plan for `--output json`."""
        return {
            "cluster": self.inventory.cluster,
            "hostKeys": [
                {"host": one.host, "fingerprint": one.key.fingerprint, "new": one.new} for one in self.host_keys
            ],
            "warnings": [problem.model_dump(mode="json") for problem in self.warnings],
            "without": sorted(self.absent),
            "plan": json.loads(self.plan.to_json()),
        }


def run(
    inventory: Inventory,
    state: Path,
    *,
    without: Sequence[str] = (),
    untouched: Sequence[str] = (),
    replaced: str | None = None,
    accept_slow_etcd: bool = False,
    more: Callable[[Mapping[str, HostFacts], Phase], list[Problem]] | None = None,
    become_password: str | None = None,
) -> PreflightResult:
    """Check the hosts of an inventory and compute their network plan. Nothing is written; see `PreflightResult.save`.

    Args:
        inventory: The hosts.
        state: The cluster's state directory, which need not exist yet.
        without: Names of the hosts to leave out this time, because they are down.
        untouched: Names of further hosts to leave out.
        replaced: Name of the host that is another machine than before, with another host key.
        accept_slow_etcd: Only warn about control planes that are too slow for each other.
        more: Further checks of the facts, of what the hosts need from the controller.
        become_password: The password for sudo.

    Raises:
        HostKeyError: A host shows another key than the pinned or given one, or does not answer.
        PreflightError: A preflight check failed, or a host cannot be left out.
    """
    inventory = host_ssh.resolve(inventory)
    absent = facts_of_absent(inventory, state, [*without, *untouched])
    optional = {host.name for host in inventory.hosts if host not in inventory.control_planes or _spare(inventory)}
    if len(inventory.hubs) == 1:
        optional -= {inventory.hubs[0].name}
    optional &= _saved_facts(state).keys()
    previous = _hosts.saved_plan(state) if (state / _hosts.PLAN).exists() else None
    order = sorted(previous.hubs, key=lambda hub: previous.hubs[hub].index) if previous else []
    present = inventory.model_copy(update={"hosts": tuple(host for host in inventory.hosts if host.name not in absent)})
    with console.phase("Host keys") as step:
        pins = state / ansible.KNOWN_HOSTS
        keys = known_hosts.scan(present, known_hosts=pins, optional=optional, replaced=replaced)
        step.note(f"{len(keys)} hosts, {sum(one.new for one in keys)} new")
    for one in keys:
        if one.new:
            console.line(f"  {one.host}  {one.key.fingerprint}  {one.reason}")
    with console.phase("Preflight") as step, tempfile.TemporaryDirectory(prefix="maas-") as scratch:
        trusted = Path(scratch) / ansible.KNOWN_HOSTS
        known_hosts.pin(present, keys, known_hosts=trusted)
        facts = host_facts.gather(present, known_hosts=trusted, optional=optional, become_password=become_password)
        problems = preflight.check(present, facts, accept_slow_etcd=accept_slow_etcd)
        program = partial(host_facts.run_program, known_hosts=trusted, become_password=become_password)
        problems += udp_probe.check(present, facts, run=program, order=order)
        problems += encryption.problems(facts, state)
        problems += _removed(facts, state, previous)
        problems += more(facts, step) if more else []
        problems.sort(key=lambda one: one.severity)
        errors = [problem for problem in problems if problem.severity == "error"]
        warnings = [problem for problem in problems if problem.severity == "warning"]
        step.note(f"{len(facts)} hosts, {len(errors)} errors, {len(warnings)} warnings")
    for problem in warnings:
        console.warn(str(problem))
    if errors:
        raise PreflightError(
            "preflight checks failed",
            context=[str(problem) for problem in errors],
            hint="no host was changed; fix the problems listed above, then run the same command again",
        )
    everything = absent | facts
    plan = network_plan.compute(inventory, everything, previous=previous)
    return PreflightResult(
        inventory,
        state,
        everything,
        plan,
        keys,
        warnings=tuple(warnings),
        without=frozenset(absent),
        untouched=frozenset(untouched),
        become_password=become_password,
    )


def show(result: PreflightResult, *more: tuple[str, str, str] | None) -> None:
    """Show the plan, with the reason for each setting.

    Args:
        result: The hosts and their plan.
        more: Further rows.
    """
    rows = [*result.plan.rows(), *(row for row in more if row is not None)]
    console.table(f"plan for {result.inventory.cluster}", ("setting", "value", "reason"), rows)


def facts_of_absent(inventory: Inventory, state: Path, names: Sequence[str]) -> dict[str, HostFacts]:
    """Return the facts of the last run for the hosts that are left out.

    Raises:
        PreflightError: A host cannot be left out.
    """
    saved = _saved_facts(state) if names else {}
    planes = {host.name for host in inventory.control_planes}
    known = {host.name for host in inventory.hosts}
    down = sorted(planes.intersection(names))
    file = state / _hosts.PLAN
    members = _hosts.saved_plan(state).hosts.keys() if names and file.exists() else saved.keys()
    wrong = [f"{name} is not a host of the inventory" for name in names if name not in known]
    wrong += [f"{name} has no facts from an earlier run" for name in names if name in known and name not in saved]
    wrong += [f"{name} was removed from the cluster" for name in names if name in saved and name not in members]
    if len(down) > _spare(inventory):
        running = len(planes) - len(down)
        wrong.append(
            f"without {', '.join(down)}, {running} of {len(planes)} control planes remain, and etcd needs "
            f"{len(planes) - _spare(inventory)}"
        )
    elif {hub.name for hub in inventory.hubs} <= set(names):
        wrong.append(
            f"without {', '.join(hub.name for hub in inventory.hubs)}, no hub remains, and no host reaches another"
        )
    if wrong:
        raise PreflightError(
            "hosts cannot be left out",
            context=wrong,
            hint="remove a worker that never was part of the cluster from the inventory instead",
        )
    return {name: host_facts.HostFacts.model_validate(saved[name]) for name in names}


def _removed(facts: Mapping[str, HostFacts], state: Path, plan: Plan | None) -> list[Problem]:
    """Report hosts that have left the cluster, and still have its programs and data because they did not answer then."""
    gone = _saved_facts(state).keys() - (plan.hosts.keys() if plan is not None else _saved_facts(state).keys())
    return [
        preflight.Problem(
            host=name,
            severity="error",
            message="it was removed from the cluster, but not reset",
            fix=f"reset it with: {paths.command('remove', name)}",
        )
        for name in sorted(gone & {name for name, found in facts.items() if found.cluster is not None})
    ]


def _spare(inventory: Inventory) -> int:
    """Return how many control planes can be down while etcd still has a majority."""
    return (len(inventory.control_planes) - 1) // 2


def _saved_facts(state: Path) -> dict[str, Any]:
    """Return the facts of the last run by host."""
    file = state / _hosts.FACTS
    saved: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return saved
