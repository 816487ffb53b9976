"""Each of these is an attack, or an accident that looks like one; none may end with "complete and signed"."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from maas import console
from maas.commands.verify import verify
from maas.errors import UsageError, VerificationError
from maas.release import checksums, cosign, helm_provenance, pipeline, provenance, repository, serve
from maas.release.verify import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.release.conftest import Keys, Maker

    Made = Callable[..., Path]

CHART, IMAGE, WHEEL = "maas-0.1.0.tgz", "restaurant-0.1.0-linux-amd64.oci.tar", "maas-0.1.0-py3-none-any.whl"


@pytest.fixture
def release(made: Made, tmp_path: Path) -> Path:
    return made(tmp_path / "release")


@pytest.fixture
def check(keys: Keys, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Verify with the project's public key and return the output."""

    def run(where: Path | str, *, trusted: list[Path] | None = None, version: str | None = None) -> str:
        verify(str(where), keys=trusted or [keys.public[1]], identity=None, issuer=None, version=version)
        return capfd.readouterr().err

    return run


def flip(file: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def reseal(directory: Path) -> None:
    """Write checksums for the changed files, as an attacker without the key can."""
    checksums.write(directory, checksums.read(directory))


def test_a_valid_release_passes_every_check(release: Path, check: Callable[..., str]) -> None:
    said = check(release)
    assert "complete and signed" in said
    for name in CHECKS:
        assert f"✓  {name} " in said


def test_the_checks_in_json(release: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    console.set_output("json")
    try:
        verify(str(release), keys=[keys.public[1]], identity=None, issuer=None, version=None)
        passed = json.loads(capsys.readouterr().out)
        flip(release / CHART)
        with pytest.raises(VerificationError):
            verify(str(release), keys=[keys.public[1]], identity=None, issuer=None, version=None)
        failed = json.loads(capsys.readouterr().out)
    finally:
        console.set_output("text")
    assert passed["valid"] is True
    assert [one["name"] for one in passed["checks"]] == ["fetch", *CHECKS]
    assert failed["valid"] is False
    assert [one["passed"] for one in failed["checks"]][-1] is False


@pytest.mark.parametrize("name", [CHART, IMAGE, WHEEL, f"{CHART}.cdx.json", "images.txt", provenance.FILE])
def test_a_changed_byte_is_found(release: Path, check: Callable[..., str], name: str) -> None:
    flip(release / name)
    with pytest.raises(VerificationError, match="do not match the signed checksums") as raised:
        check(release)
    assert raised.value.context == (f"{name} differs",)
    assert raised.value.hint


@pytest.mark.parametrize("name", [CHART, IMAGE, f"{IMAGE}.cdx.json", provenance.FILE])
def test_checksums_that_were_adapted_to_a_change_are_found(release: Path, check: Callable[..., str], name: str) -> None:
    flip(release / name)
    reseal(release)
    with pytest.raises(VerificationError, match=r"signature SHA256SUMS\.sigstore\.json is not valid"):
        check(release)


def test_a_release_signed_by_somebody_else_is_found(release: Path, foreign: Keys, check: Callable[..., str]) -> None:
    flip(release / WHEEL)
    reseal(release)
    pipeline.sign_all(release, [foreign.pair])
    with pytest.raises(VerificationError, match=r"signature SHA256SUMS\.sigstore\.json is not valid"):
        check(release)


def test_an_sbom_signed_by_somebody_else_is_found(release: Path, foreign: Keys, check: Callable[..., str]) -> None:
    foreign.pair.sign(release / f"{CHART}.cdx.json")
    with pytest.raises(VerificationError, match=r"cdx\.json\.sigstore\.json is not valid"):
        check(release)


def test_missing_and_extra_files_are_found(release: Path, check: Callable[..., str]) -> None:
    (release / WHEEL).rename(release / "other.whl")
    with pytest.raises(VerificationError) as raised:
        check(release)
    assert raised.value.context == (f"{WHEEL} is missing", "other.whl is not in SHA256SUMS")


def test_a_link_in_place_of_a_file_is_found(release: Path, check: Callable[..., str], tmp_path: Path) -> None:
    (release / WHEEL).rename(tmp_path / "elsewhere")
    (release / WHEEL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="do not match the signed checksums"):
        check(release)


def test_a_statement_about_another_digest_is_found(release: Path, maker: Maker, check: Callable[..., str]) -> None:
    statement = json.loads((release / provenance.FILE).read_text())
    for subject in statement["subject"]:
        if subject["name"] == CHART:
            subject["digest"]["sha256"] = hashlib.sha256(b"another chart").hexdigest()
    (release / provenance.FILE).write_text(json.dumps(statement))
    reseal(release)
    pipeline.sign_all(release, [maker.keys.pair])
    with pytest.raises(VerificationError, match="describes another release") as raised:
        check(release)
    assert f"it lists another {CHART}" in raised.value.context[0]


def test_the_statement_of_another_release_is_found(
    release: Path, made: Made, check: Callable[..., str], tmp_path: Path
) -> None:
    # Both are signed by the project, but they do not belong together.
    other = made(tmp_path / "other", "0.2.0")
    for name in (checksums.FILE, f"{checksums.FILE}{cosign.BUNDLE}"):
        shutil.copy(other / name, release / name)
    with pytest.raises(VerificationError, match="do not match the signed checksums"):
        check(release)


def test_an_sbom_of_another_file_is_found(release: Path, maker: Maker, check: Callable[..., str]) -> None:
    shutil.copy(release / f"{IMAGE}.cdx.json", release / f"{CHART}.cdx.json")
    maker.seal(release, "0.1.0")
    pipeline.sign_all(release, [maker.keys.pair])
    with pytest.raises(VerificationError, match="is not the SBOM of"):
        check(release)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "maas/../../evil", "other/evil", "maas\\..\\evil"])
