"""`maas verify`: verify the signatures and files of a release."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from maas import console
from maas.errors import VerificationError
from maas.release import verify as checks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.release.verify import CheckResult

_ADVICE = "fetch it again, from another source if there is one, and report it to the maintainers (SECURITY.md)"


def verify(
    location: str, *, keys: Sequence[Path], identity: str | None, issuer: str | None, version: str | None
) -> None:
    """Verify a release and show the checks.

    Args:
        location: A directory, the address of a chart repository, or `oci://REGISTRY/PATH/charts/maas:VERSION`.
        keys: Trusted public keys; without any, those that this tool ships.
        identity: Trusted identity of a keyless signer.
        issuer: Issuer of that identity.
        version: Version in a chart repository; without one, the newest.

    Raises:
        UsageError: Nothing is trusted, or there is no release at the location.
        VerificationError: A check failed; the table shows which one.
    """
    began = time.monotonic()
    trusted = checks.trust(keys, identity=identity, issuer=issuer)
    results: list[CheckResult] = []
    try:
        results.extend(checks.verify(location, trusted, version))
    except VerificationError as error:
        _show(location, results)
        raise VerificationError(
            f"do not use {location}: {error.message}", context=error.context, hint=error.hint or _ADVICE
        ) from error
    _show(location, results)
    found, *_ = results
    seconds = console.elapsed(time.monotonic() - began)
    console.line(f"{location}: release {found.detail} is complete and signed, {seconds}")


def _show(location: str, results: Sequence[CheckResult]) -> None:
    if console.json_requested():
        valid = all(result.passed for result in results)
        console.document({"location": location, "valid": valid, "checks": [asdict(result) for result in results]})
    else:
        rows = [("✓" if result.passed else "✗", result.name, result.detail) for result in results]
        console.table(location, ("", "check", "result"), rows)
