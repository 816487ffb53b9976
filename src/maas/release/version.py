"""The version of a release, and the files that contain it."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version as PythonVersion

from maas.errors import ReleaseError, UsageError
from maas.helm.client import Helm

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "src/maas/__init__.py"
"""The file with the authoritative version."""

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(alpha|beta|rc)\.(0|[1-9]\d*))?")
_PLACES: tuple[tuple[str, str], ...] = (
    (SOURCE, r'^__version__ = "(?P<version>[^"]*)"$'),
    ("Chart.yaml", r"^(?:version|appVersion|    version): (?P<version>\S+)$"),
    # An appVersion with a "v" is that of the upstream project in the chart.
    ("charts/*/Chart.yaml", r"^(?:version|appVersion|    version): (?P<version>\d\S*)$"),
    ("app/src/restaurant/__init__.py", r'^__version__ = "(?P<version>[^"]*)"$'),
    ("app/openapi.json", r'\A\{\s*"openapi": "[^"]*",\s*"info": \{[^{}]*"version": "(?P<version>[^"]*)"'),
    ("Chart.lock", r"^  version: (?P<version>\S+)$"),
)


@total_ordering
@dataclass(frozen=True)
class Version:
    """A semantic version. A pre-release is called alpha, beta or rc, because Python packages know only these.

    Attributes:
        text: The version, such as `1.2.3` or `1.2.3-rc.1`.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Version:
        """Check and return a version.

        Raises:
            UsageError: The text is not a version.
        """
        if _VERSION.fullmatch(text) is None:
            raise UsageError(f"{text} is not a version", hint="use 1.2.3 or 1.2.3-rc.1 (alpha, beta or rc)")
        return cls(text)

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: Version) -> bool:
        return PythonVersion(self.text) < PythonVersion(other.text)

    @property
    def prerelease(self) -> bool:
        """Whether it is a pre-release."""
        return PythonVersion(self.text).is_prerelease

    @property
    def python(self) -> str:
        """The same version in the form of Python packages."""
        return str(PythonVersion(self.text))


@dataclass(frozen=True)
class Mention:
    """An occurrence of the version in a file.

    Attributes:
        where: File and line.
        version: The version there.
    """

    where: str
    version: str


def mentions(root: Path) -> list[Mention]:
    """Return every occurrence of the version in a checkout, the authoritative one first.

    Raises:
        UsageError: The directory is not a checkout.
        ReleaseError: A file lacks its version.
    """
    if not (root / SOURCE).is_file():
        raise UsageError(f"{root} is not a checkout of the project", hint="releases are built from a clone")
    found = []
    for file, pattern in _files(root):
        text = file.read_text(encoding="utf-8")
        matches = list(re.finditer(pattern, text, re.MULTILINE))
        if not matches:
            raise ReleaseError(f"{file.relative_to(root)} has no version", context=[f"expected: {pattern}"])
        for match in matches:
            line = text.count("\n", 0, match.start("version")) + 1
            found.append(Mention(f"{file.relative_to(root)}:{line}", match["version"]))
    return found


def current(root: Path) -> Version:
    """Return the version of a checkout.

    Raises:
        ReleaseError: A file lacks its version.
        UsageError: The version is not valid.
    """
    return Version.parse(mentions(root)[0].version)


def disagreements(root: Path, version: Version) -> list[Mention]:
    """Return the occurrences of another version than this one.

    Raises:
        ReleaseError: A file lacks its version.
    """
    return [mention for mention in mentions(root) if mention.version != str(version)]


def write(root: Path, version: Version) -> list[Path]:
    """Set a version in every file, and return the files that changed.

    Raises:
        ReleaseError: A file lacks its version.
        ChartError: Helm cannot lock the chart's dependencies.
    """
    mentions(root)
    changed = []
    for file, pattern in _files(root):
        text = file.read_text(encoding="utf-8")
        fresh = re.sub(pattern, lambda match: _replaced(match, version), text, flags=re.MULTILINE)
        if fresh != text and file.name != "Chart.lock":
            file.write_text(fresh, encoding="utf-8")
            changed.append(file)
    return [*changed, *([_lock(root)] if changed else [])]


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    for pattern, expression in _PLACES:
        for file in sorted(root.glob(pattern)):
            yield file, expression


def _replaced(match: re.Match[str], version: Version) -> str:
    begin, end = match.span("version")
    whole, offset = match.group(0), match.start()
    return whole[: begin - offset] + str(version) + whole[end - offset :]


def _lock(root: Path) -> Path:
    # In a copy of the Chart.yaml files, so that Helm cannot change anything else in the checkout.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for file in [root / "Chart.yaml", *root.glob("charts/*/Chart.yaml")]:
            (copy / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file.relative_to(root))
        Helm.pinned().lock(copy)
        return Path(shutil.copy(copy / "Chart.lock", root / "Chart.lock"))
