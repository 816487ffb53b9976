"""A chart repository in a directory that any static web server can serve.

Each release has a directory with all of its files, and index.yaml lists their charts. `helm repo index` changes the time of
every entry (https://github.com/helm/helm/issues/7363). The index written here depends on the archives only, so an entry never
changes, and anybody who has the archives can compute the index.

A release is published by one rename of its directory and then one of the index, so a client sees all of it or nothing.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from maas import console, files
from maas.bundle import cache
from maas.components import Sha256  # noqa: TC001 - pydantic evaluates the annotation
from maas.errors import ReleaseError, UsageError, VerificationError
from maas.release import checksums
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "index.yaml"
METADATA = "artifacthub-repo.yml"
_LOCK = ".lock"
_PART = ".part"
_LIMIT = 64 * 1024 * 1024
"""Maximum size of a chart's files, in bytes. A chart has a few hundred thousand."""


def _semantic(version: str) -> str:
    try:
        return str(Version.parse(version))
    except UsageError as error:
        raise ValueError(error.message) from error


class IndexEntry(BaseModel):
    """A chart of an index: its Chart.yaml, and the fields below.

    Attributes:
        name: Name of the chart.
        version: Its version.
        created: Time of the archive's files, as RFC 3339.
        digest: SHA-256 of the archive.
        urls: Addresses of the archive, relative to the index.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    version: Annotated[str, AfterValidator(_semantic)]
    created: str
    digest: Sha256
    urls: Annotated[list[str], Field(min_length=1)]


Index = dict[str, list[IndexEntry]]
_INDEX = TypeAdapter(Index)


@dataclass(frozen=True)
class Chart:
    """A chart archive.

    Attributes:
        described: Its Chart.yaml.
        time: Time of its files, in seconds since 1970.
    """

    described: dict[str, Any]
    time: int


def chart(archive: Path) -> Chart:
    """Read a chart archive, after checking every file name in it.

    Raises:
        VerificationError: The file is not an archive of one chart, a name points outside, or an entry is not a regular file.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            names = set()
            for total, member in _sizes(tar):
                parts = member.name.split("/")
                if member.name.startswith("/") or ".." in parts or "\\" in member.name:
                    raise VerificationError(f"{archive.name} has a path outside its directory", context=[member.name])
                if not member.isreg() or total > _LIMIT:
                    raise VerificationError(f"{archive.name} has an entry that no chart has", context=[member.name])
                names.add(parts[0])
            if len(names) != 1:
                raise VerificationError(f"{archive.name} contains more than one chart", context=sorted(names))
            member = tar.getmember(f"{names.pop()}/Chart.yaml")
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101 - it is a regular file
            described = dict(yaml.safe_load(content.read()))
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error, yaml.YAMLError, ValueError, TypeError) as error:
        raise VerificationError(f"{archive.name} is not a chart archive", context=[str(error)]) from error
    if f"{described.get('name')}-{described.get('version')}.tgz" != archive.name:
        raise VerificationError(f"{archive.name} contains another chart than its name says")
    return Chart(described, int(member.mtime))


