"""Disposable hosts: containers that boot systemd, each in its own network, isolated from each other as real hosts are."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, cast

from docker.types import IPAMConfig, IPAMPool
from ruamel.yaml import YAML

from maas import console, paths
from maas.errors import LabError
from maas.hosts._inventory_checks import CONTROL_PLANES
from maas.lab import container_options, docker_host, engine, host_state, image, isolation, networks, ssh_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

HOSTS = ("master", "node1", "node2")
"""The hosts of a lab by default: a control plane and two workers."""

_HOST_INDEX = 10
"""Index of the host's address in its network; the gateway has 1."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Host:
    """A host of a lab.

    Attributes:
        name: Its host name.
        role: `control-plane` or `worker`.
        address: Its address, which the controller can reach.
        gateway: The gateway of its network, at which a worker reaches the hub.
        container: Name of its container.
        fingerprint: Fingerprint of its SSH host key, `SHA256:...`.
        state: State of its container: `running`, `exited`, ...
        system: State of its systemd: `running`, `degraded`, ...; empty if the container does not run.
    """

    name: str
    role: str
    address: str
    gateway: str
    container: str
    fingerprint: str
    state: str
    system: str


@dataclass(frozen=True)
class LabState:
    """The state of a lab.

    Attributes:
        name: Name of the lab and of its cluster.
        directory: The cluster's state directory.
        inventory: The inventory for `bootstrap`.
        key: The private SSH key to log in with.
        hosts: The hosts, the control plane first.
    """

    name: str
    directory: Path
    inventory: Path
    key: Path
    hosts: tuple[Host, ...]


def names(*, control_planes: int, workers: int) -> tuple[str, ...]:
    """Return the names of a lab's hosts, the control planes first.

    Raises:
        LabError: There cannot be as many.
    """
    if control_planes not in CONTROL_PLANES or workers < 0:
        raise LabError(
            f"a lab cannot have {control_planes} control planes and {workers} workers",
            hint="use 1, 3 or 5 control planes, because etcd survives no more failures with an even number of members",
            code="InvalidName",
        )
    more = (f"master{number}" for number in range(2, control_planes + 1))
    return ("master", *more, *(f"node{number}" for number in range(1, workers + 1)))


def up(
    name: str, *, bundle: Path, hosts: Sequence[str] = HOSTS, control_planes: int = 1, assume_yes: bool = False
) -> LabState:
    """Start a lab's hosts and write their inventory. Creates missing hosts and starts stopped ones.

    Args:
        name: The lab; several can run at once.
        bundle: The directory that the hosts mount read-only at /mnt/bundle.
        hosts: Host names, the control planes first.
        control_planes: How many of them are control planes, each of which is a hub.
        assume_yes: Do not ask before installing or starting Docker.

    Raises:
        LabError: This machine cannot run hosts, the user declined, or a host did not boot.
    """
    if not bundle.is_dir():
        raise LabError(f"there is no bundle at {bundle}", command=paths.command("bundle"))
    check_names(name, hosts)
    with engine.lock(), engine.errors(), contextlib.closing(_engine(assume_yes=assume_yes)) as client:
        key = ssh_key.login_key(paths.state(name))
        with console.phase("Host image") as phase:
            reference = image.ensure(client, note=phase.note)
            phase.note(reference)
        options = container_options.choose(container_options.gather())
        for reason in options.reasons:
            console.line(f"  {reason}")
        if os.geteuid() == 0:
            host_state.apply_sysctls(options.sysctls)
        with console.phase("Hosts") as phase:
            containers = {container.labels[docker_host.HOST]: container for container in _containers(client, name)}
            hubs = tuple(hosts[:control_planes])
            _refuse_differences(name, containers, hosts=hosts, hubs=hubs, bundle=bundle)
            factory = docker_host.HostFactory(
                client=client,
                lab=name,
                image=reference,
                options=options,
                bundle=bundle.resolve(),
                networks=_ensure_networks(client, name, hosts),
                hubs=hubs,
            )
            missing = [host for host in hosts if host not in containers]
            with ThreadPoolExecutor() as pool:
                containers |= dict(zip(missing, pool.map(factory.create, missing), strict=True))
                list(pool.map(lambda host: docker_host.boot(containers[host], key), hosts))
            _verify_network(name, [containers[host] for host in hosts], hubs=hubs)
            phase.note(", ".join(hosts))
        state = _state(client, name)
    write_inventory(state)
    return state


