from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.ansible_content import CONTENT, load_file

REFERENCES = {"images/pause.tar": "registry.example.org/pause:1", "images/etcd.tar": "registry.example.org/etcd:1"}


class Containerd:
    """A host whose `ctr` records its arguments, and a bundle of two images."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = directory / "bundle"
        (self.bundle / "images").mkdir(parents=True)
        self.calls = directory / "calls"
        self.calls.touch()
        self.present = directory / "present"
        self.present.touch()
        ctr = directory / "ctr"
        ctr.write_text(f'#!/bin/sh\ncase $4 in list) cat {self.present} ;; *) echo "$4 $*" >>{self.calls} ;; esac\n')
        ctr.chmod(0o755)
        items = []
        for path, reference in REFERENCES.items():
            (self.bundle / path).write_bytes(path.encode())
            digest = hashlib.sha256(path.encode()).hexdigest()
            items.append({"path": path, "reference": reference, "sha256": digest})
        manifest = self.bundle / "manifest.json"
        manifest.write_text(json.dumps({"items": items}))
        settings = directory / "images.json"
        settings.write_text(
            json.dumps(
                {
                    "directory": str(self.bundle),
                    "digest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
                    "stages": {"control-plane": list(REFERENCES)},
                }
            )
        )
        source = CONTENT / "roles" / "containerd" / "files" / "import-images.py"
        self.program: Any = load_file(source, "maas_import_images")
        monkeypatch.setattr(self.program, "CTR", (str(ctr), "--namespace", "k8s.io", "images"))
        monkeypatch.setattr(self.program, "IMPORTED", directory / "imported")
        monkeypatch.setattr(self.program, "Path", lambda name: settings if name.startswith("/etc/maas") else Path(name))
        monkeypatch.setattr("sys.argv", ["import-images", "control-plane"])

    def run(self) -> list[str]:
        """The verbs that ctr was told by one run."""
        self.calls.write_text("")
        self.program.main()
        return [line.split()[0] for line in self.calls.read_text().splitlines()]


@pytest.fixture
def containerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containerd:
    return Containerd(tmp_path, monkeypatch)


def test_each_image_is_imported_and_kept_from_garbage_collection(containerd: Containerd) -> None:
    assert containerd.run() == ["import", "label", "import", "label"]


def test_existing_images_are_skipped(containerd: Containerd) -> None:
    containerd.run()
    containerd.present.write_text("\n".join(REFERENCES.values()))
    assert containerd.run() == []


def test_an_image_that_somebody_removed_comes_back(containerd: Containerd) -> None:
    containerd.run()
    containerd.present.write_text(REFERENCES["images/pause.tar"])
    assert containerd.run() == ["import", "label"]


def test_another_image_under_the_same_reference_is_imported(containerd: Containerd) -> None:
    containerd.present.write_text("\n".join(REFERENCES.values()))  # imported by someone else
    assert containerd.run() == ["import", "label", "import", "label"]


def test_an_archive_that_was_tampered_with_is_refused(containerd: Containerd) -> None:
    (containerd.bundle / "images" / "etcd.tar").write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"etcd\.tar does not have the sha256 of the manifest"):
        containerd.run()
    assert "etcd" not in containerd.calls.read_text()


def test_another_manifest_is_refused(containerd: Containerd) -> None:
    (containerd.bundle / "manifest.json").write_text('{"items": []}')
    with pytest.raises(SystemExit, match=r"manifest\.json does not have the sha256"):
        containerd.run()
    assert containerd.calls.read_text() == ""
