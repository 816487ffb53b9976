"""Is this release what its makers signed, whole and unchanged?

For a directory, a chart repository or a registry, the questions are asked in one order, from who signed it to what every part
is; the first kind of fault ends it. Nothing is run or unpacked on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx

from maas import console, files, paths
from maas.bundle import cache, restaurant_image
from maas.errors import ReleaseError, UsageError, VerificationError
from maas.helm import render
from maas.release import app_image, checksums, helm_provenance, oci, provenance, repository, signing
from maas.release.signing import Trust
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_BILL = ".cdx.json"
_TIMEOUT = 60.0
_LIMIT = 2 * 1024**3
"""Bytes of one file that are fetched at most."""


@dataclass
class Subject:
    """A release that is looked at.

    Attributes:
        where: Where it came from, as the user named it.
        directory: Where its files lie now.
        version: Its version.
        trust: Who is believed.
        index: The index that names it, when it came from a chart repository.
        place: Registry and path, when it came from a registry, which keeps the image as an image.
        sums: The digests of its files by name, once their signature was checked.
        statement: What says how it was built, once its signature was checked.
    """

    where: str
    directory: Path
    version: str
    trust: Trust
    index: dict[str, list[repository.Entry]] | None = None
    place: str | None = None
    sums: dict[str, str] = field(default_factory=dict)
    statement: dict[str, Any] = field(default_factory=dict)


def verify(where: str, *, keys: Sequence[Path], identity: str | None, issuer: str | None, version: str | None) -> None:
    """Verify a release and show what was checked.

    Args:
        where: A directory, the address of a chart repository, or `oci://REGISTRY/PATH/charts/maas:VERSION`.
        keys: Public keys that are believed; without any, those that the tool carries.
        identity: Who signs without a key.
        issuer: Who vouches for that identity.
        version: Which version of a chart repository; without one, the newest.

    Raises:
        UsageError: Nobody is believed, or there is no such place.
        VerificationError: The release is not what it should be; the table shows which check found it.
    """
    began = time.monotonic()
    if (identity is None) != (issuer is None):
        raise UsageError("an identity is believed together with its issuer", hint="give --identity and --issuer")
    believed = (identity, issuer) if identity is not None and issuer is not None else None
    trust = Trust([*keys] or ([] if believed else _carried()), identity=believed)
    rows: list[tuple[str, str, str]] = []
    try:
        with _row("fetch", rows) as step, contextlib.ExitStack() as stack:
            subject = stack.enter_context(opened(where, trust, version))
            step.append(subject.version)
            kept = stack.pop_all()
        with kept:
            for name, check in CHECKS.items():
                with _row(name, rows) as step:
                    step.append(check(subject))
    except VerificationError as error:
        console.table(where, ("", "check", "result"), rows)
        said, hint = f"{where} is not to be used: {error.message}", error.hint or _ADVICE
        raise VerificationError(said, context=error.context, hint=hint) from error
    console.table(where, ("", "check", "result"), rows)
    seconds = console.elapsed(time.monotonic() - began)
    console.line(f"{where}: the release {subject.version} is whole and signed, {seconds}")


@contextlib.contextmanager
def _row(name: str, rows: list[tuple[str, str, str]]) -> Iterator[list[str]]:
    """A check while it runs, and its line in the table; the block appends what it found."""
    found: list[str] = []
    try:
        with console.phase(name):
            yield found
    except VerificationError as error:
        rows.append(("✗", name, error.message))
        raise
    rows.append(("✓", name, " ".join(found)))


_ADVICE = "do not use it; fetch it again, from another place if there is one, and tell the maintainers (SECURITY.md)"


def _signature(subject: Subject) -> str:
    found = subject.trust.file(subject.directory / checksums.FILE)
    subject.sums = checksums.read(subject.directory)
    return "; ".join(entry.by for entry in found)


def _files(subject: Subject) -> str:
    missing, changed = [], []
    for name, digest in subject.sums.items():
        file = subject.directory / name
        if subject.place is not None and name.endswith(".oci.tar"):
            continue
        if not file.is_file() or file.is_symlink():
            missing.append(f"{name} is missing")
        elif cache.sha256(file) != digest:
            changed.append(f"{name} was changed")
    known = {checksums.FILE, *subject.sums}
    known |= {f"{name}{suffix}" for name in known for suffix in (signing.ASC, signing.BUNDLE, helm_provenance.SUFFIX)}
    extra = [
        f"{path.name} is not in {checksums.FILE}" for path in subject.directory.iterdir() if path.name not in known
    ]
    if missing or changed or extra:
        raise VerificationError("the files are not those of the signed list", context=[*changed, *missing, *extra])
    return f"{len(subject.sums)} files"


def _provenance(subject: Subject) -> str:
    file = subject.directory / provenance.FILE
    if provenance.FILE not in subject.sums:
        raise VerificationError("the release does not say how it was built")
    subject.trust.file(file)
    subject.statement = provenance.read(file)
    if found := provenance.problems(subject.statement, subject.sums, version=subject.version):
        raise VerificationError("the statement about the build is about another release", context=found)
    return f"commit {provenance.commit(subject.statement)}"


def _bills(subject: Subject) -> str:
    bills = [name for name in subject.sums if name.endswith(_BILL)]
    count = 0
    for name in bills:
        subject.trust.file(subject.directory / name)
        about = name.removesuffix(_BILL)
        try:
            bill = json.loads((subject.directory / name).read_text(encoding="utf-8"))
            kind = bill["bomFormat"], bill["specVersion"]
            digest = bill["metadata"]["component"]["hashes"][0]["content"]
            count += len(bill["components"])
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise VerificationError(f"{name} is no bill of materials", context=[repr(error)]) from error
        if kind != ("CycloneDX", "1.6") or digest != subject.sums.get(about):
            raise VerificationError(f"{name} is the bill of something else than {about}")
    if not bills:
        raise VerificationError("the release has no bill of materials")
    return f"{len(bills)} with {count} parts"


def _charts(subject: Subject) -> str:
    archives = sorted(name for name in subject.sums if name.endswith(".tgz"))
    proven = 0
    for name in archives:
        archive = subject.directory / name
        packed = repository.chart(archive)
        if packed.described.get("version") != subject.version:
            raise VerificationError(f"{name} says that it is version {packed.described.get('version')}")
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
        raise VerificationError("images.txt has another image of the restaurant than the statement about the build")
    if subject.place is None:
        archive = next(name for name in subject.sums if name.endswith(".oci.tar"))
        try:
            found: str | None = app_image.digest(subject.directory / archive)
        except ReleaseError as error:
            raise VerificationError(error.message, context=error.context) from error
    else:
        found = oci.image_digest(subject.place, subject.version)
    if found != ours[0]:
        raise VerificationError("the image of the restaurant is another one", context=[f"{found}, not {ours[0]}"])
    return f"{name}@{found}"


def _index(subject: Subject) -> str:
    if subject.index is None:
        return "not from a chart repository"
    for chart, entry in repository.entries(subject.directory, subject.version).items():
        listed = [other for other in subject.index.get(chart, []) if str(other["version"]) == subject.version]
        if len(listed) != 1 or listed[0] != entry:
            keys = sorted(
                key
                for key in {*entry, *(listed[0] if listed else ())}
                if not listed or entry.get(key) != listed[0].get(key)
            )
            raise VerificationError(
                f"the index says of {chart} {subject.version} what its archive does not", context=[", ".join(keys)]
            )
    _look_back(subject)
    return f"{sum(len(listed) for listed in subject.index.values())} entries"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "signature of the list": _signature,
    "files": _files,
    "provenance": _provenance,
    "bills of materials": _bills,
    "charts": _charts,
    "image": _image,
    "index": _index,
}


@contextlib.contextmanager
def opened(where: str, trust: Trust, version: str | None) -> Iterator[Subject]:
    """The files of a release, wherever it is.

    Raises:
        UsageError: There is no such place.
        VerificationError: It does not have what a release has.
    """
    with cache.scratch() as scratch:
        if where.startswith(oci.SCHEME):
            found, place = oci.fetch(where, scratch)
            yield Subject(where, scratch, found, trust, place=place)
        elif where.startswith(("http://", "https://")):
            yield _download(where.rstrip("/") + "/", scratch, trust, version)
        elif (Path(where) / repository.FILE).is_file():
            index = repository.read((Path(where) / repository.FILE).read_text(encoding="utf-8"))
            chosen = _choose(index, version)
            yield Subject(str(Path(where).resolve()), Path(where) / chosen, chosen, trust, index=index)
        elif (Path(where) / checksums.FILE).is_file():
            yield Subject(where, Path(where), _version(checksums.read(Path(where))), trust)
        else:
            raise UsageError(
                f"{where} is neither a release nor a chart repository",
                hint="give a directory, an address with http:// or https://, or oci://REGISTRY/PATH/charts/maas:VERSION",
            )


def _carried() -> list[Path]:
    """The project's public keys, as this tool carries them."""
    return sorted(file for file in (paths.content() / signing.PUBLIC).glob("*") if file.suffix in {".asc", ".pub"})


