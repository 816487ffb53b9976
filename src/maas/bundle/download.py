"""Downloads over HTTP, verified with the SHA-256 in the component lockfile."""

from __future__ import annotations

import shutil
import tarfile
from typing import TYPE_CHECKING

import httpx

from maas.bundle import cache
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.components import Download
    from maas.console import Phase

TIMEOUT = httpx.Timeout(30, connect=5)
"""Seconds to connect, and between two pieces of a body."""

_DOWNLOADS = "download"
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
_answering: set[str] = set()
_silent: dict[str, str] = {}
"""Servers that answered in this run, and errors of those that did not, which would cost seconds per file."""


def find(name: str, source: Download) -> Path | None:
    """Return the file of this source if it is in the cache."""
    entry = cache.find(name, _key(source))
    return entry / name if entry else None


def fetch(name: str, source: Download, *, phase: Phase) -> None:
    """Download a file into the cache and verify it.

    An interrupted download continues if the server supports it. A file with another digest is deleted.

    Raises:
        BundleError: The download failed, or the file has another digest.
    """
    archive = _file(source) or _download(source, phase)
    with cache.create(name, _key(source)) as entry:
        if source.member is None:
            shutil.copyfile(archive, entry / name)
        else:
            _extract(archive, source, entry / name)
        (entry / name).chmod(0o755)


def reach(url: str) -> None:
    """Check, once per run and server, that a server answers; any response is accepted.

    Raises:
        BundleError: It does not answer.
    """
    _refuse_silent(url)
    if (server := _server(url)) in _answering:
        return
    try:
        httpx.head(url, timeout=TIMEOUT.connect)
    except httpx.HTTPError as error:
        raise _failed(url, error) from error
    _answering.add(server)


def _download(source: Download, phase: Phase) -> Path:
    partial = cache.partial(source.sha256)
    try:
        _transfer(source.url, partial, phase=phase)
    except httpx.HTTPError as error:
        raise _failed(source.url, error) from error
    if (digest := cache.sha256(partial)) != source.sha256:
        partial.unlink()
        raise BundleError(f"{source.url}: expected SHA-256 {source.sha256}, found {digest}; the file was deleted")
    with cache.create(_DOWNLOADS, source.sha256) as entry:
        partial.rename(entry / _DOWNLOADS)
    found = _file(source)
    assert found is not None  # noqa: S101 - it was just created
    return found


def _file(source: Download) -> Path | None:
    # The published file, which several items may be members of.
    entry = cache.find(_DOWNLOADS, source.sha256)
    return entry / _DOWNLOADS if entry else None


def _transfer(url: str, partial: Path, *, phase: Phase) -> None:
    _refuse_silent(url)
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
        if response.status_code == _RANGE_NOT_SATISFIABLE:  # complete, or too long: the digest decides
            return
        response.raise_for_status()
        resumed = response.status_code == _PARTIAL_CONTENT
        done, total = have if resumed else 0, int(response.headers.get("content-length", 0)) + (have if resumed else 0)
        with partial.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes():
                done += file.write(piece)
                phase.note(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB from {response.url.host}")


def _refuse_silent(url: str) -> None:
    if reason := _silent.get(_server(url)):
        raise BundleError(f"{url}: {reason}")


def _server(url: str) -> str:
    return httpx.URL(url).netloc.decode()


def _failed(url: str, error: httpx.HTTPError) -> BundleError:
    match error:
        case httpx.HTTPStatusError():
            reason = f"HTTP status {error.response.status_code} {error.response.reason_phrase}"
        case httpx.TimeoutException():
            reason = "timed out"
        case _:
            reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        _silent[_server(url)] = reason
    return BundleError(f"{url}: {reason}")


def _extract(archive: Path, source: Download, target: Path) -> None:
    with tarfile.open(archive) as tar:
        for info in tar:
            if info.isreg() and info.name.removeprefix("./") == source.member and (content := tar.extractfile(info)):
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                return
    raise BundleError(f"{source.url} does not contain {source.member}")


def _key(source: Download) -> str:
    return cache.key(sha256=source.sha256, member=source.member)
