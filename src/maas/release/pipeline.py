"""A release: what stands against it, all of it at once; then building, signing, and only if asked publishing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maas import console, paths
from maas.errors import MaasError, ReleaseError
from maas.release import build, changelog, helm_provenance, provenance, publish, sbom, signing
from maas.release import checksums as sums
from maas.release import version as versions
from maas.release.checkout import Source, git, here
from maas.release.signing import Gpg
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from maas.release.signing import Signer

BRANCH = "main"


def release(wanted: str, *, sign: Sequence[str], passphrase: Path | None, targets: Sequence[str], yes: bool) -> None:
    """Make a release of the commit that this checkout stands on.

    Args:
        wanted: Its version.
        sign: Who signs it: `gpg:FINGERPRINT`, `key:FILE` or `sigstore`, any number of them.
        passphrase: A file with the passphrase of the key.
        targets: Where to publish it: directories and `oci://` addresses. None is named: nothing is published.
        yes: Do not ask before installing or starting a container engine.

    Raises:
        ReleaseError: Something stands against it; all of it is said at once.
        MaasError: Something cannot be built, signed or published.
    """
    began = time.monotonic()
    version = Version.parse(wanted)
    source = here()
    with console.phase("Guards") as step:
        signers = [signing.signer(text, passphrase=passphrase) for text in sign]
        if found := list(guards(source, version, signers, targets)):
            raise ReleaseError(
                f"{version} cannot be released: {len(found)} things stand against it",
                context=[f"{number}. {what}" for number, what in enumerate(found, start=1)],
                hint="nothing was built and nothing was published; docs/releasing.md has the order of things",
            )
        step.note(f"{source.commit[:12]} of {source.created}")
    output = build.commit(None, yes=yes)
    with console.phase("Signatures") as step:
        signatures = sign_all(output, signers)
        step.note(", ".join(sign))
    build.summary(output, signatures, began=began)
    for target in targets:
        publish.to(output, target)
    if not targets:
        console.line(f"nothing is published; next: {paths.command('publish', str(output), '--to', 'TARGET')}")
    console.line(f"then: git tag --sign v{version} {source.commit[:12]} && git push origin v{version}")


def guards(source: Source, version: Version, signers: Sequence[Signer], targets: Sequence[str]) -> Iterator[str]:
    """Everything that stands against a release, one sentence each, with what to do."""
    yield from _commit(source, version)
    yield from _telling(source.root, version)
    if not tested(source.commit).is_file():
        yield f"the tests did not pass for {source.commit[:12]}; ./nox -s tests"
    if any((source.root / "dist" / str(version)).glob("*")):
        yield f"dist/{version} has files of another run; rm -r dist/{version}"
    if not signers:
        yield "nobody signs it; --sign gpg:FINGERPRINT, --sign key:FILE or --sign sigstore"
    for signer in signers:
        try:
            signer.ready()
        except MaasError as error:
            yield error.message
    for target in targets:
        yield from publish.refusals(target, str(version))


def _commit(source: Source, version: Version) -> Iterator[str]:
    root = source.root
    if changed := git(root, "status", "--porcelain"):
        files = [line.split(maxsplit=1)[1] for line in changed.splitlines()]
        more = f" and {len(files) - 1} more" if files[1:] else ""
        yield f"the tree is not clean: {files[0]}{more}; commit or remove it"
    if (branch := git(root, "rev-parse", "--abbrev-ref", "HEAD")) != BRANCH:
        yield f"the checkout is on {branch}; releases are made from {BRANCH}"
    tags = git(root, "tag", "--list", "v*").splitlines()
    if f"v{version}" in tags:
        yield f"the tag v{version} exists; a version is released once"
    if later := [tag for tag in tags if _follows(tag, version)]:
        yield f"{', '.join(later)} was released before, and is newer"


def _telling(root: Path, version: Version) -> Iterator[str]:
    if others := versions.disagreements(root, version):
        told = ", ".join(f"{mention.where} says {mention.version}" for mention in others)
        yield f"not every place says {version}: {told}; {paths.command('version', str(version))}"
    if changelog.fragments(root):
        yield f"there are changes that {changelog.FILE} does not tell; {paths.command('changelog', str(version))}"
    if not changelog.changes((root / changelog.FILE).read_text(encoding="utf-8"), version):
        yield f"{changelog.FILE} does not tell of {version}; {paths.command('changelog', str(version))}"


def tested(commit: str) -> Path:
    """The file that `./nox -s tests` leaves when all tests passed for a commit in a clean tree."""
    return paths.cache() / "tested" / commit


def sign_all(directory: Path, signers: Sequence[Signer]) -> dict[str, str]:
    """Sign the charts, the bills of materials, the statement and the list of checksums; return who signed what.

    Raises:
        ReleaseError: A signer does not sign.
    """
    signed: dict[str, list[str]] = {}
    plain = [*sorted(directory.glob(f"*{sbom.SUFFIX}")), directory / sums.FILE]
    for signer in signers:
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