def _version(names: Iterable[str]) -> str:
    """The version that the name of the umbrella's archive says; what the archive says is compared with it later.

    Raises:
        VerificationError: There is no such archive.
    """
    found = [name.removeprefix(f"{render.UMBRELLA}-").removesuffix(".tgz") for name in names if name.endswith(".tgz")]
    for text in found:
        with contextlib.suppress(UsageError):
            return str(Version.parse(text))
    raise VerificationError(f"{checksums.FILE} names no chart {render.UMBRELLA}")


def _choose(index: dict[str, list[repository.Entry]], version: str | None) -> str:
    known = {str(entry["version"]) for listed in index.values() for entry in listed}
    if not known:
        raise VerificationError("the index names no chart")
    if version is not None and version not in known:
        raise UsageError(f"the index does not know {version}", hint=f"it knows {', '.join(sorted(known))}")
    return version or str(max(Version.parse(text) for text in known))


def _download(address: str, directory: Path, trust: Trust, version: str | None) -> Subject:
    try:
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
            listed = client.get(urljoin(address, repository.FILE))
            if listed.status_code != httpx.codes.OK:
                raise UsageError(
                    f"{address} is no chart repository", context=[f"{repository.FILE}: {listed.status_code}"]
                )
            index = repository.read(listed.text)
            chosen = _choose(index, version)
            base = urljoin(address, f"{chosen}/")
            _get(client, base, checksums.FILE, directory)
            sums = checksums.read(directory)
            for name in sums:
                _get(client, base, name, directory)
            for name in (checksums.FILE, *sums):
                for suffix in (
                    signing.ASC,
                    signing.BUNDLE,
                    *((helm_provenance.SUFFIX,) if name.endswith(".tgz") else ()),
                ):
                    if name in {checksums.FILE, provenance.FILE} or name.endswith((".tgz", _BILL)):
                        _get(client, base, f"{name}{suffix}", directory, optional=True)
    except httpx.HTTPError as error:
        raise VerificationError(f"{address} does not answer", context=[str(error)]) from error
    return Subject(address, directory, chosen, trust, index=index)


