from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from maas.bundle import oci
from maas.bundle.oci import Entry
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundle.conftest import Opened

pytestmark = pytest.mark.usefixtures("cache")
REFERENCE = "registry.example.org/probe:v1"
SETTINGS = oci.ImageConfig(
    environment={"PGDATA": "/data"}, entrypoint=["/probe"], command=["serve"], user="999", workdir="/data"
)


def image(directory: Path, *entries: Entry) -> Path:
    directory.mkdir()
    oci.write_image(directory / "image.tar", [oci.write_layer(entries, directory)], SETTINGS, reference=REFERENCE)
    return directory / "image.tar"


def test_the_same_files_give_the_same_bytes_in_any_order_and_from_any_source(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"program")
    first = image(tmp_path / "first", Entry("/bin/a", content=program, mode=0o755), Entry("/etc/b", content=b"b"))
    program.touch()
    second = image(tmp_path / "second", Entry("/etc/b", content=b"b"), Entry("/bin/a", content=program, mode=0o755))
    assert first.read_bytes() == second.read_bytes()


def test_an_image_has_its_configuration(tmp_path: Path, opened: Callable[[Path], Opened]) -> None:
    config = opened(image(tmp_path / "image", Entry("/probe", content=b"x"))).config
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"] == {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PGDATA=/data"],
        "Entrypoint": ["/probe"],
        "Cmd": ["serve"],
        "User": "999",
        "WorkingDir": "/data",
    }


def test_files_keep_owner_mode_links_and_capabilities(tmp_path: Path, opened: Callable[[Path], Opened]) -> None:
    files = opened(
        image(
            tmp_path / "image",
            Entry("/opt/bin/a-name", kind=tarfile.LNKTYPE, target="/opt/bin/program"),
            Entry("/opt/bin/program", content=b"x", mode=0o755, xattrs={"security.capability": b"\x01\x00\x02"}),
            Entry("/opt/link", kind=tarfile.SYMTYPE, target="bin/program"),
            Entry("/data", kind=tarfile.DIRTYPE, mode=0o700, uid=999, gid=999),
        )
    ).files
    assert [*files].index("opt/bin/program") < [*files].index("opt/bin/a-name")
    assert files["opt/bin/a-name"].linkname == "opt/bin/program"
    assert files["opt/link"].linkname == "bin/program"
    assert files["opt/bin/program"].mode == 0o755
    assert files["opt/bin/program"].pax_headers == {"SCHILY.xattr.security.capability": "\x01\x00\x02"}
    assert (files["data"].mode, files["data"].uid) == (0o700, 999)
    assert (files["opt"].isdir(), files["opt"].mode) == (True, 0o755)


def test_a_file_below_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="/etc/service/run conflicts with /etc/service"):
        image(
            tmp_path / "image",
            Entry("/etc/service", kind=tarfile.SYMTYPE, target="/run/service"),
            Entry("/etc/service/run", content=b"x"),
        )


def test_an_image_for_docker_has_uncompressed_layers_and_a_docker_manifest(
    tmp_path: Path, opened: Callable[[Path], Opened]
) -> None:
    blob = oci.write_layer([Entry("/probe", content=b"x")], tmp_path)
    oci.write_docker_image(tmp_path / "image.tar", [blob], SETTINGS, reference=REFERENCE)
    found = opened(tmp_path / "image.tar")
    assert [layer["mediaType"] for layer in found.layers] == ["application/vnd.oci.image.layer.v1.tar"]
    with tarfile.open(tmp_path / "image.tar") as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        docker = json.loads(listed.read())[0]
        assert docker["RepoTags"] == [REFERENCE]
        assert {docker["Config"], *docker["Layers"]} <= {*tar.getnames()}


def test_an_archive_of_docker_save_is_converted(tmp_path: Path, opened: Callable[[Path], Opened]) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as layer:
        layer.addfile(tarfile.TarInfo("probe"))
    diff_id = hashlib.sha256(plain.getvalue()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}}
    members = {
        "manifest.json": json.dumps(
            [{"Config": "c.json", "RepoTags": ["x:latest"], "Layers": ["1/layer.tar"]}]
        ).encode(),
        "c.json": json.dumps(config).encode(),
        "1/layer.tar": plain.getvalue(),
    }
    with tarfile.open(tmp_path / "saved.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    for target in ("first.tar", "second.tar"):
        oci.convert(tmp_path / "saved.tar", tmp_path / target, reference=REFERENCE)
    found = opened(tmp_path / "first.tar")
    assert found.entry["annotations"]["io.containerd.image.name"] == REFERENCE
    assert [layer["mediaType"] for layer in found.layers] == ["application/vnd.oci.image.layer.v1.tar+zstd"]
    assert [*found.files] == ["probe"]
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_a_file_that_is_not_an_image_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("README"))
    for name in ("text", "other.tar", "absent"):
        with pytest.raises(BundleError, match="is not an image archive"):
            oci.convert(tmp_path / name, tmp_path / "image.tar", reference=REFERENCE)
