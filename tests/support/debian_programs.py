"""Programs of Debian packages that are not installed on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console
from maas.bundle import debian

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = "usr/lib/x86_64-linux-gnu"
_DIRECTORIES = ("/bin/", "/usr/bin/", "/usr/sbin/", f"/{LIBRARIES}/")


def unpack(directory: Path, *packages: str) -> None:
    """Unpack the programs of packages with the libraries that they need."""
    with console.phase(f"Packages {', '.join(packages)}") as step:
        found = debian.resolve(packages, phase=step)
    for package in found:
        if package.name not in packages and (not package.name.startswith("lib") or package.name.endswith("-perl")):
            continue
        for entry in debian.read(package):
            path = directory / entry.path.lstrip("/")
            if not entry.path.startswith(_DIRECTORIES) or entry.kind == b"5" or path.is_symlink() or path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.kind == b"2":
                path.symlink_to(entry.target)
            elif entry.kind == b"0":
                path.write_bytes(entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes())
                path.chmod(entry.mode)


def environment(directory: Path) -> dict[str, str]:
    """Return the environment variables for the programs of a directory."""
    return {"LD_LIBRARY_PATH": str(directory / LIBRARIES)}
