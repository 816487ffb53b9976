"""Verification of a release in a directory, a chart repository or a registry.

The checks go from the signature of the checksums to each part of the release, and stop at the first one that fails. They
do not run or unpack anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx

from maas import console, files, paths
from maas.bundle import cache, restaurant_image
from maas.errors import ReleaseError, UsageError, VerificationError
from maas.helm import render
from maas.release import app_image, checksums, cosign, helm_provenance, oci, provenance, repository, signers
from maas.release.trust import ASC, Trust
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_SBOM = ".cdx.json"
_TIMEOUT = 60.0
_LIMIT = 2 * 1024**3
"""Maximum size of a downloaded file, in bytes."""


@dataclass
class Subject:
    """A release to verify.

    Attributes:
        location: Where it is, as the user named it.
        directory: The directory of its files.
        version: Its version.
        trust: The trusted keys.
        index: The index of the chart repository, if it is in one.
        registry: Registry and path, if it is in a registry, which has the image as an image.
        sums: The digests of its files by name, once their signature is verified.
        statement: The statement about the build, once its signature is verified.
    """

    location: str
    directory: Path
    version: str
    trust: Trust
    index: repository.Index | None = None
    registry: str | None = None
    sums: dict[str, str] = field(default_factory=dict)
    statement: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        name: What was checked.
        passed: Whether the release passed.
        detail: What was found.
    """

    name: str
    passed: bool
    detail: str


def trust(keys: Sequence[Path], *, identity: str | None, issuer: str | None) -> Trust:
    """Return the trusted keys; without any, those that this tool ships.

    Args:
        keys: Trusted public keys.
        identity: Trusted identity of a keyless signer.
        issuer: Issuer of that identity.

    Raises:
        UsageError: An identity has no issuer, or nothing is trusted.
    """
    if (identity is None) != (issuer is None):
        raise UsageError("an identity needs its issuer", hint="use --identity and --issuer together")
    keyless = (identity, issuer) if identity is not None and issuer is not None else None
    return Trust([*keys] or ([] if keyless else _shipped_keys()), identity=keyless)


def verify(location: str, trusted: Trust, version: str | None) -> Iterator[CheckResult]:
    """Run every check of a release and yield the results. The result of a failed check is yielded before its error.

    Args:
        location: A directory, the address of a chart repository, or `oci://REGISTRY/PATH/charts/maas:VERSION`.
        trusted: The trusted keys.
        version: Version in a chart repository; without one, the newest.

    Raises:
        UsageError: There is no release at the location.
        VerificationError: A check failed.
    """
    with contextlib.ExitStack() as stack:
        name = "fetch"
        try:
            with console.phase(name):
                subject = stack.enter_context(opened(location, trusted, version))
            yield CheckResult(name, passed=True, detail=subject.version)
            for name, check in CHECKS.items():
                with console.phase(name):
                    detail = check(subject)
                yield CheckResult(name, passed=True, detail=detail)
        except VerificationError as error:
            yield CheckResult(name, passed=False, detail=error.message)
            raise


def _signature(subject: Subject) -> str:
    found = subject.trust.verify_file(subject.directory / checksums.FILE)
    subject.sums = checksums.read(subject.directory)
    return "; ".join(entry.by for entry in found)


def _files(subject: Subject) -> str:
    missing, changed = [], []
    for name, digest in subject.sums.items():
        file = subject.directory / name
        if subject.registry is not None and name.endswith(".oci.tar"):
            continue
        if not file.is_file() or file.is_symlink():
            missing.append(f"{name} is missing")
        elif cache.sha256(file) != digest:
            changed.append(f"{name} differs")
    known = {checksums.FILE, *subject.sums}
    known |= {f"{name}{suffix}" for name in known for suffix in (ASC, cosign.BUNDLE, helm_provenance.SUFFIX)}
    extra = [
        f"{path.name} is not in {checksums.FILE}" for path in subject.directory.iterdir() if path.name not in known
    ]
    if missing or changed or extra:
        raise VerificationError("the files do not match the signed checksums", context=[*changed, *missing, *extra])
    return f"{len(subject.sums)} files"


def _provenance(subject: Subject) -> str:
    file = subject.directory / provenance.FILE
    if provenance.FILE not in subject.sums:
        raise VerificationError("the release has no statement about its build")
    subject.trust.verify_file(file)
    subject.statement = provenance.read(file)
    if found := provenance.problems(subject.statement, subject.sums, version=subject.version):
        raise VerificationError("the statement about the build describes another release", context=found)
    return f"commit {provenance.commit(subject.statement)}"


