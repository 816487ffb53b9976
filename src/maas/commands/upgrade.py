"""`maas upgrade`: bring a cluster to another version of Kubernetes, one host at a time."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maas import components, console, paths
from maas.bundle import restaurant_image
from maas.cluster import certificates, drain, etcd_backups, operation, tunnel, upgrade
from maas.cluster.host_programs import Hosts
from maas.commands import _apply, _packages, _preflight, _values, bundle
from maas.errors import ClusterError, UsageError
from maas.hosts import ansible, encryption, inventory, pki
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.bundle import Bundle
    from maas.bundle.sources import Policy
    from maas.cluster.client import Cluster
    from maas.cluster.upgrade import Progress
    from maas.commands._preflight import PreflightResult
    from maas.hosts.inventory import Host

_GIB = 1 << 30
_SOAK_INTERVAL = 5.0
_KUBELET_SECONDS = 180


@dataclass(frozen=True)
class Options:
    """How to upgrade.

    Attributes:
        drain_timeout: Seconds that the drain of a node may take.
        soak: Seconds to watch the cluster after the first worker.
        without_backup: Whether to upgrade without a new backup of etcd.
        accept_removed_apis: Whether to upgrade although clients request APIs that the new version does not have.
    """

    drain_timeout: float = 300
    soak: float = 60
    without_backup: bool = False
    accept_removed_apis: bool = False


@dataclass(frozen=True)
class _Target:
    """A cluster and the version that it is to have."""

    result: PreflightResult
    cluster: Cluster
    hosts: Hosts
    version: str
    progress: Progress | None

    @property
    def name(self) -> str:
        """The name of the cluster."""
        return self.result.inventory.cluster

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.result.state

    @property
    def addresses(self) -> dict[str, str]:
        """The VPN address of each host."""
        return {name: str(host.vpn_address) for name, host in self.result.plan.hosts.items()}

    @property
    def api_servers(self) -> dict[str, str]:
        """The version of each API server."""
        planes = self.result.inventory.control_planes
        return {host.name: self.result.facts[host.name].api_server for host in planes}

    def kubelets(self) -> dict[str, str]:
        """Return the version of each kubelet that runs."""
        return {node.name: node.version for node in self.cluster.nodes()}

    def order(self) -> list[Host]:
        """Return the hosts in the order in which their kubelets are upgraded."""
        return [*self.result.inventory.control_planes, *self.result.inventory.workers]


def run(
    file: Path,
    *,
    to: str | None,
    directory: Path | None,
    source: Policy,
    values: Sequence[Path],
    options: Options,
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Upgrade Kubernetes, with etcd and what else the bundle has, by one minor version at most.

    All components are on all hosts before anything is restarted. Then the control planes follow one another, then the kubelets,
    each on a drained node, and last the chart. Each phase may be repeated: after an interruption, the same command continues.

    Args:
        file: The inventory.
        to: The version, such as 1.40 or 1.40.2; None for that of the bundle.
        directory: The bundle; None for the one in the cache.
        source: The sources of components that are not in the bundle yet.
        values: Values files for the chart.
        options: How to upgrade.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or no components for the version.
        ClusterError: The cluster cannot be upgraded now; nothing was changed. Or a node was not upgraded.
        HostsError: A host was not upgraded; the same command continues.
    """
    chart_values = _values.load(values)
    listed = inventory.load(file)
    state = tunnel.state_dir(listed.cluster)
    minor, version = _wanted(to, directory)
    rendered = _values.refuse_early(chart_values)
    with nullcontext() if dry_run else operation.hold(state, command=f"upgrade of {listed.cluster} to {version}"):
        _refuse_other(listed.file, state, version)
        result = _preflight.run(
            listed,
            state,
            become_password=become_password,
            more=lambda facts, step: _packages.problems(
                facts, directory=directory, source=source, dry_run=dry_run, phase=step
            ),
        )
        hosts = Hosts(result.inventory, state, become_password=become_password, factor=result.plan.timeouts.factor)
        cluster = replace(tunnel.connect(listed.cluster), factor=hosts.factor)
        target = _Target(result, cluster, hosts, version, upgrade.unfinished(state))
        with console.phase("Cluster") as step:
            running = [*target.kubelets().values(), *target.api_servers.values()]
            step.note(f"runs {' and '.join(sorted(set(running)))}")
        if set(running) == {version} and target.progress is None:
            console.line(f"every host of {listed.cluster} runs {version}; nothing was changed")
            return
        _refuse_skew(listed.file, running, version)
        with console.phase("Checks before the upgrade") as step:
            _refuse(target, minor, options)
            step.note("nothing blocks it")
        _show(target, options)
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Upgrade {listed.cluster} to Kubernetes {version}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        releases = [*_packages.needed(result.facts)]
        made = bundle.prepare(
            directory, source=source, yes=yes, values=chart_values, releases=releases, kubernetes=minor
        )
        if not rendered:
            _values.refuse_unrenderable(chart_values)
        _refuse_full(result, made)
        _upgrade(target, made, chart_values, options)
    console.line(
        f"{listed.cluster} runs Kubernetes {version}. There is no downgrade: the way back is the backup of etcd from before, "
        "with a bundle of the version of before"
    )


