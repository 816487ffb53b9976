"""From the directory of a release to where people get it: a directory that a web server hands out, or a registry."""

from __future__ import annotations

from pathlib import Path

from maas import console
from maas.bundle import cache
from maas.errors import ReleaseError, VerificationError
from maas.release import checksums, oci, provenance, repository, signing


def refusals(target: str, version: str) -> list[str]:
    """Why a version cannot be published anew to a target, one sentence each.

    Raises:
        UsageError: The target is none.
    """
    if target.startswith(oci.SCHEME):
        return oci.refusals(target, version)
    return repository.refusals(Path(target), version)


def to(release: Path, target: str) -> None:
    """Publish a release to one target; what is there already is compared and left alone.

    Args:
        release: Its directory.
        target: A directory, or `oci://REGISTRY/PATH`.

    Raises:
        UsageError: The target is none.
        ReleaseError: The release is not whole, or the target has other bytes for its version.
    """
    with console.phase(f"Publish to {target}") as step:
        version = _whole(release)
        metadata = release / repository.METADATA
        if target.startswith(oci.SCHEME):
            image = next(release.glob("*.oci.tar"))
            said = oci.publish(release, target, version, image=image, metadata=metadata)
            for line in said:
                console.line(f"  {line}")
            step.note(f"{len(said)} artifacts")
        else:
            step.note(repository.publish(release, Path(target), version, metadata=metadata))


def _whole(release: Path) -> str:
    """The version of a release whose files are all there and signed.

    Raises:
        ReleaseError: They are not.
    """
    try:
        listed = checksums.read(release)
        statement = provenance.read(release / provenance.FILE)
    except VerificationError as error:
        raise ReleaseError(f"{release} is no release", context=[error.message, *error.context]) from error
    faults = [
        f"{name} is missing or was changed"
        for name, digest in listed.items()
        if not (release / name).is_file() or cache.sha256(release / name) != digest
    ]
    list_of = release / checksums.FILE
    if not any(list_of.with_name(list_of.name + suffix).is_file() for suffix in (signing.ASC, signing.BUNDLE)):
        faults.append(f"{checksums.FILE} is not signed")
    if faults:
        raise ReleaseError(f"{release} is not whole", context=faults, hint="make the release again")
    return provenance.version_of(statement)