def _sboms(subject: Subject) -> str:
    names = [name for name in subject.sums if name.endswith(_SBOM)]
    count = 0
    for name in names:
        subject.trust.verify_file(subject.directory / name)
        about = name.removesuffix(_SBOM)
        try:
            bill = json.loads((subject.directory / name).read_text(encoding="utf-8"))
            kind = bill["bomFormat"], bill["specVersion"]
            digest = bill["metadata"]["component"]["hashes"][0]["content"]
            count += len(bill["components"])
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise VerificationError(f"{name} is not an SBOM", context=[repr(error)]) from error
        if kind != ("CycloneDX", "1.6") or digest != subject.sums.get(about):
            raise VerificationError(f"{name} is not the SBOM of {about}")
    if not names:
        raise VerificationError("the release has no SBOM")
    return f"{len(names)} with {count} components"


def _charts(subject: Subject) -> str:
    archives = sorted(name for name in subject.sums if name.endswith(".tgz"))
    proven = 0
    for name in archives:
        archive = subject.directory / name
        packed = repository.chart(archive)
        if packed.described.get("version") != subject.version:
            raise VerificationError(f"{name} contains version {packed.described.get('version')}")
        if subject.trust.openpgp and archive.with_name(name + helm_provenance.SUFFIX).is_file():
            helm_provenance.verify(archive, subject.trust)
            proven += 1
    return f"{len(archives)} archives, {proven} with provenance for `helm --verify`"


def _image(subject: Subject) -> str:
    listed = (subject.directory / "images.txt").read_text(encoding="utf-8").splitlines()
    name = restaurant_image.reference().rpartition(":")[0]
    ours = [line.partition("@")[2] for line in listed if line.startswith(f"{name}:{subject.version}@")]
    about = provenance.subjects(subject.statement).get(f"{name}:{subject.version}")
    if len(ours) != 1 or ours[0] != f"sha256:{about}":
        raise VerificationError(
            "images.txt and the statement about the build name different images of the restaurant application"
        )
    if subject.registry is None:
        archive = next(name for name in subject.sums if name.endswith(".oci.tar"))
        try:
            found: str | None = app_image.digest(subject.directory / archive)
        except ReleaseError as error:
            raise VerificationError(error.message, context=error.context) from error
    else:
        found = oci.image_digest(subject.registry, subject.version)
    if found != ours[0]:
        raise VerificationError(
            "the image of the restaurant application differs", context=[f"expected {ours[0]}, found {found}"]
        )
    return f"{name}@{found}"


def _index(subject: Subject) -> str:
    if subject.index is None:
        return "not from a chart repository"
    for chart, entry in repository.entries(subject.directory, subject.version).items():
        listed = [other for other in subject.index.get(chart, []) if other.version == subject.version]
        if listed != [entry]:
            expected, found = entry.model_dump(), listed[0].model_dump() if listed else {}
            keys = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
            raise VerificationError(
                f"the index entry of {chart} {subject.version} does not match its archive", context=[", ".join(keys)]
            )
    _refuse_rollback(subject)
    return f"{sum(len(listed) for listed in subject.index.values())} entries"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "signature of the checksums": _signature,
    "files": _files,
    "provenance": _provenance,
    "SBOMs": _sboms,
    "charts": _charts,
    "image": _image,
    "index": _index,
}


@contextlib.contextmanager
def opened(location: str, trust: Trust, version: str | None) -> Iterator[Subject]:
    """Open a release, and download it first if it is not in a directory.

    Raises:
        UsageError: There is no release at the location.
        VerificationError: The release is incomplete.
    """
    directory = Path(location)
    with cache.scratch() as scratch:
        if location.startswith(oci.SCHEME):
            found, registry = oci.fetch(location, scratch)
            yield Subject(location, scratch, found, trust, registry=registry)
        elif location.startswith(("http://", "https://")):
            yield _download(location.rstrip("/") + "/", scratch, trust, version)
        elif (directory / repository.FILE).is_file():
            index = repository.read((directory / repository.FILE).read_text(encoding="utf-8"))
            chosen = _choose(index, version)
            yield Subject(str(directory.resolve()), directory / chosen, chosen, trust, index=index)
        elif (directory / checksums.FILE).is_file():
            yield Subject(location, directory, _version(checksums.read(directory)), trust)
        else:
            raise UsageError(
                f"{location} is neither a release nor a chart repository",
                hint="use a directory, an http:// or https:// address, or oci://REGISTRY/PATH/charts/maas:VERSION",
            )