def _wanted(to: str | None, directory: Path | None) -> tuple[str, str]:
    """Return the minor version and the version to upgrade to.

    Raises:
        UsageError: There are no components for it.
    """
    given = to.removeprefix("v") if to else None
    minor = components.minor_of(given) if given else restaurant_image.minor_for(directory)
    known = components.for_minor(minor).kubernetes
    if given not in (None, minor, known):
        raise UsageError(
            f"this release of maas has no components for Kubernetes {given}",
            hint=f"its version of {minor} is {known}",
            command=paths.command("upgrade", "--to", known),
            code="KubernetesVersionUnknown",
        )
    return minor, f"v{known}"


def _refuse_other(file: Path, state: Path, version: str) -> None:
    """Refuse to begin while something else is half done.

    Raises:
        ClusterError: Another operation, or an upgrade to another version, was interrupted.
    """
    progress = upgrade.unfinished(state)
    keys = encryption.load(state)
    refused, command = "", ""
    if progress is not None and progress.to != version:
        refused = f"an upgrade to {progress.to} was interrupted"
        command = paths.command("upgrade", "--inventory", str(file), "--to", progress.to.removeprefix("v"))
    elif certificates.unfinished(state) is not None:
        refused = "a renewal of all certificates was interrupted"
        command = paths.command("certificates", "renew", "--inventory", str(file), "--all")
    elif keys is not None and keys.phase != "complete":
        refused = f"the rotation of the key for Secrets is not finished ({keys.phase})"
        command = paths.command("encrypt", "rotate", "--inventory", str(file))
    if refused:
        raise ClusterError(
            refused, hint="nothing was changed; finish it first", command=command, code="OperationUnfinished"
        )


def _refuse_skew(file: Path, running: Sequence[str], version: str) -> None:
    reason = upgrade.skips(running, version)
    if not reason:
        return
    oldest = min(running, key=upgrade.number)
    major, minor = upgrade.number(oldest)[:2]
    older = "newer" in reason
    raise ClusterError(
        f"the cluster cannot be upgraded to {version}: {reason}",
        hint="nothing was changed; restore a backup of etcd with a bundle of its version instead"
        if older
        else "nothing was changed; upgrade one minor version at a time",
        command=None if older else paths.command("upgrade", "--inventory", str(file), "--to", f"{major}.{minor + 1}"),
        code="VersionSkew",
    )


