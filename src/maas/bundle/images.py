"""Images built from the recipes in the component lockfile: programs, Debian packages, pages; without a daemon or root.

Maintainer scripts of packages do not run; the recipe contains what an image needs of their effects. Images are built only
where their registry is not available.
"""

from __future__ import annotations

import tarfile
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from maas import components, paths, process
from maas.bundle import cache, debian, golang, oci, web, wheels
from maas.bundle.oci import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from maas.bundle.debian import Package
    from maas.components import Component, ImageBuild, Layer
    from maas.console import Phase

_ARCHIVE = "image.tar"
_MERGED = {"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64", "/sbin": "usr/sbin"}
_CAPABILITIES = {"net_bind_service": 10}
_EXCLUDED = (
    "/etc/init.d/*",
    "/usr/lib/systemd/*",
    "/usr/share/bash-completion/*",
    "/usr/share/bug/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
)
_CERTIFICATES = "/usr/share/ca-certificates/"
_CERTIFICATE_FILE = "/etc/ssl/certs/ca-certificates.crt"
_LICENSES = "/usr/share/doc/*/copyright"


def find(component: Component, name: str, reference: str, recipe: ImageBuild) -> Path | None:
    """Return the archive of this recipe if it is in the cache and nothing that determines it has changed."""
    digest = _key(component, reference, recipe)
    entry = cache.find(name, digest) if digest else None
    return entry / _ARCHIVE if entry else None


def build(component: Component, name: str, reference: str, recipe: ImageBuild, *, phase: Phase) -> None:
    """Build an image into the cache.

    Raises:
        BundleError: A program or a package is not available.
    """
    programs = golang.build(component, [*recipe.programs.values()], phase=phase) if recipe.programs else {}
    for directory in recipe.web.values():
        web.build(component, directory, phase=phase)
    lower = _layers(recipe.base, phase)
    packages = _packages(recipe, phase)
    digest = _key(component, reference, recipe)
    assert digest is not None  # noqa: S101 - its packages were just resolved
    if cache.find(name, digest):
        return
    phase.note("writing the image")
    with cache.create(name, digest) as entry, cache.scratch() as scratch:
        entries = [*_common(recipe, packages, scratch), *_own(component, recipe, programs, phase)]
        layers = [*lower, oci.write_layer(entries, scratch)]
        oci.write_image(entry / _ARCHIVE, layers, _config(recipe), reference=reference)


def base(name: str, *, phase: Phase) -> Path:
    """Return an archive of a base for `docker load`.

    Raises:
        BundleError: A package is not available.
    """
    layer = components.load().bases[name]
    layers = _layers(name, phase)
    reference = layer.archive or name
    digest = cache.key(layers=[blob.digest for blob in layers], recipe=layer.model_dump(), writer=oci.WRITER)
    if cache.find(f"base-{name}", digest) is None:
        with cache.create(f"base-{name}", digest) as entry:
            oci.write_docker_image(entry / _ARCHIVE, layers, _config(layer), reference=reference)
    found = cache.find(f"base-{name}", digest)
    assert found is not None  # noqa: S101 - it was just created
    return found / _ARCHIVE


def packages_of(recipe: Layer) -> list[Package] | None:
    """Return the Debian packages of a recipe without those of its bases; None if they are not resolved yet."""
    excluded = _excluded(recipe)
    if excluded is None:
        return None
    return debian.known(recipe.packages, excluded) if recipe.packages else []


def _packages(recipe: Layer, phase: Phase) -> list[Package]:
    excluded = _excluded(recipe)
    assert excluded is not None  # noqa: S101 - the packages of its bases were just resolved
    return debian.resolve(recipe.packages, excluded, phase=phase) if recipe.packages else []


def _excluded(recipe: Layer) -> dict[str, str] | None:
    """Return the packages that a recipe must not add: those it leaves out, and those of its bases, which must be resolved."""
    excluded = dict.fromkeys(recipe.without, debian.ANY)
    for layer in _chain(recipe.base):
        below = packages_of(layer)
        if below is None:
            return None
        excluded |= {package.name: package.version for package in below}
    return excluded


def _chain(name: str | None) -> list[Layer]:
    """Return a base and those below it, the lowest first."""
    if name is None:
        return []
    layer = components.load().bases[name]
    return [*_chain(layer.base), layer]


def _layers(name: str | None, phase: Phase) -> list[oci.Blob]:
    if name is None:
        return []
    recipe = components.load().bases[name]
    lower = _layers(recipe.base, phase)
    packages = _packages(recipe, phase)
    digest = _layer_key(recipe, packages)
    if cache.find(f"layer-{name}", digest) is None:
        phase.note(f"writing the base {name}")
        with cache.create(f"layer-{name}", digest) as entry, cache.scratch() as scratch:
            oci.write_layer(_common(recipe, packages, scratch), entry)
    found = cache.find(f"layer-{name}", digest)
    assert found is not None  # noqa: S101 - it was just created
    return [*lower, oci.read_layer(found)]


def _layer_key(recipe: Layer, packages: Sequence[Package]) -> str:
    # Pages and wheels have keys of their own.
    return cache.key(
        recipe=recipe.model_dump(exclude={"web", "wheels"}),
        packages=[package.file for package in packages],
        writer=oci.WRITER,
    )


