from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from maas import os_releases
from maas.bundle import debian
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundle.conftest import Archive

    from maas.console import Phase

BOOKWORM, TRIXIE, _, NOBLE = os_releases.SUPPORTED

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.usefixtures("mirror")
def test_packages_include_their_dependencies(phase: Phase) -> None:
    found = debian.resolve(["probe"], phase=phase)
    assert [(package.name, package.version) for package in found] == [("probe", "1:2.0-1"), ("probe-lib", "1.0")]
    assert all(debian.file(package).is_file() for package in found)
    assert debian.known(["probe"]) == found


@pytest.mark.usefixtures("mirror")
def test_packages_that_count_as_installed_are_left_out(phase: Phase) -> None:
    found = debian.resolve(["probe"], {"probe-lib": "1.0"}, phase=phase)
    assert [package.name for package in found] == ["probe"]


@pytest.mark.usefixtures("mirror")
def test_files_have_the_paths_of_a_merged_usr(phase: Phase) -> None:
    probe, _ = debian.resolve(["probe"], phase=phase)
    assert "/usr/bin/probe" in {entry.path for entry in debian.read(probe)}


@pytest.mark.usefixtures("mirror")
def test_the_error_for_a_package_that_no_mirror_has_includes_the_message_of_apt(phase: Phase) -> None:
    with pytest.raises(BundleError, match="apt cannot download absent") as caught:
        debian.resolve(["absent"], phase=phase)
    assert any("Unable to locate package absent" in line for line in caught.value.context)