def entries(directory: Path, version: str) -> dict[str, IndexEntry]:
    """Return the index entries of the charts in the directory of a release, by name.

    Raises:
        VerificationError: A file is not a chart archive.
    """
    found = {}
    for archive in sorted(directory.glob("*.tgz")):
        packed = chart(archive)
        created = datetime.fromtimestamp(packed.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = {"created": created, "digest": cache.sha256(archive), "urls": [f"{version}/{archive.name}"]}
        entry = IndexEntry.model_validate({**packed.described, **fields})
        found[entry.name] = entry
    return found


def read(text: str) -> Index:
    """Return the entries of an index, by chart.

    Raises:
        VerificationError: The text is not an index.
    """
    try:
        return _INDEX.validate_python(yaml.safe_load(text)["entries"])
    except (yaml.YAMLError, ValidationError, KeyError, TypeError) as error:
        raise VerificationError(f"{FILE} is not an index of charts", context=[str(error)[:300]]) from error


def text(charts: Index) -> str:
    """Return the content of an index: newest versions first, and no time but those of its entries."""
    ordered = {
        name: sorted(listed, key=lambda entry: Version.parse(entry.version), reverse=True)
        for name, listed in sorted(charts.items())
    }
    newest = max((entry.created for listed in ordered.values() for entry in listed), default="")
    index = {"apiVersion": "v1", "entries": _INDEX.dump_python(ordered), "generated": newest}
    return yaml.safe_dump(index, sort_keys=True, allow_unicode=True, width=1000)


def versions(root: Path) -> set[str]:
    """Return the versions in the index of a repository.

    Raises:
        VerificationError: The index is not valid.
    """
    return {entry.version for listed in _index(root).values() for entry in listed}


def conflicts(root: Path, version: str) -> list[str]:
    """Return why a new version cannot be published to a directory, one sentence each."""
    if not root.exists():
        return []
    try:
        known = versions(root)
    except VerificationError as error:
        return [f"{root}: {error.message}"]
    if version in known:
        return [f"{root} already has {version}; a published version never changes"]
    return []


def publish(release: Path, root: Path, version: str, *, metadata: Path) -> str:
    """Publish a release to a repository, or continue where an interrupted run stopped.

    Args:
        release: The directory of the release.
        root: The directory of the repository. It is created if needed.
        version: The version of the release.
        metadata: artifacthub-repo.yml of the project.

    Returns:
        What was done.

    Raises:
        ReleaseError: The repository has other files for this version, or its index lacks a version it had.
        VerificationError: The index or an archive is not valid.
    """
    root.mkdir(parents=True, exist_ok=True)
    with files.lock(root / _LOCK, command=f"publication of {version}", on_wait=console.line):
        published, target = _index(root), root / version
        known = {entry.version for listed in published.values() for entry in listed}
        _refuse_older_index(root, known, version)
        added = entries(release, version)
        for name, entry in added.items():
            for other in published.get(name, []):
                if other.version == version and other != entry:
                    raise ReleaseError(
                        f"{root} has another {name} {version}",
                        context=[f"published: {other.digest}", f"local: {entry.digest}"],
                        hint="a published version never changes; make a release with a new version",
                    )
        if target.exists():
            _compare(release, target)
        else:
            _place(release, target)
        _write_changed(root / METADATA, metadata.read_text(encoding="utf-8"))
        if version in known:
            return "already published"
        for name, entry in added.items():
            published.setdefault(name, []).append(entry)
        _write_changed(root / FILE, text(published))
    return f"{len(added)} charts, {len(known) + 1} versions in the index"


def _sizes(tar: tarfile.TarFile) -> Iterator[tuple[int, tarfile.TarInfo]]:
    total = 0
    for member in tar:
        total += member.size
        yield total, member


def _index(root: Path) -> Index:
    file = root / FILE
    return read(file.read_text(encoding="utf-8")) if file.exists() else {}


def _refuse_older_index(root: Path, known: set[str], version: str) -> None:
    """Refuse to extend an index that lacks a version whose directory exists, or the reverse."""
    there = {file.parent.name for file in root.glob(f"*/{checksums.FILE}") if file.parent.suffix != _PART}
    if lost := sorted(there - known - {version}):
        raise ReleaseError(
            f"the index of {root} lacks {', '.join(lost)}, whose directory exists",
            hint="an older index was restored, or publishing was interrupted; publish those versions again first",
        )
    if gone := sorted(known - there):
        raise ReleaseError(
            f"the index of {root} lists {', '.join(gone)}, whose directory is missing", hint="restore it first"
        )


def _compare(release: Path, target: Path) -> None:
    local, published = (checksums.read(directory) for directory in (release, target))
    differing = sorted(name for name in local.keys() | published.keys() if local.get(name) != published.get(name))
    differing += [name for name, digest in published.items() if cache.sha256(target / name) != digest]
    if differing:
        raise ReleaseError(
            f"{target} contains another release of this version",
            context=sorted(set(differing)),
            hint="a published version never changes; make a release with a new version",
        )


def _place(release: Path, target: Path) -> None:
    part = target.with_name(target.name + _PART)
    shutil.rmtree(part, ignore_errors=True)  # of an interrupted run; nobody reads it
    part.mkdir()
    for file in sorted(release.iterdir()):
        files.copy(file, part / file.name)
    part.chmod(0o755)
    part.rename(target)


def _write_changed(file: Path, content: str) -> None:
    if not file.exists() or file.read_text(encoding="utf-8") != content:
        files.write(file, content)
