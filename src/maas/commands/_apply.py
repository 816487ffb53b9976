"""The stage that carries a plan out: set up hosts, install the pod network and the chart, verify the cluster."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from maas import components, console, paths, process
from maas.bundle import tools
from maas.cluster import smoke_tests, tunnel
from maas.cluster.helm_release import HelmRelease, Revision
from maas.cluster.platform_values import missing_components, platform_values
from maas.cluster.status import restaurant_url
from maas.commands.status import summarize
from maas.helm import RELEASE, values_files
from maas.hosts import ansible, pki
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
    """A cluster whose API server answers, with the release as it is there."""

    cluster: Cluster
    release: HelmRelease
    revision: Revision


def apply(result: PreflightResult, bundle: Bundle, values: Mapping[str, Any], *, since: float) -> None:
    """Carry a plan out and show the cluster that it made.

    Args:
        result: The hosts and their plan.
        bundle: The components to install.
        values: Values for the chart.
        since: When the hosts were ready for it, on the monotonic clock.

    Raises:
        HostsError: A host could not be set up.
        ClusterError: The cluster, the release or a smoke test failed.
    """
    result.save()
    inventory, plan = result.inventory, result.plan
    missing = missing_components(bundle.manifest.unavailable)
    for item in missing:
        console.warn(str(item))
    # The user's values come last: they enable a component again whose image is available elsewhere.
    merged = values_files.merge(platform_values(plan, inventory), *(item.switch.values_off for item in missing), values)
    with console.phase("VPN keys") as step:
        keys = pki.ensure(result.state / "pki", plan.cluster, list(plan.hosts), hub=plan.hub)
        step.note(f"{len(keys.changes)} created or renewed" if keys.changes else "unchanged")
    with ThreadPoolExecutor(1) as pool:
        # Every pod waits for the pod network, which needs the API server alone: it is installed while nodes join.
        connection = _Background(pool, lambda: _connect(result, merged))

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
                known_hosts=result.known_hosts,
            ),
            state=result.state,
            retry=paths.command("bootstrap", f"--inventory {inventory.file}"),
            without=result.without,
            on_phase_end=connect_early,
        )
        connected = connection.result()
        cluster = connected.cluster
        with console.phase("Nodes ready") as step:
            cluster.wait_nodes(result.node_count, step=step)
        chart = _Background(pool, lambda: _deploy(connected))
        addresses = {name: str(host.vpn_address) for name, host in plan.hosts.items() if name not in result.without}
        with (
            console.phase("Verify") as step,
            smoke_tests.workspace(cluster, addresses, image=components.load().image("busybox").reference) as workspace,
        ):
            pods = workspace.wait_ready(step)
            chart.start()  # the tests wait more than they work
            passed = workspace.run(pods, pod_mtu=plan.pod_mtu, step=step)
        verified = console.elapsed(time.monotonic() - since)
        for test in passed:
            console.line(f"  {test.name}: {test.detail}")
        console.line(f"{changes.changed} changed tasks on the hosts; cluster verified after {verified}")
        chart.result()
    with console.phase("Ready") as step:
        waiting = cluster.wait_ready(nodes=result.node_count, step=step)
    if waiting:
        console.warn(f"not Ready until {', '.join(sorted(result.without))} is back: {', '.join(waiting)}")
    console.line(f"everything Ready after {console.elapsed(time.monotonic() - since)}")
    summarize(inventory.cluster, cluster, restaurant=restaurant_url(inventory.cluster, cluster))


def _connect(result: PreflightResult, values: dict[str, Any]) -> _Connection:
    """Open the tunnel to the API server, and install the pod network where there is no release yet."""
    ssh = result.ssh(result.inventory.control_plane)
    admin = process.run([*ssh, f"{tunnel.AS_ROOT} cat /etc/kubernetes/admin.conf"]).stdout
    opened = tunnel.open_tunnel(result.state, ssh=ssh, api=result.plan.control_plane_endpoint, admin=admin)
    cluster = replace(opened, absent=result.without)
    release = HelmRelease(cluster, helm=tools.tool("helm"), kubectl=tools.tool("kubectl"), values=values)
    with console.phase("Pod network") as step:
        revision = release.current()
        if revision is None:
            revision = release.install_pod_network()
            step.note(f"release {RELEASE} revision {revision.number}")
        else:
            step.note("already installed")
    return _Connection(cluster, release, revision)


def _deploy(connection: _Connection) -> None:
    with console.phase("Chart") as step:
        before = connection.revision
        revision = connection.release.deploy(before)
        unchanged = ", unchanged" if revision.number == before.number else ""
        step.note(f"release {RELEASE} revision {revision.number}{unchanged}")
