"""`maas lint`, `generate`, `package` and `release`: what needs a checkout. Not part of the wheel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maas import console, paths
from maas.bundle import cache
from maas.codegen import lint as checks
from maas.codegen import outputs, terminology
from maas.commands.release import publish
from maas.errors import ChartError
from maas.helm import render
from maas.release import build, pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def lint(texts: Sequence[str] = ()) -> None:
    """Run every check of the charts and texts, or list the findings of terms and spelling below some paths.

    Raises:
        ChartError: A check found a problem.
    """
    if texts:
        for finding in terminology.findings(terminology.texts(*texts)):
            console.line(str(finding))
        return
    found: list[str] = []
    for name, check in checks.CHECKS.items():
        with console.phase(name) as step:
            faults = [f"{name}: {fault.where}: {fault.what}" for fault in check()]
            step.note(f"{len(faults)} problems" if faults else "")
        found += faults
    if found:
        raise ChartError(f"the checks found {len(found)} problems", context=found)


def generate() -> None:
    """Regenerate the charts' generated files, and show which have changed."""
    with console.phase("Generate") as step:
        changed = outputs.write()
        step.note(f"{len(changed)} files changed")
    for file in changed:
        console.line(f"  {file.relative_to(render.umbrella())}")


def package(directory: Path | None, *, in_place: bool, yes: bool) -> None:
    """Build the files of a release and show them.

    Args:
        directory: An empty directory for the files. Without one, dist/VERSION of the checkout.
        in_place: This checkout is the clone of the commit.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        MaasError: A part cannot be built.
    """
    if in_place and directory is not None:
        build.in_place(directory, yes=yes)
        return
    began = time.monotonic()
    _show(build.commit(directory, yes=yes), {}, began=began)


def release(wanted: str, *, sign: Sequence[str], passphrase: Path | None, targets: Sequence[str], yes: bool) -> None:
    """Build, sign and publish a release, and show its files.

    Args:
        wanted: Its version.
        sign: Any number of signers: `gpg:FINGERPRINT`, `key:FILE` or `sigstore`.
        passphrase: A file with the passphrase of the key.
        targets: Where to publish it: directories and `oci://` addresses. Without any, nothing is published.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        ReleaseError: Preconditions are not met; the error lists all of them.
        MaasError: Building, signing or publishing failed.
    """
    began = time.monotonic()
    made = pipeline.build_and_sign(wanted, sign=sign, passphrase=passphrase, targets=targets, yes=yes)
    _show(made.directory, made.signatures, began=began)
    publish(made.directory, targets)
    if not targets:
        console.line(f"not published; to publish: {paths.command('publish', str(made.directory), '--to', 'TARGET')}")
    tag = f"v{made.version}"
    console.line(f"next: git tag --sign {tag} {made.commit[:12]} && git push origin {tag}")


def _show(directory: Path, signatures: Mapping[str, str], *, began: float) -> None:
    """Show every file of a release with its size, digest and signatures."""
    rows = [
        (file.name, f"{file.stat().st_size:,}", cache.sha256(file)[:16], signatures.get(file.name, ""))
        for file in sorted(directory.iterdir())
    ]
    console.table(f"{directory}", ("file", "bytes", "sha256", "signed"), rows)
    console.line(f"{len(rows)} files in {console.elapsed(time.monotonic() - began)}")
