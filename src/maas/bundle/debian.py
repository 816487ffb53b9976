"""Debian packages from the mirrors in this machine's apt configuration, without root.

apt uses a state directory in the cache: it neither reads nor changes what is installed on this machine. The versions of a set
of packages are resolved once a day. Packages of another release than this machine's are resolved from that release's own index
on the same mirrors, verified with that distribution's keys, which come from a package of this machine's release.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import platform
import tarfile
import tempfile
import time
import zlib
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

import zstandard

from maas import components, files, paths, process
from maas.bundle import cache
from maas.bundle.oci import Entry
from maas.errors import BundleError, ProcessError, ProcessTimeoutError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from maas.console import Phase
    from maas.os_releases import OsRelease

EVERYWHERE = ("?essential", "?priority(required)")
"""Packages that every Debian system has, as apt patterns."""

ANY = "999:0"
"""A version that satisfies every dependency, for packages that count as installed."""

_FRESH = 24 * 3600
"""Seconds after which versions are resolved again."""

_resolved: dict[Path, list[Package]] = {}
"""The resolutions of this process. They do not change, so that all layers of an image use the same versions."""

_instead: ContextVar[Path | None] = ContextVar("_instead", default=None)
"""The directory that replaces the one in the cache."""

_TIMEOUT = 600.0
_NOTHING: Mapping[str, str] = MappingProxyType({})
_KEYRINGS = {
    "debian": ("debian-archive-keyring", ("debian-archive-keyring",)),
    "ubuntu": ("ubuntu-archive-keyring", ("ubuntu-archive-keyring", "ubuntu-keyring")),
}
"""The keyring of each distribution in /usr/share/keyrings, and the packages that contain it."""

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, order=True)
class Package:
    """A version of a package; the first fields are those of its file name.

    Attributes:
        release: The release it belongs to, such as `debian-trixie`; empty for this machine's. Ubuntu's packages can have the
            name and version of Debian's.
    """

    name: str
    version: str
    architecture: str
    release: str = ""

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


def known(
    packages: Sequence[str], installed: Mapping[str, str] = _NOTHING, *, release: OsRelease | None = None
) -> list[Package] | None:
    """Return the stored result of `resolve` for the same packages; None if there is none from the last day."""
    place = _Place.of(release)
    path = _answer(packages, installed, place)
    if path not in _resolved:
        if not _is_fresh(path):
            return None
        _resolved[path] = _read(path, place)
    return _resolved[path]


def resolve(
    packages: Sequence[str],
    installed: Mapping[str, str] = _NOTHING,
    *,
    phase: Phase,
    fetch: bool = True,
    release: OsRelease | None = None,
) -> list[Package]:
    """Return packages with their dependencies, downloaded into the cache.

    Args:
        packages: Names, or apt patterns.
        installed: Packages that count as installed, by version: they and what only they depend on are left out.
        phase: Shows what is downloaded.
        fetch: Whether to download the files; without it, only versions are resolved.
        release: The release of the packages; None for this machine's.

    Raises:
        BundleError: apt is not installed, or its mirrors do not have the packages.
    """
    known_already = known(packages, installed, release=release)
    if known_already is not None and not (fetch and missing(known_already)):
        return known_already
    place = _Place.of(release)
    path = _answer(packages, installed, place)
    warnings: list[str] = []
    try:
        warnings = _update(place, phase)
        answer = _ask(packages, installed, place)
        if fetch:
            _fetch(answer, place, phase)
    except ProgramMissingError as error:
        raise BundleError(
            "apt-get is not installed; Debian packages are available on Debian and Ubuntu only"
        ) from error
    except (ProcessError, ProcessTimeoutError) as error:
        # An old result is still usable if its packages are in the cache.
        if path.exists() and not missing(answer := _read(path, place)):
            _resolved[path] = answer
            return answer
        why = [*error.stdout.splitlines()[-2:], *error.stderr.splitlines()] if isinstance(error, ProcessError) else []
        what = f"the packages of {release}" if place.release else " ".join(packages)
        raise BundleError(f"apt cannot download {what}", context=[*warnings, *why] or error.context) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([(package.name, package.version, package.architecture) for package in answer]))
    _resolved[path] = answer
    return answer


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Use a temporary directory instead of the cache, so that a dry run writes nothing."""
    lists = _root("") / "lists"
    with tempfile.TemporaryDirectory(prefix="maas-") as directory:
        if _is_fresh(lists.parent / "updated"):
            (Path(directory) / "lists").symlink_to(lists)
            (Path(directory) / "updated").touch()
        token = _instead.set(Path(directory))
        try:
            yield
        finally:
            _instead.reset(token)


