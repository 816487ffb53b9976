"""Helm's provenance file of a chart: its Chart.yaml and its digest, clear-signed with OpenPGP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from maas.bundle import cache
from maas.errors import VerificationError
from maas.release import repository

if TYPE_CHECKING:
    from pathlib import Path

    from maas.release.trust import Trust

SUFFIX = ".prov"
_MIDDLE = "\n...\n"
"""Separator of the two documents."""


def text(archive: Path) -> str:
    """Return the text to sign for an archive.

    Raises:
        VerificationError: The file is not a chart archive.
    """
    described = yaml.safe_dump(repository.chart(archive).described, allow_unicode=True, width=1000)
    return f"{described}{_MIDDLE}{yaml.safe_dump({'files': {archive.name: f'sha256:{cache.sha256(archive)}'}})}"


def verify(archive: Path, trust: Trust) -> None:
    """Verify the provenance file of an archive.

    Raises:
        VerificationError: The signature is not valid, or the file describes another archive.
    """
    file = archive.with_name(archive.name + SUFFIX)
    if trust.clear_signed(file).strip() != text(archive).strip():
        raise VerificationError(f"{file.name} describes another archive than {archive.name}")
