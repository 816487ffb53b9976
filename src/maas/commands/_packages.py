"""Packages for the releases that hosts run: which are needed, and what prevents that hosts get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import bundle, console, os_releases, paths
from maas.bundle import restaurant_image
from maas.errors import BundleError
from maas.hosts.preflight import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy
    from maas.console import Phase
    from maas.hosts.facts import HostFacts
    from maas.os_releases import OsRelease


def needed(facts: Mapping[str, HostFacts]) -> dict[OsRelease, list[str]]:
    """Return the releases for which a bundle needs packages, with the hosts that lack some."""
    found: dict[OsRelease, list[str]] = {}
    for name, host in facts.items():
        release = os_releases.find(host.os, host.codename)
        if release is not None and host.packages_missing and host.architecture == "x86_64":
            found.setdefault(release, []).append(name)
    return found


def problems(
    facts: Mapping[str, HostFacts], *, directory: Path | None, source: Policy, dry_run: bool, phase: Phase
) -> list[Problem]:
    """Return an error for each release whose packages hosts lack and cannot get.

    Args:
        facts: The facts of each host.
        directory: The bundle; None for the one in the cache.
        source: Which sources of components to use.
        dry_run: Write nothing, not even to the cache.
        phase: Shows what is downloaded.
    """
    hosts = needed(facts)
    missing = bundle.packages_missing(
        [*hosts], directory=restaurant_image.target(directory), source=source, phase=phase, dry_run=dry_run
    )
    return [
        Problem(
            host=", ".join(hosts[release]),
            severity="error",
            message=f"{release} needs packages that are neither in the bundle nor available here: {_reason(error)}",
            fix=f"on {' and '.join(hosts[release])} run: apt-get install "
            + " ".join(sorted({package for name in hosts[release] for package in facts[name].packages_missing}))
            + f"; or build the bundle where they are available: {_command(release)}",
        )
        for release, error in missing.items()
    ]


def refuse(releases: Sequence[OsRelease], *, directory: Path | None, source: Policy) -> None:
    """Refuse to build a bundle for releases whose packages are not available.

    Raises:
        BundleError: There is such a release; all of them are in its context.
    """
    with console.phase("Package lists") as step:
        missing = bundle.packages_missing(
            releases, directory=restaurant_image.target(directory), source=source, phase=step
        )
    if missing:
        raise BundleError(
            f"the packages of {', '.join(map(str, missing))} are not available here",
            context=[f"{release}: {_reason(error)}" for release, error in missing.items()],
            hint="build the bundle on a machine with that release",
            command=_command(*missing),
            code="PackagesMissing",
        )


def _command(*releases: OsRelease) -> str:
    names = ",".join(release.name for release in releases)
    return paths.command("bundle", "--for", names, "--directory", "DIRECTORY")


def _reason(error: BundleError) -> str:
    return "; ".join([error.message, *(line.strip() for line in error.context[-2:])])
