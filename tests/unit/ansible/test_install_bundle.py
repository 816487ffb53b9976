from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.ansible.conftest import ExitError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.ansible.conftest import Host


class Bundle:
    """A bundle of one program, and where it is to be installed."""

    def __init__(self, directory: Path, target: Path) -> None:
        self.program = directory / "bin" / "kubelet"
        self.program.parent.mkdir(parents=True)
        self.program.write_bytes(b"the kubelet")
        self.manifest = directory / "manifest.json"
        digest = hashlib.sha256(b"the kubelet").hexdigest()
        self.manifest.write_text(json.dumps({"items": [{"path": "bin/kubelet", "sha256": digest}]}))
        self.dest = target / "kubelet"
        self.arguments: dict[str, Any] = {
            "directory": str(directory),
            "digest": hashlib.sha256(self.manifest.read_bytes()).hexdigest(),
            "files": [{"path": "bin/kubelet", "dest": str(self.dest)}],
        }


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "bundle", tmp_path / "usr" / "local" / "bin")


def test_a_program_is_installed_and_may_be_run(host: Host, bundle: Bundle) -> None:
    answer = host.run("install", bundle=bundle.arguments)
    assert answer["changes"] == [f"create {bundle.dest}"]
    assert bundle.dest.read_bytes() == b"the kubelet"
    assert bundle.dest.stat().st_mode & 0o7777 == 0o755


def test_a_second_run_changes_nothing(host: Host, bundle: Bundle) -> None:
    host.run("install", bundle=bundle.arguments)
    assert not host.run("install", bundle=bundle.arguments)["changed"]


def test_a_program_that_is_not_the_manifests_is_refused_and_nothing_is_left(host: Host, bundle: Bundle) -> None:
    bundle.program.write_bytes(b"the kubelet!")
    with pytest.raises(ExitError, match=r"bin/kubelet has sha256 .*, expected .* as in the manifest"):
        host.run("install", bundle=bundle.arguments)
    assert list(bundle.dest.parent.iterdir()) == []


def test_a_program_that_is_refused_does_not_replace_the_one_in_place(host: Host, bundle: Bundle) -> None:
    host.run("install", bundle=bundle.arguments)
    bundle.dest.write_bytes(b"changed on the host")
    bundle.program.write_bytes(b"tampered with")
    with pytest.raises(ExitError):
        host.run("install", bundle=bundle.arguments)
    assert bundle.dest.read_bytes() == b"changed on the host"


def test_another_manifest_is_refused(host: Host, bundle: Bundle) -> None:
    bundle.program.write_bytes(b"tampered with")
    digest = hashlib.sha256(b"tampered with").hexdigest()
    bundle.manifest.write_text(json.dumps({"items": [{"path": "bin/kubelet", "sha256": digest}]}))
    with pytest.raises(ExitError, match="as on the controller"):
        host.run("install", bundle=bundle.arguments)
    assert not bundle.dest.exists()


def test_a_program_that_was_changed_on_the_host_is_put_right(host: Host, bundle: Bundle) -> None:
    host.run("install", bundle=bundle.arguments)
    bundle.dest.write_bytes(b"the Kubelet")  # of the same length
    assert host.run("install", bundle=bundle.arguments)["changes"] == [f"change {bundle.dest}"]
    assert bundle.dest.read_bytes() == b"the kubelet"


def test_a_program_in_place_is_not_read_again(host: Host, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run("install", bundle=bundle.arguments)
    module = host.module("install")
    monkeypatch.setattr(sys.modules["ansible.module_utils.maas_bundle"], "sha256", lambda path: pytest.fail(str(path)))
    assert not host.run(module, bundle=bundle.arguments)["changed"]


def test_check_mode_reports_and_changes_nothing(host: Host, bundle: Bundle) -> None:
    answer = host.run("install", check_mode=True, bundle=bundle.arguments)
    assert answer["changes"] == [f"create {bundle.dest}"]
    assert not bundle.dest.parent.exists()


def test_what_the_bundle_lacks_is_named_and_nothing_is_installed(host: Host, bundle: Bundle) -> None:
    bundle.program.unlink()
    answer = host.run("install", bundle=bundle.arguments)
    assert answer == {"changed": False, "changes": [], "diff": [], "missing": ["bin/kubelet"]}
    assert not bundle.dest.exists()


def test_a_file_that_the_manifest_does_not_name_is_refused(host: Host, bundle: Bundle) -> None:
    (bundle.manifest.parent / "extra").touch()
    with pytest.raises(ExitError, match="does not contain extra"):
        host.run("install", bundle=bundle.arguments | {"need": ["extra"]})


@pytest.fixture
def carried(bundle: Bundle, tmp_path: Path) -> dict[str, Any]:
    """The arguments for a host that gets the bundle from the controller."""
    return bundle.arguments | {"directory": str(tmp_path / "carried"), "source": str(bundle.manifest.parent)}


def test_the_manifest_is_asked_for_before_anything_else(host: Host, bundle: Bundle, carried: dict[str, Any]) -> None:
    assert host.run("install", bundle=carried)["missing"] == ["manifest.json"]
    answer = host.run("install", bundle=carried | {"received": {"manifest.json": str(bundle.manifest)}})
    assert answer["missing"] == ["bin/kubelet"]


def test_files_from_the_controller_are_verified_before_they_are_kept(
    host: Host, bundle: Bundle, carried: dict[str, Any]
) -> None:
    host.run("install", bundle=carried | {"received": {"manifest.json": str(bundle.manifest)}})
    sent = {"bin/kubelet": str(bundle.program)}
    bundle.program.write_bytes(b"broken on the way")
    with pytest.raises(ExitError, match="as in the manifest"):
        host.run("install", bundle=carried | {"received": sent})
    assert not (bundle.manifest.parent.parent / "carried" / "bin" / "kubelet").exists()
    bundle.program.write_bytes(b"the kubelet")
    answer = host.run("install", bundle=carried | {"received": sent})
    assert answer["missing"] == []
    assert bundle.dest.read_bytes() == b"the kubelet"
    assert not host.run("install", bundle=carried)["changed"]


def test_of_another_bundle_only_what_differs_is_asked_for(
    host: Host, bundle: Bundle, carried: dict[str, Any], tmp_path: Path
) -> None:
    (bundle.manifest.parent / "gone").write_bytes(b"gone")
    digests = {"bin/kubelet": hashlib.sha256(b"the kubelet").hexdigest(), "gone": hashlib.sha256(b"gone").hexdigest()}

    def send(*paths: str) -> dict[str, Any]:
        sent = {path: str(bundle.manifest.parent / path) for path in paths}
        return host.run("install", bundle=carried | {"received": sent})

    def describe() -> None:
        items = [{"path": path, "sha256": digest} for path, digest in digests.items()]
        bundle.manifest.write_text(json.dumps({"items": items}))
        carried["digest"] = hashlib.sha256(bundle.manifest.read_bytes()).hexdigest()

    describe()
    carried["need"] = ["gone"]
    send("manifest.json")
    send("bin/kubelet", "gone")
    (bundle.manifest.parent / "new").write_bytes(b"new")
    digests["new"] = hashlib.sha256(b"new").hexdigest()
    del digests["gone"]
    describe()
    carried["need"] = ["new"]
    assert host.run("install", bundle=carried)["missing"] == ["manifest.json"]
    assert send("manifest.json")["missing"] == ["new"]
    assert not (tmp_path / "carried" / "gone").exists()
    assert send("new")["missing"] == []
