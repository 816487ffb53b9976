"""`maas bundle` and `maas image`: components for hosts without internet access, and the restaurant's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import bundle as bundles
from maas import components, console
from maas.bundle import restaurant_image, tools
from maas.commands import _packages, _values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from maas.bundle import Bundle
    from maas.bundle.sources import Policy
    from maas.os_releases import OsRelease


def bundle(
    directory: Path | None,
    *,
    images: Path | None,
    source: Policy,
    values: Sequence[Path],
    releases: Sequence[OsRelease] | None,
    kubernetes: str | None = None,
    yes: bool,
) -> None:
    """Build a bundle, of every component or of some images.

    Args:
        directory: Where to create it; None for the cache.
        images: A list of images, such as the images.txt of a release; None for every component.
        source: Which sources of components to use.
        values: Values files for the chart; they can enable optional components.
        releases: Releases of hosts to include packages for; None for this machine's.
        kubernetes: The minor version of Kubernetes; None for that of a bundle in the directory, or the newest.
        yes: Do not ask for confirmation.

    Raises:
        UsageError: A file is missing or not valid, or the version is unknown.
        BundleError: A component is not available.
    """
    components.for_minor(kubernetes)
    if images is not None:
        restaurant_image.make_image_bundle(directory, images, source=source, yes=yes)
    else:
        chart_values = _values.load(values)
        if releases:
            _packages.refuse(releases, directory=directory, source=source)
        restaurant_image.make_bundle(
            directory, source=source, yes=yes, values=chart_values, releases=releases, kubernetes=kubernetes
        )


def show_plan(
    source: Policy,
    *,
    values: Mapping[str, Any],
    releases: Sequence[OsRelease] | None = None,
    kubernetes: str | None = None,
) -> None:
    """Show the components of a bundle for these values, and the source of each.

    Raises:
        UsageError: The version of Kubernetes is unknown.
    """
    only = restaurant_image.wanted(values)
    plan = bundles.plan(source, only=only, releases=releases, kubernetes=kubernetes)
    rows = [(row.name, row.version, row.kind, row.source, row.location, row.state) for row in plan]
    console.table("bundle", ("item", "version", "kind", "source", "", "state"), rows)


def show_plan_for(
    files: Sequence[Path],
    *,
    source: Policy,
    releases: Sequence[OsRelease] | None,
    directory: Path | None = None,
    kubernetes: str | None = None,
) -> None:
    """Show the components of a bundle for values files, and the source of each.

    Raises:
        UsageError: A file is missing or not valid, or the version of Kubernetes is unknown.
    """
    minor = restaurant_image.minor_for(directory, kubernetes)
    show_plan(source, values=_values.load(files), releases=releases, kubernetes=minor)


def image(*, yes: bool) -> None:
    """Build the image of the restaurant application if needed, and show where it is.

    Raises:
        BundleError: It could not be built.
    """
    archive = restaurant_image.restaurant(yes=yes)
    rows = [
        ("reference", restaurant_image.reference()),
        ("archive", archive),
        ("size", f"{archive.stat().st_size / 1e6:.0f} MB"),
    ]
    console.table("image", ("", ""), rows)


def prepare(
    directory: Path | None,
    *,
    source: Policy,
    yes: bool,
    values: Mapping[str, Any],
    releases: Sequence[OsRelease] | None = None,
    kubernetes: str | None = None,
) -> Bundle:
    """Complete the bundle and the helm that installs the chart, before hosts would have to wait for either.

    Args:
        directory: The bundle; None for the one in the cache.
        source: Which sources of components to use.
        yes: Do not ask for confirmation.
        values: Values for the chart; they can enable optional components.
        releases: Releases of hosts that need packages; None for this machine's.
        kubernetes: The minor version of Kubernetes; None for that of a bundle in the directory, or the newest.

    Raises:
        UsageError: This release of the tool has no components for that version.
        BundleError: A component is not available.
    """
    complete = restaurant_image.make_bundle(
        directory, source=source, yes=yes, values=values, releases=releases, kubernetes=kubernetes
    )
    tools.tool("helm")
    return complete
