"""Reboots of hosts: which ones need one, how a host reboots, and when its node is back.

A node that is cordoned for a reboot has an annotation, so that a later run makes it schedulable again if this one ends before.
Other nodes that are cordoned are never touched.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from maas import files
from maas.cluster import _reboot_script, host_programs
from maas.cluster.client import connection_errors, listed
from maas.errors import ClusterError
from maas.hosts import ssh
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.cluster.host_programs import Hosts
    from maas.console import Phase
    from maas.hosts.inventory import Host

CORDONED = "maas/cordoned-for"
"""The annotation of a node that is cordoned for a reboot."""
_REBOOT = "reboot"
_REQUEST = "reboot.json"
_UPGRADE_SECONDS = 1200
_POLL_SECONDS = 20
"""Time limit of one attempt to reach a host that reboots."""
_READY_SECONDS = 300


@dataclass(frozen=True)
class HostState:
    """What a host reports about reboots.

    Attributes:
        boot: An identifier that every boot changes.
        since: When the host booted, in seconds since 1970 by its own clock.
        kernel: The running kernel.
        newer: The newest installed kernel if it is newer, otherwise empty.
        required: Whether the distribution asks for a reboot (`/run/reboot-required`).
        packages: The packages that asked for it.
        updates: The packages with a security update that is not installed; only if they were read.
    """

    boot: str
    since: float
    kernel: str
    newer: str = ""
    required: bool = False
    packages: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """Why the host needs a reboot; empty if it does not."""
        found = []
        if self.newer:
            found.append(f"kernel {self.newer} is installed, {self.kernel} is running")
        if self.required:
            found.append(f"reboot required by {', '.join(self.packages) or 'the distribution'}")
        if self.updates:
            shown = ", ".join(self.updates[:3]) + (" …" if len(self.updates) > 3 else "")  # noqa: PLR2004
            found.append(f"{len(self.updates)} security updates: {shown}")
        return found


def inspect(hosts: Hosts, *, updates: bool = False, refresh: bool = False) -> dict[str, HostState]:
    """Return what each host reports about reboots.

    Args:
        hosts: The hosts.
        updates: Also look for security updates.
        refresh: Update the lists of apt for this.

    Raises:
        ClusterError: A host does not answer.
    """
    found = _run(hosts, "inspect", timeout=_UPGRADE_SECONDS if updates else None, updates=updates, refresh=refresh)
    return {name: parse(answer) for name, answer in found.items()}


def parse(answer: Mapping[str, Any]) -> HostState:
    """Return the state of a host from its answer."""
    return HostState(**{**answer, "packages": tuple(answer["packages"]), "updates": tuple(answer["updates"])})


def upgrade(hosts: Hosts, host: Host) -> list[str]:
    """Install the security updates of a host, and return the packages.

    Raises:
        ClusterError: apt failed.
    """
    installed: list[str] = _run(_only(hosts, host), "upgrade", timeout=_UPGRADE_SECONDS)[host.name]["installed"]
    return installed


def reboot(hosts: Hosts, host: Host) -> str:
    """Begin the reboot of a host, and return the identifier of the boot that ends.

    Raises:
        ClusterError: The host does not answer.
    """
    before: str = _run(_only(hosts, host), "reboot")[host.name]["boot"]
    hosts.disconnect(host)
    return before


def wait_booted(
    hosts: Hosts, host: Host, before: str, *, seconds: float, step: Phase, started: Callable[[], None]
) -> HostState:
    """Wait until a host has booted again, and return its state.

    Args:
        hosts: The hosts.
        host: The host.
        before: The identifier of the boot that ends.
        seconds: Seconds until an error is raised.
        step: The phase that shows progress.
        started: Called between two attempts; starts the host if it cannot reboot by itself.

    Raises:
        ClusterError: It did not answer in time.
    """
    deadline, reason = time.monotonic() + seconds, "it has not stopped"
    while time.monotonic() < deadline:
        step.note(f"{host.name}: {reason}")
        started()
        try:
            found = parse(
                _run(_only(hosts, host), "inspect", timeout=_POLL_SECONDS, updates=False, refresh=False)[host.name]
            )
        except ClusterError as error:
            reason = "it is starting"
            last = error.context
        else:
            if found.boot != before:
                return found
            last = ("it answers, and has not rebooted",)
        hosts.disconnect(host)
        time.sleep(1)
    raise ClusterError(
        f"{host.name} did not boot within {seconds:.0f} s",
        context=last,
        hint="its pods run on other nodes, and its node accepts pods again once it is Ready; look at the console of the host",
        command=ssh.plain_command(host),
        code="HostUnreachable",
    )


def wait_node(cluster: Cluster, name: str, *, since: float, step: Phase, seconds: float = _READY_SECONDS) -> None:
    """Wait until a node is Ready, as its kubelet has reported after a boot.

    Args:
        cluster: The cluster.
        name: The node.
        since: When its host booted, in seconds since 1970.
        step: The phase that shows progress.
        seconds: Seconds until an error is raised.

    Raises:
        ClusterError: It was not Ready in time.
    """

    def missing() -> list[str]:
        step.note(f"{name}: its kubelet starts")
        return [] if reported_ready(cluster.core.read_node(name).to_dict(), since) else [f"{name} is not Ready"]

    cluster.wait(missing, what=f"{name} to be Ready", timeout=seconds)


def reported_ready(node: Mapping[str, Any], since: float) -> bool:
    """Return whether a kubelet has reported since a time that its node is Ready. Before, the report is that of the last boot."""
    for condition in node["status"]["conditions"] or ():
        if condition["type"] == "Ready":
            reported: datetime = condition["last_heartbeat_time"]
            return condition["status"] == "True" and reported.timestamp() >= since
    return False


def cordon(cluster: Cluster, name: str) -> bool:
    """Make a node unschedulable for its reboot; one that somebody else has cordoned is left alone.

    Returns:
        Whether it was cordoned for the reboot, and is to be made schedulable again.
    """
    node = cluster.core.read_node(name)
    if node.spec.unschedulable and CORDONED not in (node.metadata.annotations or {}):
        return False
    # Both at once: an interruption in between would leave a node that nobody makes schedulable again.
    patch = {"metadata": {"annotations": {CORDONED: _REBOOT}}, "spec": {"unschedulable": True}}
    cluster.core.patch_node(name, patch)
    return True


def uncordon(cluster: Cluster, name: str, *, seconds: float = 60) -> None:
    """Make a node schedulable that was cordoned for its reboot.

    Raises:
        ClusterError: The API server does not answer; the next run does it.
    """
    patch: dict[str, Any] = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}
    deadline = time.monotonic() + seconds * cluster.factor
    while True:
        try:
            cluster.core.patch_node(name, patch)
        except connection_errors() as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{name} is still cordoned, because the API server does not answer",
                    context=str(error).splitlines()[:1],
                    hint="the next run makes it schedulable first",
                    code="NodeCordoned",
                ) from error
            time.sleep(1)
        else:
            return


def cordoned(cluster: Cluster) -> list[str]:
    """Return the nodes that a reboot has cordoned."""
    nodes = listed(cluster.core.list_node)
    return sorted(node["metadata"]["name"] for node in nodes if CORDONED in node["metadata"].get("annotations", {}))


def remember(state: Path, key: str, boots: Mapping[str, str]) -> None:
    """Note which hosts are to be rebooted, with the boots that end, so that the same command continues.

    Args:
        state: The cluster's state directory.
        key: What was asked for.
        boots: The identifier of the present boot of each host.
    """
    files.write_private(state / _REQUEST, json.dumps({"key": key, "boots": dict(boots)}))


def remembered(state: Path, key: str) -> dict[str, str]:
    """Return the hosts of a request that was interrupted, with the boots that were to end; empty if there is none."""
    try:
        found = json.loads((state / _REQUEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    boots: dict[str, str] = found["boots"] if found["key"] == key else {}
    return boots


def forget(state: Path) -> None:
    """Note that a request is completed."""
    (state / _REQUEST).unlink(missing_ok=True)


def order(hosts: Iterable[Host], *, last: str) -> list[Host]:
    """Return hosts in the order of their reboots: workers, then control planes, and one of these last.

    Args:
        hosts: The hosts.
        last: The control plane that the tool itself uses.
    """
    return sorted(hosts, key=lambda host: (host.role == "control-plane", host.name == last))


def _only(hosts: Hosts, host: Host) -> Hosts:
    return replace(hosts, inventory=hosts.inventory.model_copy(update={"hosts": (host,)}))


def _run(hosts: Hosts, action: str, *, timeout: float | None = None, **parameters: Any) -> dict[str, dict[str, Any]]:
    source = resources.files("maas.cluster").joinpath("_reboot_script.py").read_text(encoding="utf-8")
    program = program_text(source, {"action": action, **parameters})
    if timeout is None:
        return host_programs.run(hosts, program, _reboot_script.MARK)
    return host_programs.run(hosts, program, _reboot_script.MARK, timeout=timeout)
