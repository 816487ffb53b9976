"""The program that backs etcd up: what a backup contains, that it is encrypted, and what is kept after a failure."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = CONTENT / "roles" / "etcd_backup" / "files"
etcd_backup = load_file(FILES / "etcd_backup.py", "maas_etcd_backup")

STATUS = {"hash": 1, "revision": 4711, "totalKey": 321, "totalSize": 8}
# It answers as the real programs do, and notes its arguments.
ETCDCTL = """\
#!/bin/sh
echo "etcdctl $*" >> "$CALLS"
case "$1" in
endpoint) echo "[{\\"Status\\": {\\"dbSize\\": ${DB_SIZE:-8}}}]" ;;
snapshot) [ -z "$FAIL_SNAPSHOT" ] || { echo "Error: context deadline exceeded" >&2; exit 1; }; printf 'etcd-data' > "$3" ;;
esac
"""
ETCDUTL = """\
#!/bin/sh
echo "etcdutl $*" >> "$CALLS"
[ -z "$FAIL_STATUS" ] || { echo "snapshot file integrity check failed" >&2; exit 1; }
echo '{"hash": 1, "revision": 4711, "totalKey": 321, "totalSize": 8}'
"""
# Not encrypted, so that the test can read it.
AGE = """\
#!/bin/sh
echo "age $*" >> "$CALLS"
[ -z "$FAIL_AGE" ] || { echo "age: error: no space left" >&2; exit 1; }
printf 'sealed:'; exec cat
"""


class World:
    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.monkeypatch = home, monkeypatch
        self.runtime, self.backups, self.calls = home / "run", home / "backups", home / "calls"
        for name, text in {"age": AGE, "etcdctl": ETCDCTL, "etcdutl": ETCDUTL}.items():
            self.file(f"bin/{name}", text).chmod(0o755)
        for name in ("ca.crt", "sa.key", "etcd/ca.crt"):
            self.file(f"kubernetes/pki/{name}", f"the content of {name}")
        self.file("kubernetes/encryption/config.yaml", "keys")
        self.file("kubeadm.yaml", "kind: InitConfiguration")
        settings = {"cluster": "shop", "host": "master", "kubernetes": "v1.37.2", "recipients": ["age1a", "age1b"]}
        self.file("settings.json", json.dumps({**settings, "keep": 3}))
        self.runtime.mkdir()
        paths = {
            "CONFIGURATION": "settings.json",
            "BACKUPS": "backups",
            "OUTCOME": "outcome.json",
            "KUBERNETES": "kubernetes",
            "KUBEADM": "kubeadm.yaml",
            "PROGRAMS": "bin",
        }
        for constant, name in paths.items():
            monkeypatch.setattr(etcd_backup, constant, home / name)
        monkeypatch.setattr(etcd_backup, "MARGIN", 0)
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(self.runtime))
        monkeypatch.setenv("CALLS", str(self.calls))
        self.clock = 1795417706.0
        monkeypatch.setattr(etcd_backup.time, "time", lambda: self.clock)

    def file(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def outcome(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.home / "outcome.json").read_text())
        return found

    def names(self) -> list[str]:
        return sorted(path.name for path in self.backups.iterdir())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def contents(path: Path) -> Mapping[str, bytes]:
    sealed = path.read_bytes()
    assert sealed.startswith(b"sealed:"), "everything goes through age"
    with tarfile.open(fileobj=io.BytesIO(sealed.removeprefix(b"sealed:")), mode="r:gz") as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
        return found


def test_a_backup_has_the_snapshot_the_keys_and_the_configuration(world: World) -> None:
    etcd_backup.main()
    (name,) = world.names()
    assert name == "20261123T070826Z-shop-master.tar.gz.age"
    path = world.backups / name
    assert path.stat().st_mode & 0o777 == 0o600
    assert world.backups.stat().st_mode & 0o777 == 0o700
    found = contents(path)
    assert next(iter(found)) == "backup.json", "what it says about itself can be read without the rest"
    assert found["etcd.db"] == b"etcd-data"
    assert found["kubernetes/pki/sa.key"] == b"the content of sa.key"
    assert found["kubernetes/encryption/config.yaml"] == b"keys"
    assert found["kubeadm.yaml"] == b"kind: InitConfiguration"
    said = json.loads(found["backup.json"])
    assert (said["cluster"], said["host"], said["taken"]) == ("shop", "master", 1795417706)
    assert (said["revision"], said["keys"]) == (STATUS["revision"], STATUS["totalKey"])
    assert set(said["files"]) == set(found) - {"backup.json"}
    assert said["authority"] == said["files"]["kubernetes/pki/ca.crt"]


def test_the_snapshot_is_verified_and_encrypted_to_every_recipient(world: World) -> None:
    etcd_backup.main()
    calls = world.calls.read_text().splitlines()
    assert [call.split()[:3] for call in calls[1:3]] == [
        ["etcdctl", "snapshot", "save"],
        ["etcdutl", "snapshot", "status"],
    ]
    assert "--endpoints https://127.0.0.1:2379" in calls[1]
    assert calls[3] == "age --encrypt --recipient age1a --recipient age1b"


def test_the_outcome_is_recorded(world: World) -> None:
    etcd_backup.main()
    outcome = world.outcome()
    assert outcome["failed"] is False
    assert outcome["succeeded"] == 1795417706
    assert outcome["size"] == (world.backups / world.names()[0]).stat().st_size
    assert outcome["count"] == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FAIL_SNAPSHOT", "1", "etcdctl snapshot save: Error: context deadline exceeded"),
        ("FAIL_STATUS", "1", "etcdutl snapshot status: snapshot file integrity check failed"),
        ("FAIL_AGE", "1", "age: age: error: no space left"),
        ("DB_SIZE", str(1 << 60), "the snapshot needs 1099511627776 MiB in"),
    ],
)
def test_a_failure_is_recorded_and_leaves_earlier_backups_alone(
    world: World, variable: str, value: str, message: str
) -> None:
    etcd_backup.main()
    before = world.names()
    world.clock += 1800
    world.monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        etcd_backup.main()
    assert str(ended.value.code).startswith(message)
    assert world.names() == before, "neither a part of a backup is left, nor is the last one lost"
    outcome = world.outcome()
    assert outcome["failed"] is True
    assert outcome["succeeded"] == 1795417706, "the age of the last success is still known"


def test_a_part_of_a_backup_that_an_interruption_left_is_removed(world: World) -> None:
    world.file("backups/.20261123T060000Z-shop-master.tar.gz.age.partial", "half")
    etcd_backup.main()
    assert world.names() == ["20261123T070826Z-shop-master.tar.gz.age"]


def test_old_backups_are_deleted(world: World) -> None:
    for _ in range(5):
        etcd_backup.main()
        world.clock += 1800
    assert [name[8:15] for name in world.names()] == ["T080826", "T083826", "T090826"]


def test_backups_have_a_bounded_size_together_but_two_are_always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_backup, "LIMIT", 100)
    assert etcd_backup.expired({"e": 40, "d": 40, "c": 40, "b": 1}, 48) == ["c", "b"]
    assert etcd_backup.expired({"e": 200, "d": 200, "c": 1}, 48) == ["c"]
    assert etcd_backup.expired({"e": 1, "d": 1, "c": 1}, 2) == ["c"]


def test_it_runs_as_the_service_only_whose_directory_is_in_memory(world: World) -> None:
    world.monkeypatch.delenv("RUNTIME_DIRECTORY")
    with pytest.raises(SystemExit) as ended:
        etcd_backup.main()
    assert "systemctl start maas-etcd-backup.service" in str(ended.value.code)
    assert not world.backups.exists()


def test_the_service_deletes_the_clear_text_and_readers_are_root() -> None:
    unit = (FILES / "maas-etcd-backup.service").read_text()
    assert "RuntimeDirectory=maas-etcd-backup\nRuntimeDirectoryMode=0700\n" in unit
    assert "RuntimeDirectoryPreserve" not in unit
    assert "UMask=0077\n" in unit
