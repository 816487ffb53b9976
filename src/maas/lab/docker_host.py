"""A host of the lab as a Docker container: create it, boot it, read its state."""

from __future__ import annotations

import io
import socket
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from maas import console
from maas.errors import LabError
from maas.lab import ssh_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

    from maas.lab.container_options import ContainerOptions

LABEL = "maas.lab"
HOST = f"{LABEL}.host"
ROLE = f"{LABEL}.role"
FINGERPRINT = f"{LABEL}.fingerprint"

HUB_PORT = 1194
HUB_NAME = "hubs.maas.internal"
"""Name of all hubs of a lab with several ones: each host resolves it to its own gateway, which relays their ports."""
_HUB_PORTS = 10
"""Distance between the ports of two hubs: a hub has one for each link to another hub after that of its server."""
BUNDLE = "/mnt/bundle"

_BOOT_SECONDS = 90.0
_START_SECONDS = 20
"""For systemd to start everything else once sshd runs."""


@dataclass(frozen=True)
class HostNetwork:
    """The network of a host, the host's address in it, and the gateway's."""

    network: Network
    address: str
    gateway: str


def full_name(name: str, host: str) -> str:
    """Return the name of a host's container and network."""
    return f"maas-{name}-{host}"


def hub_port(number: int) -> int:
    """Return the UDP port of a hub's server, by its number. Those of its links to later hubs follow."""
    return HUB_PORT + _HUB_PORTS * number


def relayed_ports(hubs: Sequence[str], hub: str, host: str) -> list[int]:
    """Return the ports of a hub that a host uses: that of the server, and of the link if it is a later hub.

    A hub uses the server of another one once its inventory makes it a node.
    """
    number = hubs.index(hub)
    later = hubs.index(host) - number if host in hubs else 0
    return [hub_port(number)] + ([hub_port(number) + later] if later > 0 else [])


@dataclass(frozen=True)
class HostFactory:
    """Creates the containers of one lab.

    Attributes:
        client: The Docker engine.
        lab: The lab's name.
        image: Reference of the image.
        options: The options of every container.
        bundle: The directory that is mounted at BUNDLE.
        networks: The network of each host, by the host's name.
        hubs: Names of the hosts that are hubs, which are the control planes.
    """

    client: DockerClient
    lab: str
    image: str
    options: ContainerOptions
    bundle: Path
    networks: dict[str, HostNetwork]
    hubs: tuple[str, ...]

    def create(self, host: str) -> Container:
        """Create a host's container with its SSH host key, without starting it."""
        api = self.client.api
        own, options = self.networks[host], self.options
        # Docker does not forward between two networks, but relays what arrives at a published port. So a hub's ports
        # are published on the gateway addresses of the other networks, and on no address that others can reach.
        relays: dict[int, list[tuple[str, int]]] = {}
        for name, other in self.networks.items():
            if host in self.hubs and name != host:
                for port in relayed_ports(self.hubs, host, name):
                    relays.setdefault(port, []).append((other.gateway, port))
        config = api.create_host_config(
            network_mode=own.network.name,
            privileged=options.privileged,
            cap_add=list(options.cap_add) or None,
            cap_drop=list(options.cap_drop) or None,
            security_opt=list(options.security_opt),
            device_cgroup_rules=list(options.device_rules) or None,
            devices=list(options.devices) or None,
            tmpfs=options.tmpfs,
            binds=[*options.binds, f"{self.bundle}:{BUNDLE}:ro"],
            port_bindings={f"{port}/udp": addresses for port, addresses in relays.items()} or None,
            extra_hosts={HUB_NAME: own.gateway} if len(self.hubs) > 1 else None,
        )
        config["CgroupnsMode"] = "private"
        if options.unmask:
            # The command line calls it `systempaths=unconfined`.
            config["MaskedPaths"] = []
            config["ReadonlyPaths"] = []
        private, public = ssh_key.generate()
        created = api.create_container(
            self.image,
            name=full_name(self.lab, host),
            hostname=host,
            host_config=config,
            networking_config=api.create_networking_config(
                # The stub expects a single endpoint, but the client takes endpoints by network.
                {own.network.name: api.create_endpoint_config(ipv4_address=own.address)}  # type: ignore[arg-type]
            ),
            labels={
                LABEL: self.lab,
                HOST: host,
                ROLE: "control-plane" if host in self.hubs else "worker",
                FINGERPRINT: public.fingerprint,
            },
            environment=options.environment,
            ports=[(port, "udp") for port in relays] or None,
            stop_signal="SIGRTMIN+3",  # on which systemd powers off
            volumes=["/var"],  # images and pods need a file system that is not an overlay
        )
        container: Container = self.client.containers.get(created["Id"])
        _put(container, "/etc/ssh", "ssh_host_ed25519_key", private)
        return container


def _put(container: Container, directory: str, name: str, content: bytes) -> None:
    """Write a file that only root can read into a host, whether it runs or not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        archive.addfile(entry, io.BytesIO(content))
    container.put_archive(directory, buffer.getvalue())


def boot(container: Container, key: Path) -> None:
    """Authorize the key, start the host, and wait until it has booted."""
    _put(container, "/root/.ssh", "authorized_keys", key.with_suffix(".pub").read_bytes())
    if container.status != "running":
        container.start()
    wait(container)


def wait(container: Container) -> None:
    """Wait until sshd answers and systemd has started the other units, or most of them.

    Raises:
        LabError: sshd does not answer in time, or the container stops.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    container.reload()
    address = address_of(container)
    host = container.labels[HOST]
    while not _answers(address):
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            raise LabError(
                f"host {host} did not boot: its container is {container.status}",
                context=container.logs(tail=12).decode(errors="replace").splitlines(),
                command=f"docker logs {container.name}",
            )
        time.sleep(0.05)
    # With a limit: without its tunnel a kubelet waits for minutes, and it can be this run that restores the tunnel.
    container.exec_run(["timeout", str(_START_SECONDS), "systemctl", "is-system-running", "--wait"])
    state = systemctl(container, "is-system-running")
    if state == "starting":
        jobs = systemctl(container, "list-jobs", "--state=running", "--plain", "--no-legend")
        console.warn(f"host {host} is up, but these units are still starting: {' '.join(jobs.split())}")
    elif state != "running":
        failed = systemctl(container, "list-units", "--failed", "--plain", "--no-legend")
        console.warn(f"host {host} is {state or 'not responding'}: {failed or 'no unit failed'}")


def _answers(address: str) -> bool:
    """Return whether an SSH server answers at an address."""
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def systemctl(container: Container, *arguments: str) -> str:
    """Return the output of systemctl on a running host."""
    # The output is a stream only if one is requested, which the stub does not say.
    output = cast("bytes", container.exec_run(["systemctl", *arguments]).output)
    return output.decode(errors="replace").strip()


def address_of(container: Container) -> str:
    """Return the address of a container, whether it runs or not."""
    (endpoint,) = container.attrs["NetworkSettings"]["Networks"].values()
    address: str = endpoint["IPAMConfig"]["IPv4Address"]
    return address


def gateway_of(container: Container) -> str:
    """Return the gateway of a container's network."""
    return f"{address_of(container).rsplit('.', 1)[0]}.1"


def bridge_of(container: Container) -> str:
    """Return the name of the bridge of a container's network."""
    (endpoint,) = container.attrs["NetworkSettings"]["Networks"].values()
    return f"br-{endpoint['NetworkID'][:12]}"
