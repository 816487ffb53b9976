"""The releases of Debian and Ubuntu that hosts can run."""

from __future__ import annotations

from dataclasses import dataclass

from maas.errors import UsageError


@dataclass(frozen=True)
class OsRelease:
    """A release of an operating system.

    Attributes:
        os: ID in os-release.
        version: VERSION_ID in os-release.
        codename: VERSION_CODENAME in os-release.
    """

    os: str
    version: str
    codename: str

    @property
    def name(self) -> str:
        """Its name on the command line, such as `debian-13`."""
        return f"{self.os}-{self.version}"

    @property
    def directory(self) -> str:
        """Name of the directory of its packages in a bundle, such as `debian-trixie`."""
        return f"{self.os}-{self.codename}"

    def __str__(self) -> str:
        return f"{self.os.capitalize()} {self.version}"


SUPPORTED = (
    OsRelease("debian", "12", "bookworm"),
    OsRelease("debian", "13", "trixie"),
    OsRelease("ubuntu", "22.04", "jammy"),
    OsRelease("ubuntu", "24.04", "noble"),
)


def find(os: str, codename: str) -> OsRelease | None:
    """Return the supported release with this ID and codename; None if it is not supported."""
    return next((one for one in SUPPORTED if (one.os, one.codename) == (os, codename)), None)


def parse(text: str) -> tuple[OsRelease, ...]:
    """Return the releases of a list such as `debian-13,ubuntu-24.04`, each once.

    Raises:
        UsageError: A release is not supported.
    """
    known = {one.name: one for one in SUPPORTED}
    names = dict.fromkeys(name.strip() for name in text.split(","))
    if wrong := [name or "(empty)" for name in names if name not in known]:
        raise UsageError(f"hosts cannot run {', '.join(wrong)}", hint=f"the supported releases are {', '.join(known)}")
    return tuple(known[name] for name in names)
