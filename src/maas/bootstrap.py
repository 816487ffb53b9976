"""From an inventory to a verified cluster with MaaS on it; the lab goes the very same way with hosts of its own."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from maas import components, console, files, lab, paths, process
from maas.bundle import Bundle, restaurant_image, tools
from maas.cluster import certificates, helm_release, tunnel
from maas.cluster.smoke_tests import verify
from maas.codegen import rules
from maas.errors import ClusterError, PreflightError, UsageError
from maas.hosts import ansible, inventory, known_hosts, lock, network_plan, pki, preflight
from maas.hosts import ssh as host_ssh
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from maas.bundle.sources import Policy
    from maas.cluster.client import Cluster
    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.known_hosts import Trusted
    from maas.hosts.network_plan import Plan
    from maas.hosts.preflight import HostFacts

_PLAN = "plan.json"
_FACTS = "facts.json"
_SWITCHES: dict[str, tuple[tuple[str, ...], object, object]] = {
    "grafana": (("kube-prometheus", "grafana", "enabled"), False, True),
    # The roles of the dashboard's chart stay: access is given with them.
    "headlamp": (("dashboard", "engine"), "none", "headlamp"),
}
"""The value that turns each component off whose image a bundle may lack: where it is, and what it is off and on."""

T = TypeVar("T")

_RESTAURANT = ("restaurant", "restaurant")
"""Namespace and name of the application's Service."""


@dataclass(frozen=True)
class Examined:
    """The result of the checks that precede every change. Nothing of it is written before `save`.

    Attributes:
        inventory: All hosts of the cluster.
        state: The cluster's state directory, which need not exist yet.
        keys: The ssh host key to trust of each host that is present.
        facts: The facts of each host; of hosts that are left out, their last known ones.
        plan: The plan for all hosts.
        without: Names of the hosts that are left out this time.
    """

    inventory: Inventory
    state: Path
    keys: tuple[Trusted, ...]
    facts: dict[str, HostFacts]
    plan: Plan
    without: frozenset[str] = frozenset()

    def save(self) -> None:
        """Pin the hosts' keys and store their facts in the state directory."""
        known_hosts.pin(self.inventory, self.keys, known_hosts=self.state / ansible.KNOWN_HOSTS)
        facts = {name: fact.model_dump(mode="json") for name, fact in self.facts.items()}
        files.write_private(self.state / _FACTS, json.dumps(facts).encode())

    def ssh(self, host: Host) -> list[str]:
        """The words of an ssh command to a host, the destination last."""
        known, control = self.state / ansible.KNOWN_HOSTS, host_ssh.control_path(self.inventory.cluster)
        options = host_ssh.options(known_hosts=known, control_path=control, key=host.key)
        return ["ssh", *options, "-p", str(host.port), "-l", host.user, host.address]


