"""Packages for hosts with another release than this machine's, from the real archive."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from maas import bundle, components, os_releases

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_the_archive_of_each_debian_release_has_the_packages_of_hosts(tmp_path: Path) -> None:
    releases = [release for release in os_releases.SUPPORTED if release.os == "debian"]
    made = bundle.build(tmp_path / "bundle", only=["host-packages"], releases=releases)
    made.verify()
    assert made.manifest.unavailable == ()
    _, item = components.load().find("host-packages")
    assert isinstance(item, components.Packages)
    for release in releases:
        found = {item.name: item for item in made.items if item.release == release.directory}
        assert set(item.build.packages) <= found.keys()
        assert not {"libc6", "dpkg", "systemd"} & found.keys()
        for package in found.values():
            fields = ["dpkg-deb", "--field", str(made.directory / package.path), "Package", "Version", "Architecture"]
            shown = subprocess.run(fields, check=True, capture_output=True, text=True).stdout
            assert f"Package: {package.name}\nVersion: {package.version}\n" in shown
    versions = {item.version for item in made.items if item.name == "openvpn"}
    assert len(versions) == len(releases)