def is_lab(directory: Path) -> bool:
    """Return whether a state directory belongs to a lab, so that `down` deletes it: only labs have a key of their own."""
    return ssh_key.path(directory).exists()


def check_names(name: str, hosts: Sequence[str]) -> None:
    """Check the names of a lab and its hosts.

    Raises:
        LabError: A name is invalid, or the directory belongs to a cluster that is not a lab.
    """
    if not all(_NAME.fullmatch(word) for word in (name, *hosts)) or len(set(hosts)) < len(hosts) or not hosts:
        raise LabError(
            f"invalid names: lab {name or '(empty)'}, hosts {', '.join(hosts) or '(none)'}",
            hint="use at most 32 lower-case letters, digits and dashes, and a different name for each host",
            code="InvalidName",
        )
    directory = paths.states() / name
    if directory.is_dir() and not is_lab(directory) and any(directory.iterdir()):
        raise LabError(
            f"{name} is the name of a cluster that is not a lab",
            context=(f"its state directory is {directory}",),
            hint="choose another name for the lab",
            code="NotALab",
        )


def plan_engine() -> engine.Plan:
    """Plan what to install and start before a lab can be created. Makes no changes.

    Raises:
        LabError: This process cannot do it.
    """
    return engine.plan(engine.examine(image=image.archive().exists()))


def prepare(*, assume_yes: bool = False) -> DockerClient:
    """Make sure that Docker is running, after a confirmation if something changes; the caller closes the client.

    Raises:
        LabError: This process cannot do it, or the user declined.
    """
    with engine.lock():
        return _engine(assume_yes=assume_yes)


def _engine(*, assume_yes: bool) -> DockerClient:
    plan = plan_engine()
    if plan.changes:
        console.line("The lab needs Docker. Changes to this machine:")
        for sentence in plan.sentences():
            console.line(f"  {sentence}")
        if not console.confirm("Continue?", assume_yes=assume_yes):
            raise LabError("the lab needs Docker; nothing was changed", command=paths.command("up"))
    with console.phase("Docker") as phase:
        client = engine.ensure(plan)
        phase.note(f"version {client.version()['Version']}, {plan.start.value}")
    return client


def _containers(client: DockerClient, name: str) -> list[Container]:
    found: list[Container] = client.containers.list(all=True, filters={"label": f"{docker_host.LABEL}={name}"})
    return sorted(
        found,
        key=lambda container: (
            container.labels[docker_host.ROLE] != "control-plane",
            container.labels[docker_host.HOST],
        ),
    )


def _refuse_differences(
    name: str, containers: dict[str, Container], *, hosts: Sequence[str], hubs: Sequence[str], bundle: Path
) -> None:
    """Refuse to change a lab that has other hosts or another bundle."""
    extra = sorted(set(containers) - set(hosts))
    planes = sorted(
        host for host, container in containers.items() if container.labels[docker_host.ROLE] == "control-plane"
    )
    if containers and not extra and planes != sorted(hubs):
        # The ports of a container's hub are chosen when it is created.
        raise LabError(
            f"lab {name} already exists with other control planes",
            context=(f"its control planes: {', '.join(planes)}",),
            hint="remove it first, or choose another name with --name",
            code="LabExists",
            command=paths.command("down", "--name", name),
        )
    sources = {
        mount["Source"]
        for container in containers.values()
        for mount in container.attrs["Mounts"]
        if mount["Destination"] == docker_host.BUNDLE
    }
    other = sorted(sources - {str(bundle.resolve())})
    if extra or other:
        raise LabError(
            f"lab {name} already exists with {'other hosts' if extra else 'another bundle'}",
            context=(f"additional hosts: {', '.join(extra)}",) if extra else (f"its bundle: {', '.join(other)}",),
            hint="remove it first, or choose another name with --name",
            code="LabExists",
            command=paths.command("down", "--name", name),
        )


