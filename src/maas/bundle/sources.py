"""The sources of an item of the component lockfile, tried in order until one provides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from maas import components
from maas.bundle import debian, download, golang, images, pull, web
from maas.bundle.manifest import Origin
from maas.components import Binary, Download, GoBuild, Image, ImageBuild, Pull, Tool
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.components import Component
    from maas.console import Phase

Policy = Literal["auto", "download", "pull", "build"]
"""Sources to use: all in their order, or those of one kind."""


@dataclass(frozen=True)
class Source:
    """A source of an item.

    Attributes:
        reference: Reference of an image; empty for programs.
        recipe: The source in the component lockfile.
    """

    component: Component
    name: str
    reference: str
    recipe: Download | Pull | GoBuild | ImageBuild

    @property
    def kind(self) -> Literal["download", "pull", "build"]:
        """Its key in the component lockfile."""
        match self.recipe:
            case Download():
                return "download"
            case Pull():
                return "pull"
            case GoBuild() | ImageBuild():
                return "build"

    @property
    def origin(self) -> Origin:
        """Its entry in the manifest."""
        match self.recipe:
            case Download(url=url):
                return Origin(source="download", location=url)
            case Pull(digest=digest):
                return Origin(source="pull", location=f"{self.reference}@{digest}" if digest else self.reference)
            case GoBuild(package=package):
                return Origin(source="build", location=self._built([package]))
            case ImageBuild(programs=programs) if programs:
                return Origin(source="build", location=self._built([*programs.values()]))
            case ImageBuild() as image:
                packages = [entry for entry in images.packages_of(image) or () if entry.name in image.packages]
                named = ", ".join(f"{package.name} {package.version}" for package in packages)
                return Origin(
                    source="debian", location=f"{debian.distribution()}: {named or ', '.join(image.packages)}"
                )
            case _:
                assert_never(self.recipe)

    def find(self) -> Path | None:
        """Return the file if it is in the cache; downloads and builds nothing."""
        match self.recipe:
            case Download() as published:
                return download.find(self.name, published)
            case Pull() as wanted:
                return pull.find(self.name, self.reference, wanted)
            case GoBuild(package=package):
                return golang.find(self.component, package)
            case ImageBuild() as image:
                return images.find(self.component, self.name, self.reference, image)

    def check(self) -> None:
        """Check whether the source may work, without downloading anything.

        Raises:
            BundleError: It cannot work here.
        """
        match self.recipe:
            case Download(url=url):
                download.reach(url)
            case Pull():
                pull.reach(self.reference)
            case GoBuild():
                golang.version(self.component.module)
            case ImageBuild() as image:
                if image.programs:
                    golang.version(self.component.module)
                if image.packages or image.base:
                    debian.distribution()
                if image.web:
                    web.check()

    def fetch(self, phase: Phase) -> None:
        """Download or build the file into the cache.

        Raises:
            BundleError: The source failed.
        """
        match self.recipe:
            case Download() as published:
                download.fetch(self.name, published, phase=phase)
            case Pull() as wanted:
                pull.reach(self.reference)
                pull.fetch(self.name, self.reference, wanted, crane=_crane(phase), phase=phase)
            case GoBuild(package=package):
                golang.build(self.component, [package], phase=phase)
            case ImageBuild() as image:
                images.build(self.component, self.name, self.reference, image, phase=phase)

    def _built(self, packages: Sequence[str]) -> str:
        return f"{', '.join(packages)} {self.component.version} with {golang.version(self.component.module)}"


@dataclass(frozen=True)
class Fetched:
    """A file in the cache and its origin."""

    path: Path
    origin: Origin


def resolve(component: Component, item: Binary | Tool | Image, *, policy: Policy) -> list[Source]:
    """Return the sources of an item that a policy allows, in their order."""
    reference = item.reference if isinstance(item, Image) else ""
    first = item.pull if isinstance(item, Image) else item.download
    every = [Source(component, item.name, reference, way) for way in (first, item.build) if way is not None]
    return [source for source in every if policy in {"auto", source.kind}]


def from_cache(component: Component, item: Binary | Tool | Image, *, policy: Policy) -> Fetched | None:
    """Return an item if it is in the cache, from any of its sources."""
    for source in resolve(component, item, policy=policy):
        try:
            path = source.find()
        except BundleError:  # Go or apt is missing here; `fetch` reports it if they are needed
            continue
        if path is not None:
            return Fetched(path, source.origin)
    return None


def fetch(component: Component, item: Binary | Tool | Image, *, policy: Policy, phase: Phase) -> Fetched:
    """Return an item from the first source that provides it.

    Raises:
        BundleError: All sources failed; the context has their errors.
    """
    if found := from_cache(component, item, policy=policy):
        return found
    reasons = []
    for source in resolve(component, item, policy=policy):
        try:
            source.fetch(phase)
        except BundleError as error:
            reasons += [f"{source.kind}: {error.message}", *(f"  {line}" for line in error.context)]
            phase.note(f"{error.message}; trying the next source")
        else:
            # Resolving packages may have changed the key.
            if found := from_cache(component, item, policy=policy):
                because = f" ({reasons[0]})" if reasons else ""
                phase.note(f"{found.origin.source}, {found.path.stat().st_size / 1e6:.1f} MB{because}")
                return found
    raise BundleError(
        f"{item.name} {component.version} is not available",
        context=reasons or [f"the component lockfile has no {'' if policy == 'auto' else f'{policy} '}source for it"],
    )


def _crane(phase: Phase) -> Path:
    """Return crane, built if needed, which takes seconds."""
    component, item = components.load().find("crane")
    assert isinstance(item, Tool)  # noqa: S101 - an item of the component lockfile
    return fetch(component, item, policy="auto", phase=phase).path
