"""A chart repository in a directory: what any static web server hands to Helm.

Every release has a directory of its own with all of its files; index.yaml names their charts. Helm's own index rewrites the
time of every entry (https://github.com/helm/helm/issues/7363); this one is a function of the archives alone, so an entry never
changes once it is written, and anybody who has the archives can say what the index must be.

A release appears by one rename of its directory, and consumers learn of it by one rename of the index, last: they see all of
it or nothing.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from maas import console, files
from maas.bundle import cache
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
"""Bytes of a chart that are read at most; a chart has a few hundred thousand."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """What the archive of a chart says of itself.

    Attributes:
        described: Its Chart.yaml.
        time: The time of its files, in seconds since 1970.
    """

    described: Entry
    time: int


def chart(archive: Path) -> Chart:
    """Read an archive, after every name in it was looked at.

    Raises:
        VerificationError: It is no archive of one chart: a name leads elsewhere, or something in it is no plain file.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            names = set()
            for total, member in _sizes(tar):
                parts = member.name.split("/")
                if member.name.startswith("/") or ".." in parts or "\\" in member.name:
                    raise VerificationError(f"{archive.name} leads out of its directory", context=[member.name])
                if not member.isreg() or total > _LIMIT:
                    raise VerificationError(f"{archive.name} holds what no chart has", context=[member.name])
                names.add(parts[0])
            if len(names) != 1:
                raise VerificationError(f"{archive.name} holds more than one chart", context=sorted(names))
            member = tar.getmember(f"{names.pop()}/Chart.yaml")
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101 - it is a plain file
            described = dict(yaml.safe_load(content.read()))
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error, yaml.YAMLError, ValueError, TypeError) as error:
        raise VerificationError(f"{archive.name} is no archive of a chart", context=[str(error)]) from error
    if f"{described.get('name')}-{described.get('version')}.tgz" != archive.name:
        raise VerificationError(f"{archive.name} is no archive of that chart")
    return Chart(described, int(member.mtime))


def entries(directory: Path, version: str) -> dict[str, Entry]:
    """What an index says of the charts in the directory of a release, by name.

    Raises:
        VerificationError: An archive is not what it should be.
    """
    found = {}
    for archive in sorted(directory.glob("*.tgz")):
        packed = chart(archive)
        created = datetime.fromtimestamp(packed.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        place = {"created": created, "digest": cache.sha256(archive), "urls": [f"{version}/{archive.name}"]}
        found[str(packed.described["name"])] = {**packed.described, **place}
    return found


def read(text: str) -> dict[str, list[Entry]]:
    """The entries of an index, by chart.

    Raises:
        VerificationError: It is no index.
    """
    try:
        index = yaml.safe_load(text)
        found = {str(name): [dict(entry) for entry in listed] for name, listed in index["entries"].items()}
        for listed in found.values():
            for entry in listed:
                Version.parse(str(entry["version"]))
                str(entry["digest"]), str(entry["urls"][0])
    except (yaml.YAMLError, UsageError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise VerificationError(f"{FILE} is no index of charts", context=[str(error)[:300]]) from error
    return found


def text(charts: dict[str, list[Entry]]) -> str:
    """An index as it is written: newest versions first, no time but those of its entries."""
    ordered = {
        name: sorted(listed, key=lambda entry: Version.parse(str(entry["version"])), reverse=True)
        for name, listed in sorted(charts.items())
    }
    newest = max((str(entry["created"]) for listed in ordered.values() for entry in listed), default="")
    index = {"apiVersion": "v1", "entries": ordered, "generated": newest}
    return yaml.safe_dump(index, sort_keys=True, allow_unicode=True, width=1000)


def versions(root: Path) -> set[str]:
    """The versions that the index of a repository names.

    Raises:
        VerificationError: The index is none.
    """
    return {str(entry["version"]) for listed in _index(root).values() for entry in listed}


def refusals(root: Path, version: str) -> list[str]:
    """Why a version cannot be published anew to a directory, one sentence each."""
    if not root.exists():
        return []
    try:
        known = versions(root)
    except VerificationError as error:
        return [f"{root}: {error.message}"]
    if version in known:
        return [f"{root} has {version} already; a published version never changes"]
    return []


def publish(release: Path, root: Path, version: str, *, metadata: Path) -> str:
    """Put a release into a repository, or go on where an interrupted run stopped; say what was done.

    Args:
        release: The directory of the release.
        root: The directory of the repository; made when it is missing.
        version: The version of the release.
        metadata: artifacthub-repo.yml of the project.

    Raises:
        ReleaseError: The repository has other bytes for this version, or its index lost a version it had.
        VerificationError: The index or an archive is none.
    """
    root.mkdir(parents=True, exist_ok=True)
    with files.lock(root / _LOCK, command=f"publication of {version}", on_wait=console.line):
        published, target = _index(root), root / version
        known = {str(entry["version"]) for listed in published.values() for entry in listed}
        _look_back(root, known, version)
        fresh = entries(release, version)
        for name, entry in fresh.items():
            for other in published.get(name, []):
                if str(other["version"]) == version and other != entry:
                    raise ReleaseError(
                        f"{root} has another {name} {version}",
                        context=[f"published: {other['digest']}", f"here: {entry['digest']}"],
                        hint="a published version never changes; give the release a new version",
                    )
        if target.exists():
            _compare(release, target)
        else:
            _place(release, target)
        _write_changed(root / METADATA, metadata.read_text(encoding="utf-8"))
        if version in known:
            return "is published already"
        for name, entry in fresh.items():
            published.setdefault(name, []).append(entry)
        _write_changed(root / FILE, text(published))
    return f"{len(fresh)} charts, {len(known) + 1} versions in the index"


def _sizes(tar: tarfile.TarFile) -> Iterator[tuple[int, tarfile.TarInfo]]:
    total = 0
    for member in tar:
        total += member.size
        yield total, member


def _index(root: Path) -> dict[str, list[Entry]]:
    file = root / FILE
    return read(file.read_text(encoding="utf-8")) if file.exists() else {}


def _look_back(root: Path, known: set[str], version: str) -> None:
    """Refuse to build on an index that does not know what lies beside it: somebody put an older one there."""
    lying = {file.parent.name for file in root.glob(f"*/{checksums.FILE}") if file.parent.suffix != _PART}
    if lost := sorted(lying - known - {version}):
        raise ReleaseError(
            f"the index of {root} does not know {', '.join(lost)}, which lies beside it",
            hint="an older index was put back, or publishing was interrupted; publish those versions again first",
        )
    if gone := sorted(known - lying):
        raise ReleaseError(f"the index of {root} names {', '.join(gone)}, which is not there", hint="put it back first")


def _compare(release: Path, target: Path) -> None:
    here, there = (checksums.read(directory) for directory in (release, target))
    differing = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    differing += [name for name, digest in there.items() if cache.sha256(target / name) != digest]
    if differing:
        raise ReleaseError(
            f"{target} holds another release of this version",
            context=sorted(set(differing)),
            hint="a published version never changes; give the release a new version",
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
