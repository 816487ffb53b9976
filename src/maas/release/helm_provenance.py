"""The provenance file of a chart, as Helm defines it: its Chart.yaml and its digest, clear-signed with OpenPGP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from maas.bundle import cache
from maas.errors import VerificationError
from maas.release import repository

if TYPE_CHECKING:
    from pathlib import Path

    from maas.release.signing import Trust

SUFFIX = ".prov"
_MIDDLE = "\n...\n"
"""What Helm looks for between the two documents."""


def text(archive: Path) -> str:
    """What is signed of an archive.

    Raises:
        VerificationError: It is no archive of a chart.
    """
    described = yaml.safe_dump(repository.chart(archive).described, allow_unicode=True, width=1000)
    return f"{described}{_MIDDLE}{yaml.safe_dump({'files': {archive.name: f'sha256:{cache.sha256(archive)}'}})}"


def verify(archive: Path, trust: Trust) -> None:
    """Check the provenance of an archive.

    Raises:
        VerificationError: The signature does not hold, or it is about another archive.
    """
    file = archive.with_name(archive.name + SUFFIX)
    if trust.clear_signed(file).strip() != text(archive).strip():
        raise VerificationError(f"{file.name} is signed, and is about another archive than {archive.name}")