def missing(packages: Sequence[Package]) -> list[Package]:
    """Return the packages from `resolve` whose files are not in the cache."""
    return [package for package in packages if not file(package).exists()]


def file(package: Package) -> Path:
    """Return the .deb file of a package from `resolve`."""
    return _root(package.release) / "packages" / package.file


def sources(release: OsRelease, targets: str, *, options: str = "") -> list[str]:
    """Return lines of sources.list for a release, with the mirrors that this machine uses.

    Args:
        release: The release, of this machine's distribution or of the other one.
        targets: Lines of `origin suite component uri`, as apt-get indextargets prints them.
        options: Options of every line, such as `[arch=amd64]`.

    Returns:
        The lines; none if no mirror is known.
    """
    mirrors: dict[tuple[str, bool], str] = {}
    for line in targets.splitlines():
        origin, suite, component, uri = line.split()
        _, _, pocket = suite.partition("-")
        if component == "main" and pocket in {"", "security"}:
            mirrors.setdefault((origin.lower(), bool(pocket)), uri.rstrip("/"))
    archive = mirrors.get((release.os, False)) or _beside(mirrors, release.os)
    if archive is None:
        return []
    # Ubuntu's archive contains its security updates too.
    security = mirrors.get((release.os, True)) or (archive if release.os == "ubuntu" else None)
    parts = "main universe" if release.os == "ubuntu" else "main"
    suites = {release.codename: archive, f"{release.codename}-updates": archive}
    suites |= {f"{release.codename}-security": security} if security else {}
    deb = f"deb {options}".rstrip()
    return [f"{deb} {uri} {suite} {parts}" for suite, uri in suites.items()]


def _beside(mirrors: Mapping[tuple[str, bool], str], name: str) -> str | None:
    """Return the address that a mirror of the other distribution most likely has this one at; signatures are verified."""
    for (other, security), uri in mirrors.items():
        if not security and uri.endswith(f"/{other}"):
            return f"{uri.removesuffix(other)}{name}"
    return None


@dataclass(frozen=True)
class _Place:
    """Where apt works for a release: this machine's, whose sources it uses, or another one, whose sources are written.

    Attributes:
        release: The other release; None for this machine's.
    """

    release: OsRelease | None

    @classmethod
    def of(cls, release: OsRelease | None) -> _Place:
        return cls(None if release is None or release.directory == distribution() else release)

    @property
    def name(self) -> str:
        return self.release.directory if self.release else ""

    def directory(self, name: str) -> Path:
        path = _root(self.name) / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def options(self) -> dict[str, str]:
        if self.release is None:
            return {}
        return {
            # Nothing of this machine's settings is meant for another release.
            "APT::Architecture": components.ARCHITECTURE,
            "APT::Architectures": components.ARCHITECTURE,
            "APT::Default-Release": "",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Dir::Etc::preferences": "-",
            "Dir::Etc::preferencesparts": "-",
            "Dir::Etc::sourcelist": str(self.sources),
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::trusted": "-",
            "Dir::Etc::trustedparts": "-",
        }

    @property
    def sources(self) -> Path:
        return self.directory(".") / "sources.list"

    def write_sources(self, phase: Phase) -> None:
        """Write the sources of another release, with its mirrors and keys.

        Raises:
            BundleError: There is no mirror, or there are no keys.
        """
        if self.release is None:
            return
        own = _Place(None)
        _update(own, phase)  # without the lists, apt does not know whose mirrors they are
        form = "$(ORIGIN) $(RELEASE) $(COMPONENT) $(REPO_URI)"
        listed = process.run(_apt("indextargets", "--format", form, "Created-By: Packages", status=_status({}, own)))
        targets = "\n".join(line for line in listed.stdout.splitlines() if len(line.split()) == len(form.split()))
        keyring = _keyring(self.release.os, phase)
        lines = sources(
            self.release, targets, options=f"[arch={components.ARCHITECTURE} signed-by={keyring.absolute()}]"
        )
        if not lines:
            raise BundleError(f"this machine's apt configuration has no mirror of {self.release.os.capitalize()}")
        self.sources.write_text("\n".join(lines) + "\n")


