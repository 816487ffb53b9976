"""The Python package of the tool, which contains the charts and the Ansible content."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maas import process

if TYPE_CHECKING:
    from pathlib import Path

    from maas.release.checkout import Checkout


def build(source: Checkout, directory: Path) -> None:
    """Build the wheel and the source distribution.

    hatchling runs without an isolated environment, because requirements/release.txt pins it with its hash.

    Raises:
        ProcessError: hatchling failed.
    """
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--target", "sdist"]
    process.run([*argv, "--directory", directory], cwd=source.root, env=source.environment, timeout=120)


def names(source: Checkout) -> tuple[str, str]:
    """Return the file names of the wheel and of the source distribution."""
    return f"maas-{source.version.python}-py3-none-any.whl", f"maas-{source.version.python}.tar.gz"
