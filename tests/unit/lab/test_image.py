"""The image of a host: made from this repository's lists, on the mirrors that the machine itself uses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from maas import paths
from maas.lab import image

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = """\
bookworm main http://mirror.example/debian/
bookworm-updates main http://mirror.example/debian/
bookworm-security main http://mirror.example/security/
bookworm contrib http://other.example/debian/
sdk-bookworm main https://packages.example/apt
nodistro main https://node.example/
"""


def test_the_machines_own_mirrors_are_used() -> None:
    assert image.sources(DEBIAN) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]


def test_the_mirror_of_another_debian_release_serves_as_well() -> None:
    assert image.sources("trixie main http://mirror.example/debian/\n") == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
    ]


@pytest.mark.parametrize("targets", ["", "noble main http://ubuntu.example/ubuntu/\n"])
def test_a_machine_without_a_debian_mirror_leaves_the_choice_to_mmdebstrap(targets: str) -> None:
    assert image.sources(targets) == []


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied = shutil.copytree(paths.content() / "hack" / "lab", tmp_path / "hack" / "lab")
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    return copied


def test_the_digest_depends_on_the_content_and_not_on_comments(source: Path) -> None:
    before = image.digest()
    (source / "packages").write_text((source / "packages").read_text() + "\n# another remark\n")
    assert image.digest() == before


@pytest.mark.parametrize("name", ["setup", "root/usr/local/sbin/lab-host", "root/etc/ssh/sshd_config.d/lab.conf"])
def test_a_changed_file_makes_another_image(source: Path, name: str) -> None:
    before = image.digest()
    with (source / name).open("a") as file:
        file.write("\n# changed\n")
    assert image.digest() != before


def test_a_file_that_lost_its_execute_bit_makes_another_image(source: Path) -> None:
    before = image.digest()
    (source / "setup").chmod(0o644)
    assert image.digest() != before
