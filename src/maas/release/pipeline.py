"""The steps of a release before its publication: preconditions, build, signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import console, paths
from maas.errors import MaasError, ReleaseError
from maas.release import build, changelog, helm_provenance, provenance, publish, sbom, signers
from maas.release import checksums as sums
from maas.release import version as versions
from maas.release.checkout import Checkout, current, git
from maas.release.signers import Gpg
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from maas.release.signers import Signer

BRANCH = "main"


@dataclass(frozen=True)
class Release:
    """A release that was built and signed.

    Attributes:
        version: Its version.
        commit: The commit that it was built from.
        directory: The directory of its files.
        signatures: Who signed each file, by its name.
    """

    version: Version
    commit: str
    directory: Path
    signatures: dict[str, str]


def build_and_sign(
    wanted: str, *, sign: Sequence[str], passphrase: Path | None, targets: Sequence[str], yes: bool
) -> Release:
    """Build and sign a release from the commit of this checkout.

    Args:
        wanted: Its version.
        sign: Any number of signers: `gpg:FINGERPRINT`, `key:FILE` or `sigstore`.
        passphrase: A file with the passphrase of the key.
        targets: Where it will be published: directories and `oci://` addresses.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        ReleaseError: Preconditions are not met; the error lists all of them.
        MaasError: Building or signing failed.
    """
    version = Version.parse(wanted)
    source = current()
    with console.phase("Preconditions") as step:
        chosen = [signers.signer(text, passphrase=passphrase) for text in sign]
        if found := list(blockers(source, version, chosen, targets)):
            count = "1 precondition is" if len(found) == 1 else f"{len(found)} preconditions are"
            raise ReleaseError(
                f"cannot release {version}: {count} not met",
                context=[f"{number}. {what}" for number, what in enumerate(found, start=1)],
                hint="nothing was built or published; docs/releasing.md lists the steps of a release",
            )
        step.note(f"{source.commit[:12]} of {source.created}")
    output = build.commit(None, yes=yes)
    with console.phase("Signatures") as step:
        signatures = sign_all(output, chosen)
        step.note(", ".join(sign))
    return Release(version, source.commit, output, signatures)


def blockers(source: Checkout, version: Version, chosen: Sequence[Signer], targets: Sequence[str]) -> Iterator[str]:
    """Yield every precondition that is not met, one sentence each, with the fix."""
    yield from _commit(source, version)
    yield from _documentation(source.root, version)
    if not tested(source.commit).is_file():
        yield f"the tests have not passed for {source.commit[:12]}; run ./nox -s tests"
    if any((source.root / "dist" / str(version)).glob("*")):
        yield f"dist/{version} contains files of another run; run rm -r dist/{version}"
    if not chosen:
        yield "no signer; use --sign gpg:FINGERPRINT, --sign key:FILE or --sign sigstore"
    for signer in chosen:
        try:
            signer.ready()
        except MaasError as error:
            yield error.message
    for target in targets:
        yield from publish.conflicts(target, str(version))


def _commit(source: Checkout, version: Version) -> Iterator[str]:
    root = source.root
    if changed := git(root, "status", "--porcelain"):
        files = [line.split(maxsplit=1)[1] for line in changed.splitlines()]
        more = f" and {len(files) - 1} more" if files[1:] else ""
        yield f"the working tree is not clean: {files[0]}{more}; commit or delete the changes"
    if (branch := git(root, "rev-parse", "--abbrev-ref", "HEAD")) != BRANCH:
        yield f"the checkout is on the branch {branch}; releases are built from {BRANCH}"
    tags = git(root, "tag", "--list", "v*").splitlines()
    if f"v{version}" in tags:
        yield f"the tag v{version} exists; a version is released only once"
    if later := [tag for tag in tags if _follows(tag, version)]:
        yield f"{', '.join(later)} is newer and already released"


def _documentation(root: Path, version: Version) -> Iterator[str]:
    if others := versions.disagreements(root, version):
        found = ", ".join(f"{mention.where} has {mention.version}" for mention in others)
        yield f"some files have another version than {version}: {found}; run {paths.command('version', str(version))}"
    if changelog.fragments(root):
        yield f"{changelog.FILE} lacks changes of {changelog.FRAGMENTS}; run {paths.command('changelog', str(version))}"
    if not changelog.changes((root / changelog.FILE).read_text(encoding="utf-8"), version):
        yield f"{changelog.FILE} has no section for {version}; run {paths.command('changelog', str(version))}"


def tested(commit: str) -> Path:
    """Return the file that `./nox -s tests` creates when all tests pass for a commit in a clean working tree."""
    return paths.cache() / "tested" / commit


def sign_all(directory: Path, chosen: Sequence[Signer]) -> dict[str, str]:
    """Sign the charts, the SBOMs, the statement about the build and the checksums.

    Returns:
        The suffixes of the signatures, by file.

    Raises:
        MaasError: A signer failed.
    """
    signed: dict[str, list[str]] = {}
    plain = [*sorted(directory.glob(f"*{sbom.SUFFIX}")), directory / sums.FILE]
    for signer in chosen:
        made = [(file, signer.sign(file)) for file in plain]
        statement = directory / provenance.FILE
        made.append((statement, signer.attest(statement)))
        if isinstance(signer, Gpg):
            made += [(chart, _prove(chart, signer)) for chart in sorted(directory.glob("*.tgz"))]
        for file, signature in made:
            signed.setdefault(file.name, []).append(signature.name.removeprefix(file.name))
    return {name: " ".join(suffixes) for name, suffixes in signed.items()}


def _prove(chart: Path, signer: Gpg) -> Path:
    target = chart.with_name(chart.name + helm_provenance.SUFFIX)
    signer.clear_sign(helm_provenance.text(chart), target)
    return target


def _follows(tag: str, version: Version) -> bool:
    try:
        return Version.parse(tag.removeprefix("v")) > version
    except MaasError:
        return False
