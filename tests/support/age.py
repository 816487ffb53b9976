"""Key pairs of age."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from maas.bundle import tools

if TYPE_CHECKING:
    from pathlib import Path


def key_pair(file: Path) -> str:
    """Write a private key to a file and return its public key."""
    program = tools.tool("age-keygen")
    subprocess.run([program, "-o", file], check=True, capture_output=True)
    file.chmod(0o600)
    return subprocess.run([program, "-y", file], check=True, capture_output=True, text=True).stdout.strip()
