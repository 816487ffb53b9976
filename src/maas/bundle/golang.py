"""Go programs, built from the module proxy with the build modules in hack/build.

The result depends only on the module's pins and on the Go version, not on paths, times or version control.
"""

from __future__ import annotations

import os
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
    """Return the program of a package if it is in the cache."""
    entry = cache.find(_name(package), key(component, package))
    return entry / _name(package) if entry else None


def build(component: Component, packages: Sequence[str], *, phase: Phase) -> dict[str, Path]:
    """Build programs of a component and return their paths in the cache, by package.

    Programs in the cache are not built again. One call of `go build` builds the others, because it compiles their shared
    packages only once and uses all CPUs.

    Raises:
        BundleError: Go is missing or too old, or the build failed.
    """
    missing = [package for package in dict.fromkeys(packages) if find(component, package) is None]
    if missing:
        _build(component, missing, phase)
    built = {package: find(component, package) for package in packages}
    return {package: path for package, path in built.items() if path is not None}


def version(module: str) -> str:
    """Return the Go version that builds this module, such as `go1.26.8`.

    Raises:
        BundleError: Go is not installed.
    """
    return _version(_module(module))


def module_directory(component: Component, module: str) -> Path:
    """Return the directory with the source of a module that a component's build module requires.

    Raises:
        BundleError: The download failed.
    """
    directory = _module(component.module)
    try:
        process.run(["go", "mod", "download", module], cwd=directory, env=_ENVIRONMENT, timeout=600)
        found = process.run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=directory, env=_ENVIRONMENT)
    except ProcessError as error:
        raise BundleError(f"cannot download the source of {module}", context=error.context) from error
    return Path(found.stdout.strip())


def _build(component: Component, packages: Sequence[str], phase: Phase) -> None:
    assert component.go is not None  # noqa: S101 - only components with `go` have Go builds
    link = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in component.go.link.items())])
    keys = {package: key(component, package) for package in packages}
    with cache.scratch() as output:
        argv = ["go", "build", "-v", *_SETTINGS, "-tags", ",".join(component.go.tags), "-ldflags", link]
        phase.note(f"go build {' '.join(_name(package) for package in packages)}")
        try:
            lines = process.lines(
                [*argv, "-o", f"{output}/", *packages], cwd=_module(component.module), env=_ENVIRONMENT
            )
            compiled = 0
            for line in lines:
                compiled += not line.startswith("go: ")
                phase.note(f"{compiled} packages compiled, {line.removeprefix('go: ')}")
        except ProcessError as error:
            raise BundleError(
                f"building {component.name} {component.version} failed",
                context=error.stderr.splitlines()[-6:],
                hint=f"its modules are pinned in hack/build/{component.module} and downloaded from the Go module proxy",
            ) from error
        phase.note("")
        for package in packages:
            with cache.create(_name(package), keys[package]) as entry:
                (output / _name(package)).rename(entry / _name(package))


def _name(package: str) -> str:
    # `go build` names a program after the last element of its path that is not a major version.
    return next(part for part in reversed(package.split("/")) if not _MAJOR.fullmatch(part))


def key(component: Component, package: str) -> str:
    """Return the digest of everything that determines the program of a package."""
    settings = component.go.model_dump() if component.go else None
    return cache.key(package=package, settings=settings, module=_digest(component.module), go=version(component.module))


def _module(name: str) -> Path:
    return paths.content() / "hack" / "build" / name


@lru_cache
def _digest(module: str) -> dict[str, str]:
    return {path.name: cache.sha256(path) for path in sorted(_module(module).iterdir()) if path.is_file()}


@lru_cache
def _version(directory: Path) -> str:
    # Go writes its telemetry to the user's configuration directory, and a plan must not write anything.
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    quiet = {"GOENV": os.environ.get("GOENV") or str(config / "go" / "env"), "XDG_CONFIG_HOME": os.devnull}
    try:
        return process.run(["go", "env", "GOVERSION"], cwd=directory, env=_ENVIRONMENT | quiet).stdout.strip()
    except ProgramMissingError as error:
        raise BundleError(
            "Go is not installed, but this component is built from source",
            hint="install Go 1.26 or newer from your distribution or go.dev",
        ) from error
    except ProcessError as error:
        raise BundleError("Go cannot read the build module", context=error.context) from error
