"""The build of a bundle from the component lockfile."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maas import components, console, files
from maas.bundle import cache, debian, sources
from maas.bundle.manifest import FILE, Bundle, Item, Manifest, Origin, Unavailable, describe, write
from maas.components import Binary, Image, Packages, Tool
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from maas.bundle.sources import Policy
    from maas.components import Component, Lockfile
    from maas.console import Phase
    from maas.os_releases import OsRelease

State = Literal["cached", "to do", "unavailable"]
_WITH_PACKAGES = ("auto", "build")
"""The policies that allow Debian packages."""


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


@dataclass(frozen=True)
class _Wanted:
    """An item for a bundle; of packages, those for one release, or for this machine's if it is None."""

    component: Component
    item: Binary | Image | Packages | Tool
    release: OsRelease | None = None

    @property
    def key(self) -> tuple[str, OsRelease | None]:
        """What tells it from the others."""
        return self.item.name, self.release


def _wanted(lock: Lockfile, only: Collection[str] | None, releases: Sequence[OsRelease] | None) -> list[_Wanted]:
    return [
        _Wanted(component, item, release)
        for component, item in lock.items()
        if only is None or item.name in only
        for release in ((None,) if releases is None or not isinstance(item, Packages) else releases)
    ]


def _fallbacks(lock: Lockfile, wanted: list[_Wanted], unavailable: Collection[str]) -> list[_Wanted]:
    """Return the images that take the place of unavailable ones and are not wanted already."""
    names = {one.item.fallback for one in wanted if isinstance(one.item, Image) and one.item.name in unavailable}
    return _wanted(lock, [name for name in names - {one.item.name for one in wanted} if name is not None], None)


def plan(
    source: Policy = "auto",
    *,
    only: Collection[str] | None = None,
    releases: Sequence[OsRelease] | None = None,
    kubernetes: str | None = None,
) -> list[PlannedItem]:
    """Return what a bundle would contain, and from where.

    Checks that servers answer and have the packages, but writes nothing.

    Args:
        source: Kinds of sources to use.
        only: Names of the items; without it, all.
        releases: Releases of hosts to include packages for; without it, this machine's.
        kubernetes: The minor version of Kubernetes; without it, the newest.

    Raises:
        UsageError: This release of the tool has no components for that version.
    """
    lock = components.for_minor(kubernetes)
    every = _wanted(lock, only, releases)
    rows = [*_planned(every, source)]
    unavailable = {row.name for row in rows if row.state == "unavailable"}
    return [*rows, *_planned(_fallbacks(lock, every, unavailable), source)]


def _planned(every: list[_Wanted], source: Policy) -> Iterator[PlannedItem]:
    for wanted in every:
        match wanted.item:
            case Packages():
                yield _plan_packages(wanted.component, wanted.item, source, wanted.release)
            case Binary() | Image():
                yield _plan(wanted.component, wanted.item, source)


def build(
    directory: Path,
    *,
    source: Policy = "auto",
    only: Collection[str] | None = None,
    releases: Sequence[OsRelease] | None = None,
    kubernetes: str | None = None,
) -> Bundle:
    """Build a bundle, or update one to the component lockfile.

    Content of the cache or of the directory is used again, so an interrupted run continues where it stopped. Items that no
    source provides are listed in the manifest as unavailable. Added images and packages for other releases are kept.

    Args:
        directory: Directory of the bundle. It is created if needed.
        source: Kinds of sources to use.
        only: Names of the items; without it, all.
        releases: Releases of hosts to include packages for; without it, this machine's.
        kubernetes: The minor version of Kubernetes; without it, the newest.

    Raises:
        UsageError: This release of the tool has no components for that version.
        MaasError: The directory contains other files, or the lockfile has no such item.
    """
    lock = components.for_minor(kubernetes)
    for name in only or ():
        lock.find(name)
    with cache.lock("bundle"):
        old = _old(directory)
        every = _wanted(lock, only, releases)
        unavailable = dict(_fetch(every, source))
        fallbacks = _fallbacks(lock, every, {name for name, _ in unavailable})
        unavailable |= dict(_fetch(fallbacks, source))
        every += fallbacks
        with console.phase("Bundle") as phase:
            items = [
                placed
                for wanted in every
                if wanted.key not in unavailable
                for placed in _place(wanted, _Target(directory, old), source, phase)
            ]
            packages = [item for item in items if item.kind == "packages"]
            if any(isinstance(wanted, Packages) for _, wanted in lock.items() if only is None or wanted.name in only):
                packages += _kept_packages(directory, old, but={item.release for item in packages})
            items = [item for item in items if item.kind != "packages"]
            items += sorted(packages, key=lambda item: item.path)
            paths = {item.path for item in items}
            items += [item for item in old.values() if item.origin.source == "added" and item.path not in paths]
            held = {item.release for item in packages}
            absent = [
                entry for (_, release), entry in unavailable.items() if release is None or release.directory not in held
            ]
            directory.mkdir(parents=True, exist_ok=True)
            manifest = Manifest(items=tuple(items), unavailable=tuple(absent))
            bundle = write(directory, manifest)
            phase.note(f"{len(items)} files, {bundle.size / 1e6:.0f} MB, {directory}")
    for entry in absent:
        console.warn(f"{entry.name} {entry.version} is not in the bundle: {entry.reason}")
    return bundle