def _ensure_networks(client: DockerClient, name: str, hosts: Sequence[str]) -> dict[str, docker_host.HostNetwork]:
    """Create the missing networks and return the network of each host."""
    found = {
        network.name: network for network in client.networks.list(filters={"label": f"{docker_host.LABEL}={name}"})
    }
    missing = [full for host in hosts if (full := docker_host.full_name(name, host)) not in found]
    subnets = networks.pick(networks.taken(client), count=len(missing))
    for full, subnet in zip(missing, subnets, strict=True):
        found[full] = client.networks.create(
            full,
            driver="bridge",
            labels={docker_host.LABEL: name},
            ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))]),
        )
        found[full].reload()
    result = {}
    for host in hosts:
        network = found[docker_host.full_name(name, host)]
        subnet = IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])
        result[host] = docker_host.HostNetwork(network, address=str(subnet[_HOST_INDEX]), gateway=str(subnet[1]))
    return result


def _verify_network(name: str, containers: Sequence[Container], *, hubs: Sequence[str]) -> None:
    """Check that the hosts are isolated from each other and that every one reaches the hubs.

    Raises:
        LabError: A host reaches another one, or a node does not reach the hub.
    """
    hosts = {
        container.labels[docker_host.HOST]: (container, docker_host.address_of(container)) for container in containers
    }
    senders: dict[tuple[str, int], list[isolation.Node]] = {}
    for hub in hubs:
        for host, (container, _) in hosts.items():
            for port in docker_host.relayed_ports(hubs, hub, host) if host != hub else ():
                node = isolation.Node(host, container, docker_host.gateway_of(container))
                senders.setdefault((hub, port), []).append(node)
    with ThreadPoolExecutor(max(1, len(senders))) as executor:
        reachable = [
            executor.submit(isolation.check_hub_reachable, hosts[hub][0], nodes, port=port)
            for (hub, port), nodes in senders.items()
        ]
        leaks = isolation.leaks(hosts)
    for one in reachable:
        one.result()
    if leaks:
        # Docker forwards between its bridges if it does not manage the firewall (`iptables: false`).
        isolation.block(name, [docker_host.bridge_of(container) for container in containers])
        if pairs := isolation.leaks(hosts):
            raise LabError(
                "the hosts reach each other directly; they must reach each other through the VPN only",
                context=[f"{one} reaches {other}" for one, other in pairs],
                hint="another firewall rule accepts packets between Docker's bridges",
                command="iptables --list FORWARD --verbose --numeric",
            )


def _state(client: DockerClient, name: str) -> LabState:
    directory = paths.states() / name

    def host(container: Container) -> Host:
        container.reload()
        runs = container.status == "running"
        return Host(
            name=container.labels[docker_host.HOST],
            role=container.labels[docker_host.ROLE],
            address=docker_host.address_of(container),
            gateway=docker_host.gateway_of(container),
            container=str(container.name),
            fingerprint=container.labels[docker_host.FINGERPRINT],
            state=container.status,
            system=docker_host.systemctl(container, "is-system-running") if runs else "",
        )

    with ThreadPoolExecutor() as pool:
        hosts = tuple(pool.map(host, _containers(client, name)))
    return LabState(name, directory, directory / "hosts.yaml", ssh_key.path(directory), hosts)


def write_inventory(state: LabState) -> None:
    """Write the inventory of a lab, for `bootstrap`."""
    hubs = [host for host in state.hosts if host.role == "control-plane"]
    hosts: list[dict[str, Any]] = []
    for host in state.hosts:
        entry: dict[str, Any] = {
            "name": host.name,
            "address": host.address,
            "port": 22,
            "user": "root",
            "key": str(state.key),
            "role": host.role,
            "fingerprint": host.fingerprint,
            "bundle": docker_host.BUNDLE,
        }
        # A host has no route to the address of a hub; its gateway relays the ports.
        if len(hubs) > 1 and host in hubs:
            entry["hub"] = {"endpoint": docker_host.HUB_NAME, "port": docker_host.hub_port(hubs.index(host))}
        elif len(hubs) == 1 and host not in hubs:
            entry["hub"] = {"endpoint": host.gateway, "port": docker_host.HUB_PORT}
        hosts.append(entry)
    content: dict[str, Any] = {"cluster": state.name}
    if len(hubs) == 1:
        content["hub"] = {"endpoint": hubs[0].address, "port": docker_host.HUB_PORT}
    writer = YAML()
    writer.width = 120
    with state.inventory.open("w", encoding="utf-8") as file:
        file.write(f"# Hosts of a lab on this machine. To remove them: {paths.command('down', '--name', state.name)}\n")
        writer.dump(content | {"hosts": hosts}, file)


