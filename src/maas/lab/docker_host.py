"""One host as the container engine knows it: how it is made, booted, asked and found."""

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
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

    from maas.lab.container_options import Settings

LABEL = "maas.lab"
HOST = f"{LABEL}.host"
ROLE = f"{LABEL}.role"
FINGERPRINT = f"{LABEL}.fingerprint"

HUB_PORT = 1194
BUNDLE = "/mnt/bundle"

_BOOT_SECONDS = 90.0
_START_SECONDS = 20
"""For systemd to start everything, after sshd."""


@dataclass(frozen=True)
class Place:
    """Where a host is: its network, its own address there, and the gateway's."""

    network: Network
    address: str
    gateway: str


def full_name(name: str, host: str) -> str:
    """What a host's container and network are called."""
    return f"maas-{name}-{host}"


@dataclass(frozen=True)
class Maker:
    """What the containers of one lab have in common.

    Attributes:
        client: The engine.
        lab: The lab's name.
        image: Reference of the image.
        settings: How a host runs on this machine.
        bundle: The directory that hosts see at BUNDLE.
        places: Where each host is, by its name.
        hub: The host that is the hub.
    """

    client: DockerClient
    lab: str
    image: str
    settings: Settings
    bundle: Path
    places: dict[str, Place]
    hub: str

    def create(self, host: str) -> Container:
        """Make a host's container, with its ssh host key, and leave it stopped."""
        api = self.client.api
        place = self.places[host]
        hub = host == self.hub
        # The engine forwards nothing between two networks, but it relays what comes to a published port. So the hub's
        # port is published on the gateway address of every other network, and on no address that others can reach.
        relays = [(other.gateway, HUB_PORT) for name, other in self.places.items() if hub and name != host]
        config = api.create_host_config(
            network_mode=place.network.name,
            privileged=self.settings.privileged,
            cap_add=list(self.settings.cap_add) or None,
            cap_drop=list(self.settings.cap_drop) or None,
            security_opt=list(self.settings.security_opt),
            device_cgroup_rules=list(self.settings.device_rules) or None,
            devices=list(self.settings.devices) or None,
            tmpfs=self.settings.tmpfs,
            binds=[*self.settings.binds, f"{self.bundle}:{BUNDLE}:ro"],
            port_bindings={f"{HUB_PORT}/udp": relays} if relays else None,
        )
        config["CgroupnsMode"] = "private"
        if self.settings.unmask:
            # What the command line calls `systempaths=unconfined`.
            config["MaskedPaths"] = []
            config["ReadonlyPaths"] = []
        private, public = ssh_key.new()
        created = api.create_container(
            self.image,
            name=full_name(self.lab, host),
            hostname=host,
            host_config=config,
            networking_config=api.create_networking_config(
                # The stub asks for a single endpoint where the client takes endpoints by network.
                {place.network.name: api.create_endpoint_config(ipv4_address=place.address)}  # type: ignore[arg-type]
            ),
            labels={
                LABEL: self.lab,
                HOST: host,
                ROLE: "control-plane" if hub else "worker",
                FINGERPRINT: ssh_key.fingerprint(public),
            },
            environment=self.settings.environment,
            ports=[(HUB_PORT, "udp")] if relays else None,
            stop_signal="SIGRTMIN+3",  # what systemd takes as the wish to power off
            volumes=["/var"],  # images and pods need a file system that is not itself an overlay
        )
        container: Container = self.client.containers.get(created["Id"])
        _put(container, "/etc/ssh", "ssh_host_ed25519_key", private)
        return container


def _put(container: Container, directory: str, name: str, content: bytes) -> None:
    """Write a file into a host that need not run; only root can read it there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        archive.addfile(entry, io.BytesIO(content))
    container.put_archive(directory, buffer.getvalue())


def boot(container: Container, key: Path) -> None:
    """Let the key in, start the host, and wait until it has booted."""
    _put(container, "/root/.ssh", "authorized_keys", key.with_suffix(".pub").read_bytes())
    if container.status != "running":
        container.start()
    wait(container)


def wait(container: Container) -> None:
    """Wait until sshd answers and systemd has finished its start, or has something left that takes long.

    Raises:
        LabError: Either does not happen in time, or the container stops.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    container.reload()
    address = address_of(container)
    host = container.labels[HOST]
    while not _answers(address):
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            raise LabError(
                f"the host {host} did not come up: its container is {container.status}",
                context=container.logs(tail=12).decode(errors="replace").splitlines(),
                command=f"docker logs {container.name}",
            )
        time.sleep(0.05)
    # Not for ever: without its tunnel a kubelet waits for minutes, and it may be this run that brings the tunnel back.
    container.exec_run(["timeout", str(_START_SECONDS), "systemctl", "is-system-running", "--wait"])
    state = systemctl(container, "is-system-running")
    if state == "starting":
        jobs = systemctl(container, "list-jobs", "--state=running", "--plain", "--no-legend")
        console.warn(f"the host {host} is up, but not all of it: {' '.join(jobs.split())}")
    elif state != "running":
        failed = systemctl(container, "list-units", "--failed", "--plain", "--no-legend")
        console.warn(f"the host {host} is {state or 'not answering'}: {failed or 'no unit failed'}")


def _answers(address: str) -> bool:
    """Whether an ssh server greets us there."""
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def systemctl(container: Container, *arguments: str) -> str:
    """What systemctl says in a running host."""
    # A stream comes only when one is asked for, which the stub does not say.
    output = cast("bytes", container.exec_run(["systemctl", *arguments]).output)
    return output.decode(errors="replace").strip()


def address_of(container: Container) -> str:
    """The address given to the container when it was made, which it has whether it runs or not."""
    (endpoint,) = container.attrs["NetworkSettings"]["Networks"].values()
    address: str = endpoint["IPAMConfig"]["IPv4Address"]
    return address


def gateway_of(container: Container) -> str:
    """The gateway of the container's network."""
    return f"{address_of(container).rsplit('.', 1)[0]}.1"


def bridge_of(container: Container) -> str:
    """The interface of the machine that is the container's network."""
    (endpoint,) = container.attrs["NetworkSettings"]["Networks"].values()
    return f"br-{endpoint['NetworkID'][:12]}"
