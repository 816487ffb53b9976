"""Programs built from the Go module proxy, by the build modules under hack/build.

The flags make a build depend on its module's pins and on the Go version alone: no paths, no time, no version control.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from maas import paths, process
from maas.bundle import cache
from maas.components import ARCHITECTURE
from maas.errors import BundleError, ProcessError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maas.components import Component
    from maas.console import Phase

_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOARCH": ARCHITECTURE,
    "GOOS": "linux",
    "GOAMD64": "v1",
    "GOFLAGS": "-mod=readonly",
    "GOWORK": "off",
}
_SETTINGS = ("-trimpath", "-buildvcs=false")
_MAJOR = re.compile(r"v\d+")


def find(component: Component, package: str) -> Path | None:
    """The built program of a package, when it is in the cache."""
    entry = cache.find(_name(package), key(component, package))
    return entry / _name(package) if entry else None


def build(component: Component, packages: Sequence[str], *, phase: Phase) -> dict[str, Path]:
    """Build the programs of some packages of one component, and give their paths in the cache.

    Packages that are in the cache are not built again; the others are built by one call of `go build`, which compiles
    what they share once and keeps every core busy.

    Raises:
        BundleError: Go is missing, too old, or did not build them.
    """
    missing = [package for package in dict.fromkeys(packages) if find(component, package) is None]
    if missing:
        _build(component, missing, phase)
    built = {package: find(component, package) for package in packages}
    return {package: path for package, path in built.items() if path is not None}


def version(module: str) -> str:
    """The Go version that builds this module, as `go1.26.8`.

    Raises:
        BundleError: Go is not installed.
    """
    return _version(_module(module))


def module_directory(component: Component, module: str) -> Path:
    """Where the unpacked source of a module that a component's build module requires lies.

    Raises:
        BundleError: It cannot be fetched.
    """
    directory = _module(component.name)
    try:
        process.run(["go", "mod", "download", module], cwd=directory, env=_ENVIRONMENT, timeout=600)
        found = process.run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=directory, env=_ENVIRONMENT)
    except ProcessError as error:
        raise BundleError(f"the source of {module} cannot be fetched", context=error.context) from error
    return Path(found.stdout.strip())


def _build(component: Component, packages: Sequence[str], phase: Phase) -> None:
    assert component.go is not None  # noqa: S101 - the planner asks for no build without it
    link = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in component.go.link.items())])
    keys = {package: key(component, package) for package in packages}
    with cache.scratch() as output:
        argv = ["go", "build", "-v", *_SETTINGS, "-tags", ",".join(component.go.tags), "-ldflags", link]
        phase.note(f"go build {' '.join(_name(package) for package in packages)}")
        try:
            lines = process.lines([*argv, "-o", f"{output}/", *packages], cwd=_module(component.name), env=_ENVIRONMENT)
            compiled = 0
            for line in lines:
                compiled += not line.startswith("go: ")
                phase.note(f"{compiled} packages compiled, now {line.removeprefix('go: ')}")
        except ProcessError as error:
            raise BundleError(
                f"{component.name} {component.version} cannot be built",
                context=error.stderr.splitlines()[-6:],
                hint=f"hack/build/{component.name} names the modules it needs; they come from the Go module proxy",
            ) from error
        phase.note("")
        for package in packages:
            with cache.create(_name(package), keys[package]) as entry:
                (output / _name(package)).rename(entry / _name(package))


def _name(package: str) -> str:
    # What `go build` calls the program: the last part of the path that is not a major version.
    return next(part for part in reversed(package.split("/")) if not _MAJOR.fullmatch(part))


def key(component: Component, package: str) -> str:
    """A digest of all that determines the program of a package."""
    settings = component.go.model_dump() if component.go else None
    return cache.key(package=package, settings=settings, module=_digest(component.name), go=version(component.name))


def _module(name: str) -> Path:
    return paths.content() / "hack" / "build" / name


@lru_cache
def _digest(module: str) -> dict[str, str]:
    return {path.name: cache.sha256(path) for path in sorted(_module(module).iterdir()) if path.is_file()}


@lru_cache
def _version(directory: Path) -> str:
    try:
        return process.run(["go", "env", "GOVERSION"], cwd=directory, env=_ENVIRONMENT).stdout.strip()
    except ProgramMissingError as error:
        raise BundleError(
            "Go is not installed, and this component is built from source",
            hint="install Go 1.26 or newer from your distribution or go.dev",
        ) from error
    except ProcessError as error:
        raise BundleError("this Go cannot read the build module", context=error.context) from error