def _key(component: Component, reference: str, recipe: ImageBuild) -> str | None:
    """Return the key of an image; None if its packages are not resolved yet."""
    layers = []
    for layer in [*_chain(recipe.base), recipe]:
        packages = packages_of(layer)
        if packages is None:
            return None
        layers.append(_layer_key(layer, packages))
    programs = {path: golang.key(component, package) for path, package in recipe.programs.items()}
    pages = {path: web.key(component, directory) for path, directory in recipe.web.items()}
    python = {path: wheels.digest(_requirements(component, file)) for path, file in recipe.wheels.items()}
    optional = {"web": pages, "wheels": python}
    others = {name: keys for name, keys in optional.items() if keys}
    return cache.key(reference=reference, layers=layers, programs=programs, **others)


def _common(recipe: Layer, packages: Iterable[Package], scratch: Path) -> Iterator[Entry]:
    """Yield the files of a layer: those of its packages, and the effects of maintainer scripts in its recipe."""
    entries: dict[str, Entry] = {}
    for package in packages:
        entries |= {entry.path: entry for entry in debian.read(package) if _included(entry, recipe.drop)}
    if packages and recipe.base is None:
        for path, target in _MERGED.items():
            entries[path] = Entry(path, kind=tarfile.SYMTYPE, target=target, mode=0o777)
    if recipe.applets:
        entries |= _applets(entries, scratch)
    if recipe.certificates:
        certificates = [entry for path, entry in sorted(entries.items()) if path.startswith(_CERTIFICATES)]
        content = b"".join(entry.content for entry in certificates if isinstance(entry.content, bytes))
        entries[_CERTIFICATE_FILE] = Entry(_CERTIFICATE_FILE, content=content)
    yield from entries.values()
    for path, target in recipe.links.items():
        yield Entry(path, kind=tarfile.SYMTYPE, target=target, mode=0o777)
    for path, owner in recipe.directories.items():
        shared = path == "/tmp"  # noqa: S108 - the directory in an image, not of this machine
        yield Entry(path, kind=tarfile.DIRTYPE, mode=0o1777 if shared else 0o755, uid=owner, gid=owner)
    if recipe.users:
        accounts = "".join(f"{user.name}:x:{user.id}:{user.id}::{user.home}:/bin/sh\n" for user in recipe.users)
        groups = "".join(f"{user.name}:x:{user.id}:\n" for user in recipe.users)
        yield Entry("/etc/passwd", content=accounts.encode())
        yield Entry("/etc/group", content=groups.encode())


def _own(component: Component, recipe: ImageBuild, programs: dict[str, Path], phase: Phase) -> Iterator[Entry]:
    """Yield the files of an image that come from its component."""
    for path, package in recipe.programs.items():
        names = recipe.capabilities.get(path, ())
        xattrs = {"security.capability": _file_capabilities(names)} if names else {}
        yield Entry(path, content=programs[package], mode=0o755, xattrs=xattrs)
    for path, target in recipe.hard_links.items():
        yield Entry(path, kind=tarfile.LNKTYPE, target=target, mode=0o755)
    for tree in recipe.trees:
        top = golang.module_directory(component, tree.module) / tree.source
        for file in sorted(top.rglob("*")):
            if not file.is_file() or file.name == ".gitkeep":
                continue
            mode = 0o755 if any(fnmatch(file.name, pattern) for pattern in tree.executable) else 0o644
            yield Entry(f"{tree.to}/{file.relative_to(top)}", content=file.read_bytes(), mode=mode)
    for path, requirements in recipe.wheels.items():
        yield from wheels.read(_requirements(component, requirements), path)
    for path, directory in recipe.web.items():
        top = web.build(component, directory, phase=phase)
        for file in sorted(top.rglob("*")):
            if file.is_file():
                yield Entry(f"{path}/{file.relative_to(top)}", content=file.read_bytes(), mode=0o644)


def _requirements(component: Component, file: str) -> Path:
    return paths.content() / "hack" / "build" / component.name / file


def _included(entry: Entry, drop: Sequence[str]) -> bool:
    if fnmatch(entry.path, _LICENSES):
        return True
    path = f"{entry.path}/" if entry.kind == tarfile.DIRTYPE else entry.path
    return not any(fnmatch(path, pattern) for pattern in (*_EXCLUDED, *drop))


def _applets(entries: dict[str, Entry], scratch: Path) -> dict[str, Entry]:
    program = scratch / "busybox"
    content = entries["/usr/bin/busybox"].content
    assert isinstance(content, bytes)  # noqa: S101 - read from a package
    program.write_bytes(content)
    program.chmod(0o755)
    names = process.run([program, "--list"]).stdout.split()
    paths = {f"/usr/bin/{name}" for name in names} - entries.keys()
    return {path: Entry(path, kind=tarfile.SYMTYPE, target="busybox", mode=0o777) for path in paths}


def _file_capabilities(names: Sequence[str]) -> bytes:
    # struct vfs_cap_data, revision 2: magic number with the effective bit, then permitted and inheritable, low words first.
    mask = sum(1 << _CAPABILITIES[name] for name in names)
    words = (0x02000001, mask, 0, 0, 0)
    return b"".join(word.to_bytes(4, "little") for word in words)


def _config(recipe: Layer) -> oci.ImageConfig:
    return oci.ImageConfig(
        environment=recipe.environment,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        user=recipe.user,
        workdir=recipe.workdir,
    )