def _get(client: httpx.Client, base: str, name: str, directory: Path, *, optional: bool = False) -> None:
    with client.stream("GET", urljoin(base, name)) as answer:
        if answer.status_code == httpx.codes.NOT_FOUND and optional:
            return
        if answer.status_code != httpx.codes.OK:
            raise VerificationError(f"{base}{name} cannot be had", context=[f"status {answer.status_code}"])
        size = 0
        with (directory / name).open("wb") as file:
            for part in answer.iter_bytes():
                size += len(part)
                if size > _LIMIT:
                    raise VerificationError(f"{base}{name} does not end")
                file.write(part)


def _look_back(subject: Subject) -> None:
    """Compare an index with what this user saw of it before: a version that was there stays, with the same bytes."""
    kept = paths.states() / ".releases" / f"{hashlib.sha256(subject.where.encode()).hexdigest()[:32]}.json"
    assert subject.index is not None  # noqa: S101 - the one caller looks
    now = {
        f"{chart} {entry['version']}": str(entry["digest"])
        for chart, listed in subject.index.items()
        for entry in listed
    }
    before: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))["seen"] if kept.is_file() else {}
    lost = [f"{name} is gone" for name in before.keys() - now.keys()]
    lost += [f"{name} has other bytes" for name, digest in before.items() if now.get(name, digest) != digest]
    if lost:
        raise VerificationError(
            f"the index of {subject.where} is older than one that was there before, or was rewritten",
            context=sorted(lost),
            hint=f"somebody keeps newer versions from you; if that is right, remove {kept}",
        )
    kept.parent.mkdir(exist_ok=True, mode=0o700)
    files.write_private(kept, json.dumps({"where": subject.where, "seen": now}).encode())
