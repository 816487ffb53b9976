"""SHA256SUMS: the checksums of all files of a release, in the format of `sha256sum --check`."""

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
    """Write the checksums of some files of a directory, sorted by name."""
    file = directory / FILE
    file.write_text("".join(f"{cache.sha256(directory / name)}  {name}\n" for name in sorted(names)), encoding="utf-8")
    return file


def read(directory: Path) -> dict[str, str]:
    """Return the checksums of a directory by file name.

    Raises:
        VerificationError: The file is missing, or a line is not valid. A name must not contain a path.
    """
    try:
        text = (directory / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"cannot read {FILE}", context=[str(error)]) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise VerificationError(f"{FILE} is not valid", context=[f"line {number}: {line[:120]}"])
        found[match[2]] = match[1]
    return found
