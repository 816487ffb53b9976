"""The hosts of a cluster that exists, with the connections to them and to its API server."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maas import console, paths
from maas.cluster import controller_state, tunnel
from maas.cluster.host_programs import Hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import ansible, inventory, network_plan, ssh
from maas.hosts.ansible_inventory import ansible_inventory
from maas.hosts.facts import HostFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.network_plan import Plan
    from maas.hosts.pki import Pki


PLAN, FACTS = "plan.json", "facts.json"
"""The network plan and the facts of the hosts, in the state directory."""


@dataclass(frozen=True)
class Members:
    """The nodes of a cluster.

    Attributes:
        cluster: Its API server.
        hosts: The hosts of its nodes.
        plan: Its network plan.
        addresses: The VPN address of each node.
    """

    cluster: Cluster
    hosts: Hosts
    plan: Plan
    addresses: dict[str, str]


def connect(name: str, file: Path | None, *, become_password: str | None = None) -> Members:
    """Return the hosts of the nodes of a cluster. Hosts of the inventory that are not nodes are left out.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or the inventory lacks one of its nodes.
        ClusterError: The API server does not answer.
    """
    listed = find_inventory(name, file)
    state = tunnel.state_dir(listed.cluster)
    cluster = tunnel.connect(listed.cluster)
    nodes = {node.name: node.address for node in cluster.nodes()}
    known = {host.name for host in listed.hosts}
    if missing := sorted(nodes.keys() - known):
        raise UsageError(
            f"{', '.join(missing)} of {listed.cluster} is not in {listed.file}",
            hint="add the host to the inventory, or remove its node",
            command=paths.command("status", "--name", listed.cluster),
        )
    if others := sorted({host.name for host in listed.nodes} - nodes.keys()):
        console.warn(f"left out, because it is not a node of {listed.cluster}: {', '.join(others)}")
    present = listed.model_copy(update={"hosts": tuple(host for host in listed.hosts if host.name in nodes)})
    plan = saved_plan(state)
    return Members(cluster, _reached(present, plan, state, become_password), plan, nodes)


def reach(name: str, file: Path | None, *, become_password: str | None = None) -> Hosts:
    """Return the hosts of a cluster whose API need not answer; see `connect`.

    Raises:
        UsageError: There is no such cluster.
    """
    listed = find_inventory(name, file)
    state = tunnel.state_dir(listed.cluster)
    return _reached(listed, saved_plan(state), state, become_password)


def certified(hosts: Hosts, plan: Plan, without: Sequence[str] = ()) -> tuple[Hosts, Plan]:
    """Return the hosts that have a VPN certificate, and their plan: others are new, or were removed.

    Raises:
        UsageError: The inventory lacks a host, or a host cannot be left out.
    """
    listed = {host.name for host in hosts.inventory.hosts}
    known = {path.stem for path in (hosts.state / "pki" / "nodes").glob("*.crt")} & plan.hosts.keys()
    if missing := sorted(known - listed):
        raise UsageError(
            f"{', '.join(missing)} of {plan.cluster} is not in {hosts.inventory.file}",
            hint="add the host to the inventory, or remove its node",
            command=paths.command("status", "--name", plan.cluster),
        )
    if unknown := sorted(set(without) - known):
        raise UsageError(
            f"--without {unknown[0]}: {plan.cluster} has no such host", hint=f"its hosts are {', '.join(sorted(known))}"
        )
    if hosts.control_planes <= set(without):
        raise UsageError("--without leaves no control plane", hint="start one of them first")
    if others := sorted(listed - known):
        console.warn(f"left out, because bootstrap has not set it up: {', '.join(others)}")
    present = hosts.inventory.model_copy(
        update={"hosts": tuple(host for host in hosts.inventory.hosts if host.name in known)}
    )
    own = plan.model_copy(update={"hosts": {name: host for name, host in plan.hosts.items() if name in known}})
    return replace(hosts, inventory=present), own


def find_inventory(name: str, file: Path | None) -> Inventory:
    """Return the inventory of a cluster: a given one, that of a lab, or the one that an adopted cluster came with.

    Raises:
        UsageError: There is no such cluster, or it is not known where its inventory is.
    """
    if file is None:
        state = tunnel.state_dir(name)
        known = [path for path in (state / "hosts.yaml", state / controller_state.INVENTORY) if path.is_file()]
        file = next(iter(known), None)
        if file is None:
            raise UsageError(
                f"{name} is not a lab, so its inventory is needed",
                hint="pass the inventory of the cluster with --inventory FILE",
            )
    return inventory.load(file)


def variables(
    listed: Inventory, plan: Plan, state: Path, *, pki: Pki | None = None, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return hosts in Ansible's form, with the facts that the last bootstrap gathered. Hosts that are not in the plan are left out.

    Args:
        listed: The hosts.
        plan: Their network plan.
        state: The cluster's state directory.
        pki: The keys of the VPN.
        without: Names of the hosts that are down.
    """
    saved = json.loads((state / FACTS).read_text(encoding="utf-8"))
    known = listed.model_copy(
        update={"hosts": tuple(host for host in listed.hosts if host.name in saved and host.name in plan.hosts)}
    )
    return ansible_inventory(
        known,
        plan=plan,
        facts={host.name: HostFacts.model_validate(saved[host.name]) for host in known.hosts},
        pki=pki,
        without=without,
        known_hosts=state / ansible.KNOWN_HOSTS,
    )


def saved_plan(state: Path) -> Plan:
    """Return the network plan of the last bootstrap."""
    return network_plan.Plan.from_json((state / PLAN).read_text(encoding="utf-8"))


def admin_kubeconfig(hosts: Hosts, host: Host) -> str:
    """Return the kubeconfig of the administrator on a control plane.

    Raises:
        ClusterError: The control plane does not answer.
    """
    done = hosts.run(host, "cat /etc/kubernetes/admin.conf")
    if done.returncode != 0:
        raise ClusterError(
            f"cannot read the kubeconfig of {host.name}",
            context=done.stderr.strip().splitlines()[-2:],
            hint="run the same command again",
            code="HostUnreachable",
        )
    return done.stdout


def reconnect(hosts: Hosts, plan: Plan, *, first: Host, without: Collection[str] = ()) -> Cluster:
    """Open the tunnel to the API server through other hosts than before, and return the cluster.

    Args:
        hosts: The hosts, of which the control planes are used.
        plan: Their network plan.
        first: The control plane that is preferred.
        without: Names of the hosts that are down.

    Raises:
        ClusterError: The control plane does not answer.
    """
    admin = admin_kubeconfig(hosts, first)
    rest = [host for host in hosts.inventory.control_planes if host != first]
    rest.sort(key=lambda host: host.name in without)
    others = [hosts.ssh(host) for host in rest]
    hubs = {host.name: hosts.ssh(host) for host in hosts.inventory.hosts if host.name in plan.hubs}
    api = plan.control_plane_endpoint
    return tunnel.open_tunnel(hosts.state, ssh=hosts.ssh(first), others=others, hubs=hubs, api=api, admin=admin)


def _reached(listed: Inventory, plan: Plan, state: Path, become_password: str | None) -> Hosts:
    return Hosts(ssh.resolve(listed), state, become_password=become_password, factor=plan.timeouts.factor)
