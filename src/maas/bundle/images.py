"""Images put together from the lock's recipes: programs from Go, files from Debian packages, no daemon and no root.

Maintainer scripts of packages are not run; what they would have done and an image needs is said in the recipe.
"""

from __future__ import annotations

import tarfile
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from maas import components, process
from maas.bundle import cache, debian, golang, oci
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
_NOT_WANTED = (
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
_LICENSES = "/usr/share/doc/*/copyright"


def find(component: Component, name: str, reference: str, recipe: ImageBuild) -> Path | None:
    """The archive of this recipe, when it is in the cache and nothing that determines it has changed."""
    digest = _key(component, reference, recipe)
    entry = cache.find(name, digest) if digest else None
    return entry / _ARCHIVE if entry else None


def build(component: Component, name: str, reference: str, recipe: ImageBuild, *, phase: Phase) -> None:
    """Put an image together in the cache.

    Raises:
        BundleError: A program or a package of it cannot be had.
    """
    programs = golang.build(component, [*recipe.programs.values()], phase=phase) if recipe.programs else {}
    lower = _layers(recipe.base, phase)
    packages = _packages(recipe, phase)
    digest = _key(component, reference, recipe)
    assert digest is not None  # noqa: S101 - its packages were just resolved
    if cache.find(name, digest):
        return
    phase.note("putting the image together")
    with cache.create(name, digest) as entry, cache.scratch() as scratch:
        entries = [*_common(recipe, packages, scratch), *_own(component, recipe, programs)]
        layers = [*lower, oci.write_layer(entries, scratch)]
        oci.write_image(entry / _ARCHIVE, layers, _config(recipe), reference=reference)


def base(name: str, *, phase: Phase) -> Path:
    """An archive for `docker load` of a base that the lock offers as one.

    Raises:
        BundleError: A package of it cannot be had.
    """
    layer = components.load().bases[name]
    layers = _layers(name, phase)
    reference = layer.archive or name
    digest = cache.key(layers=[blob.digest for blob in layers], recipe=layer.model_dump(), writer=oci.WRITER)
    if cache.find(f"base-{name}", digest) is None:
        with cache.create(f"base-{name}", digest) as entry:
            oci.write_docker_image(entry / _ARCHIVE, layers, _config(layer), reference=reference)
    found = cache.find(f"base-{name}", digest)
    assert found is not None  # noqa: S101 - it was just made
    return found / _ARCHIVE


def packages_of(recipe: Layer) -> list[Package] | None:
    """The Debian packages of a recipe alone, without its bases', as far as they are known without asking a mirror."""
    absent = _absent(recipe)
    if absent is None:
        return None
    return debian.known(recipe.packages, absent) if recipe.packages else []


def _packages(recipe: Layer, phase: Phase) -> list[Package]:
    absent = _absent(recipe)
    assert absent is not None  # noqa: S101 - the packages of its bases were just resolved
    return debian.resolve(recipe.packages, absent, phase=phase) if recipe.packages else []


def _absent(recipe: Layer) -> dict[str, str] | None:
    """What is not to come with a recipe's packages: those it leaves out, and those below it, which must be known."""
    absent = dict.fromkeys(recipe.without, debian.ANY)
    for layer in _chain(recipe.base):
        below = packages_of(layer)
        if below is None:
            return None
        absent |= {package.name: package.version for package in below}
    return absent


def _chain(name: str | None) -> list[Layer]:
    """A base and those below it, the lowest first."""
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
        phase.note(f"putting the base {name} together")
        with cache.create(f"layer-{name}", digest) as entry, cache.scratch() as scratch:
            oci.write_layer(_common(recipe, packages, scratch), entry)
    found = cache.find(f"layer-{name}", digest)
    assert found is not None  # noqa: S101 - it was just made
    return [*lower, oci.read_layer(found)]


def _layer_key(recipe: Layer, packages: Sequence[Package]) -> str:
    return cache.key(recipe=recipe.model_dump(), packages=[package.file for package in packages], writer=oci.WRITER)


def _key(component: Component, reference: str, recipe: ImageBuild) -> str | None:
    """The key of an image, or nothing while the versions of its packages are not known."""
    layers = []
    for layer in [*_chain(recipe.base), recipe]:
        packages = packages_of(layer)
        if packages is None:
            return None
        layers.append(_layer_key(layer, packages))
    programs = {path: golang.key(component, package) for path, package in recipe.programs.items()}
    return cache.key(reference=reference, layers=layers, programs=programs)


def _common(recipe: Layer, packages: Iterable[Package], scratch: Path) -> Iterator[Entry]:
    """What a base or an image gets from its packages, and what their maintainer scripts would have added."""
    entries: dict[str, Entry] = {}
    for package in packages:
        entries |= {entry.path: entry for entry in debian.read(package) if _wanted(entry, recipe.drop)}
    if packages and recipe.base is None:
        for path, target in _MERGED.items():
            entries[path] = Entry(path, kind=tarfile.SYMTYPE, target=target, mode=0o777)
    if recipe.applets:
        entries |= _applets(entries, scratch)
    if recipe.certificates:
        bundle = b"".join(
            entry.content
            for path, entry in sorted(entries.items())
            if path.startswith("/usr/share/ca-certificates/") and isinstance(entry.content, bytes)
        )
        entries["/etc/ssl/certs/ca-certificates.crt"] = Entry("/etc/ssl/certs/ca-certificates.crt", content=bundle)
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


def _own(component: Component, recipe: ImageBuild, programs: dict[str, Path]) -> Iterator[Entry]:
    """What an image gets from its component."""
    for path, package in recipe.programs.items():
        names = recipe.capabilities.get(path, ())
        xattrs = {"security.capability": _file_capabilities(names)} if names else {}
        yield Entry(path, content=programs[package], mode=0o755, xattrs=xattrs)
    for path, target in recipe.hard_links.items():
        yield Entry(path, kind=tarfile.LNKTYPE, target=target, mode=0o755)
    for tree in recipe.trees:
        top = golang.module_directory(component, tree.module) / tree.source
        for file in sorted(path for path in top.rglob("*") if path.is_file() and path.name != ".gitkeep"):
            executable = any(fnmatch(file.name, pattern) for pattern in tree.executable)
            path = f"{tree.to}/{file.relative_to(top)}"
            yield Entry(path, content=file.read_bytes(), mode=0o755 if executable else 0o644)


def _wanted(entry: Entry, drop: Sequence[str]) -> bool:
    if fnmatch(entry.path, _LICENSES):
        return True
    path = f"{entry.path}/" if entry.kind == tarfile.DIRTYPE else entry.path
    return not any(fnmatch(path, pattern) for pattern in (*_NOT_WANTED, *drop))


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
    # struct vfs_cap_data, revision 2, effective: a magic word, then permitted and inheritable, low words first.
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
