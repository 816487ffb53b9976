"""From the lock of components to a bundle."""

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

State = Literal["ready", "to make", "unavailable"]


@dataclass(frozen=True)
class Row:
    """What `build` would do about one item.

    Attributes:
        source: The kind of source that it would come from, or comes from.
        place: The URL, reference or packages there, or the reason why there is none.
        state: Whether it lies in the cache, is to be fetched or made, or cannot be had.
    """

    name: str
    version: str
    kind: str
    source: str
    place: str
    state: State


def plan(source: Policy = "auto", *, only: Collection[str] | None = None) -> list[Row]:
    """What a bundle would hold and from where; servers are asked whether they answer, nothing is fetched.

    Args:
        source: Which kinds of sources may be used.
        only: Names of the items to take; without it, all.
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
    """Make a bundle, or bring one up to date with the lock.

    What is in the cache or in the directory already is not made again, so a run that was interrupted goes on where it
    stopped. What no source gives is named in the manifest as unavailable. Images that were added stay.

    Args:
        directory: Where it is to lie; made when it is missing.
        source: Which kinds of sources may be used.
        only: Names of the items to take; without it, all.

    Raises:
        MaasError: The directory holds something else, or an item of `only` is not in the lock.
    """
    lock = components.load()
    for name in only or ():
        lock.find(name)
    wanted = [(component, item) for component, item in lock.items() if only is None or item.name in only]
    with cache.lock("bundle"):
        old = _old(directory)
        unavailable = list(_obtain(wanted, source))
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


def _obtain(wanted: list[tuple[Component, Binary | Image | Packages | Tool]], policy: Policy) -> Iterator[Unavailable]:
    """Bring everything into the cache, each item that has to be fetched or made with a line of its own."""
    absent = [(component, item) for component, item in wanted if not _ready(component, item, policy)]
    for number, (component, item) in enumerate(absent, start=1):
        with console.phase(f"{item.name} {component.version} ({number} of {len(absent)})") as phase:
            try:
                if isinstance(item, Packages):
                    _resolve(item, policy, phase)
                elif not isinstance(item, Tool):
                    sources.obtain(component, item, policy=policy, phase=phase)
            except BundleError as error:
                phase.note("unavailable")
                yield Unavailable(name=item.name, version=component.version, reason=_reason(error))


def _ready(component: Component, item: Binary | Image | Packages | Tool, policy: Policy) -> bool:
    match item:
        case Packages():
            return _plan_packages(component, item, policy).state == "ready"
        case Binary() | Image():
            return sources.cached(component, item, policy=policy) is not None
        case Tool():
            return True


@dataclass(frozen=True)
class _Target:
    """The directory that is filled, and what its manifest said before, by path."""

    directory: Path
    old: dict[str, Item]

    def put(self, source: Path, **fields: object) -> Item:
        """Copy a file into the bundle, unless the one of the same key lies there."""
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
            obtained = sources.obtain(component, item, policy=policy, phase=phase)
            yield target.put(
                obtained.path,
                name=item.name,
                version=component.version,
                license=component.license,
                kind=item.kind,
                path=item.path if isinstance(item, Binary) else f"images/{item.name}.tar",
                origin=obtained.origin,
                reference=item.reference if isinstance(item, Image) else None,
                on=item.on,
                key=obtained.path.parent.name,  # the entry in the cache is named by all that determined it
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


def _plan(component: Component, item: Binary | Image, policy: Policy) -> Row:
    if found := sources.cached(component, item, policy=policy):
        return Row(item.name, component.version, item.kind, found.origin.source, found.origin.location, "ready")
    reasons = []
    for source in sources.of(component, item, policy=policy):
        try:
            source.check()
        except BundleError as error:
            reasons.append(f"{source.kind}: {_reason(error)}")
        else:
            origin = source.origin
            return Row(item.name, component.version, item.kind, origin.source, origin.location, "to make")
    reason = "; ".join(reasons) or _no_source(policy)
    return Row(item.name, component.version, item.kind, "-", reason, "unavailable")


def _plan_packages(component: Component, item: Packages, policy: Policy) -> Row:
    if policy not in {"auto", "build"}:
        return Row(item.name, component.version, item.kind, "-", _no_source(policy), "unavailable")
    try:
        place = f"{debian.distribution()}: {', '.join(item.build.packages)}"
    except BundleError as error:
        return Row(item.name, component.version, item.kind, "-", _reason(error), "unavailable")
    state: State = "ready" if _known(item) is not None else "to make"
    return Row(item.name, component.version, item.kind, "debian", place, state)


def _no_source(policy: Policy) -> str:
    return f"the lock of components names no source of the kind {policy} for it"


def _reason(error: BundleError) -> str:
    return "; ".join([error.message, *(line.strip() for line in error.context)])


def _old(directory: Path) -> dict[str, Item]:
    """What lies in the directory already, by path.

    Raises:
        BundleError: There are files, and they are not a bundle's.
    """
    if not directory.exists() or not any(directory.iterdir()):
        return {}
    if not (directory / FILE).exists() and not {entry.name for entry in directory.iterdir()} <= {
        "bin",
        "cni",
        "images",
        "packages",
    }:
        raise BundleError(f"{directory} holds other things than a bundle", hint="name an empty directory")
    try:
        return {item.path: item for item in Bundle.load(directory).items}
    except BundleError:
        return {}  # an interrupted first run, or the manifest of another version: every file is placed again
