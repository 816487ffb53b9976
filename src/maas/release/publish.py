"""Publication of a release to a directory that a web server serves, or to a registry."""

from __future__ import annotations

from pathlib import Path

from maas import console
from maas.bundle import cache
from maas.errors import ReleaseError, VerificationError
from maas.release import checksums, cosign, oci, provenance, repository, trust


def conflicts(target: str, version: str) -> list[str]:
    """Return why a new version cannot be published to a target, one sentence each.

    Raises:
        UsageError: The target is not valid.
    """
    if target.startswith(oci.SCHEME):
        return oci.conflicts(target, version)
    return repository.conflicts(Path(target), version)


def publish(release: Path, target: str) -> list[str]:
    """Publish a release to one target, and return the pushed artifacts. What is already there is compared, not changed.

    Args:
        release: Its directory.
        target: A directory, or `oci://REGISTRY/PATH`.

    Raises:
        UsageError: The target is not valid.
        ReleaseError: The release is incomplete, or the target has another release of this version.
    """
    with console.phase(f"Publish to {target}") as step:
        version = _complete(release)
        metadata = release / repository.METADATA
        if target.startswith(oci.SCHEME):
            image = next(release.glob("*.oci.tar"))
            pushed = oci.publish(release, target, version, image=image, metadata=metadata)
            step.note(f"{len(pushed)} artifacts")
            return pushed
        step.note(repository.publish(release, Path(target), version, metadata=metadata))
        return []


def _complete(release: Path) -> str:
    """Return the version of a release after checking that its files are complete and signed.

    Raises:
        ReleaseError: They are not.
    """
    try:
        listed = checksums.read(release)
        statement = provenance.read(release / provenance.FILE)
    except VerificationError as error:
        raise ReleaseError(f"{release} is not a release", context=[error.message, *error.context]) from error
    problems = [
        f"{name} is missing or differs"
        for name, digest in listed.items()
        if not (release / name).is_file() or cache.sha256(release / name) != digest
    ]
    if not any((release / f"{checksums.FILE}{suffix}").is_file() for suffix in (trust.ASC, cosign.BUNDLE)):
        problems.append(f"{checksums.FILE} is not signed")
    if problems:
        raise ReleaseError(f"{release} is incomplete", context=problems, hint="make the release again")
    return provenance.version_of(statement)