def _labs(client: DockerClient) -> list[str]:
    found = client.containers.list(all=True, filters={"label": docker_host.LABEL})
    rest = client.networks.list(filters={"label": docker_host.LABEL})
    return sorted(
        {one.labels[docker_host.LABEL] for one in found} | {one.attrs["Labels"][docker_host.LABEL] for one in rest}
    )


def labs() -> list[str]:
    """Return the names of all labs on this machine.

    Raises:
        LabError: No Docker engine answers.
    """
    with contextlib.closing(engine.connect()) as client:
        return _labs(client)


@contextlib.contextmanager
def _existing(name: str) -> Iterator[DockerClient]:
    """Yield a client of the engine if the lab exists, even if only its state directory is left.

    Raises:
        LabError: There is no such lab.
    """
    with contextlib.closing(engine.connect()) as client, engine.errors():
        existing = _labs(client)
        if name not in existing and not is_lab(paths.states() / name):
            raise LabError(
                f"there is no lab {name}",
                context=(f"labs on this machine: {', '.join(existing) if existing else 'none'}",),
                command=paths.command("status", "--name", existing[0]) if existing else paths.command("up"),
                code="LabNotFound",
            )
        yield client


def release_engine() -> list[str]:
    """Stop an engine that `up` started if nothing uses it, and restore what its start changed.

    Returns:
        What was stopped and restored, one line each; empty if there is a lab, or if the engine was running before.
    """
    with engine.lock(), contextlib.suppress(LabError), contextlib.closing(engine.connect()) as client:
        return engine.release(client)
    return []


def status(name: str) -> LabState:
    """Return the state of a lab.

    Raises:
        LabError: There is no such lab.
    """
    with _existing(name) as client:
        return _state(client, name)


def memory(name: str) -> dict[str, int]:
    """Return the bytes of memory that each host of a lab uses, without the cache of files.

    Raises:
        LabError: There is no such lab.
    """

    def used(container: Container) -> int:
        found = cast("dict[str, Any]", container.stats(stream=False, one_shot=True))["memory_stats"]
        details = found.get("stats", {})
        return int(found.get("usage", 0)) - int(details.get("total_inactive_file", details.get("inactive_file", 0)))

    with _existing(name) as client, ThreadPoolExecutor() as pool:
        containers = _containers(client, name)
        sizes = pool.map(used, containers)
        return {container.labels[docker_host.HOST]: size for container, size in zip(containers, sizes, strict=True)}


def power_on(name: str, host: str) -> None:
    """Start a host that has stopped, as a machine does that reboots; a container does not. It returns before the host has booted.

    Raises:
        LabError: There is no such lab, or no such host.
    """
    with _existing(name) as client:
        client.containers.get(docker_host.full_name(name, host)).start()


def down(name: str) -> list[str]:
    """Remove a lab: its containers with their volumes, its networks and its state directory.

    With the last lab, stop a Docker engine that `up` started, unless it has other containers or networks.

    Returns:
        What was removed, restored and stopped, one line each.

    Raises:
        LabError: There is no such lab.
    """
    with engine.lock(), _existing(name) as client:
        removed: list[str] = []
        containers = _containers(client, name)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda container: container.remove(v=True, force=True), containers))
        removed += [f"removed container {container.name} with its volumes" for container in containers]
        for network in client.networks.list(filters={"label": f"{docker_host.LABEL}={name}"}):
            network.remove()
            removed.append(f"removed network {network.name}")
        if count := isolation.unblock(name):
            removed.append(f"removed {count} firewall rules between its networks")
        directory = paths.states() / name
        if is_lab(directory):
            shutil.rmtree(directory)
            removed.append(f"removed state directory {directory}")
        if not _labs(client):
            removed += host_state.restore_sysctls()
            removed += engine.release(client)
    return removed
