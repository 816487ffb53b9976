from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from maas.bundle import debian
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.console import Phase

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
