from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from maas.bundle import images, wheels
from maas.components import ImageBuild

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundle.conftest import Opened

    from maas.components import Lockfile
    from maas.console import Phase

pytestmark = pytest.mark.usefixtures("cache", "mirror")
REFERENCE = "registry.example.org/packed:v1"
BASES = {
    "low": {
        "packages": ["busybox-static", "probe-lib"],
        "applets": True,
        "users": [{"name": "root", "id": 0, "home": "/root"}],
        "directories": {"/tmp": 0, "/data": 999},  # noqa: S108 - in the image
    },
    "high": {
        "base": "low",
        "packages": ["probe", "ca-certificates"],
        "certificates": True,
        "links": {"/usr/bin/python": "python3"},
        "archive": "docker.io/library/high:v1",
    },
}


@pytest.fixture
def build(use: Callable[..., Lockfile], phase: Phase, opened: Callable[[Path], Opened]) -> Callable[..., Opened]:
    item = {"name": "packed", "kind": "image", "on": "node", "reference": REFERENCE, "build": {}}
    component = use(BASES, packed={"version": "v1", "items": [item]}).components["packed"]

    def make(**recipe: Any) -> Opened:
        read = ImageBuild.model_validate(recipe)
        images.build(component, "packed", REFERENCE, read, phase=phase)
        archive = images.find(component, "packed", REFERENCE, read)
        assert archive is not None
        return opened(archive)

    return make


def text(archive: Path, path: str) -> str:
    """A file of the topmost layer of an image for Docker."""
    with tarfile.open(archive) as outer:
        for name in outer.getnames():
            blob = outer.extractfile(name)
            if not name.startswith("blobs/") or blob is None or blob.read(1) in {b"{", b""}:
                continue
            blob.seek(0)
            with tarfile.open(fileobj=blob) as layer:
                if path in layer.getnames() and (content := layer.extractfile(path)):
                    return content.read().decode()
    raise AssertionError(path)


def test_images_with_the_same_base_share_its_layers(build: Callable[..., Opened]) -> None:
    first = build(base="high", links={"/first": "x"})
    second = build(base="high", links={"/second": "x"})
    assert first.layers[:2] == second.layers[:2]
    assert first.layers[2] != second.layers[2]


def test_packages_of_the_base_are_not_added_again(build: Callable[..., Opened]) -> None:
    low = build(base="low", packages=["probe"])
    assert "usr/bin/probe" in low.files
    assert low.layers[1]["size"] < low.layers[0]["size"]


def test_an_image_without_a_base_has_a_merged_usr_accounts_and_applets(build: Callable[..., Opened]) -> None:
    files = build(base="low").files
    assert {name: files[name].linkname for name in ("bin", "sbin", "lib", "lib64")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
    }
    assert files["usr/bin/sh"].linkname == "busybox"
    assert {"etc/passwd", "etc/group"} <= {*files}
    assert (files["tmp"].mode, files["data"].uid) == (0o1777, 999)
    assert "usr/share/man/man1/probe.1" not in files


def test_a_program_of_a_package_replaces_the_applet_of_that_name(build: Callable[..., Opened]) -> None:
    assert build(packages=["busybox-static", "probe"], applets=True).files["usr/bin/probe"].isreg()


def test_a_base_is_available_for_docker_with_its_certificates_in_one_file(
    use: Callable[..., Lockfile], phase: Phase
) -> None:
    use(BASES)
    archive = images.base("high", phase=phase)
    assert images.base("high", phase=phase) == archive
    assert text(archive, "etc/ssl/certs/ca-certificates.crt") == "a\nb\n"


def test_wheels_are_unpacked_with_their_commands(
    build: Callable[..., Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "wheels"
    directory.mkdir()
    with zipfile.ZipFile(directory / "tool-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tool/__init__.py", "")
        wheel.writestr("tool-1.dist-info/entry_points.txt", "[console_scripts]\nTool-it = tool.cli:main\n")
    monkeypatch.setattr(wheels, "download", lambda _requirements: directory)
    monkeypatch.setattr(wheels, "digest", lambda _requirements: "1")
    first = build(wheels={"/usr/lib/tool": "requirements.txt"})
    assert {"usr/lib/tool/tool/__init__.py", "usr/lib/tool/bin/Tool-it"} <= set(first.files)
    assert first.files["usr/lib/tool/bin/Tool-it"].mode == 0o755
    with zipfile.ZipFile(directory / "other-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("other.py", "")
    monkeypatch.setattr(wheels, "digest", lambda _requirements: "2")
    assert "usr/lib/tool/other.py" in build(wheels={"/usr/lib/tool": "requirements.txt"}).files, (
        "an image of other wheels"
    )
