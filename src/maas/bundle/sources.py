"""Where an item of the lock can be had: its sources in order, each tried until one gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from maas.bundle import debian, download, golang, images, registry
from maas.bundle.manifest import Origin
from maas.components import Binary, Image, Tool, load
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.components import Component, Download, GoBuild, ImageBuild, Pull
    from maas.console import Phase

Policy = Literal["auto", "download", "pull", "build"]
"""Which sources may be used: each item's in their order, or those of one kind alone."""


class Source(Protocol):
    """One place where one file can be had."""

    @property
    def kind(self) -> Literal["download", "pull", "build"]:
        """The word for it in the lock."""

    def find(self) -> Path | None:
        """The file, when it is in the cache; nothing is fetched or made."""

    def check(self) -> None:
        """See, quickly and without fetching anything, whether there is a chance.

        Raises:
            BundleError: There is none, and why.
        """

    def fetch(self, phase: Phase) -> None:
        """Put the file into the cache.

        Raises:
            BundleError: It cannot be had here, and why.
        """

    def origin(self) -> Origin:
        """Where the file comes from, for the manifest."""


@dataclass(frozen=True)
class FromDownload:
    """A published file."""

    name: str
    source: Download
    kind: Literal["download"] = "download"

    def find(self) -> Path | None:
        return download.find(self.name, self.source)

    def check(self) -> None:
        download.reach(self.source.url)

    def fetch(self, phase: Phase) -> None:
        download.fetch(self.name, self.source, phase=phase)

    def origin(self) -> Origin:
        return Origin(source="download", place=self.source.url)


@dataclass(frozen=True)
class FromRegistry:
    """An image of a registry."""

    name: str
    reference: str
    source: Pull
    kind: Literal["pull"] = "pull"

    def find(self) -> Path | None:
        return registry.find(self.name, self.reference, self.source)

    def check(self) -> None:
        registry.reach(self.reference)

    def fetch(self, phase: Phase) -> None:
        # crane is built when there is none: a few seconds, and the pull checks what it gets.
        crane = obtain(*_tool("crane"), policy="auto", phase=phase).path
        registry.fetch(self.name, self.reference, self.source, crane=crane, phase=phase)

    def origin(self) -> Origin:
        digest = f"@{self.source.digest}" if self.source.digest else ""
        return Origin(source="pull", place=f"{self.reference}{digest}")


@dataclass(frozen=True)
class FromGo:
    """A program built from the Go module proxy."""

    component: Component
    source: GoBuild
    kind: Literal["build"] = "build"

    def find(self) -> Path | None:
        return golang.find(self.component, self.source.package)

    def check(self) -> None:
        golang.version(self.component.name)

    def fetch(self, phase: Phase) -> None:
        golang.build(self.component, [self.source.package], phase=phase)

    def origin(self) -> Origin:
        return Origin(source="build", place=_built(self.component, [self.source.package]))


@dataclass(frozen=True)
class FromRecipe:
    """An image put together here."""

    component: Component
    name: str
    reference: str
    source: ImageBuild
    kind: Literal["build"] = "build"

    def find(self) -> Path | None:
        return images.find(self.component, self.name, self.reference, self.source)

    def check(self) -> None:
        if self.source.programs:
            golang.version(self.component.name)
        if self.source.packages or self.source.base:
            debian.distribution()

    def fetch(self, phase: Phase) -> None:
        images.build(self.component, self.name, self.reference, self.source, phase=phase)

    def origin(self) -> Origin:
        if self.source.programs:
            return Origin(source="build", place=_built(self.component, [*self.source.programs.values()]))
        packages = images.packages_of(self.source) or []
        named = [f"{package.name} {package.version}" for package in packages if package.name in self.source.packages]
        return Origin(source="debian", place=f"{debian.distribution()}: {', '.join(named)}")


@dataclass(frozen=True)
class Obtained:
    """A file in the cache and where it came from."""

    path: Path
    origin: Origin


def of(component: Component, item: Binary | Tool | Image, *, policy: Policy = "auto") -> list[Source]:
    """The sources of an item that a policy allows, in their order."""
    every: list[Source] = []
    if isinstance(item, Image):
        every += [FromRegistry(item.name, item.reference, item.pull)] if item.pull else []
        every += [FromRecipe(component, item.name, item.reference, item.build)] if item.build else []
    else:
        every += [FromDownload(item.name, item.download)] if item.download else []
        every += [FromGo(component, item.build)] if item.build else []
    return [source for source in every if policy in {"auto", source.kind}]


def cached(component: Component, item: Binary | Tool | Image, *, policy: Policy) -> Obtained | None:
    """An item that is in the cache from any of its sources; the cheapest look there is."""
    for source in of(component, item, policy=policy):
        if (path := source.find()) is not None:
            return Obtained(path, source.origin())
    return None


def obtain(component: Component, item: Binary | Tool | Image, *, policy: Policy, phase: Phase) -> Obtained:
    """An item from the first of its sources that gives it; what the others said is told when none does.

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
            reasons.append(f"{source.kind}: {error.message}")
            reasons += [f"  {line}" for line in error.context]
            phase.note(f"{error.message}; trying the next source")
            continue
        if (path := source.find()) is not None:
            if reasons:
                phase.note(f"from {source.kind}, because {reasons[0]}")
            return Obtained(path, source.origin())
    wanted = "source" if policy == "auto" else f"source of the kind {policy}"
    raise BundleError(
        f"{item.name} {component.version} cannot be had",
        context=reasons or [f"the lock of components names no {wanted} for it"],
    )


def _tool(name: str) -> tuple[Component, Tool]:
    component, item = load().find(name)
    assert isinstance(item, Tool)  # noqa: S101 - the names are written in this package
    return component, item


def _built(component: Component, packages: list[str]) -> str:
    return f"{', '.join(packages)} {component.version} with {golang.version(component.name)}"