def read_values(files: Sequence[Path]) -> dict[str, Any]:
    """Values files merged in their order.

    Raises:
        UsageError: A file cannot be read, or is no map of values.
        ChartError: Rules in them cannot be evaluated.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            values = YAML(typ="safe").load(file)
        except (OSError, YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"the values file {file} cannot be read", context=str(error).splitlines()[:6]) from error
        if not isinstance(values, dict | None):
            raise UsageError(f"the values file {file} holds no map of values")
        merged = helm_release.merge(merged, values or {})
    rules.refuse_broken(merged)
    return merged


def hosts(
    file: Path,
    *,
    directory: Path | None,
    source: Policy,
    values: Sequence[Path],
    without: Sequence[str],
    dry_run: bool,
    yes: bool,
) -> None:
    """Bootstrap the hosts of an inventory.

    Args:
        file: The inventory.
        directory: The bundle; None for the one in the cache.
        source: Where components of a bundle that is to be made come from.
        values: Files of values for the chart.
        without: Names of workers to leave out this time: hosts of the cluster that are down.
        dry_run: Show the plan and change nothing.
        yes: Ask nothing.

    Raises:
        MaasError: Something stands against it; before the plan was confirmed, nothing was touched.
    """
    given = read_values(values)
    read = inventory.load(file)
    if dry_run:
        show(examine(read, paths.state_path(read.cluster), without=without))
        console.line("nothing was changed (--dry-run)")
        return
    state = paths.state(read.cluster)
    with lock.hold(state, command=f"bootstrap of {read.cluster}"):
        examined = examine(read, state, without=without)
        show(examined)
        count = len(read.hosts) - len(examined.without)
        if not console.confirm(f"Make these {count} hosts the cluster {read.cluster}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        examined.save()
        bundle = _bundle(directory, source=source, yes=yes, values=given)
        bring_up(examined, bundle, given, since=time.monotonic())


def lab_hosts(
    name: str, *, directory: Path | None, source: Policy, values: Sequence[Path], dry_run: bool, yes: bool
) -> None:
    """Make the hosts of a lab on this machine and bootstrap them.

    Raises:
        MaasError: Something stands against it.
    """
    given = read_values(values)
    if dry_run:
        for sentence in lab.plan_engine().sentences() or ["the Docker engine runs already"]:
            console.line(f"  {sentence}")
        console.line(f"  make the hosts {', '.join(lab.HOSTS)}, each in a network of its own, and bootstrap them")
        restaurant_image.show_plan(source, values=given)
        console.line("nothing was changed (--dry-run)")
        return
    lab.prepare(assume_yes=yes)
    bundle = _bundle(directory, source=source, yes=yes, values=given)
    made = lab.up(name, bundle=bundle.directory, assume_yes=yes)
    booted = time.monotonic()
    with lock.hold(made.directory, command=f"up of the lab {name}"):
        examined = examine(inventory.load(made.inventory), made.directory)
        show(examined)
        examined.save()
        bring_up(examined, bundle, given, since=booted)


def _bundle(directory: Path | None, *, source: Policy, yes: bool, values: Mapping[str, Any]) -> Bundle:
    """What comes to the hosts, and what installs the chart: made now, so that no host waits for it."""
    bundle = restaurant_image.make_bundle(directory, source=source, yes=yes, values=values)
    tools.tool("helm")
    return bundle


def examine(read: Inventory, state: Path, *, without: Sequence[str] = ()) -> Examined:
    """Scan the hosts' keys, run the preflight checks, and compute the plan. Writes nothing.

    Raises:
        HostKeyError: A host shows another key than the pinned or given one, or does not answer.
        PreflightError: Something about the hosts stands against a cluster, or they cannot be left out.
    """
    absent = _left_out(read, state, without)
    present = read.model_copy(update={"hosts": tuple(host for host in read.hosts if host.name not in absent)})
    with console.phase("Host keys") as step:
        keys = known_hosts.scan(present, known_hosts=state / ansible.KNOWN_HOSTS)
        step.note(f"{len(keys)} hosts, {sum(one.new for one in keys)} new")
    for one in keys:
        if one.new:
            console.line(f"  {one.host}  {one.key.fingerprint}  {one.reason}")
    with console.phase("Preflight") as step, tempfile.TemporaryDirectory(prefix="maas-") as scratch:
        trusted = Path(scratch) / ansible.KNOWN_HOSTS
        known_hosts.pin(present, keys, known_hosts=trusted)
        facts = preflight.examine(present, known_hosts=trusted)
        problems = preflight.check(present, facts)
        against = [problem for problem in problems if problem.severity == "error"]
        step.note(f"{len(facts)} hosts, {len(against)} errors, {len(problems) - len(against)} warnings")
    for problem in problems:
        if problem.severity == "warning":
            console.warn(str(problem))
    if against:
        raise PreflightError(
            "these hosts cannot become a cluster as they are",
            context=[str(problem) for problem in against],
            hint="nothing was changed on any host; mend what is listed, then run the same command again",
        )
    everything = absent | facts
    earlier = state / _PLAN
    previous = network_plan.Plan.from_json(earlier.read_text(encoding="utf-8")) if earlier.exists() else None
    made = network_plan.make(read, everything, previous=previous)
    return Examined(read, state, keys, everything, made, frozenset(absent))


def _left_out(read: Inventory, state: Path, names: Sequence[str]) -> dict[str, HostFacts]:
    """What the hosts that are left out were when they were last seen.

    Raises:
        PreflightError: A host cannot be left out.
    """
    seen = json.loads((state / _FACTS).read_text(encoding="utf-8")) if names and (state / _FACTS).exists() else {}
    workers = {host.name for host in read.workers}
    wrong = [f"{name} is no worker of the inventory" for name in names if name not in workers]
    wrong += [f"{name} was never seen" for name in names if name in workers and name not in seen]
    if wrong:
        raise PreflightError(
            "these hosts cannot be left out",
            context=wrong,
            hint="a worker that never was part of the cluster is left out by taking it out of the inventory",
        )
    return {name: preflight.HostFacts.model_validate(seen[name]) for name in names}


def show(examined: Examined) -> None:
    """Show the plan and why it is so."""
    console.table(f"plan for {examined.inventory.cluster}", ("what", "value", "because"), examined.plan.rows())


def bring_up(examined: Examined, bundle: Bundle, given: Mapping[str, Any], *, since: float) -> None:
    """Carry the plan out: nodes, chart, verification, summary.

    Args:
        examined: The hosts and their plan.
        bundle: What comes to them.
        given: Values for the chart.
        since: When the hosts were ready for it, on the monotonic clock.
    """
    read, state, planned = examined.inventory, examined.state, examined.plan
    (state / _PLAN).write_text(planned.to_json(), encoding="utf-8")
    values = helm_release.merge(platform_values(planned, read), switched_off(bundle), given)
    count = len(read.hosts) - len(examined.without)
    with console.phase("VPN keys"):
        keys = pki.ensure(state / "pki", planned.cluster, list(planned.hosts), hub=planned.hub)
    with ThreadPoolExecutor(1) as executor:
        # Pods need the network, and the network needs only the API: install it while the workers join.
        network = Background(executor, lambda: _reach(examined, values))

        def install_network(phase: ansible.PhaseEnd) -> None:
            if phase.title == ansible.CONTROL_PLANE_STARTED and not phase.failures:
                network.start()

        result = ansible.run(
            "site",
            inventory=ansible_inventory(
                read,
                plan=planned,
                facts=examined.facts,
                bundle=bundle,
                pki=keys,
                known_hosts=state / ansible.KNOWN_HOSTS,
            ),
            state=state,
            retry=paths.command("bootstrap", f"--inventory {read.file}"),
            without=examined.without,
            on_phase_end=install_network,
        )
        reached = network.result()
        cluster = reached.cluster
        with console.phase("Nodes ready") as step:
            cluster.wait_nodes(count, step=step)
        chart = Background(executor, lambda: _deploy(reached))
        with console.phase("Verify") as step:
            proofs = verify(
                cluster,
                addresses={
                    name: str(host.vpn_address) for name, host in planned.hosts.items() if name not in examined.without
                },
                pod_mtu=planned.pod_mtu,
                image=components.load().image("busybox").reference,
                step=step,
                meanwhile=chart.start,
            )
        taken = console.elapsed(time.monotonic() - since)
        for proof in proofs:
            console.line(f"  {proof.what}: {proof.how}")
        console.line(f"{result.changed} changed tasks on the hosts; from hosts to a verified cluster {taken}")
        chart.result()
    with console.phase("Ready") as step:
        later = cluster.wait_ready(nodes=count, step=step)
    if later:
        console.warn(f"until {', '.join(sorted(examined.without))} is back: {', '.join(later)}")
    console.line(f"from hosts to everything Ready {console.elapsed(time.monotonic() - since)}")
    summary(read.cluster, cluster)


class Background(Generic[T]):
    """A function that runs beside the caller from `start` on."""

    def __init__(self, executor: Executor, function: Callable[[], T]) -> None:
        self._executor = executor
        self._function = function
        self._future: Future[T] | None = None

    def start(self) -> None:
        """Start the function; it runs only once."""
        self._submit()

    def result(self) -> T:
        """Wait for the function and return its result; start it first if nothing has."""
        return self._submit().result()

    def _submit(self) -> Future[T]:
        if self._future is None:
            self._future = self._executor.submit(self._function)
        return self._future


@dataclass(frozen=True)
class _Reached:
    """A cluster whose API answers.

    Attributes:
        cluster: It.
        deployer: Brings the chart there.
        fresh: Whether its release was begun just now, with the pod network alone.
    """

    cluster: Cluster
    deployer: helm_release.Deployer
    fresh: bool


def _reach(examined: Examined, values: dict[str, Any]) -> _Reached:
    """Open the way to the API, and begin the release with the pod network where there is none yet."""
    hub, planned = examined.inventory.control_plane, examined.plan
    ssh = examined.ssh(hub)
    admin = process.run([*ssh, f"{tunnel.AS_ROOT} cat /etc/kubernetes/admin.conf"]).stdout
    reached = tunnel.establish(examined.state, ssh=ssh, api=planned.control_plane_endpoint, admin=admin)
    cluster = replace(reached, absent=examined.without)
    deployer = helm_release.Deployer(cluster, helm=tools.tool("helm"), kubectl=tools.tool("kubectl"), values=values)
    with console.phase("Pod network") as step:
        first = deployer.network()
        step.note("there already" if first is None else f"release {helm_release.RELEASE} revision {first.revision}")
    return _Reached(cluster, deployer, fresh=first is not None)


def _deploy(reached: _Reached) -> None:
    with console.phase("Chart") as step:
        deployed = reached.deployer.deploy(definitions=not reached.fresh)
        step.note(
            f"release {helm_release.RELEASE} revision {deployed.revision}{'' if deployed.changed else ', unchanged'}"
        )


def platform_values(planned: Plan, read: Inventory) -> dict[str, Any]:
    """What the chart needs to know of the hosts and their network."""
    values: dict[str, Any] = {
        "calico": {
            "enabled": True,
            "mtu": planned.pod_mtu,
            "ipPool": {"cidr": str(read.networks.pods)},
        },
    }
    if all(host.container for host in planned.hosts.values()):
        # Their clock is that of the machine below, which is not theirs to set.
        values["kube-prometheus"] = {"rules": {"alerts": {"NodeClockNotSynchronising": {"enabled": False}}}}
    return values


def switched_off(bundle: Bundle) -> dict[str, Any]:
    """Values that switch off what the bundle has no image for; each is told, with the bundle's reason.

    Values that a user gives come after these: whoever has the image elsewhere switches it on again.
    """
    values: dict[str, Any] = {}
    for gone in bundle.manifest.unavailable:
        if gone.name not in _SWITCHES:
            continue
        path, off, on = _SWITCHES[gone.name]
        if not _has_value(path):
            continue
        layer: Any = off
        for key in reversed(path):
            layer = {key: layer}
        values = helm_release.merge(values, layer)
        console.warn(
            f"{gone.name} {gone.version} is left out: {gone.reason} ({'.'.join(path)}: {str(on).lower()} brings it back)"
        )
    return values


def _has_value(path: Sequence[str]) -> bool:
    """Whether the chart knows a value; it refuses one that it does not know."""
    file = paths.content() / "charts" / path[0] / "values.yaml"
    if not file.exists():
        return False
    if path[1:] == ("enabled",):
        return True  # the umbrella's switch of a whole subchart, which the subchart itself does not have
    node: Any = YAML(typ="safe").load(file)
    for key in path[1:]:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def summary(name: str, cluster: Cluster) -> None:
    """Say how to reach everything."""
    rows = [("nodes", ", ".join(f"{node.name} {node.address}" for node in cluster.nodes()))]
    url = restaurant_url(name, cluster)
    if url is not None:
        rows.append(("restaurant", url))
    rows += [
        ("kubeconfig", str(cluster.kubeconfig)),
        ("kubectl", paths.command("kubectl", "get nodes" if name == "lab" else f"--name {name} get nodes")),
        ("state", paths.command("status", *([] if name == "lab" else [f"--name {name}"]))),
    ]
    console.table(f"{name} is ready", ("", ""), rows)


def restaurant_url(name: str, cluster: Cluster) -> str | None:
    """Where a browser on this machine finds the restaurant; None when it is not installed."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - see maas.cluster

    namespace, service = _RESTAURANT
    try:
        spec = cluster.core.read_namespaced_service(service, namespace).spec
    except ApiException:
        return None
    return f"http://127.0.0.1:{tunnel.forward(tunnel.state_of(name), f'{spec.cluster_ip}:{spec.ports[0].port}')}"


