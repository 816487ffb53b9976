"""SHA256SUMS: the one list that stands for all files of a release, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maas.bundle import cache
from maas.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]*)")


def write(directory: Path, names: Iterable[str]) -> Path:
    """Write the list of some files of a directory, sorted by name."""
    file = directory / FILE
    file.write_text("".join(f"{cache.sha256(directory / name)}  {name}\n" for name in sorted(names)), encoding="utf-8")
    return file


def read(directory: Path) -> dict[str, str]:
    """The list of a directory: digests by name.

    Raises:
        VerificationError: It is not there, or has a line that is none; a name with a path in it is no name.
    """
    try:
        text = (directory / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"there is no list {FILE}", context=[str(error)]) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise VerificationError(f"{FILE} cannot be trusted", context=[f"line {number}: {line[:120]}"])
        found[match[2]] = match[1]
    return found
