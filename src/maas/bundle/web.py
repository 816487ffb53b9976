"""Web pages built with npm from sources in hack/build: a package.json with exact versions, its lock file, and a script `build`.

The script writes the pages to the directory in its argument. Packages are installed once for each lock file.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from maas import paths, process
from maas.bundle import cache
from maas.errors import BundleError, ProcessError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.components import Component
    from maas.console import Phase

_OLDEST = 20
"""Oldest major version of Node.js that the build is known to work with."""

_TIMEOUT = 1200


def find(component: Component, directory: str) -> Path | None:
    """Return the pages if they are in the cache and their sources have not changed."""
    return cache.find(_name(component), key(component, directory))


def key(component: Component, directory: str) -> str:
    """Return the digest of everything that determines the pages."""
    return cache.key(sources=_digests(_sources(component, directory)))


def check() -> None:
    """Check whether pages can be built here.

    Raises:
        BundleError: Node.js or npm is missing, or too old.
    """
    hint = f"install Node.js {_OLDEST} or newer with npm from your distribution or nodejs.org"
    try:
        found = process.run(["node", "--version"]).stdout.strip()
        process.run(["npm", "--version"])
    except (ProcessError, ProgramMissingError) as error:
        raise BundleError(
            "Node.js and npm are not installed, but this component is built with them", hint=hint
        ) from error
    if int(found.removeprefix("v").partition(".")[0]) < _OLDEST:
        raise BundleError(f"Node.js {found} is too old", hint=hint)


def build(component: Component, directory: str, *, phase: Phase) -> Path:
    """Build the pages into the cache, unless they are there, and return their directory.

    Raises:
        BundleError: Node.js or npm is missing, or the build failed.
    """
    if found := find(component, directory):
        return found
    check()
    sources = _sources(component, directory)
    with cache.create(_name(component), key(component, directory)) as entry, cache.scratch() as work:
        shutil.copytree(sources, work, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
        try:
            (work / "node_modules").symlink_to(_packages(component, sources, phase) / "node_modules")
            phase.note("npm run build")
            process.run(["npm", "run", "build", "--", str(entry)], cwd=work, timeout=_TIMEOUT)
        except ProcessError as error:
            raise BundleError(
                f"building the pages of {component.name} {component.version} failed",
                context=error.context,
                hint=f"its packages are pinned in {sources.relative_to(paths.content())}/package-lock.json and downloaded"
                " from the npm registry",
            ) from error
    built = find(component, directory)
    assert built is not None  # noqa: S101 - it was just created
    return built


def _packages(component: Component, sources: Path, phase: Phase) -> Path:
    """Return a directory with the installed packages of a lock file."""
    pins = [sources / name for name in (".npmrc", "package.json", "package-lock.json")]
    name, digest = f"npm-{component.name}", cache.key(pins={pin.name: cache.sha256(pin) for pin in pins})
    if cache.find(name, digest) is None:
        phase.note("npm ci")
        with cache.create(name, digest) as entry:
            for pin in pins:
                shutil.copy(pin, entry)
            process.run(["npm", "ci", "--prefer-offline"], cwd=entry, timeout=_TIMEOUT)
    found = cache.find(name, digest)
    assert found is not None  # noqa: S101 - it was just created
    return found


def _name(component: Component) -> str:
    return f"web-{component.name}"


def _sources(component: Component, directory: str) -> Path:
    return paths.content() / "hack" / "build" / component.name / directory


def _digests(directory: Path) -> dict[str, str]:
    return {str(file.relative_to(directory)): cache.sha256(file) for file in _files(directory)}


def _files(directory: Path) -> Iterator[Path]:
    for file in sorted(directory.rglob("*")):
        if file.is_file() and "node_modules" not in file.parts:
            yield file
