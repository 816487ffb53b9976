"""The Python package of the tool, with the charts and the Ansible content inside."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maas import process

if TYPE_CHECKING:
    from pathlib import Path

    from maas.release.checkout import Source


def build(source: Source, directory: Path) -> None:
    """Put the wheel and the source distribution into a directory.

    hatchling, without an isolated environment: it is pinned with its hash beside everything else that builds a release.

    Raises:
        ProcessError: hatchling refuses.
    """
    process.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--target",
            "sdist",
            "--directory",
            directory,
        ],
        cwd=source.root,
        env=source.environment,
        timeout=120,
    )


def names(source: Source) -> tuple[str, str]:
    """The names of the wheel and of the source distribution."""
    return f"maas-{source.version.python}-py3-none-any.whl", f"maas-{source.version.python}.tar.gz"