def _refuse(target: _Target, minor: str, options: Options) -> None:
    """Refuse a cluster that would not survive the upgrade well.

    Raises:
        ClusterError: Its context lists everything that is in the way.
    """
    progress, same = target.progress, ("--inventory", str(target.result.inventory.file))
    own = progress.cordoned if progress else ""
    nodes = target.cluster.nodes()
    problems = [f"{node.name} is not Ready: {node.reason}" for node in nodes if not node.ready and node.name != own]
    problems += [
        f"{name} is cordoned; kubectl uncordon {name}" for name in upgrade.cordoned(target.cluster) if name != own
    ]
    missing = {host.name for host in target.result.inventory.hosts} ^ target.kubelets().keys()
    problems += [f"{name} is in the inventory or in the cluster, but not in both" for name in sorted(missing)]
    if (
        progress is None
    ):  # an interrupted upgrade is the reason for most of the following, and continuing it is the way out
        problems += upgrade.etcd_problems(target.hosts, target.addresses)
        problems += [f"no eviction: {line}" for line in upgrade.blocking_budgets(target.cluster)]
        if not options.accept_removed_apis:
            problems += [
                f"in use: {api}; change its clients, or accept it with --accept-removed-apis"
                for api in upgrade.removed_in_use(target.hosts, target.addresses, minor)
            ]
        due = certificates.due(target.state, certificates.read(target.hosts))
        problems += [f"due for renewal: {one}; {paths.command('certificates', 'renew', *same)}" for one in due.names]
        if target.result.inventory.backup is None and not options.without_backup:
            problems.append(
                "there are no backups of etcd: set backup.recipients in the inventory, or use --without-backup"
            )
    if problems:
        raise ClusterError(
            f"{target.name} cannot be upgraded now",
            context=problems,
            hint="nothing was changed; solve this, then run the same command again",
            command=paths.same_command(),
            code="UpgradeRefused",
        )


def _refuse_full(result: PreflightResult, made: Bundle) -> None:
    """Refuse hosts without space for the components, which are copied and then imported."""
    needed = 2 * made.size + _GIB
    full = [
        f"{name}: {facts.disk_free / _GIB:.1f} GiB free, {needed / _GIB:.1f} GiB needed in /var/lib"
        for name, facts in result.facts.items()
        if facts.disk_free < needed
    ]
    if full:
        raise ClusterError(
            "hosts have no space for the components of another version",
            context=full,
            hint="nothing was changed; free space, then run the same command again",
            command=paths.same_command(),
            code="DiskFull",
        )


def _show(target: _Target, options: Options) -> None:
    progress = target.progress
    kubelets = target.kubelets()
    rows: list[tuple[str, str, str]] = []
    if not (progress and "backup" in progress.done):
        how = "no new backup (--without-backup)" if options.without_backup else "new backup, copied to this controller"
        rows.append(("etcd", target.result.control_plane.name, how))
    if not (progress and "staged" in progress.done):
        rows.append(("components", "every host", "copy and import, beside those in use"))
    if not (progress and "control planes" in progress.done):
        several = len(target.api_servers) > 1
        how = "others answer at the address of the API" if several else "the API is away for about a minute"
        rows += [
            ("control plane", name, f"{found} to {target.version}; {how}") for name, found in target.api_servers.items()
        ]
    pending = [host for host in target.order() if kubelets[host.name] != target.version]
    first = next((host for host in pending if host.role == "worker"), None)
    for host in pending:
        soak = f", then watch for {options.soak:.0f} s" if host == first else ""
        rows.append(("kubelet", host.name, f"{kubelets[host.name]} to {target.version}; drain, restart{soak}"))
    rows.append(("chart", "cluster", "settings of every host, smoke tests and the chart, as bootstrap does"))
    console.table(f"upgrade of {target.name}", ("", "on", "action"), rows)
    if progress is not None:
        console.line(f"this continues the upgrade of {progress.began:%F %T} UTC")
    console.line(
        "Until the first control plane is upgraded, the cluster is as before. After that, there is no downgrade."
    )


def _upgrade(target: _Target, made: Bundle, values: dict[str, Any], options: Options) -> None:
    began = time.monotonic()
    target.result.save()
    before = min([*target.kubelets().values(), *target.api_servers.values()], key=upgrade.number)
    progress = upgrade.begin(target.state, before=before, to=target.version)

    def done(what: str) -> None:
        nonlocal progress
        progress = progress.model_copy(update={"done": (*progress.done, what)}).save(target.state)

    if "backup" not in progress.done:
        if not options.without_backup:
            _back_up(target)
        done("backup")
    variables = _variables(target, made)
    if "staged" not in progress.done:
        _play(target, variables, "stage")
        done("staged")
    if "control planes" not in progress.done:
        _play(target, variables, "upgrade", tags="control-planes")
        done("control planes")
    for host in target.order():
        progress = _upgrade_kubelet(target, variables, progress, host, options)
        if host.role == "worker" and "soaked" not in progress.done:
            _soak(target, options.soak)
            done("soaked")
    _apply.apply(target.result, made, values, since=began)
    upgrade.end(target.state)


