from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import httpx
import pytest

from maas.bundle import download
from maas.components import Download
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.bundle.conftest import Web

    from maas.console import Phase

PROGRAM = b"#!/bin/sh\necho probe\n" * 5000


def kept(cache: Path) -> list[str]:
    """Files in the cache other than crane."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != "crane")


def test_a_file_with_the_right_digest_is_executable_and_not_downloaded_again(
    cache: Path, web: Web, phase: Phase
) -> None:
    source = Download.model_validate(web.publish("/probe", PROGRAM))
    download.fetch("probe", source, phase=phase)
    found = download.find("probe", source)
    assert found is not None
    assert found.is_relative_to(cache)
    assert found.read_bytes() == PROGRAM
    assert found.stat().st_mode & 0o111
    assert len(web.requests) == 1


def test_a_file_with_another_digest_is_refused_and_deleted(cache: Path, web: Web, phase: Phase) -> None:
    source = Download.model_validate(web.publish("/probe", PROGRAM))
    web.files["/probe"] = b"something else"
    with pytest.raises(BundleError, match=source.sha256):
        download.fetch("probe", source, phase=phase)
    assert download.find("probe", source) is None
    assert kept(cache) == []


def test_a_truncated_body_is_an_error_and_the_next_try_requests_only_the_rest(
    cache: Path, web: Web, phase: Phase
) -> None:
    source = Download.model_validate(web.publish("/probe", PROGRAM))
    web.cut["/probe"] = 1000
    with pytest.raises(BundleError, match="/probe: "):
        download.fetch("probe", source, phase=phase)
    assert download.find("probe", source) is None
    download.fetch("probe", source, phase=phase)
    found = download.find("probe", source)
    assert found is not None
    assert found.read_bytes() == PROGRAM
    assert web.requests[-1] == ("GET", "/probe", "bytes=1000-")
    assert kept(cache) == ["download", "probe"]


def test_a_partial_file_that_is_too_long_is_deleted(cache: Path, web: Web, phase: Phase) -> None:
    source = Download.model_validate(web.publish("/probe", PROGRAM))
    (cache / "partial").mkdir()
    (cache / "partial" / source.sha256).write_bytes(PROGRAM + b"more")
    with pytest.raises(BundleError, match="the file was deleted"):
        download.fetch("probe", source, phase=phase)
    download.fetch("probe", source, phase=phase)
    assert download.find("probe", source) is not None


def test_the_error_for_a_missing_file_includes_the_status(cache: Path, web: Web, phase: Phase) -> None:
    source = Download(url=f"{web.url}/absent", sha256="0" * 64)
    with pytest.raises(BundleError, match="/absent: HTTP status 404 Not Found"):
        download.fetch("probe", source, phase=phase)
    assert kept(cache) == []


@pytest.mark.usefixtures("cache")
def test_a_server_that_does_not_answer_times_out(web: Web, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", httpx.Timeout(0.2))
    source = Download.model_validate(web.publish("/probe", PROGRAM))
    web.mute.add("/probe")
    with pytest.raises(BundleError, match="timed out"):
        download.fetch("probe", source, phase=phase)


@pytest.mark.usefixtures("cache")
def test_an_unreachable_server_gets_one_request_per_run(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Download(url="http://127.0.0.1:1/first", sha256="0" * 64)
    with pytest.raises(BundleError, match="refused"):
        download.fetch("first", first, phase=phase)

    def stream(*_: object, **__: object) -> None:
        pytest.fail("the server was asked again")

    monkeypatch.setattr(httpx, "stream", stream)
    second = Download(url="http://127.0.0.1:1/second", sha256="0" * 64)
    with pytest.raises(BundleError, match=r"second: .*refused"):
        download.fetch("second", second, phase=phase)


@pytest.mark.usefixtures("cache")
def test_a_program_is_extracted_from_its_archive(web: Web, phase: Phase) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("./linux-amd64/probe")
        info.size = len(PROGRAM)
        tar.addfile(info, io.BytesIO(PROGRAM))
    published = web.publish("/probe.tar.gz", archive.getvalue())
    source = Download.model_validate({**published, "member": "linux-amd64/probe"})
    download.fetch("probe", source, phase=phase)
    found = download.find("probe", source)
    assert found is not None
    assert found.read_bytes() == PROGRAM
    absent = Download.model_validate({**published, "member": "windows/probe"})
    with pytest.raises(BundleError, match="does not contain windows/probe"):
        download.fetch("probe", absent, phase=phase)
    assert len(web.requests) == 1, "the archive was downloaded again for its second member"