def _keyring(name: str, phase: Phase) -> Path:
    """Return the keyring of a distribution, from this machine's release, or as it is installed here.

    Raises:
        BundleError: There is none.
    """
    keyring, packages = _KEYRINGS[name]
    path = f"/usr/share/keyrings/{keyring}.gpg"
    for wanted in packages:
        with contextlib.suppress(BundleError):
            for package in resolve([wanted], phase=phase):
                for entry in read(package):
                    if entry.path == path and isinstance(entry.content, bytes):
                        kept = _Place(None).directory("keyrings") / f"{keyring}.gpg"
                        files.write(kept, entry.content)
                        return kept
    if not Path(path).exists():
        raise BundleError(
            f"this machine has no keys to verify the packages of {name.capitalize()}",
            context=[f"neither its mirrors nor {Path(path).parent} have {keyring}"],
        )
    return Path(path)


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


def _apt(*arguments: str, status: Path, place: _Place | None = None) -> list[str | Path]:
    place = place or _Place(None)
    lists, archives = place.directory("lists"), place.directory("archives")
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
        **place.options,
    }
    return ["apt-get", *(f"--option={name}={value}" for name, value in options.items()), "--yes", *arguments]


def _update(place: _Place, phase: Phase) -> list[str]:
    # A failing mirror is only an error if packages are missing afterwards.
    stamp = place.directory("lists").parent / "updated"
    if _is_fresh(stamp):
        return []
    place.write_sources(phase)
    phase.note(f"updating the package lists{f' of {place.release}' if place.release else ''}")
    argv = _apt("--error-on=any", "update", status=_status({}, place), place=place)
    done = process.run(argv, timeout=_TIMEOUT, check=False)
    if done.returncode == 0:
        stamp.touch()
    return done.stderr.splitlines()[-3:] if done.returncode else []


def _is_fresh(path: Path) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < _FRESH


def _ask(packages: Sequence[str], installed: Mapping[str, str], place: _Place) -> list[Package]:
    argv = _apt("--print-uris", "install", *packages, status=_status(installed, place), place=place)
    lines = process.run(argv, timeout=_TIMEOUT).stdout.splitlines()
    names = [unquote(line.split(" ")[1]) for line in lines if line.startswith("'")]
    return sorted(_package(*name.removesuffix(".deb").split("_"), place=place) for name in names)


def _fetch(packages: Sequence[Package], place: _Place, phase: Phase) -> None:
    wanted = missing(packages)
    if not wanted:
        return
    phase.note(f"downloading {len(wanted)} Debian packages")
    kept = place.directory("packages")
    with tempfile.TemporaryDirectory(dir=place.directory("archives")) as scratch:
        names = [f"{package.name}:{package.architecture}={package.version}" for package in wanted]
        names = [name.replace(":all=", "=") for name in names]
        argv = _apt("download", *names, status=_status({}, place), place=place)
        process.run(argv, cwd=Path(scratch), timeout=_TIMEOUT)
        for package in wanted:  # apt has verified them with the signed index
            (Path(scratch) / package.file).rename(kept / package.file)


def _status(installed: Mapping[str, str], place: _Place) -> Path:
    """Return a dpkg status file in which these packages are installed."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: allowed\nVersion: {}\n"
    stanza += "Maintainer: nobody <nobody@localhost>\nDescription: taken for installed\n\n"
    text = "".join(stanza.format(name, version) for name, version in sorted(installed.items()))
    path = place.directory("status") / f"{zlib.crc32(text.encode()):08x}"
    path.write_text(text)
    return path


def _answer(packages: Sequence[str], installed: Mapping[str, str], place: _Place) -> Path:
    name = place.name or distribution()
    digest = cache.key(packages=sorted(packages), installed=dict(installed), distribution=name)
    return _root(place.name) / "answers" / f"{digest}.json"


def _read(path: Path, place: _Place) -> list[Package]:
    return [_package(*fields, place=place) for fields in json.loads(path.read_text())]


def _package(name: str, version: str, architecture: str, *, place: _Place) -> Package:
    return Package(name, version, architecture, release=place.name)


def _root(release: str) -> Path:
    """Return the directory of a release; of this machine's if it is empty."""
    return (_instead.get() or paths.cache() / "debian") / release
