"""Python wheels of a requirements file with hashes, for the Python of the images whatever this machine's is."""

from __future__ import annotations

import configparser
import hashlib
import platform
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

from maas import paths, process
from maas.bundle import cache
from maas.bundle.oci import Entry
from maas.errors import BundleError, ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHON = "3.11"
"""The Python version of the bases `python` and `python-build`."""

_SCRIPT = """\
#!/usr/bin/python3
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""
"""A command of a wheel. Processes that it spawns import it as a module."""


def digest(requirements: Path) -> str:
    """Return what the wheels of a requirements file are known by."""
    return hashlib.sha256(requirements.read_bytes() + PYTHON.encode() + _SCRIPT.encode()).hexdigest()[:16]


def download(requirements: Path) -> Path:
    """Return a directory with the wheels of a requirements file, verified by their hashes.

    Raises:
        BundleError: A wheel is not available.
    """
    kept = paths.cache() / "wheels" / digest(requirements)
    if kept.is_dir():
        return kept
    with cache.lock("wheels"):
        if not kept.is_dir():
            _download(requirements, kept)
    return kept


def _download(requirements: Path, kept: Path) -> None:
    fresh = kept.with_suffix(".part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    glibc = [f"manylinux_2_{minor}_{platform.machine()}" for minor in (17, 28, 34)]
    try:
        process.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
                *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
                *(f"--platform={tag}" for tag in (*glibc, f"manylinux2014_{platform.machine()}")),
                *("--dest", fresh, "--requirement", requirements),
            ]
        )
    except ProcessError as error:
        raise BundleError(
            f"the wheels of {requirements.relative_to(paths.content())} are not available", context=error.context
        ) from error
    fresh.replace(kept)


def read(requirements: Path, directory: str) -> Iterator[Entry]:
    """Yield the files of the wheels of a requirements file as `pip install --target` writes them to a directory of an image.

    Raises:
        BundleError: A wheel is not available.
    """
    for wheel in sorted(download(requirements).iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("/"):
                    continue
                content = archive.read(name)
                yield Entry(f"{directory}/{name}", content=content, mode=0o644)
                if name.endswith(".dist-info/entry_points.txt"):
                    yield from _scripts(content.decode(), f"{directory}/bin")


def _scripts(entry_points: str, directory: str) -> Iterator[Entry]:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as importlib.metadata reads it
    parser.read_string(entry_points)
    for name, target in parser["console_scripts"].items() if "console_scripts" in parser else ():
        module, _, function = target.partition(":")
        text = _SCRIPT.format(module=module.strip(), function=function.strip())
        yield Entry(f"{directory}/{name}", content=text.encode(), mode=0o755)
