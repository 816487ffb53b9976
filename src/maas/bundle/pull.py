"""Images from registries, through crane, which checks every blob against its digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import process
from maas.bundle import cache, download, oci
from maas.components import ARCHITECTURE
from maas.errors import BundleError, ProcessError, ProcessTimeoutError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.components import Pull
    from maas.console import Phase

_TIMEOUT = 900.0
"""Seconds for a whole image."""

_ARCHIVE = "image.tar"
_SERVERS = {"docker.io": "registry-1.docker.io"}
"""Registries whose server has another name than their references."""


def find(name: str, reference: str, source: Pull) -> Path | None:
    """The archive of this image, when it is in the cache."""
    entry = cache.find(name, _key(reference, source))
    return entry / _ARCHIVE if entry else None


def reach(reference: str) -> None:
    """Find out whether the registry of an image answers at all.

    Raises:
        BundleError: It does not.
    """
    registry = reference.split("/", 1)[0]
    scheme = "http" if registry.split(":", 1)[0] in {"localhost", "127.0.0.1"} else "https"
    download.reach(f"{scheme}://{_SERVERS.get(registry, registry)}/v2/")


def fetch(name: str, reference: str, source: Pull, *, crane: Path, phase: Phase, timeout: float = _TIMEOUT) -> None:
    """Pull an image into the cache, as an archive under its reference.

    Args:
        name: The name of its entry in the cache.
        reference: Registry, repository and tag.
        source: With the digest to insist on, when one is known.
        crane: The program.
        phase: Told what is pulled.
        timeout: Seconds for the whole image.

    Raises:
        BundleError: The registry does not answer, or does not have that image with that digest.
    """
    reach(reference)
    wanted = f"{reference.rsplit(':', 1)[0]}@{source.digest}" if source.digest else reference
    phase.note(f"pull {wanted}")
    with cache.create(name, _key(reference, source)) as entry, cache.scratch() as layout:
        argv: list[str | Path] = [crane, "pull", "--format=oci", f"--platform=linux/{ARCHITECTURE}", wanted, layout]
        try:
            process.run(argv, timeout=timeout)
        except ProcessTimeoutError as error:
            raise BundleError(f"{wanted}: not pulled within {timeout:g} s") from error
        except ProcessError as error:
            lines = error.stderr.strip().splitlines()
            raise BundleError(f"{wanted}: {lines[-1] if lines else error.message}") from error
        oci.pack(layout, entry / _ARCHIVE, reference=reference)


def _key(reference: str, source: Pull) -> str:
    return cache.key(reference=reference, digest=source.digest, platform=ARCHITECTURE)