def _shipped_keys() -> list[Path]:
    """Return the project's public keys that this tool ships."""
    return sorted(file for file in (paths.content() / signers.PUBLIC).glob("*") if file.suffix in {".asc", ".pub"})


def _version(names: Iterable[str]) -> str:
    """Return the version in the file name of the umbrella chart; a later check compares the archive with it.

    Raises:
        VerificationError: There is no umbrella chart.
    """
    found = [name.removeprefix(f"{render.UMBRELLA}-").removesuffix(".tgz") for name in names if name.endswith(".tgz")]
    for text in found:
        with contextlib.suppress(UsageError):
            return str(Version.parse(text))
    raise VerificationError(f"{checksums.FILE} lists no chart {render.UMBRELLA}")


def _choose(index: repository.Index, version: str | None) -> str:
    known = {entry.version for listed in index.values() for entry in listed}
    if not known:
        raise VerificationError("the index lists no chart")
    if version is not None and version not in known:
        raise UsageError(f"the index does not list {version}", hint=f"it lists {', '.join(sorted(known))}")
    return version or str(max(Version.parse(text) for text in known))


def _download(address: str, directory: Path, trust: Trust, version: str | None) -> Subject:
    try:
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
            listed = client.get(urljoin(address, repository.FILE))
            if listed.status_code != httpx.codes.OK:
                raise UsageError(
                    f"{address} is not a chart repository", context=[f"{repository.FILE}: {listed.status_code}"]
                )
            index = repository.read(listed.text)
            chosen = _choose(index, version)
            base = urljoin(address, f"{chosen}/")
            _get(client, base, checksums.FILE, directory)
            sums = checksums.read(directory)
            for name in sums:
                _get(client, base, name, directory)
            for name in (checksums.FILE, *sums):
                for suffix in (ASC, cosign.BUNDLE, *((helm_provenance.SUFFIX,) if name.endswith(".tgz") else ())):
                    if name in {checksums.FILE, provenance.FILE} or name.endswith((".tgz", _SBOM)):
                        _get(client, base, f"{name}{suffix}", directory, optional=True)
    except httpx.HTTPError as error:
        raise VerificationError(f"{address} does not answer", context=[str(error)]) from error
    return Subject(address, directory, chosen, trust, index=index)


def _get(client: httpx.Client, base: str, name: str, directory: Path, *, optional: bool = False) -> None:
    with client.stream("GET", urljoin(base, name)) as answer:
        if answer.status_code == httpx.codes.NOT_FOUND and optional:
            return
        if answer.status_code != httpx.codes.OK:
            raise VerificationError(f"cannot download {base}{name}", context=[f"status {answer.status_code}"])
        size = 0
        with (directory / name).open("wb") as file:
            for part in answer.iter_bytes():
                size += len(part)
                if size > _LIMIT:
                    raise VerificationError(f"{base}{name} is larger than {_LIMIT} bytes")
                file.write(part)


def _refuse_rollback(subject: Subject) -> None:
    """Compare an index with what this user saw of it before: its versions must still be there, with the same digests."""
    kept = paths.states() / ".releases" / f"{hashlib.sha256(subject.location.encode()).hexdigest()[:32]}.json"
    assert subject.index is not None  # noqa: S101 - the only caller checks it
    now = {f"{chart} {entry.version}": entry.digest for chart, listed in subject.index.items() for entry in listed}
    before: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))["seen"] if kept.is_file() else {}
    lost = [f"{name} is missing" for name in before.keys() - now.keys()]
    lost += [f"{name} has another digest" for name, digest in before.items() if now.get(name, digest) != digest]
    if lost:
        raise VerificationError(
            f"the index of {subject.location} has been rolled back or rewritten",
            context=sorted(lost),
            hint=f"you may be the target of a rollback attack; if the maintainers confirm the change, delete {kept}",
        )
    kept.parent.mkdir(exist_ok=True, mode=0o700)
    files.write_private(kept, json.dumps({"where": subject.location, "seen": now}).encode())
