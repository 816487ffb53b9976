"""Throw-away hosts: containers that boot systemd, each in a network of its own, reachable only as a real host would be."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from docker.types import IPAMConfig, IPAMPool
from ruamel.yaml import YAML

from maas import console, paths
from maas.errors import LabError
from maas.lab import container_options, docker_host, engine, host_state, image, isolation, networks, ssh_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

HOSTS = ("master", "node1", "node2")

_PLACE = 10
"""The host's place in its network; 1 is the gateway."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_MARK = "throw-away"
"""The file that says of a state directory that it was made for a lab and goes with it."""
_MARK_TEXT = "Made by `up` for throw-away hosts; `down` removes this directory with them.\n"


@dataclass(frozen=True)
class Host:
    """A throw-away host.

    Attributes:
        name: Its host name.
        role: `control-plane` or `worker`.
        address: Where the controller reaches it.
        gateway: Its network's gateway, at which a worker reaches the hub.
        container: The container's name.
        fingerprint: Of its ssh host key, as `SHA256:...`.
        state: The container's state: `running`, `exited`, ...
        system: What systemd says of the whole: `running`, `degraded`, ...; empty where the container does not run.
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
    """A lab, as it is.

    Attributes:
        name: The lab's name, also that of its cluster.
        directory: The cluster's state directory.
        inventory: The file that describes the hosts to bootstrap.
        key: The private ssh key that opens them.
        hosts: The hosts, the control plane first.
        reasons: What was chosen for this machine and why; empty when the lab was only looked at.
    """

    name: str
    directory: Path
    inventory: Path
    key: Path
    hosts: tuple[Host, ...]
    reasons: tuple[str, ...] = ()


def up(
    name: str,
    *,
    bundle: Path,
    hosts: Sequence[str] = HOSTS,
    minimal: bool = False,
    assume_yes: bool = False,
) -> LabState:
    """Have a lab's hosts run, and describe them in an inventory.

    What is there already is kept: running hosts are found, stopped ones started, missing ones made.

    Args:
        name: The lab; several may run side by side.
        bundle: The directory that the hosts see, read-only, at /mnt/bundle.
        hosts: Host names, the control plane first.
        minimal: Leave out of the image what bootstrap brings to a host.
        assume_yes: Do not ask before installing or starting a container engine.

    Raises:
        LabError: The machine cannot run hosts, the user said no, or hosts did not come up.
    """
    if not bundle.is_dir():
        raise LabError(f"there is no bundle at {bundle}", command=paths.command("bundle"))
    directory = _available(name, hosts)
    with (
        engine.lock(),
        engine.refusals(),
        contextlib.closing(_engine(minimal=minimal, assume_yes=assume_yes)) as client,
    ):
        (paths.state(name) / _MARK).write_text(_MARK_TEXT, encoding="utf-8")
        with console.phase("Image of a host") as phase:
            reference = image.ensure(client, minimal=minimal, note=phase.note)
            phase.note(reference)
        chosen = container_options.decide(container_options.observe())
        for reason in chosen.reasons:
            console.line(f"  {reason}")
        if os.geteuid() == 0:
            host_state.note_settings(chosen.sysctls)
        key = ssh_key.opener(directory)
        with console.phase("Hosts") as phase:
            found = {container.labels[docker_host.HOST]: container for container in _containers(client, name)}
            _agrees(name, found, hosts=hosts, bundle=bundle)
            places = _places(client, name, hosts)
            missing = [host for host in hosts if host not in found]
            run = docker_host.Maker(client, name, reference, chosen, bundle.resolve(), places, hosts[0])
            with ThreadPoolExecutor() as pool:
                found |= dict(zip(missing, pool.map(run.create, missing), strict=True))
                list(pool.map(lambda host: docker_host.boot(found[host], key), hosts))
            _prove(name, [found[host] for host in hosts])
            phase.note(", ".join(hosts))
        state = _look(client, name, reasons=chosen.reasons)
    _write_inventory(state)
    return state


def _available(name: str, hosts: Sequence[str]) -> Path:
    """The state directory that the lab has or may have; nothing is changed.

    Raises:
        LabError: A name is none, or the directory is that of a real cluster.
    """
    if not all(_NAME.fullmatch(word) for word in (name, *hosts)) or len(set(hosts)) < len(hosts) or not hosts:
        raise LabError(
            f"a lab cannot be called {name} with hosts {', '.join(hosts)}",
            hint="names are of small letters, digits and dashes, at most 32, and each host has its own",
        )
    directory = paths.states() / name
    if directory.is_dir() and not (directory / _MARK).exists() and any(directory.iterdir()):
        raise LabError(
            f"{name} is the name of a cluster that is not a lab",
            context=(f"its state lies in {directory}",),
            hint="take another name for the lab",
        )
    return directory


def plan_engine(*, minimal: bool = False) -> engine.Plan:
    """What has to be installed and started before a lab can be made; nothing is changed.

    Raises:
        LabError: It cannot be done from here.
    """
    return engine.plan(engine.examine(image=image.archive(minimal=minimal).exists()))


def prepare(*, minimal: bool = False, assume_yes: bool = False) -> DockerClient:
    """Have a container engine run, after showing what has to be done for it and asking; the caller closes the client.

    Raises:
        LabError: It cannot be done from here, or the user said no.
    """
    with engine.lock():
        return _engine(minimal=minimal, assume_yes=assume_yes)


def _engine(*, minimal: bool, assume_yes: bool) -> DockerClient:
    decided = plan_engine(minimal=minimal)
    if decided.changes:
        console.line("The lab needs a container engine. To be done on this machine:")
        for sentence in decided.sentences():
            console.line(f"  {sentence}")
        if not console.confirm("Go on?", assume_yes=assume_yes):
            raise LabError("nothing was changed: the lab needs a container engine", command=paths.command("up"))
    with console.phase("Container engine") as phase:
        client = engine.ensure(decided)
        phase.note(f"Docker {client.version()['Version']}, {decided.start.value}")
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


def _agrees(name: str, found: dict[str, Container], *, hosts: Sequence[str], bundle: Path) -> None:
    extra = sorted(set(found) - set(hosts))
    sources = {
        mount["Source"]
        for one in found.values()
        for mount in one.attrs["Mounts"]
        if mount["Destination"] == docker_host.BUNDLE
    }
    other = sorted(sources - {str(bundle.resolve())})
    if extra or other:
        raise LabError(
            f"the lab {name} is there with other {'hosts' if extra else 'contents'}",
            context=(f"it also has {', '.join(extra)}",)
            if extra
            else (f"its hosts see the bundle {', '.join(other)}",),
            command=paths.command("down", "--name", name),
        )


def _places(client: DockerClient, name: str, hosts: Sequence[str]) -> dict[str, docker_host.Place]:
    """Where each host is, after making the networks that are missing."""
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
    places = {}
    for host in hosts:
        network = found[docker_host.full_name(name, host)]
        subnet = IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])
        places[host] = docker_host.Place(network, address=str(subnet[_PLACE]), gateway=str(subnet[1]))
    return places


def _prove(name: str, containers: Sequence[Container]) -> None:
    """Show that the hosts are cut off from each other and that every node reaches the hub."""
    hosts = {
        container.labels[docker_host.HOST]: (container, docker_host.address_of(container)) for container in containers
    }
    hub, *nodes = containers
    told = [(node.labels[docker_host.HOST], node, docker_host.gateway_of(node)) for node in nodes]
    with ThreadPoolExecutor(1) as beside:
        reached = beside.submit(isolation.prove_hub, hub, told, port=docker_host.HUB_PORT)
        crossings = isolation.crossings(hosts)
    reached.result()
    if crossings:
        # An engine that manages no firewall (`iptables: false`) forwards between its bridges.
        isolation.cut(name, [docker_host.bridge_of(container) for container in containers])
        if pairs := isolation.crossings(hosts):
            raise LabError(
                "the hosts reach each other's networks, and are meant to meet through the VPN alone",
                context=[f"{one} reaches {other}" for one, other in pairs],
                command="iptables --list FORWARD --verbose --numeric",
            )


def _look(client: DockerClient, name: str, *, reasons: tuple[str, ...] = ()) -> LabState:
    directory = paths.states() / name

    def seen(container: Container) -> Host:
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
        hosts = tuple(pool.map(seen, _containers(client, name)))
    return LabState(name, directory, directory / "hosts.yaml", directory / "ssh" / "id_ed25519", hosts, reasons)


def _write_inventory(state: LabState) -> None:
    hub = state.hosts[0]
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
        if host is not hub:
            # No route leads from this host to the hub's own address; its gateway relays the one port.
            entry["hub"] = {"endpoint": host.gateway, "port": docker_host.HUB_PORT}
        hosts.append(entry)
    writer = YAML()
    writer.width = 120
    with state.inventory.open("w", encoding="utf-8") as file:
        file.write(f"# Throw-away hosts on this machine; removed by: {paths.command('down', '--name', state.name)}\n")
        writer.dump(
            {"cluster": state.name, "hub": {"endpoint": hub.address, "port": docker_host.HUB_PORT}, "hosts": hosts},
            file,
        )


def _labs(client: DockerClient) -> list[str]:
    found = client.containers.list(all=True, filters={"label": docker_host.LABEL})
    rest = client.networks.list(filters={"label": docker_host.LABEL})
    return sorted(
        {one.labels[docker_host.LABEL] for one in found} | {one.attrs["Labels"][docker_host.LABEL] for one in rest}
    )


def labs() -> list[str]:
    """The names of all labs on this machine.

    Raises:
        LabError: No container engine answers.
    """
    with contextlib.closing(engine.connect()) as client:
        return _labs(client)


@contextlib.contextmanager
def _known(name: str) -> Iterator[DockerClient]:
    """A client of the engine, after making sure that there is such a lab, be it only its state directory."""
    with contextlib.closing(engine.connect()) as client, engine.refusals():
        there = _labs(client)
        if name not in there and not (paths.states() / name / _MARK).exists():
            raise LabError(
                f"there is no lab {name}",
                context=(f"labs on this machine: {', '.join(there) if there else 'none'}",),
                command=paths.command("status", "--name", there[0]) if there else paths.command("up"),
            )
        yield client


def status(name: str) -> LabState:
    """How a lab's hosts are.

    Raises:
        LabError: There is no such lab.
    """
    with _known(name) as client:
        return _look(client, name)


def _one(client: DockerClient, name: str, host: str) -> Container:
    found = {container.labels[docker_host.HOST]: container for container in _containers(client, name)}
    if host not in found:
        raise LabError(f"the lab {name} has no host {host}", context=(f"it has {', '.join(found)}",))
    return found[host]


def kill(name: str, host: str) -> None:
    """Take a host down at once, as a pulled plug does.

    Raises:
        LabError: There is no such lab or host.
    """
    with _known(name) as client:
        container = _one(client, name, host)
        if container.status == "running":
            container.kill()


def start(name: str, host: str) -> None:
    """Boot a host that is down, and wait until it is up; it has the same addresses, keys and disks as before.

    Raises:
        LabError: There is no such lab or host, or it does not come up.
    """
    with _known(name) as client:
        container = _one(client, name, host)
        container.start()
        docker_host.wait(container)


def down(name: str) -> list[str]:
    """Remove a lab: its containers with their volumes, its networks, its state directory; nothing without its label.

    An engine that `up` started is stopped with the last lab, unless others use it.

    Returns:
        What was removed, one line each.

    Raises:
        LabError: There is no such lab.
    """
    with engine.lock(), _known(name) as client:
        removed: list[str] = []
        containers = _containers(client, name)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda container: container.remove(v=True, force=True), containers))
        removed += [f"container {container.name} with its volumes" for container in containers]
        for network in client.networks.list(filters={"label": f"{docker_host.LABEL}={name}"}):
            network.remove()
            removed.append(f"network {network.name}")
        if count := isolation.mend(name):
            removed.append(f"{count} firewall rules between its networks")
        directory = paths.states() / name
        if (directory / _MARK).exists():
            shutil.rmtree(directory)
            removed.append(f"state directory {directory}")
        if not _labs(client):
            removed += host_state.restore_settings()
            removed += engine.release(client)
    return removed
