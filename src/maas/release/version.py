"""The one version of everything that a release holds, and the places that repeat it."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path
from typing import TYPE_CHECKING

from maas import console, paths
from maas.errors import ReleaseError, UsageError
from maas.helm.client import Helm

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "src/maas/__init__.py"
"""The file whose version is the version; every other place follows it."""

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(alpha|beta|rc)\.(0|[1-9]\d*))?")
_PYTHON = {"alpha": "a", "beta": "b", "rc": "rc"}
_PLACES: tuple[tuple[str, str], ...] = (
    (SOURCE, r'^__version__ = "(?P<version>[^"]*)"$'),
    ("Chart.yaml", r"^(?:version|appVersion|    version): (?P<version>\S+)$"),
    # An appVersion with a "v" is that of the upstream project which the chart deploys.
    ("charts/*/Chart.yaml", r"^(?:version|appVersion): (?P<version>\d\S*)$"),
    ("app/src/restaurant/__init__.py", r'^__version__ = "(?P<version>[^"]*)"$'),
    ("app/openapi.json", r'\A\{\s*"openapi": "[^"]*",\s*"info": \{[^{}]*"version": "(?P<version>[^"]*)"'),
    ("Chart.lock", r"^  version: (?P<version>\S+)$"),
)


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version by semantic versioning; a pre-release is called alpha, beta or rc, so that Python can name it too.

    Attributes:
        stage: The name of a pre-release, empty for a release.
        number: Which pre-release it is.
    """

    major: int
    minor: int
    patch: int
    stage: str = ""
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `1.2.3` or `1.2.3-rc.1`.

        Raises:
            UsageError: It is neither.
        """
        found = _VERSION.fullmatch(text)
        if found is None:
            raise UsageError(f"{text} is no version", hint="a version is 1.2.3, or 1.2.3-rc.1 (alpha, beta or rc)")
        major, minor, patch, stage, number = found.groups()
        return cls(int(major), int(minor), int(patch), stage or "", int(number or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.stage}.{self.number}" if self.stage else "")

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, str, int]:
        # alpha, beta, rc and then the release: `~` comes after every letter.
        return self.major, self.minor, self.patch, self.stage or "~", self.number

    @property
    def python(self) -> str:
        """The same version as Python's packages write it."""
        base = f"{self.major}.{self.minor}.{self.patch}"
        return f"{base}{_PYTHON[self.stage]}{self.number}" if self.stage else base


@dataclass(frozen=True)
class Mention:
    """A place that repeats the version.

    Attributes:
        where: File and line.
        version: What it says.
    """

    where: str
    version: str


def mentions(root: Path) -> list[Mention]:
    """Every place of a checkout that says the version, the source first.

    Raises:
        UsageError: It is no checkout.
        ReleaseError: A place that must say it does not.
    """
    if not (root / SOURCE).is_file():
        raise UsageError(f"{root} is no checkout of the project", hint="releases are made from a clone")
    found = []
    for file, pattern in _files(root):
        text = file.read_text(encoding="utf-8")
        matches = list(re.finditer(pattern, text, re.MULTILINE))
        if not matches:
            raise ReleaseError(f"{file.relative_to(root)} says no version", context=[f"expected: {pattern}"])
        for match in matches:
            line = text.count("\n", 0, match.start("version")) + 1
            found.append(Mention(f"{file.relative_to(root)}:{line}", match["version"]))
    return found


def current(root: Path) -> Version:
    """The version of a checkout.

    Raises:
        ReleaseError: The source says none.
        UsageError: What it says is no version.
    """
    return Version.parse(mentions(root)[0].version)


def disagreements(root: Path, version: Version) -> list[Mention]:
    """The places that say another version than this one.

    Raises:
        ReleaseError: A place that must say one does not.
    """
    return [mention for mention in mentions(root) if mention.version != str(version)]


def write(root: Path, version: Version) -> list[Path]:
    """Say a version in every place, and return the files that changed.

    Raises:
        ReleaseError: A place that must say one does not.
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


def show(wanted: str | None) -> None:
    """Show the version and whether every place says it; with a version, say that one in every place first.

    Raises:
        UsageError: What is wanted is no version.
        ReleaseError: Places disagree.
    """
    root = paths.content()
    if wanted is not None:
        for file in write(root, Version.parse(wanted)):
            console.line(f"  {file.relative_to(root)}")
    version = current(root)
    if others := disagreements(root, version):
        raise ReleaseError(
            f"not every place says {version}",
            context=[f"{mention.where}: {mention.version}" for mention in others],
            command=paths.command("version", str(version)),
        )
    console.data(str(version))


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    for pattern, expression in _PLACES:
        for file in sorted(root.glob(pattern)):
            yield file, expression


def _replaced(match: re.Match[str], version: Version) -> str:
    begin, end = match.span("version")
    whole, offset = match.group(0), match.start()
    return whole[: begin - offset] + str(version) + whole[end - offset :]


def _lock(root: Path) -> Path:
    # In a copy of what the lock depends on: nothing else of the checkout can be touched.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for file in [root / "Chart.yaml", *root.glob("charts/*/Chart.yaml")]:
            (copy / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file.relative_to(root))
        Helm.pinned().lock(copy)
        return Path(shutil.copy(copy / "Chart.lock", root / "Chart.lock"))