def test_a_chart_with_a_path_outside_its_directory_is_found(
    maker: Maker, check: Callable[..., str], tmp_path: Path, name: str
) -> None:
    # Signed by the project, because it was added before.
    directory = tmp_path / "release"
    with pytest.raises(VerificationError, match=r"path outside its directory|more than one chart") as raised:
        check(maker.release(directory, extra={name: b"evil"}))
    assert {name, "other"} & {*raised.value.context}


def test_a_file_that_is_not_an_archive_is_found(tmp_path: Path) -> None:
    archive = tmp_path / "maas-0.1.0.tgz"
    for content in (b"", b"no archive", gzip.compress(b"no tar"), gzip.compress(b"x" * 2000)[:-5]):
        archive.write_bytes(content)
        with pytest.raises(VerificationError, match="is not a chart archive"):
            repository.chart(archive)


def test_a_name_with_a_path_in_the_checksums_is_refused(release: Path) -> None:
    for name in ("../evil", "/etc/passwd", "a/b", ".hidden", ""):
        (release / checksums.FILE).write_text(f"{'0' * 64}  {name}\n")
        with pytest.raises(VerificationError, match="is not valid"):
            checksums.read(release)


def test_an_openpgp_key_also_verifies_helms_provenance(
    maker: Maker, keys: Keys, check: Callable[..., str], tmp_path: Path
) -> None:
    directory = maker.release(tmp_path / "release", by=[keys.gpg])
    assert "3 with provenance" in check(directory, trusted=[keys.public[0]])
    shutil.copy(
        directory / f"restaurant-0.1.0.tgz{helm_provenance.SUFFIX}",
        directory / f"calico-0.1.0.tgz{helm_provenance.SUFFIX}",
    )
    with pytest.raises(VerificationError, match="describes another archive"):
        check(directory, trusted=[keys.public[0]])


def test_an_identity_without_its_issuer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs its issuer"):
        verify(str(tmp_path), keys=[], identity="me", issuer=None, version=None)


def test_a_location_without_a_release_is_reported(check: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a release nor a chart repository"):
        check(tmp_path)


@pytest.fixture
def published(made: Made, tmp_path: Path) -> Path:
    """A repository with two versions."""
    root = tmp_path / "repository"
    for version in ("0.1.0", "0.2.0"):
        release = made(tmp_path / f"of-{version}", version)
        repository.publish(release, root, version, metadata=release / repository.METADATA)
    return root


@pytest.fixture
def address(published: Path) -> Iterator[str]:
    """The same on a web server."""
    import threading  # noqa: PLC0415

    with serve.server(published, 0) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_the_newest_version_of_a_repository_is_verified_unless_one_is_given(
    published: Path, address: str, check: Callable[..., str]
) -> None:
    assert "0.2.0 is complete" in check(published)
    assert "0.2.0 is complete" in check(address)
    assert "0.1.0 is complete" in check(address, version="0.1.0")
    with pytest.raises(UsageError, match=r"does not list 0\.3\.0"):
        check(address, version="0.3.0")


@pytest.mark.parametrize(("old", "new"), [("description: of maas", "description: of us"), ("0.2.0/maas", "0.1.0/maas")])
def test_an_index_entry_that_differs_from_its_archive_is_found(
    published: Path, address: str, check: Callable[..., str], old: str, new: str
) -> None:
    index = published / repository.FILE
    index.write_text(index.read_text().replace(old, new))
    with pytest.raises(VerificationError, match=r"the index entry of maas 0\.2\.0 does not match its archive"):
        check(address)


def test_an_index_with_a_changed_byte_in_a_digest_is_found(published: Path, check: Callable[..., str]) -> None:
    index = published / repository.FILE
    text = index.read_text()
    at = text.index("digest: ") + len("digest: ")
    index.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    with pytest.raises(VerificationError, match="the index entry of calico"):
        check(published)


def test_an_index_that_was_rolled_back_is_found_by_those_who_saw_the_newer_one(
    published: Path, address: str, check: Callable[..., str], tmp_path: Path
) -> None:
    older = repository.text(
        {
            chart: [entry for entry in listed if entry.version == "0.1.0"]
            for chart, listed in repository.read((published / repository.FILE).read_text()).items()
        }
    )
    check(address)
    (published / repository.FILE).write_text(older)
    with pytest.raises(VerificationError, match="has been rolled back or rewritten") as raised:
        check(address)
    assert "maas 0.2.0 is missing" in raised.value.context
    shutil.rmtree(tmp_path / "state")
    assert "0.1.0 is complete" in check(address)  # a new user cannot detect it


def test_a_file_that_is_not_an_index_is_reported(published: Path, check: Callable[..., str]) -> None:
    outside = "entries: {maas: [{version: ../../elsewhere, digest: a, urls: [b]}]}"
    for text in ("", "[]", "entries: {maas: [{}]}", "entries: 3", "\t: {", outside):
        (published / repository.FILE).write_text(text)
        with pytest.raises(VerificationError, match="is not an index of charts"):
            check(published)
    (published / repository.FILE).write_text("entries: {}")
    with pytest.raises(VerificationError, match="lists no chart"):
        check(published)