def test_an_old_resolution_is_used_while_the_mirror_is_away(
    mirror: Path, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = debian.resolve(["probe"], phase=phase)
    shutil.move(mirror / "Packages", mirror / "gone")
    monkeypatch.setattr(debian, "_FRESH", 0)
    assert debian.known(["probe"]) == found, "a process uses one resolution"
    monkeypatch.setattr(debian, "_resolved", {})
    assert debian.known(["probe"]) is None
    assert debian.resolve(["probe"], phase=phase) == found


@pytest.mark.usefixtures("mirror")
def test_a_missing_apt_is_reported(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    with pytest.raises(BundleError, match="apt-get is not installed"):
        debian.resolve(["probe"], phase=phase)


def test_a_file_that_is_not_a_package_is_refused(cache: Path) -> None:
    package = debian.Package("probe", "1.0", "amd64")
    (cache / "debian" / "packages").mkdir(parents=True)
    debian.file(package).write_bytes(b"no package")
    with pytest.raises(BundleError, match="is not a Debian package"):
        [*debian.read(package)]


def names(found: list[debian.Package]) -> list[tuple[str, str]]:
    return [(package.name, package.version) for package in found]


@pytest.mark.usefixtures("archive")
def test_another_release_has_its_own_packages_beside_those_of_this_machine(phase: Phase) -> None:
    found = debian.resolve(["probe"], phase=phase, release=TRIXIE)
    assert names(found) == [("probe", "3.0"), ("probe-new", "3.0")]
    assert all(debian.file(package).is_file() for package in found)
    assert debian.known(["probe"], release=TRIXIE) == found
    assert debian.known(["probe"]) is None
    assert names(debian.resolve(["probe"], phase=phase, release=BOOKWORM)) == [("probe", "2.0")]
    assert debian.known(["probe"]) == debian.known(["probe"], release=BOOKWORM)


def unsigned(archive: Archive) -> None:
    (archive.directory / "debian" / "dists" / "trixie" / "InRelease").unlink()


def signed_by_a_stranger(archive: Archive) -> None:
    archive.publish("trixie", ("probe", "3.0", {}), user="stranger")


def changed(archive: Archive) -> None:
    index = archive.directory / "debian" / "dists" / "trixie" / "main" / "binary-amd64" / "Packages"
    index.write_text(index.read_text().replace("Version: 3.0", "Version: 3.1"))


@pytest.mark.parametrize("spoil", [unsigned, signed_by_a_stranger, changed])
def test_an_index_without_a_valid_signature_is_refused(
    archive: Archive, phase: Phase, spoil: Callable[[Archive], None]
) -> None:
    spoil(archive)
    with pytest.raises(BundleError, match="apt cannot download the packages of Debian 13"):
        debian.resolve(["probe"], phase=phase, release=TRIXIE)


def test_packages_of_ubuntu_are_looked_for_beside_those_of_debian(archive: Archive, phase: Phase) -> None:
    keyring = {"usr/share/keyrings/ubuntu-archive-keyring.gpg": archive.keyring}
    archive.publish("bookworm", ("ubuntu-archive-keyring", "1", keyring), ("probe", "2.0", {"bin/probe": "Debian"}))
    for suite in ("noble", "noble-updates", "noble-security"):
        archive.publish(suite, ("probe", "2.0", {"bin/probe": "Ubuntu"}), of="ubuntu")
    [ours] = debian.resolve(["probe"], phase=phase)
    [theirs] = debian.resolve(["probe"], phase=phase, release=NOBLE)
    assert ours.file == theirs.file
    contents = [
        [entry.content for entry in debian.read(one) if entry.path == "/usr/bin/probe"] for one in (ours, theirs)
    ]
    assert contents == [[b"Debian"], [b"Ubuntu"]]


def test_without_the_keys_of_a_distribution_nothing_is_fetched(
    archive: Archive, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.publish("noble", ("probe", "2.0", {}), of="ubuntu")
    monkeypatch.setattr(debian, "_KEYRINGS", {"ubuntu": ("absent-keyring", ("absent-keyring",))})
    with pytest.raises(BundleError, match="no keys to verify the packages of Ubuntu"):
        debian.resolve(["probe"], phase=phase, release=NOBLE)


def test_a_machine_without_a_mirror_says_so(archive: Archive, phase: Phase) -> None:
    (archive.directory / "debian").rename(archive.directory / "elsewhere")
    with pytest.raises(BundleError, match="no mirror of Debian"):
        debian.resolve(["probe"], phase=phase, release=TRIXIE)


def test_a_dry_run_resolves_and_leaves_nothing(archive: Archive, phase: Phase, cache: Path) -> None:
    before = sorted(cache.rglob("*"))
    with debian.without_cache():
        assert names(debian.resolve(["probe"], phase=phase, fetch=False, release=TRIXIE))
    assert sorted(cache.rglob("*")) == before
    assert debian.known(["probe"], release=TRIXIE) is None
    debian.resolve(["probe"], phase=phase)
    (archive.directory / "debian" / "dists" / "bookworm" / "InRelease").unlink()
    with debian.without_cache():  # the package lists of this machine are still new enough
        assert names(debian.resolve(["probe"], phase=phase, fetch=False, release=TRIXIE))


DEBIAN = """\
Debian bookworm main http://mirror.example/debian/
Debian bookworm-updates main http://mirror.example/debian/
Debian bookworm-backports main http://backports.example/debian/
Debian bookworm contrib http://other.example/debian/
Debian bookworm-security main http://mirror.example/security/
LP-PPA-nobody noble main http://ppa.example/ubuntu/
"""


def test_the_mirrors_of_this_machine_serve_other_releases() -> None:
    assert debian.sources(TRIXIE, DEBIAN, options="[arch=amd64]") == [
        "deb [arch=amd64] http://mirror.example/debian trixie main",
        "deb [arch=amd64] http://mirror.example/debian trixie-updates main",
        "deb [arch=amd64] http://mirror.example/security trixie-security main",
    ]
    assert debian.sources(NOBLE, DEBIAN) == [
        f"deb http://mirror.example/ubuntu {suite} main universe"
        for suite in ("noble", "noble-updates", "noble-security")
    ]
    assert debian.sources(NOBLE, "") == []
    assert debian.sources(TRIXIE, "Ubuntu noble main http://mirror.example/mirrors/ubuntu/\n") == [
        "deb http://mirror.example/mirrors/debian trixie main",
        "deb http://mirror.example/mirrors/debian trixie-updates main",
    ]
