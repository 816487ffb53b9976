"""Power failures of a lab's hosts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from maas.lab import docker_host, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container


@contextlib.contextmanager
def _container(lab: str, host: str) -> Iterator[Container]:
    with contextlib.closing(engine.connect()) as client:
        yield client.containers.get(docker_host.full_name(lab, host))


def kill(lab: str, host: str) -> None:
    """Stop a host at once, as a power failure does."""
    with _container(lab, host) as container:
        if container.status == "running":
            container.kill()


def start(lab: str, host: str) -> None:
    """Boot a host that is down and wait for it. It keeps its addresses, keys and disks."""
    with _container(lab, host) as container:
        container.start()
        docker_host.wait(container)