def _upgrade_kubelet(
    target: _Target, variables: dict[str, Any], progress: Progress, host: Host, options: Options
) -> Progress:
    """Upgrade the kubelet of a node, unless it is, and return the progress."""
    name, cluster = host.name, target.cluster
    if target.kubelets()[name] == target.version and progress.cordoned != name:
        return progress
    progress = progress.model_copy(update={"cordoned": name}).save(target.state)
    if target.kubelets()[name] != target.version:
        with console.phase(f"Drain of {name}") as step:
            held = drain.contents(cluster, name)
            moved = held.moved if held else ()
            drain.drain(cluster, name, moved=moved, timeout=options.drain_timeout, step=step)
            step.note(f"{len(held.evicted) + len(held.deleted) if held else 0} pods")
        _play(target, variables, "upgrade", tags="kubelets", only=name)
    count = len(target.result.inventory.hosts)
    with console.phase(f"{name} Ready") as step:
        cluster.wait(
            lambda: _waiting(target, name), what=f"the kubelet of {name} to be Ready", timeout=_KUBELET_SECONDS
        )
        drain.uncordon(cluster, name)
        progress = progress.model_copy(update={"cordoned": ""}).save(target.state)
        cluster.wait_ready(nodes=count, step=step)
    return progress


def _waiting(target: _Target, name: str) -> list[str]:
    node = next(node for node in target.cluster.nodes() if node.name == name)
    if not node.ready:
        return [f"{name}: {node.reason}"]
    return [] if node.version == target.version else [f"{name} runs {node.version}"]


def _soak(target: _Target, seconds: float) -> None:
    """Watch the cluster for some time after the first worker, before the others follow.

    Raises:
        ClusterError: A node was not Ready, or workloads were not at the end.
    """
    deadline = time.monotonic() + seconds
    with console.phase("Soak") as step:
        while (left := deadline - time.monotonic()) > 0:
            step.note(f"{left:.0f} s left")
            if bad := [f"{node.name}: {node.reason}" for node in target.cluster.nodes() if not node.ready]:
                raise ClusterError(
                    "a node is not Ready after the upgrade of the first worker",
                    context=bad,
                    hint="no other worker was upgraded; solve this, then run the same command again",
                    command=paths.same_command(),
                    code="NotReady",
                )
            time.sleep(min(_SOAK_INTERVAL, left))
        target.cluster.wait_ready(nodes=len(target.result.inventory.hosts), step=step)


def _back_up(target: _Target) -> None:
    host, backups = target.result.control_plane, target.result.inventory.backup
    with console.phase(f"Backup of {host.name}") as step:
        made = etcd_backups.take(target.hosts, host)
        keep = backups.keep if backups else 1
        etcd_backups.copy(target.hosts, host, made, keep=keep)
        step.note(made.name)


def _variables(target: _Target, made: Bundle) -> dict[str, Any]:
    result = target.result
    keys = pki.ensure(result.state / "pki", target.name, list(result.plan.hosts), hubs=list(result.plan.hubs))
    return ansible_inventory(
        result.inventory, plan=result.plan, facts=result.facts, bundle=made, pki=keys, known_hosts=result.known_hosts
    )


def _play(
    target: _Target, variables: dict[str, Any], playbook: ansible.Playbook, *, tags: str = "", only: str = ""
) -> None:
    others = {host.name for host in target.result.inventory.hosts if only and host.name != only}
    ansible.run(
        playbook,
        inventory=variables,
        state=target.state,
        retry=paths.same_command(),
        without=others,
        tags=tags,
        become_password=target.result.become_password,
    )
