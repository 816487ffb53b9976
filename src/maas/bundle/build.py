"""The build of a bundle from the component lockfile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maas import components, console, files
from maas.bundle import cache, debian, sources
from maas.bundle.manifest import FILE, Bundle, Item, Manifest, Origin, Unavailable, describe, write
from maas.components import Binary, Image, Packages, Tool
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from maas.bundle.sources import Policy
    from maas.components import Component
    from maas.console import Phase

State = Literal["cached", "to do", "unavailable"]


@dataclass(frozen=True)
class PlannedItem:
    """What `build` would do for an item.

    Attributes:
        source: Kind of its source.
        location: URL, reference or packages, or why there is no source.
        state: Whether it is in the cache, has to be downloaded or built, or is not available.
    """

    name: str
    version: str
    kind: str
    source: str
    location: str
    state: State


def plan(source: Policy = "auto", *, only: Collection[str] | None = None) -> list[PlannedItem]:
    """Return what a bundle would contain, and from where. Checks that servers answer, but downloads nothing.

    Args:
        source: Kinds of sources to use.
        only: Names of the items; without it, all.
    """
    rows = []
    for component, item in components.load().items():
        if only is not None and item.name not in only:
            continue
        match item:
            case Packages():
                rows.append(_plan_packages(component, item, source))
            case Binary() | Image():
                rows.append(_plan(component, item, source))
    return rows


def build(directory: Path, *, source: Policy = "auto", only: Collection[str] | None = None) -> Bundle:
    """Build a bundle, or update one to the component lockfile.

    Content of the cache or of the directory is used again, so an interrupted run continues where it stopped. Items that no
    source provides are listed in the manifest as unavailable. Added images are kept.

    Args:
        directory: Directory of the bundle. It is created if needed.
        source: Kinds of sources to use.
        only: Names of the items; without it, all.

    Raises:
        MaasError: The directory contains other files, or the lockfile has no such item.
    """
    lock = components.load()
    for name in only or ():
        lock.find(name)
    wanted = [(component, item) for component, item in lock.items() if only is None or item.name in only]
    with cache.lock("bundle"):
        old = _old(directory)
        unavailable = list(_fetch(wanted, source))
        with console.phase("Bundle") as phase:
            missing = {entry.name for entry in unavailable}
            items = [
                placed
                for component, item in wanted
                if item.name not in missing
                for placed in _place(component, item, _Target(directory, old), source, phase)
            ]
            paths = {item.path for item in items}
            items += [item for item in old.values() if item.origin.source == "added" and item.path not in paths]
            directory.mkdir(parents=True, exist_ok=True)
            manifest = Manifest(items=tuple(items), unavailable=tuple(unavailable))
            bundle = write(directory, manifest)
            phase.note(f"{len(items)} files, {bundle.size / 1e6:.0f} MB, {directory}")
    for entry in unavailable:
        console.warn(f"{entry.name} {entry.version} is not in the bundle: {entry.reason}")
    return bundle


def _fetch(wanted: list[tuple[Component, Binary | Image | Packages | Tool]], policy: Policy) -> Iterator[Unavailable]:
    """Download or build what is not in the cache, with one line for each item; yield what is not available."""
    absent = [(component, item) for component, item in wanted if not _is_cached(component, item, policy)]
    for number, (component, item) in enumerate(absent, start=1):
        with console.phase(f"{item.name} {component.version} ({number} of {len(absent)})") as phase:
            try:
                if isinstance(item, Packages):
                    _resolve(item, policy, phase)
                elif not isinstance(item, Tool):
                    sources.fetch(component, item, policy=policy, phase=phase)
            except BundleError as error:
                phase.note("unavailable")
                reason = "; ".join(line.strip() for line in error.context) or error.message
                yield Unavailable(name=item.name, version=component.version, reason=reason)


def _is_cached(component: Component, item: Binary | Image | Packages | Tool, policy: Policy) -> bool:
    match item:
        case Packages():
            return _plan_packages(component, item, policy).state == "cached"
        case Binary() | Image():
            return sources.from_cache(component, item, policy=policy) is not None
        case Tool():
            return True


@dataclass(frozen=True)
class _Target:
    """The directory of the bundle, and the items of its former manifest by path."""

    directory: Path
    old: dict[str, Item]

    def put(self, source: Path, **fields: object) -> Item:
        """Copy a file into the bundle, unless it is there with the same key."""
        path = self.directory / str(fields["path"])
        before = self.old.get(str(fields["path"]))
        if before and before.key == fields["key"] and path.is_file() and path.stat().st_size == before.size:
            return Item.model_validate({**fields, "sha256": before.sha256, "size": before.size})
        files.copy(source, path, mode=0o755 if fields["kind"] == "binary" else 0o644)
        return describe(path, **fields)


def _place(
    component: Component, item: Binary | Image | Packages | Tool, target: _Target, policy: Policy, phase: Phase
) -> Iterator[Item]:
    match item:
        case Packages():
            where = f"{item.path}/{debian.distribution()}"
            for package in _resolve(item, policy, phase):
                yield target.put(
                    debian.file(package),
                    name=package.name,
                    version=package.version,
                    license=component.license,
                    kind="packages",
                    path=f"{where}/{package.file}",
                    origin=Origin(source="debian", location=debian.distribution()),
                    on=item.on,
                    key=cache.key(package=package.file),
                )
        case Binary() | Image():
            fetched = sources.fetch(component, item, policy=policy, phase=phase)
            yield target.put(
                fetched.path,
                name=item.name,
                version=component.version,
                license=component.license,
                kind=item.kind,
                path=item.path if isinstance(item, Binary) else f"images/{item.name}.tar",
                origin=fetched.origin,
                reference=item.reference if isinstance(item, Image) else None,
                on=item.on,
                key=fetched.path.parent.name,  # the name of its cache entry
            )


def _known(item: Packages) -> list[debian.Package] | None:
    everywhere = debian.known(debian.EVERYWHERE)
    return (
        None
        if everywhere is None
        else debian.known(item.build.packages, {package.name: package.version for package in everywhere})
    )


def _resolve(item: Packages, policy: Policy, phase: Phase) -> list[debian.Package]:
    if policy not in {"auto", "build"}:
        raise BundleError(_no_source(policy))
    everywhere = debian.resolve(debian.EVERYWHERE, phase=phase, fetch=False)
    return debian.resolve(item.build.packages, {package.name: package.version for package in everywhere}, phase=phase)


def _plan(component: Component, item: Binary | Image, policy: Policy) -> PlannedItem:
    if found := sources.from_cache(component, item, policy=policy):
        return PlannedItem(
            item.name, component.version, item.kind, found.origin.source, found.origin.location, "cached"
        )
    reasons = []
    for source in sources.resolve(component, item, policy=policy):
        try:
            source.check()
        except BundleError as error:
            reasons.append(f"{source.kind}: {_reason(error)}")
        else:
            origin = source.origin
            return PlannedItem(item.name, component.version, item.kind, origin.source, origin.location, "to do")
    reason = "; ".join(reasons) or _no_source(policy)
    return PlannedItem(item.name, component.version, item.kind, "-", reason, "unavailable")


def _plan_packages(component: Component, item: Packages, policy: Policy) -> PlannedItem:
    if policy not in {"auto", "build"}:
        return PlannedItem(item.name, component.version, item.kind, "-", _no_source(policy), "unavailable")
    try:
        place = f"{debian.distribution()}: {', '.join(item.build.packages)}"
    except BundleError as error:
        return PlannedItem(item.name, component.version, item.kind, "-", _reason(error), "unavailable")
    state: State = "cached" if _known(item) is not None else "to do"
    return PlannedItem(item.name, component.version, item.kind, "debian", place, state)


def _no_source(policy: Policy) -> str:
    return f"the component lockfile has no {policy} source for it"


def _reason(error: BundleError) -> str:
    return "; ".join([error.message, *(line.strip() for line in error.context)])


def _old(directory: Path) -> dict[str, Item]:
    """Return the items that are already in the directory, by path.

    Raises:
        BundleError: The directory contains other files.
    """
    if not directory.exists() or not any(directory.iterdir()):
        return {}
    if not (directory / FILE).exists() and not {entry.name for entry in directory.iterdir()} <= {
        "bin",
        "cni",
        "images",
        "packages",
    }:
        raise BundleError(f"{directory} contains other files than a bundle", hint="use an empty directory")
    try:
        return {item.path: item for item in Bundle.load(directory).items}
    except BundleError:
        return {}  # an interrupted first run, or a manifest of another version: copy every file again
