"""The stage that carries a plan out: set up hosts, install the pod network and the chart, verify the cluster."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from maas import components, console, paths, process
from maas.bundle import tools
from maas.cluster import encryption, smoke_tests, tunnel
from maas.cluster.helm_release import HelmRelease, Revision
from maas.cluster.host_programs import Hosts
from maas.cluster.platform_values import missing_components, platform_values
from maas.cluster.status import dashboards_url, restaurant_url
from maas.commands import _values, etcd
from maas.commands.status import summarize
from maas.helm import RELEASE, values_files
from maas.hosts import ansible, pki, ssh
from maas.hosts import encryption as encryption_keys
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from maas.bundle import Bundle
    from maas.cluster.client import Cluster
    from maas.commands._preflight import PreflightResult

_T = TypeVar("_T")


class _Background(Generic[_T]):
    """A function that runs in a thread of its own once it is started."""

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[[], _T]) -> None:
        self._pool = pool
        self._function = function
        self._future: Future[_T] | None = None

    def start(self) -> None:
        """Start the function; it runs only once."""
        self._submit()

    def result(self) -> _T:
        """Wait for the function and return its result, or raise what it raised; start it first if nothing has."""
        return self._submit().result()

    def _submit(self) -> Future[_T]:
        if self._future is None:
            self._future = self._pool.submit(self._function)
        return self._future


@dataclass(frozen=True)
class _Connection:
    """A cluster whose API server answers, with the release as it is there, and the pods of the smoke tests."""

    cluster: Cluster
    release: HelmRelease
    revision: Revision
    workspace: smoke_tests.Workspace


def apply(
    result: PreflightResult,
    bundle: Bundle,
    values: Mapping[str, Any],
    *,
    since: float,
    chart: bool = True,
) -> None:
    """Carry a plan out and show the cluster that it made.

    Args:
        result: The hosts and their plan.
        bundle: The components to install.
        values: Values for the chart.
        since: When the hosts were ready for it, on the monotonic clock.
        chart: Whether to deploy the chart.

    Raises:
        HostsError: A host could not be set up.
        ClusterError: The cluster, the release or a smoke test failed.
    """
    result.save()
    if chart:
        _values.remember(result.state, values)
    inventory, plan = result.inventory, result.plan
    missing = missing_components(bundle.manifest.unavailable)
    for item in missing:
        console.warn(str(item))
    # The user's values come last: they enable a component again whose image is available elsewhere.
    merged = values_files.merge(platform_values(plan, inventory), *(item.switch.values_off for item in missing), values)
    with console.phase("VPN keys") as step:
        keys = pki.ensure(result.state / "pki", plan.cluster, list(plan.hosts), hubs=list(plan.hubs))
        step.note(f"{len(keys.changes)} created or renewed" if keys.changes else "unchanged")
    secrets = _encryption_keys(result)
    # The pool first: its thread may still create the workspace that the stack deletes.
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        # Every pod waits for the pod network, which needs the API server alone: it is installed while nodes join.
        connection = _Background(pool, lambda: _connect(result, merged, stack))

        def connect_early(phase: ansible.PhaseEnd) -> None:
            if phase.title == ansible.CONTROL_PLANE_STARTED and not phase.failures:
                connection.start()

        changes = ansible.run(
            "site",
            inventory=ansible_inventory(
                inventory,
                plan=plan,
                facts=result.facts,
                bundle=bundle,
                pki=keys,
                encryption=secrets.configuration(),
                without=result.without,
                known_hosts=result.known_hosts,
            ),
            state=result.state,
            retry=paths.same_command(),
            without=result.without,
            become_password=result.become_password,
            on_phase_end=connect_early,
        )
        connected = connection.result()
        cluster = connected.cluster
        if secrets.phase == "promoted" and len(secrets.keys) == 1:
            with console.phase("Encryption") as step:
                step.note(f"{encryption.rewrite(cluster, step)} Secrets of before are encrypted")
                encryption_keys.save(result.state, encryption_keys.following(secrets))
        elif secrets.phase != "complete":
            rotate = paths.command("encrypt", "rotate", "--inventory", inventory.file)
            console.warn(f"the rotation of the key for Secrets is not finished; continue it: {rotate}")
        with console.phase("Nodes ready") as step:
            cluster.wait_nodes(result.node_count, step=step)
        deployed = _Background(pool, lambda: _deploy(connected) if chart else None)
        with console.phase("Verify") as step:
            pods = connected.workspace.wait_ready(step)
            deployed.start()  # the tests wait more than they work
            passed = connected.workspace.run(pods, pod_mtu=plan.pod_mtu, step=step)
        stack.close()
        verified = console.elapsed(time.monotonic() - since)
        for test in passed:
            console.line(f"  {test.name}: {test.detail}")
        console.line(f"{changes.changed} changed tasks on the hosts; cluster verified after {verified}")
        deployed.result()
    with console.phase("Ready") as step:
        waiting = cluster.wait_ready(nodes=result.node_count, step=step)
    if waiting:
        console.warn(f"not Ready until {', '.join(sorted(result.absent))} is back: {', '.join(waiting)}")
    console.line(f"everything Ready after {console.elapsed(time.monotonic() - since)}")
    if inventory.backup:
        hosts = Hosts(inventory, result.state, become_password=result.become_password, factor=plan.timeouts.factor)
        etcd.copy_latest(hosts, without=result.without)
    name = inventory.cluster
    pages = {"restaurant": restaurant_url(name, cluster), "dashboards": dashboards_url(name, cluster)}
    summarize(name, cluster, pages=pages)


def _encryption_keys(result: PreflightResult) -> encryption_keys.Keys:
    """Return the keys for Secrets: those of the state directory, those on the control plane, or a new one."""
    host = result.control_plane
    facts = result.facts[host.name]
    found = ""
    if facts.encryption_keys and encryption_keys.load(result.state) is None:
        read = ssh.as_root(f"cat {encryption_keys.CONFIGURATION}")
        found = process.run([*result.ssh(host), read], input=f"{result.become_password or ''}\n").stdout
    return encryption_keys.ensure(result.state, exists=facts.joined, found=found)


def _connect(result: PreflightResult, values: dict[str, Any], stack: contextlib.ExitStack) -> _Connection:
    """Open the tunnel to the API server, install the pod network if there is no release, and create the smoke tests' pods.

    All of them start while nodes join.
    """
    connect = result.ssh(result.control_plane)
    password = result.become_password or ""
    read = ssh.as_root("cat /etc/kubernetes/admin.conf")
    admin = process.run([*connect, read], input=f"{password}\n").stdout
    others = [result.ssh(host) for host in result.inventory.control_planes if host != result.control_plane]
    api = result.plan.control_plane_endpoint
    hubs = {host.name: result.ssh(host) for host in result.inventory.hubs}
    opened = tunnel.open_tunnel(result.state, ssh=connect, others=others, hubs=hubs, api=api, admin=admin)
    cluster = replace(opened, absent=result.absent, factor=result.plan.timeouts.factor)
    release = HelmRelease(cluster, helm=tools.tool("helm"), kubectl=tools.tool("kubectl"), values=values)
    with console.phase("Pod network") as step:
        revision = release.current()
        if revision is None:
            revision = release.install_pod_network()
            step.note(f"release {RELEASE} revision {revision.number}")
        else:
            step.note("already installed")
    addresses = {
        name: str(host.vpn_address)
        for name, host in result.plan.hosts.items()
        if name not in result.without and host.role != "hub"
    }
    image = components.load().image("busybox").reference
    workspace = stack.enter_context(smoke_tests.workspace(cluster, addresses, image=image))
    return _Connection(cluster, release, revision, workspace)


def _deploy(connection: _Connection) -> None:
    with console.phase("Chart") as step:
        before = connection.revision
        revision = connection.release.deploy(before)
        unchanged = ", unchanged" if revision.number == before.number else ""
        step.note(f"release {RELEASE} revision {revision.number}{unchanged}")
