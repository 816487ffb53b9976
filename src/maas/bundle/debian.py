"""Debian packages from the mirrors in this machine's apt configuration, without root.

apt uses a state directory in the cache: it neither reads nor changes what is installed on this machine. The versions of a set
of packages are resolved once a day.
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
"""Packages that every Debian system has, as apt patterns."""

ANY = "999:0"
"""A version that satisfies every dependency, for packages that count as installed."""

_FRESH = 24 * 3600
"""Seconds after which versions are resolved again."""

_resolved: dict[Path, list[Package]] = {}
"""The resolutions of this process. They do not change, so that all layers of an image use the same versions."""

_TIMEOUT = 600.0
_NOTHING: Mapping[str, str] = MappingProxyType({})
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, order=True)
class Package:
    """A version of a package; the fields are those of its file name."""

    name: str
    version: str
    architecture: str

    @property
    def file(self) -> str:
        """File name, as apt writes it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def distribution() -> str:
    """Return this machine's distribution and release, such as `debian-bookworm`.

    Raises:
        BundleError: It is neither Debian nor Ubuntu.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"ID": platform.system()}
    identity, codename = release["ID"], release.get("VERSION_CODENAME", "")
    if identity not in {"debian", "ubuntu"}:
        raise BundleError(f"Debian packages are available on Debian and Ubuntu only, and this is {identity}")
    return f"{identity}-{codename}"


def known(packages: Sequence[str], installed: Mapping[str, str] = _NOTHING) -> list[Package] | None:
    """Return the stored result of `resolve` for the same packages; None if there is none from the last day."""
    path = _answer(packages, installed)
    if path not in _resolved:
        if not path.exists() or time.time() - path.stat().st_mtime > _FRESH:
            return None
        _resolved[path] = _read(path)
    return _resolved[path]


def resolve(
    packages: Sequence[str], installed: Mapping[str, str] = _NOTHING, *, phase: Phase, fetch: bool = True
) -> list[Package]:
    """Return packages with their dependencies, downloaded into the cache.

    Args:
        packages: Names, or apt patterns.
        installed: Packages that count as installed, by version: they and what only they depend on are left out.
        phase: Shows what is downloaded.
        fetch: Whether to download the files; without it, only versions are resolved.

    Raises:
        BundleError: apt is not installed, or its mirrors do not have the packages.
    """
    known_already = known(packages, installed)
    if known_already is not None and not (fetch and _missing(known_already)):
        return known_already
    path = _answer(packages, installed)
    warnings: list[str] = []
    try:
        warnings = _update(phase)
        answer = _ask(packages, installed)
        if fetch:
            _fetch(answer, phase)
    except ProgramMissingError as error:
        raise BundleError(
            "apt-get is not installed; Debian packages are available on Debian and Ubuntu only"
        ) from error
    except (ProcessError, ProcessTimeoutError) as error:
        # An old result is still usable if its packages are in the cache.
        if path.exists() and not _missing(answer := _read(path)):
            _resolved[path] = answer
            return answer
        why = [*error.stdout.splitlines()[-2:], *error.stderr.splitlines()] if isinstance(error, ProcessError) else []
        raise BundleError(
            f"apt cannot download {' '.join(packages)}", context=[*warnings, *why] or error.context
        ) from error
    path.write_text(json.dumps([(package.name, package.version, package.architecture) for package in answer]))
    _resolved[path] = answer
    return answer


def file(package: Package) -> Path:
    """Return the .deb file of a package from `resolve`."""
    return _directory("packages") / package.file


def read(package: Package) -> Iterator[Entry]:
    """Yield the files of a package, for a system where /bin, /sbin and /lib are links into /usr."""
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
    # A .deb file is an `ar` archive, whose 60-byte headers have a 16-byte name and a 10-byte size at 48.
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
    raise BundleError(f"{archive.name} has no data archive in a known format")


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
    # A failing mirror is only an error if packages are missing afterwards.
    stamp = _directory("lists").parent / "updated"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < _FRESH:
        return []
    phase.note("updating the package lists")
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
    phase.note(f"downloading {len(missing)} Debian packages")
    with cache.scratch() as scratch:
        names = [f"{package.name}:{package.architecture}={package.version}" for package in missing]
        names = [name.replace(":all=", "=") for name in names]
        process.run(_apt("download", *names, status=_status({})), cwd=scratch, timeout=_TIMEOUT)
        for package in missing:  # apt has verified them with the signed index
            (scratch / package.file).rename(file(package))


def _status(installed: Mapping[str, str]) -> Path:
    """Return a dpkg status file in which these packages are installed."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: allowed\nVersion: {}\n"
    stanza += "Maintainer: nobody <nobody@localhost>\nDescription: taken for installed\n\n"
    text = "".join(stanza.format(name, version) for name, version in sorted(installed.items()))
    path = _directory("status") / f"{zlib.crc32(text.encode()):08x}"
    path.write_text(text)
    return path


def _answer(packages: Sequence[str], installed: Mapping[str, str]) -> Path:
    digest = cache.key(packages=sorted(packages), installed=dict(installed), distribution=distribution())
    return _directory("answers") / f"{digest}.json"


def _read(path: Path) -> list[Package]:
    return [Package(*fields) for fields in json.loads(path.read_text())]


def _missing(packages: Sequence[Package]) -> list[Package]:
    return [package for package in packages if not file(package).exists()]


def _directory(name: str) -> Path:
    path = paths.cache() / "debian" / name
    path.mkdir(parents=True, exist_ok=True)
    return path