def status(name: str) -> None:
    """Hosts, nodes, workloads and addresses of a cluster."""
    cluster = tunnel.connect(name)
    nodes = cluster.nodes()
    console.table(
        f"nodes of {name}",
        ("node", "address", "role", "kubelet", "state"),
        [
            (
                node.name,
                node.address,
                "control plane" if node.control_plane else "worker",
                node.version,
                "Ready" if node.ready else f"not Ready: {node.reason}",
            )
            for node in nodes
        ],
    )
    workloads = cluster.workloads()
    console.table(
        "workloads",
        ("namespace", "kind", "name", "ready"),
        [(w.namespace, w.kind, w.name, f"{w.ready}/{w.wanted}") for w in workloads],
    )
    now = datetime.now(UTC)
    console.table(
        "certificates",
        ("which ends first", "until", "days", "renewed by"),
        [(c.what, f"{c.end:%Y-%m-%d}", (c.end - now).days, c.renewal) for c in certificates.overview(name)],
    )
    summary(name, cluster)
    behind = [node.name for node in nodes if not node.ready] + [str(w) for w in workloads if not w.settled]
    if behind:
        raise ClusterError(f"{name} is not whole", context=behind)


def remove_lab(name: str | None) -> None:
    """Remove one lab, or all of them, and say what was removed."""
    for one in [name] if name is not None else lab.labs():
        with console.phase(f"Removing {one}") as step:
            tunnel.close(paths.states() / one)
            removed = lab.down(one)
            step.note(f"{len(removed)} things")
        for what in removed:
            console.line(f"  removed {what}")


def reset(file: Path, *, dry_run: bool, yes: bool) -> None:
    """Take from the hosts what `bootstrap` put there.

    Raises:
        MaasError: Something stands against it.
    """
    read = inventory.load(file)
    names = ", ".join(host.name for host in read.hosts)
    removes = f"Removes Kubernetes, its volumes, the VPN and every file that bootstrap installed from {names}"
    if dry_run:
        examine(read, paths.state_path(read.cluster))
        console.line(removes)
        console.line("nothing was changed (--dry-run)")
        return
    state = paths.state(read.cluster)
    with lock.hold(state, command=f"reset of {read.cluster}"):
        examined = examine(read, state)
        console.line(removes)
        if not console.confirm("All data of the cluster will be lost. Continue?", assume_yes=yes):
            console.line("nothing was changed")
            return
        examined.save()
        tunnel.close(state)
        ansible.run(
            "reset",
            inventory=ansible_inventory(
                read, plan=examined.plan, facts=examined.facts, known_hosts=state / ansible.KNOWN_HOSTS
            ),
            state=state,
            retry=paths.command("reset", f"--inventory {read.file}"),
        )
    console.line(f"keys and records stay in {shlex.quote(str(state))}; remove them when nothing will come back")
