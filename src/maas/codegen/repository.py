"""What git knows about the checkout: its files and its commits."""

from __future__ import annotations

from maas import paths, process

SUBJECT_LENGTH = 72
"""Characters of a commit's subject; longer ones are cut off by git's own and by hosting services' listings."""

_HERE = "src/maas/codegen/repository.py"
"""This file: the commits since the one that added it are checked."""


def files() -> list[str]:
    """Return the files of the checkout that git does not ignore, relative to its root."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = set(process.run(argv, cwd=paths.content()).stdout.splitlines())
    return sorted(file for file in listed if (paths.content() / file).is_file())


def long_subjects() -> list[tuple[str, str]]:
    """Return hash and subject of each commit since this check was added whose subject is too long.

    In a shallow clone these are the commits that it has.
    """
    added = _log("--diff-filter=A", "--format=%H", "--", _HERE)
    if not added:
        return []
    lines = _log("--no-merges", "--format=%h %s", f"{added[-1]}..HEAD")
    commits = [(short, subject) for short, _, subject in (line.partition(" ") for line in lines)]
    return [(short, subject) for short, subject in commits if len(subject) > SUBJECT_LENGTH]


def _log(*words: str) -> list[str]:
    return process.run(["git", "log", *words], cwd=paths.content()).stdout.splitlines()
