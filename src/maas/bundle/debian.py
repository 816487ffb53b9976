"""Debian packages from the mirrors of this machine's own apt configuration; root is not needed.

apt works on state of its own under the cache: it never sees, and never changes, what is installed here. Which versions
a set of packages means is asked once a day and written down in between.
"""

from __future__ import annotations

import json
import lzma
import platform
import tarfile
import time
import zlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

import zstandard

from maas import paths, process
from maas.bundle import cache
from maas.bundle.oci import Entry
from maas.errors import BundleError, ProcessError, ProcessTimeoutError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from maas.console import Phase

EVERYWHERE = ("?essential", "?priority(required)")
"""What every Debian has, in apt's pattern language."""

ANY = "999:0"
"""The version of a package that is taken for installed, whatever is asked of it."""

_FRESH = 24 * 3600
"""Seconds for which an answer of the mirrors is believed."""

_given: dict[Path, list[Package]] = {}
"""The answers that this process has worked with. They stand to its end, or layers of one image would be made of two."""

_TIMEOUT = 600.0
_NOTHING: Mapping[str, str] = MappingProxyType({})
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, order=True)
class Package:
    """One version of a package; the fields are those of its file's name."""

    name: str
    version: str
    architecture: str

    @property
    def file(self) -> str:
        """The name of its file, as apt writes it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def distribution() -> str:
    """This machine's distribution and release, as `debian-bookworm`.

    Raises:
        BundleError: It is neither Debian nor Ubuntu.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"ID": platform.system()}
    identity, codename = release["ID"], release.get("VERSION_CODENAME", "")
    if identity not in {"debian", "ubuntu"}:
        raise BundleError(f"Debian packages are fetched by apt, and this is {identity}")
    return f"{identity}-{codename}"


def known(packages: Sequence[str], installed: Mapping[str, str] = _NOTHING) -> list[Package] | None:
    """The written-down answer of `resolve` for the same question, while it is fresh."""
    path = _answer(packages, installed)
    if path not in _given:
        if not path.exists() or time.time() - path.stat().st_mtime > _FRESH:
            return None
        _given[path] = _read(path)
    return _given[path]


def resolve(
    packages: Sequence[str], installed: Mapping[str, str] = _NOTHING, *, phase: Phase, fetch: bool = True
) -> list[Package]:
    """The packages with all that they depend on, fetched into the cache.

    Args:
        packages: Names, or patterns of apt.
        installed: Names and versions that are taken for installed: they and what only they need are left out.
        phase: Told what is fetched.
        fetch: Whether their files are wanted; without, their names are.

    Raises:
        BundleError: apt is not here, or its mirrors do not have them.
    """
    known_already = known(packages, installed)
    if known_already is not None and not (fetch and _missing(known_already)):
        return known_already
    path = _answer(packages, installed)
    complaints: list[str] = []
    try:
        complaints = _update(phase)
        answer = _ask(packages, installed)
        if fetch:
            _fetch(answer, phase)
    except ProgramMissingError as error:
        raise BundleError("apt-get is not installed; Debian packages are fetched on Debian or Ubuntu") from error
    except (ProcessError, ProcessTimeoutError) as error:
        # An old answer still stands when its packages are here.
        if path.exists() and not _missing(answer := _read(path)):
            _given[path] = answer
            return answer
        why = [*error.stdout.splitlines()[-2:], *error.stderr.splitlines()] if isinstance(error, ProcessError) else []
        raise BundleError(
            f"{' '.join(packages)} cannot be fetched by apt", context=[*complaints, *why] or error.context
        ) from error
    path.write_text(json.dumps([(package.name, package.version, package.architecture) for package in answer]))
    _given[path] = answer
    return answer


def file(package: Package) -> Path:
    """The .deb file of a package that `resolve` gave."""
    return _directory("packages") / package.file


def read(package: Package) -> Iterator[Entry]:
    """The files of a package, as they lie in a system where /bin, /sbin and /lib are links into /usr."""
    with file(package).open("rb") as archive:
        content = _data(archive)
        with tarfile.open(fileobj=content, mode="r|") as tar:
            for info in tar:
                path = _merged(info.name)
                if path == "/" or info.type not in {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE}:
                    continue
                stream = tar.extractfile(info) if info.isreg() else None
                yield Entry(
                    path,
                    kind=info.type,
                    content=stream.read() if stream else b"",
                    mode=info.mode,
                    uid=info.uid,
                    gid=info.gid,
                    target=_merged(info.linkname) if info.islnk() else info.linkname,
                )


