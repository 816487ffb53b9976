"""Images from registries, pulled with crane, which verifies the digest of every blob."""

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
"""Seconds for one image."""

_ARCHIVE = "image.tar"
_SERVERS = {"docker.io": "registry-1.docker.io"}
"""Registries whose server has another name than in references."""


def find(name: str, reference: str, source: Pull) -> Path | None:
    """Return the archive of this image if it is in the cache."""
    entry = cache.find(name, _key(reference, source))
    return entry / _ARCHIVE if entry else None


def reach(reference: str) -> None:
    """Check that the registry of an image answers.

    Raises:
        BundleError: It does not answer.
    """
    registry = reference.split("/", 1)[0]
    scheme = "http" if registry.split(":", 1)[0] in {"localhost", "127.0.0.1"} else "https"
    download.reach(f"{scheme}://{_SERVERS.get(registry, registry)}/v2/")


def fetch(name: str, reference: str, source: Pull, *, crane: Path, phase: Phase, timeout: float = _TIMEOUT) -> None:
    """Pull an image into the cache, as an archive under its reference.

    Args:
        name: Name of the cache entry.
        reference: Registry, repository and tag.
        source: The required digest, if it is known.
        crane: The program.
        phase: Shows what is pulled.
        timeout: Seconds for the image.

    Raises:
        BundleError: The registry does not answer, or does not have the image with that digest.
    """
    reach(reference)
    wanted = f"{reference.rsplit(':', 1)[0]}@{source.digest}" if source.digest else reference
    phase.note(f"pull {wanted}")
    with cache.create(name, _key(reference, source)) as entry, cache.scratch() as layout:
        argv: list[str | Path] = [crane, "pull", "--format=oci", f"--platform=linux/{ARCHITECTURE}", wanted, layout]
        try:
            process.run(argv, timeout=timeout)
        except ProcessTimeoutError as error:
            raise BundleError(f"{wanted}: timed out after {timeout:g} s") from error
        except ProcessError as error:
            lines = error.stderr.strip().splitlines()
            raise BundleError(f"{wanted}: {lines[-1] if lines else error.message}") from error
        oci.pack(layout, entry / _ARCHIVE, reference=reference)


def _key(reference: str, source: Pull) -> str:
    return cache.key(reference=reference, digest=source.digest, platform=ARCHITECTURE)
