"""What changed, from one set of fragments: the changelog, the notes of a release, Artifact Hub's list of changes.

towncrier puts the fragments of release/changes together; their kinds are those of Keep a Changelog, which are also the
kinds that Artifact Hub knows.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import console, paths, process
from maas.errors import ReleaseError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.release.version import Version

FILE = "CHANGELOG.md"
FRAGMENTS = "release/changes"
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
_NAME = re.compile(rf"[+a-z0-9][a-z0-9-]*\.(?:{'|'.join(KINDS)})\.md")
_KEEP = {".gitignore", "README.md"}


@dataclass(frozen=True)
class Change:
    """One change of a release.

    Attributes:
        kind: One of Keep a Changelog's kinds, in lower case.
        description: Whole sentences, in one line.
    """

    kind: str
    description: str


def fragments(root: Path) -> list[Path]:
    """The fragments of changes that no release has taken yet."""
    return sorted(file for file in (root / FRAGMENTS).glob("*") if file.name not in _KEEP)


def faults(root: Path) -> list[str]:
    """What is wrong with the fragments, one sentence each."""
    found = []
    for file in fragments(root):
        where = file.relative_to(root)
        text = file.read_text(encoding="utf-8").strip()
        if not _NAME.fullmatch(file.name):
            found.append(f"{where}: the name is NAME.KIND.md, with a kind of {', '.join(KINDS)}")
        if not text.endswith("."):
            found.append(f"{where}: a change is told in whole sentences, with a full stop")
        if "\n\n" in text:
            found.append(f"{where}: a change is one paragraph")
    return found


def changes(text: str, version: Version) -> list[Change] | None:
    """The changes that a changelog tells of a version, or None when it does not know that version."""
    section = _section(text, version)
    if section is None:
        return None
    found: list[Change] = []
    kind = ""
    for line in section.splitlines()[1:]:
        if line.startswith("### "):
            kind = line.removeprefix("### ").strip().lower()
        elif line.startswith("- "):
            found.append(Change(kind, line.removeprefix("- ").strip()))
        elif line.startswith("  ") and line.strip() and found:
            found[-1] = Change(found[-1].kind, f"{found[-1].description} {line.strip()}")
    return found


def read(root: Path, version: Version) -> list[Change]:
    """The changes of a version, from the checkout's changelog.

    Raises:
        ReleaseError: The changelog does not tell of it.
    """
    found = changes((root / FILE).read_text(encoding="utf-8"), version)
    if not found:
        raise ReleaseError(f"{FILE} tells of no change in {version}", command=paths.command("changelog", str(version)))
    return found


def notes(root: Path, version: Version) -> str:
    """The notes of a release, in Markdown: its section of the changelog.

    Raises:
        ReleaseError: The changelog does not tell of it.
    """
    read(root, version)
    return (_section((root / FILE).read_text(encoding="utf-8"), version) or "").strip() + "\n"


def write(root: Path, version: Version, *, draft: bool) -> str:
    """Move the fragments into the changelog, under a version; a draft is returned and nothing is written.

    Raises:
        ReleaseError: A fragment is not as it must be, or there is none.
        ProcessError: towncrier refuses.
    """
    if found := faults(root):
        raise ReleaseError("fragments of changes are not as they must be", context=found)
    if not fragments(root):
        raise ReleaseError(
            f"there is no fragment of a change in {FRAGMENTS}", hint="docs/releasing.md says how to write one"
        )
    options = ["--draft"] if draft else ["--yes"]
    return process.run(
        [sys.executable, "-m", "towncrier", "build", "--config", "pyproject.toml", "--version", str(version), *options],
        cwd=root,
    ).stdout


def show(version: Version, *, draft: bool) -> None:
    """Write a version's section of the changelog, or show it.

    Raises:
        ReleaseError: A fragment is not as it must be, or there is none.
    """
    root = paths.content()
    text = write(root, version, draft=draft)
    if draft:
        console.data(text)
        return
    console.line(f"{FILE} tells of {version}; the fragments are gone")
    console.line(f"next: look at it, commit it, then {paths.command('release', str(version))}")


def _section(text: str, version: Version) -> str | None:
    found = re.search(
        rf"^## \[?{re.escape(str(version))}\]?(?: [^\n]*)?$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found.group(0) if found else None