def _merged(name: str) -> str:
    parts = name.removeprefix(".").strip("/").split("/")
    return "/" + "/".join(["usr", *parts] if parts[0] in _MERGED else parts)


def _data(archive: IO[bytes]) -> IO[bytes]:
    # A .deb is an `ar` archive: 60-byte headers, each with a name of 16 bytes and, at 48, a size of 10.
    if archive.read(8) != b"!<arch>\n":
        raise BundleError(f"{archive.name} is not a Debian package")
    while header := archive.read(60):
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        match name:
            case "data.tar.xz":
                return lzma.open(archive)
            case "data.tar.zst":
                return zstandard.ZstdDecompressor().stream_reader(archive)
            case _:
                archive.seek(size + size % 2, 1)
    raise BundleError(f"{archive.name} has no data archive that is known here")


def _apt(*arguments: str, status: Path) -> list[str | Path]:
    lists, archives = _directory("lists"), _directory("archives")
    (lists / "partial").mkdir(exist_ok=True)
    (archives / "partial").mkdir(exist_ok=True)
    options = {
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": "20",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Debug::NoLocking": "true",
        "Dir::Cache": str(archives.parent),
        "Dir::State": str(lists.parent),
        "Dir::State::lists": str(lists),
        "Dir::State::status": str(status),
    }
    return ["apt-get", *(f"--option={name}={value}" for name, value in options.items()), "--yes", *arguments]


def _update(phase: Phase) -> list[str]:
    # A mirror of something else that does not answer is no reason to give up: what it said matters only if more fails.
    stamp = _directory("lists").parent / "updated"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < _FRESH:
        return []
    phase.note("asking the mirrors which versions they have")
    argv = _apt("--error-on=any", "update", status=_status({}))
    done = process.run(argv, timeout=_TIMEOUT, check=False)
    if done.returncode == 0:
        stamp.touch()
    return done.stderr.splitlines()[-3:] if done.returncode else []


def _ask(packages: Sequence[str], installed: Mapping[str, str]) -> list[Package]:
    argv = _apt("--print-uris", "install", *packages, status=_status(installed))
    lines = process.run(argv, timeout=_TIMEOUT).stdout.splitlines()
    names = [unquote(line.split(" ")[1]) for line in lines if line.startswith("'")]
    return sorted(Package(*name.removesuffix(".deb").split("_")) for name in names)


def _fetch(packages: Sequence[Package], phase: Phase) -> None:
    missing = _missing(packages)
    if not missing:
        return
    phase.note(f"fetching {len(missing)} Debian packages")
    with cache.scratch() as scratch:
        names = [f"{package.name}:{package.architecture}={package.version}" for package in missing]
        names = [name.replace(":all=", "=") for name in names]
        process.run(_apt("download", *names, status=_status({})), cwd=scratch, timeout=_TIMEOUT)
        for package in missing:  # apt has checked each against the signed index
            (scratch / package.file).rename(file(package))


def _status(installed: Mapping[str, str]) -> Path:
    """A dpkg status file in which these packages are installed."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: allowed\nVersion: {}\n"
    stanza += "Maintainer: nobody <nobody@localhost>\nDescription: taken for installed\n\n"
    text = "".join(stanza.format(name, version) for name, version in sorted(installed.items()))
    path = _directory("status") / f"{zlib.crc32(text.encode()):08x}"
    path.write_text(text)
    return path


def _answer(packages: Sequence[str], installed: Mapping[str, str]) -> Path:
    question = cache.key(packages=sorted(packages), installed=dict(installed), distribution=distribution())
    return _directory("answers") / f"{question}.json"


def _read(path: Path) -> list[Package]:
    return [Package(*fields) for fields in json.loads(path.read_text())]


def _missing(packages: Sequence[Package]) -> list[Package]:
    return [package for package in packages if not file(package).exists()]


def _directory(name: str) -> Path:
    path = paths.cache() / "debian" / name
    path.mkdir(parents=True, exist_ok=True)
    return path
