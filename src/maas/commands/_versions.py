"""The Kubernetes version that hosts run, compared with the one of a bundle: only `upgrade` may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import components, paths
from maas.bundle import restaurant_image
from maas.hosts.preflight import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maas.hosts.facts import HostFacts


def problems(facts: Mapping[str, HostFacts], *, directory: Path | None, inventory: Path) -> list[Problem]:
    """Return an error if hosts run another Kubernetes version than the bundle has.

    New programs on every host at once would restart every kubelet, before the API servers have their version.

    Args:
        facts: The facts of each host.
        directory: The bundle; None for the one in the cache.
        inventory: The file with the hosts.
    """
    wanted = f"v{components.for_minor(restaurant_image.minor_for(directory)).kubernetes}"
    running = {name: {host.kubelet, host.api_server} - {"", wanted} for name, host in facts.items() if host.joined}
    others = {name: min(versions) for name, versions in running.items() if versions}
    if not others:
        return []
    versions = sorted(set(others.values()))
    keep = paths.command("bundle", "--kubernetes", components.minor_of(versions[0]), "--directory", "DIRECTORY")
    return [
        Problem(
            host=", ".join(others),
            severity="error",
            message=f"runs Kubernetes {' and '.join(versions)}, and the bundle has {wanted}",
            fix=f"upgrade the cluster: {paths.command('upgrade', '--inventory', str(inventory))}; or use a bundle for its version "
            f"with --bundle DIRECTORY: {keep}",
        )
    ]
