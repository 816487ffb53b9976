"""The program that restores etcd on a host: in order, once, and again after an interruption at any step."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from pathlib import Path

load_file(CONTENT / "roles" / "control_plane" / "files" / "maas_containers.py", "maas_containers")
etcd_restore = load_file(CONTENT / "roles" / "etcd_backup" / "files" / "etcd_restore.py", "maas_etcd_restore")

BACKUP = "20261123T070826Z-shop-master.tar.gz.age"
ETCD = """\
spec:
  containers:
  - command:
    - etcd
    - --data-dir={data}
    - --initial-advertise-peer-urls=https://10.90.0.1:2380
    - --initial-cluster={members}
    - --name=master
"""
ETCDUTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
[ -z "$FAIL_RESTORE" ] || { echo "Error: expected sha256 [1], got [2]" >&2; exit 1; }
mkdir -p "$5/member" && cp "$3" "$5/member/db"
"""


class World:
    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.monkeypatch = home, monkeypatch
        self.data, self.runtime, self.calls = home / "data", home / "run", home / "calls"
        self.runtime.mkdir()
        self.file("data/member/db", "now")
        self.file("kubernetes/pki/ca.crt", "the CA")
        self.file("kubernetes/encryption/config.yaml", "key of now")
        for name in etcd_restore.COMPONENTS:
            self.file(f"kubernetes/manifests/{name}.yaml", name)
        self.members("master=https://10.90.0.1:2380")
        self.file("etcdctl", "#!/bin/sh\nexit 1\n").chmod(0o755)
        self.file("etcdutl", ETCDUTL).chmod(0o755)
        self.file("kubectl", "#!/bin/sh\nexit ${NOT_READY:-0}\n").chmod(0o755)
        kubernetes = home / "kubernetes"
        paths = {
            "KUBERNETES": kubernetes,
            "MANIFESTS": kubernetes / "manifests",
            "ASIDE": kubernetes / "etcd-restore",
            "ENCRYPTION": kubernetes / "encryption" / "config.yaml",
            "STATE": home / "state.json",
            "ETCDCTL": str(home / "etcdctl"),
            "ETCDUTL": str(home / "etcdutl"),
            "KUBECTL": str(home / "kubectl"),
        }
        for constant, value in paths.items():
            monkeypatch.setattr(etcd_restore, constant, value)
        monkeypatch.setattr(etcd_restore, "MARGIN", 0)
        monkeypatch.setattr(etcd_restore, "READY_SECONDS", 0)
        monkeypatch.setattr(etcd_restore.time, "sleep", lambda _: None)
        monkeypatch.setattr(etcd_restore, "container", self.container)
        self.said: list[str] = []
        monkeypatch.setattr(etcd_restore, "say", self.said.append)
        monkeypatch.setenv("CALLS", str(self.calls))

    def file(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def members(self, members: str) -> None:
        self.file("kubernetes/manifests/etcd.yaml", ETCD.format(data=self.data, members=members))

    def container(self, name: str) -> str:
        """As the kubelet does it: what has a static pod runs."""
        return name if (self.home / "kubernetes" / "manifests" / f"{name}.yaml").exists() else ""

    def running(self) -> set[str]:
        return {name for name in etcd_restore.COMPONENTS if self.container(name)}

    def restore(self, backup: str = BACKUP, *, now: int = 1795417706, **changes: Any) -> Path:
        found: Path = etcd_restore.restore(backup, io.BytesIO(archive(**changes)), self.runtime, now)
        return found


def archive(*, snapshot: bytes = b"then", keys: bytes = b"key of then", **changes: Any) -> bytes:
    files = {"etcd.db": snapshot, "kubernetes/pki/ca.key": b"not needed", "kubernetes/encryption/config.yaml": keys}
    said = {
        "cluster": "shop",
        "authority": hashlib.sha256(b"the CA").hexdigest(),
        "files": {name: hashlib.sha256(text).hexdigest() for name, text in files.items()},
        **changes,
    }
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w|") as tar:
        for name, text in {"backup.json": json.dumps(said).encode(), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return gzip.compress(target.getvalue())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def finished(world: World, kept: Path) -> None:
    assert (world.data / "member" / "db").read_text() == "then"
    assert (kept / "member" / "db").read_text() == "now", "the data of before are kept"
    assert world.running() == set(etcd_restore.COMPONENTS)
    assert etcd_restore.unfinished() is None
    assert not [path.name for path in world.data.iterdir() if path.name.startswith("restored")]


def test_the_data_are_replaced_while_nothing_runs_and_those_of_before_are_kept(world: World) -> None:
    seen: list[set[str]] = []
    swap = etcd_restore.swap

    def watched(*words: Any) -> None:
        seen.append(world.running())
        swap(*words)

    world.monkeypatch.setattr(etcd_restore, "swap", watched)
    kept = world.restore()
    assert kept == world.data / "before-20261123T070826Z"
    finished(world, kept)
    assert seen == [set()]


def test_revisions_grow_so_that_caches_are_outdated(world: World) -> None:
    world.restore()
    (call,) = world.calls.read_text().splitlines()
    assert "--bump-revision 1000000000 --mark-compacted" in call
    assert "--name master --initial-cluster master=https://10.90.0.1:2380" in call
    assert "--initial-advertise-peer-urls https://10.90.0.1:2380" in call
    assert "--initial-cluster-token maas-20261123T070826Z" in call


def test_the_api_server_gets_the_keys_of_the_backup_and_those_of_before_are_kept(world: World) -> None:
    kept = world.restore()
    file = world.home / "kubernetes" / "encryption" / "config.yaml"
    assert file.read_text() == "key of then"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (kept / "encryption.yaml").read_text() == "key of now"


def test_only_what_is_needed_is_unpacked(world: World) -> None:
    world.restore()
    assert sorted(path.name for path in world.runtime.iterdir()) == ["etcd.db", "kubernetes-encryption-config.yaml"]


@pytest.mark.parametrize("step", ["prepare", "stop", "swap", "keys", "start", "wait_ready"])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_after_an_interruption_the_same_command_continues(world: World, step: str, late: bool) -> None:
    take = getattr(etcd_restore, step)

    def interrupted(*words: Any) -> None:
        if late:
            take(*words)
        raise KeyboardInterrupt

    world.monkeypatch.setattr(etcd_restore, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.restore()
    world.monkeypatch.setattr(etcd_restore, step, take)
    finished(world, world.restore(now=1795419999))


def test_an_interruption_between_the_two_halves_of_the_swap_loses_nothing(world: World) -> None:
    settings = etcd_restore.member()
    state = etcd_restore.begin(BACKUP, settings, 1795417706)
    world.file(f"data/restored-{state['id']}/member/db", "then")
    kept = world.data / f"before-{state['id']}"
    kept.mkdir()
    (world.data / "member").rename(kept / "member")
    finished(world, world.restore(now=1795419999))


def test_a_host_that_lost_its_data_gets_them_back(world: World) -> None:
    (world.data / "member" / "db").unlink()
    (world.data / "member").rmdir()
    world.restore()
    assert (world.data / "member" / "db").read_text() == "then"
    assert world.running() == set(etcd_restore.COMPONENTS)


def test_another_backup_may_follow_one_that_does_not_start(world: World) -> None:
    world.monkeypatch.setenv("NOT_READY", "1")
    with pytest.raises(etcd_restore.RestoreError, match="waiting for kube-apiserver to be ready"):
        world.restore(snapshot=b"bad")
    assert etcd_restore.inspect()["unfinished"]["backup"] == BACKUP
    world.monkeypatch.delenv("NOT_READY")
    other = world.restore("other.tar.gz.age", now=1795419999)
    assert (world.data / "member" / "db").read_text() == "then"
    assert (other / "member" / "db").read_text() == "bad"
    assert (world.data / "before-20261123T070826Z" / "member" / "db").read_text() == "now"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"authority": "0" * 64}, "the backup is of another cluster, shop"),
        ({"files": {"etcd.db": "0" * 64}}, "etcd.db of the backup differs from its digest"),
    ],
)
def test_a_backup_that_must_not_be_restored_changes_nothing(
    world: World, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(etcd_restore.RestoreError, match=message):
        world.restore(**changes)
    assert world.running() == set(etcd_restore.COMPONENTS)
    assert [path.name for path in world.data.iterdir()] == ["member"]
    assert etcd_restore.unfinished() is None


@pytest.mark.parametrize("source", ["its static pod", "etcd", "the plan"])
def test_a_cluster_of_several_members_is_refused(world: World, source: str) -> None:
    if source == "the plan":  # etcd does not answer, and its static pod is guarded
        world.file("etcd.json", json.dumps({"members": {"a": "10.90.0.1", "b": "10.90.0.2"}}))
        world.monkeypatch.setattr(etcd_restore, "PLANNED", world.home / "etcd.json")
    elif source == "etcd":  # the static pod of the first member lists only itself
        world.file("etcdctl", "#!/bin/sh\nprintf 'a, started\\nb, started\\nc, started\\n'\n")
        assert etcd_restore.inspect()["members"] == 3
    else:
        world.members("master=https://10.90.0.1:2380,b=https://10.90.0.2:2380")
    with pytest.raises(etcd_restore.RestoreError, match="several members"):
        world.restore()
    assert world.running() == set(etcd_restore.COMPONENTS)


def test_a_snapshot_that_cannot_be_restored_stops_nothing(world: World) -> None:
    world.monkeypatch.setenv("FAIL_RESTORE", "1")
    with pytest.raises(etcd_restore.RestoreError, match="etcdutl: Error: expected sha256"):
        world.restore()
    assert world.running() == set(etcd_restore.COMPONENTS)
    assert [path.name for path in world.data.iterdir()] == ["member"]


def test_a_truncated_archive_changes_nothing(world: World) -> None:
    with pytest.raises((EOFError, tarfile.TarError)):
        etcd_restore.restore(BACKUP, io.BytesIO(archive()[:-30]), world.runtime, 1795417706)
    assert world.running() == set(etcd_restore.COMPONENTS)


def test_what_is_shown_before_a_restore(world: World) -> None:
    found = etcd_restore.inspect()
    assert (found["members"], found["data"], found["unfinished"]) == (1, str(world.data), None)
    assert found["authority"] == hashlib.sha256(b"the CA").hexdigest()