def minor(directory: Path) -> str | None:
    """Return the minor version of Kubernetes of the bundle in a directory, such as `1.40`; None if there is none.

    Raises:
        BundleError: The directory contains other files.
    """
    found = [item.version for item in _old(directory).values() if item.name == "kubelet"]
    return components.minor_of(found[0]) if found else None


def packages_missing(
    releases: Sequence[OsRelease], *, directory: Path, source: Policy = "auto", phase: Phase, dry_run: bool = False
) -> dict[OsRelease, BundleError]:
    """Return the releases whose packages are neither in a bundle nor available, with the reason.

    Resolves the packages without downloading them.

    Args:
        releases: Releases of hosts.
        directory: Directory of the bundle, which need not exist.
        source: Kinds of sources to use.
        phase: Shows what is downloaded.
        dry_run: Write nothing to the cache.
    """
    held = {item.release for item in _kept_packages(directory, _old(directory))}
    sets = [item for _, item in components.load().items() if isinstance(item, Packages)]
    reasons = {}
    for release in releases:
        if release.directory in held or all(_known(item, release) is not None for item in sets):
            continue
        try:
            with debian.without_cache() if dry_run else nullcontext():
                for item in sets:
                    _resolve(item, source, phase, release, fetch=False)
        except BundleError as error:
            reasons[release] = error
    return reasons


def _fetch(every: list[_Wanted], policy: Policy) -> Iterator[tuple[tuple[str, OsRelease | None], Unavailable]]:
    """Download or build what is not in the cache, with one line for each item; yield what is not available."""
    absent = [wanted for wanted in every if not _is_cached(wanted, policy)]
    for number, wanted in enumerate(absent, start=1):
        component, item = wanted.component, wanted.item
        of = f" for {wanted.release}" if wanted.release else ""
        with console.phase(f"{item.name} {component.version}{of} ({number} of {len(absent)})") as phase:
            try:
                if isinstance(item, Packages):
                    _resolve(item, policy, phase, wanted.release)
                elif not isinstance(item, Tool):
                    sources.fetch(component, item, policy=policy, phase=phase)
            except BundleError as error:
                phase.note("unavailable")
                reason = "; ".join(line.strip() for line in error.context) or error.message
                yield wanted.key, Unavailable(name=item.name, version=component.version, reason=reason)


def _is_cached(wanted: _Wanted, policy: Policy) -> bool:
    match wanted.item:
        case Packages():
            found = _known(wanted.item, wanted.release) if policy in _WITH_PACKAGES else None
            return found is not None and not debian.missing(found)
        case Binary() | Image():
            return sources.from_cache(wanted.component, wanted.item, policy=policy) is not None
        case Tool():
            return True


def _kept_packages(directory: Path, old: dict[str, Item], but: Collection[str | None] = ()) -> list[Item]:
    """Return the packages that a bundle already contains, for other releases than some."""
    return [
        item
        for item in old.values()
        if item.kind == "packages" and item.release not in but and (directory / item.path).is_file()
    ]


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


def _place(wanted: _Wanted, target: _Target, policy: Policy, phase: Phase) -> Iterator[Item]:
    component, item = wanted.component, wanted.item
    match item:
        case Packages():
            of = wanted.release.directory if wanted.release else debian.distribution()
            for package in _resolve(item, policy, phase, wanted.release):
                yield target.put(
                    debian.file(package),
                    name=package.name,
                    version=package.version,
                    license=component.license,
                    kind="packages",
                    path=f"{item.path}/{of}/{package.file}",
                    origin=Origin(source="debian", location=of),
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


def _known(item: Packages, release: OsRelease | None) -> list[debian.Package] | None:
    try:
        everywhere = debian.known(debian.EVERYWHERE, release=release)
        if everywhere is None:
            return None
        installed = {package.name: package.version for package in everywhere}
        return debian.known(item.build.packages, installed, release=release)
    except BundleError:  # this machine has no apt; `_resolve` reports it
        return None


def _resolve(
    item: Packages, policy: Policy, phase: Phase, release: OsRelease | None, *, fetch: bool = True
) -> list[debian.Package]:
    if policy not in _WITH_PACKAGES:
        raise BundleError(_no_source(policy))
    everywhere = debian.resolve(debian.EVERYWHERE, phase=phase, fetch=False, release=release)
    installed = {package.name: package.version for package in everywhere}
    return debian.resolve(item.build.packages, installed, phase=phase, fetch=fetch, release=release)


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


def _plan_packages(component: Component, item: Packages, policy: Policy, release: OsRelease | None) -> PlannedItem:
    found = _known(item, release)
    try:
        place = release.directory if release else debian.distribution()
        if policy not in _WITH_PACKAGES or (release and found is None):
            with console.phase(f"Package lists of {place}") as phase, debian.without_cache():
                _resolve(item, policy, phase, release, fetch=False)
    except BundleError as error:
        return PlannedItem(item.name, component.version, item.kind, "-", _reason(error), "unavailable")
    state: State = "to do" if found is None or debian.missing(found) else "cached"
    location = f"{place}: {', '.join(item.build.packages)}"
    return PlannedItem(item.name, component.version, item.kind, "debian", location, state)


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
