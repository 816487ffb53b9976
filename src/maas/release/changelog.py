"""Changelog fragments, and what is made of them: the changelog, release notes and Artifact Hub's list of changes.

towncrier assembles the fragments in release/changes. Their kinds are those of Keep a Changelog, which Artifact Hub uses too.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import paths, process
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
        kind: A kind of Keep a Changelog, in lower case.
        description: Complete sentences, on one line.
    """

    kind: str
    description: str


def fragments(root: Path) -> list[Path]:
    """Return the fragments that are not in the changelog yet."""
    return sorted(file for file in (root / FRAGMENTS).glob("*") if file.name not in _KEEP)


def faults(root: Path) -> list[str]:
    """Return the problems of the fragments, one sentence each."""
    found = []
    for file in fragments(root):
        where = file.relative_to(root)
        text = file.read_text(encoding="utf-8").strip()
        if not _NAME.fullmatch(file.name):
            found.append(f"{where}: the name must be NAME.KIND.md, where KIND is one of {', '.join(KINDS)}")
        if not text.endswith("."):
            found.append(f"{where}: write complete sentences that end with a period")
        if "\n\n" in text:
            found.append(f"{where}: write one paragraph")
    return found


def changes(text: str, version: Version) -> list[Change] | None:
    """Return the changes of a version in a changelog; None if it has no section for that version."""
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
    """Return the changes of a version in the checkout's changelog.

    Raises:
        ReleaseError: The changelog has no section for it.
    """
    found = changes((root / FILE).read_text(encoding="utf-8"), version)
    if not found:
        raise ReleaseError(f"{FILE} lists no changes in {version}", command=paths.command("changelog", str(version)))
    return found


def notes(root: Path, version: Version) -> str:
    """Return the release notes in Markdown: the version's section of the changelog.

    Raises:
        ReleaseError: The changelog has no section for it.
    """
    read(root, version)
    return (_section((root / FILE).read_text(encoding="utf-8"), version) or "").strip() + "\n"


def write(root: Path, version: Version, *, draft: bool) -> str:
    """Move the fragments to a new section of the changelog, or return a draft of it.

    Raises:
        ReleaseError: A fragment is not valid, or there is none.
        ProcessError: towncrier failed.
    """
    if found := faults(root):
        raise ReleaseError("changelog fragments are not valid", context=found)
    if not fragments(root):
        raise ReleaseError(
            f"there are no changelog fragments in {FRAGMENTS}", hint="docs/releasing.md describes how to write one"
        )
    options = ["--draft"] if draft else ["--yes"]
    return process.run(
        [sys.executable, "-m", "towncrier", "build", "--config", "pyproject.toml", "--version", str(version), *options],
        cwd=root,
    ).stdout


def _section(text: str, version: Version) -> str | None:
    found = re.search(
        rf"^## \[?{re.escape(str(version))}\]?(?: [^\n]*)?$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found.group(0) if found else None
