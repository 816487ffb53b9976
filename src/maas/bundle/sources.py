"""Where an item of the lock can be had: its sources in order, each tried until one gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from maas import components
from maas.bundle import debian, download, golang, images, pull
from maas.bundle.manifest import Origin
from maas.components import Binary, Download, GoBuild, Image, ImageBuild, Pull, Tool
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.components import Component
    from maas.console import Phase

Policy = Literal["auto", "download", "pull", "build"]
"""Which sources may be used: each item's in their order, or those of one kind alone."""


@dataclass(frozen=True)
class Source:
    """One place where one item can be had.

    Attributes:
        reference: The image's, empty for programs.
        way: The lock's words for this place.
    """

    component: Component
    name: str
    reference: str
    way: Download | Pull | GoBuild | ImageBuild

    @property
    def kind(self) -> Literal["download", "pull", "build"]:
        """What the lock calls it."""
        match self.way:
            case Download():
                return "download"
            case Pull():
                return "pull"
            case GoBuild() | ImageBuild():
                return "build"

    @property
    def origin(self) -> Origin:
        """Where the file comes from, for the manifest."""
        match self.way:
            case Download(url=url):
                return Origin(source="download", location=url)
            case Pull(digest=digest):
                return Origin(source="pull", location=f"{self.reference}@{digest}" if digest else self.reference)
            case GoBuild(package=package):
                return Origin(source="build", location=self._built([package]))
            case ImageBuild(programs=programs) if programs:
                return Origin(source="build", location=self._built([*programs.values()]))
            case ImageBuild() as recipe:
                packages = [entry for entry in images.packages_of(recipe) or () if entry.name in recipe.packages]
                named = ", ".join(f"{package.name} {package.version}" for package in packages)
                return Origin(
                    source="debian", location=f"{debian.distribution()}: {named or ', '.join(recipe.packages)}"
                )
            case _:
                assert_never(self.way)

    def find(self) -> Path | None:
        """The file, when it is in the cache; nothing is fetched or made."""
        match self.way:
            case Download() as published:
                return download.find(self.name, published)
            case Pull() as wanted:
                return pull.find(self.name, self.reference, wanted)
            case GoBuild(package=package):
                return golang.find(self.component, package)
            case ImageBuild() as recipe:
                return images.find(self.component, self.name, self.reference, recipe)

    def check(self) -> None:
        """See, quickly and without fetching anything, whether there is a chance.

        Raises:
            BundleError: There is none, and why.
        """
        match self.way:
            case Download(url=url):
                download.reach(url)
            case Pull():
                pull.reach(self.reference)
            case GoBuild():
                golang.version(self.component.name)
            case ImageBuild() as recipe:
                if recipe.programs:
                    golang.version(self.component.name)
                if recipe.packages or recipe.base:
                    debian.distribution()

    def fetch(self, phase: Phase) -> None:
        """Put the file into the cache.

        Raises:
            BundleError: It cannot be had here, and why.
        """
        match self.way:
            case Download() as published:
                download.fetch(self.name, published, phase=phase)
            case Pull() as wanted:
                pull.reach(self.reference)
                pull.fetch(self.name, self.reference, wanted, crane=_crane(phase), phase=phase)
            case GoBuild(package=package):
                golang.build(self.component, [package], phase=phase)
            case ImageBuild() as recipe:
                images.build(self.component, self.name, self.reference, recipe, phase=phase)

    def _built(self, packages: Sequence[str]) -> str:
        return f"{', '.join(packages)} {self.component.version} with {golang.version(self.component.name)}"


@dataclass(frozen=True)
class Obtained:
    """A file in the cache and where it came from."""

    path: Path
    origin: Origin


def of(component: Component, item: Binary | Tool | Image, *, policy: Policy) -> list[Source]:
    """The sources of an item that a policy allows, in their order."""
    reference = item.reference if isinstance(item, Image) else ""
    first = item.pull if isinstance(item, Image) else item.download
    every = [Source(component, item.name, reference, way) for way in (first, item.build) if way is not None]
    return [source for source in every if policy in {"auto", source.kind}]


def cached(component: Component, item: Binary | Tool | Image, *, policy: Policy) -> Obtained | None:
    """An item that is in the cache from any of its sources; the cheapest look there is."""
    for source in of(component, item, policy=policy):
        try:
            path = source.find()
        except BundleError:  # what would make it (Go, apt) is not on this machine; `obtain` says so if it comes to that
            continue
        if path is not None:
            return Obtained(path, source.origin)
    return None


def obtain(component: Component, item: Binary | Tool | Image, *, policy: Policy, phase: Phase) -> Obtained:
    """An item from the first of its sources that gives it.

    Raises:
        BundleError: No source gives it; the context has every source's reason.
    """
    if found := cached(component, item, policy=policy):
        return found
    reasons = []
    for source in of(component, item, policy=policy):
        try:
            source.fetch(phase)
        except BundleError as error:
            reasons += [f"{source.kind}: {error.message}", *(f"  {line}" for line in error.context)]
            phase.note(f"{error.message}; trying the next source")
        else:
            # A resolution that was just made may name other packages than the first look knew: look again.
            if found := cached(component, item, policy=policy):
                because = f" ({reasons[0]})" if reasons else ""
                phase.note(f"{found.origin.source}, {found.path.stat().st_size / 1e6:.1f} MB{because}")
                return found
    raise BundleError(
        f"{item.name} {component.version} cannot be had",
        context=reasons or [f"the lock of components names no source{'' if policy == 'auto' else f' {policy}'} for it"],
    )


def _crane(phase: Phase) -> Path:
    """The program that pulls; it is built when there is none, which takes seconds."""
    component, item = components.load().find("crane")
    assert isinstance(item, Tool)  # noqa: S101 - a name of this package's own lock
    return obtain(component, item, policy="auto", phase=phase).path
