"""`maas version`, `changelog`, `images` and `publish`: releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console, paths
from maas.errors import ReleaseError
from maas.release import changelog as changes
from maas.release import images as image_list
from maas.release import publish as publication
from maas.release import version as versions
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def version(wanted: str | None) -> None:
    """Show the version and check that every file has it; with `wanted`, set that version first.

    Raises:
        UsageError: `wanted` is not a version.
        ReleaseError: A file has another version.
    """
    root = paths.content()
    if wanted is not None:
        for file in versions.write(root, Version.parse(wanted)):
            console.line(f"  {file.relative_to(root)}")
    found = versions.current(root)
    if others := versions.disagreements(root, found):
        raise ReleaseError(
            f"some files have another version than {found}",
            context=[f"{mention.where}: {mention.version}" for mention in others],
            command=paths.command("version", str(found)),
        )
    console.data(str(found))


def changelog(wanted: str | None, *, draft: bool) -> None:
    """Write a version's section of the changelog, or show a draft of it.

    Raises:
        UsageError: `wanted` is not a version.
        ReleaseError: A fragment is not valid, or there is none.
    """
    root = paths.content()
    chosen = versions.current(root) if wanted is None else Version.parse(wanted)
    text = changes.write(root, chosen, draft=draft)
    if draft:
        console.data(text)
        return
    console.line(f"{changes.FILE} has a section for {chosen}; the fragments were deleted")
    console.line(f"next: review and commit it, then run {paths.command('release', str(chosen))}")


def images(mirror: str | None) -> None:
    """Print the images that the chart can use; with a mirror, the commands that copy the images to it.

    Raises:
        ReleaseError: An image is not in the component lockfile.
    """
    if mirror is None:
        console.data(image_list.lines(image_list.references(), {}).rstrip("\n"))
        return
    for command in image_list.mirror_commands(mirror):
        console.data(command)
    console.line(f"next: install with --set global.imageRegistry={mirror.rstrip('/')}")
    bundle = paths.command("bundle", "--images", image_list.FILE, "--directory", "DIRECTORY")
    console.line(f"without access to registries: {bundle}")


def publish(release: Path, targets: Sequence[str]) -> None:
    """Publish a release to some targets, one after the other.

    Raises:
        UsageError: A target is not valid.
        ReleaseError: The release is incomplete, or a target has another release of this version.
    """
    for target in targets:
        for artifact in publication.publish(release, target):
            console.line(f"  {artifact}")
