"""Backups of etcd on the controller: made, copied, listed and proven, and what is said when that fails."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths, process
from maas.bundle import tools
from maas.cluster import etcd_backups, etcd_proof
from maas.commands import _hosts
from maas.commands import etcd as command
from maas.errors import ClusterError, LockError, ProcessError, UsageError
from maas.hosts import encryption, lock, network_plan, ssh
from maas.hosts.inventory import Backup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host, Inventory

RECIPIENT = "age1mnu7qzkfe6cfwchgzf66hrnd449u4vfp3jsv5zypuvcd03hv6gxq8f6hhz"
NOW = datetime.now(UTC).replace(microsecond=0)


def named(age: timedelta) -> str:
    return f"{NOW - age:%Y%m%dT%H%M%SZ}-shop-master.tar.gz.age"


class Control:
    """A control plane with backups, in place of one behind SSH."""

    def __init__(self, inventory: Inventory, state: Path) -> None:
        self.inventory, self.state = inventory, state
        self.backups: dict[str, bytes] = {}
        self.fails, self.away, self.cut = "", False, False
        self.commands: list[str] = []

    def _done(self, status: int, out: str = "", err: str = "") -> process.Completed:
        return process.Completed(("ssh",), status, out, err, 0.1)

    def run(self, host: Host, text: str, **_: object) -> process.Completed:
        assert host.role == "control-plane"
        self.commands.append(text)
        if self.away:
            return self._done(ssh.FAILED, err="ssh: connect to host 203.0.113.10: Connection timed out\n")
        if "find" in text:
            return self._done(0, "".join(f"{name} {len(content)}\n" for name, content in self.backups.items()))
        if text.startswith("systemctl start"):
            if self.fails:
                return self._done(1, err="Job for maas-etcd-backup.service failed\n")
            self.backups[named(timedelta())] = b"new"
            return self._done(0)
        if text.startswith("journalctl"):
            return self._done(0, f"Starting maas-etcd-backup.service\n{self.fails}\nmaas-etcd-backup.service: Failed\n")
        raise AssertionError(text)

    def receive(self, _: Host, text: str, file: Path, **__: object) -> process.Completed:
        content = self.backups[text.rpartition("/")[2]]
        file.write_bytes(content[:1] if self.cut else content)
        return self._done(0)


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    inventory = inventory_of("node1", backup=Backup(recipients=(RECIPIENT,), keep=3))
    state = paths.state("shop")
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.254:6443"}))
    plan = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
    (state / "plan.json").write_text(plan.to_json())
    made = Control(inventory, state)
    monkeypatch.setattr(_hosts, "reach", lambda *_, **__: made)
    return made


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    console.set_output("text")


def copied(control: Control) -> list[str]:
    return [one.name for one in etcd_backups.copies(control.state)]


def test_a_backup_is_made_and_copied(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    command.backup("shop", None)
    (name,) = copied(control)
    path = control.state / "etcd-backups" / name
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "prove --inventory /hosts.yaml --identity KEY" in capsys.readouterr().err.replace("\n", " ")


def test_old_copies_are_deleted(control: Control) -> None:
    directory = control.state / "etcd-backups"
    directory.mkdir()
    for hours in range(1, 6):
        (directory / named(timedelta(hours=hours))).write_bytes(b"old")
    command.backup("shop", None)
    assert copied(control) == [named(timedelta(hours=hours)) for hours in range(3)]


def test_a_failed_backup_says_what_the_host_says(control: Control) -> None:
    control.fails = "etcdctl snapshot save: Error: context deadline exceeded"
    with pytest.raises(ClusterError) as caught:
        command.backup("shop", None)
    assert caught.value.code == "BackupFailed"
    assert caught.value.context == (control.fails,)
    assert "journalctl -u maas-etcd-backup.service" in str(caught.value.command)
    assert copied(control) == []


def test_a_copy_that_is_not_complete_is_no_copy(control: Control) -> None:
    control.cut = True
    with pytest.raises(ClusterError, match="was not copied completely"):
        command.backup("shop", None)
    assert copied(control) == []


def test_a_host_that_is_away_is_named(control: Control) -> None:
    control.away = True
    with pytest.raises(ClusterError) as caught:
        command.backup("shop", None)
    assert caught.value.code == "HostUnreachable"
    assert "Connection timed out" in caught.value.message


def test_without_recipients_there_is_no_backup_and_the_way_to_one_is_shown(control: Control) -> None:
    control.inventory = inventory_of("node1")
    with pytest.raises(UsageError) as caught:
        command.backup("shop", None)
    assert "has no backup.recipients" in caught.value.message
    assert "age-keygen" in str(caught.value.hint)
    assert control.commands == []


def test_bootstrap_copies_the_latest_backup_or_makes_the_first_one(control: Control) -> None:
    command.copy_latest(cast("Hosts", control))
    assert [text for text in control.commands if text.startswith("systemctl")] == [
        "systemctl start maas-etcd-backup.service"
    ]
    control.commands.clear()
    command.copy_latest(cast("Hosts", control))
    assert not [text for text in control.commands if text.startswith("systemctl")]
    assert len(copied(control)) == 1


def test_a_failure_of_the_backup_does_not_fail_bootstrap(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control.fails = "no space left"
    command.copy_latest(cast("Hosts", control))
    assert "no new backup of etcd" in capsys.readouterr().err


def test_backups_are_listed_with_their_places(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = named(timedelta(days=3)), named(timedelta(minutes=20))
    control.backups = {old: b"1234", new: b"12"}
    (control.state / "etcd-backups").mkdir()
    (control.state / "etcd-backups" / old).write_bytes(b"1234")
    console.set_output("json")
    command.show("shop", None)
    assert json.loads(capsys.readouterr().out)["backups"] == [
        {"name": new, "taken": (NOW - timedelta(minutes=20)).isoformat(), "bytes": 2, "on": ["master"]},
        {"name": old, "taken": (NOW - timedelta(days=3)).isoformat(), "bytes": 4, "on": ["master", "controller"]},
    ]


def test_the_copies_are_listed_while_the_host_is_away(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control.away = True
    (control.state / "etcd-backups").mkdir()
    (control.state / "etcd-backups" / named(timedelta(hours=5))).write_bytes(b"1234")
    command.show("shop", None)
    shown = capsys.readouterr().err
    assert "only the copies on this controller are listed" in shown
    assert "5 h" in shown


def packed(content: dict[str, bytes], /, **changes: Any) -> bytes:
    """A backup in clear text."""
    said = {
        "format": 1,
        "cluster": "shop",
        "host": "master",
        "authority": "0" * 64,
        "taken": 1795417706,
        "kubernetes": "v1.37.2",
        "revision": 42,
        "keys": 7,
        "files": {name: hashlib.sha256(text).hexdigest() for name, text in content.items()},
        **changes,
    }
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w|") as tar:
        for name, text in {"backup.json": json.dumps(said).encode(), **content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return gzip.compress(target.getvalue())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text("AGE-SECRET-KEY-1\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that copies, in place of age."""
    file = tmp_path / "age"
    file.write_text('#!/bin/sh\n[ -z "$AGE_SAYS" ] || { echo "$AGE_SAYS" >&2; exit 1; }\ncp "$6" "$5"\n')
    file.chmod(0o755)
    monkeypatch.setattr(tools, "tool", lambda _: file)
    return file


def open_it(tmp_path: Path, content: bytes, key: Path) -> etcd_backups.Description:
    file = tmp_path / named(timedelta())
    file.write_bytes(content)
    with etcd_backups.opened(file, key, same=("--name", "shop")) as opened:
        assert (opened.directory / "etcd.db").read_bytes() == b"data"
        assert opened.directory.parent.stat().st_mode & 0o777 == 0o700
        kept = opened.directory
    assert not kept.exists(), "nothing in clear text is left"
    return opened.description


@pytest.mark.usefixtures("age")
def test_an_opened_backup_has_its_files_while_it_is_open(tmp_path: Path, key: Path) -> None:
    found = open_it(tmp_path, packed({"etcd.db": b"data", "kubernetes/pki/ca.crt": b"ca"}), key)
    assert (found.cluster, found.revision) == ("shop", 42)


@pytest.mark.usefixtures("age")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed({"etcd.db": b"data"})[:-40], "is damaged"),
        (packed({"etcd.db": b"data"}, files={"etcd.db": "0" * 64}), "etcd.db is missing or differs from its digest"),
        (packed({"etcd.db": b"data"}, files={"etcd.db": "0" * 64, "x": "0" * 64}), "is missing or differs"),
        (packed({"kubeadm.yaml": b"data"}), "it has no etcd.db"),
        (packed({"etcd.db": b"data", "../out": b"x"}), "it has an unexpected file ../out"),
        (packed({"etcd.db": b"data", "/out": b"x"}), "it has an unexpected file /out"),
        (packed({"etcd.db": b"data"}, format=2), "its format 2 is that of a newer release"),
        (gzip.compress(b"no archive" * 100), "is damaged"),
    ],
)
def test_a_damaged_backup_is_refused(tmp_path: Path, key: Path, content: bytes, message: str) -> None:
    with pytest.raises(ClusterError) as caught:
        open_it(tmp_path, content, key)
    assert caught.value.code == "BackupDamaged"
    assert message in caught.value.message


@pytest.mark.usefixtures("age")
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("age: error: no identity matched any of the recipients", "WrongKey"),
        ("age: error: failed to decrypt and authenticate payload chunk, file may be corrupted", "BackupDamaged"),
    ],
)
def test_the_wrong_key_and_a_truncated_file_are_told_apart(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    monkeypatch.setenv("AGE_SAYS", said)
    with pytest.raises(ClusterError) as caught:
        open_it(tmp_path, packed({"etcd.db": b"data"}), key)
    assert caught.value.code == code


@pytest.mark.usefixtures("age")
@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "cannot read the private key"),
        ("# public key: age1", 0o600, "has no private key of age"),
        ("AGE-SECRET-KEY-1", 0o644, "other users can read the private key"),
    ],
)
def test_a_private_key_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    key = tmp_path / "own"
    if content is not None:
        key.write_text(content)
        key.chmod(mode)
    with pytest.raises(UsageError, match=message):
        open_it(tmp_path, packed({"etcd.db": b"data"}), key)


def test_the_newest_copy_is_chosen_unless_another_is_named(control: Control, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no backup of etcd on this controller"):
        etcd_backups.choose(control.state, None, same=("--name", "shop"))
    directory = control.state / "etcd-backups"
    directory.mkdir()
    names = [named(timedelta(hours=hours)) for hours in (1, 2)]
    for name in names:
        (directory / name).write_bytes(b"x")
    assert etcd_backups.choose(control.state, None, same=("--name", "shop")) == directory / names[0]
    assert etcd_backups.choose(control.state, names[1], same=("--name", "shop")) == directory / names[1]
    other = tmp_path / "elsewhere.age"
    other.write_bytes(b"x")
    assert etcd_backups.choose(control.state, str(other), same=("--name", "shop")) == other
    with pytest.raises(UsageError) as caught:
        etcd_backups.choose(control.state, "none.age", same=("--name", "shop"))
    assert caught.value.code == "BackupNotFound"
    assert caught.value.command == "./nox -s etcd -- list --name shop", "not that of the lab"


class Restored:
    """A host with the program that restores, which says `lines`."""

    def __init__(self, control: Control, key: Path) -> None:
        self.control, self.key = control, key
        self.lines, self.error = ["restoring the snapshot", "kept: /var/lib/etcd/before-1"], 0
        self.state: dict[str, Any] = {"authority": "0" * 64, "members": 1, "data": "/var/lib/etcd", "unfinished": None}
        self.ran: list[str] = []
        self.name = named(timedelta(hours=2))
        directory = control.state / "etcd-backups"
        directory.mkdir()
        taken = (NOW - timedelta(hours=2)).timestamp()
        (directory / self.name).write_bytes(packed({"etcd.db": b"data"}, taken=taken))

    def run(self, host: Host, text: str, **options: object) -> process.Completed:
        if text.endswith("etcd-restore inspect") and not self.control.away:
            return process.Completed(("ssh",), 0, json.dumps(self.state), "", 0.1)
        return Control.run(self.control, host, text, **options)

    def follow(self, _: Host, text: str, file: Path) -> Iterator[str]:
        assert gzip.decompress(file.read_bytes())
        self.ran.append(text)
        yield from self.lines
        if self.error:
            raise ProcessError(("ssh",), returncode=self.error)

    def restore(self, *, dry_run: bool = False, yes: bool = True) -> None:
        command.restore("shop", None, None, identity=self.key, dry_run=dry_run, yes=yes)


@pytest.fixture
def restored(control: Control, key: Path, age: Path, monkeypatch: pytest.MonkeyPatch) -> Restored:
    assert age.exists()
    made = Restored(control, key)
    monkeypatch.setattr(control, "run", made.run)
    monkeypatch.setattr(control, "follow", made.follow, raising=False)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    return made


def words_of(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_restore_is_explained_done_once_and_says_what_is_next(
    restored: Restored, capsys: pytest.CaptureFixture[str]
) -> None:
    restored.restore()
    (text,) = restored.ran
    assert text.startswith("systemd-run ")
    assert "RuntimeDirectoryMode=0700" in text
    assert text.endswith(f"etcd-restore run {restored.name}")
    shown = words_of(capsys)
    for part in ("changes of the last 2 h are lost", "rm -r /var/lib/etcd/before-1", "etcd -- backup", "bootstrap"):
        assert part in shown


@pytest.mark.parametrize(
    ("options", "said"), [({"dry_run": True}, "--dry-run"), ({"yes": False}, "nothing was changed")]
)
def test_nothing_is_restored_without_a_confirmation(
    restored: Restored, capsys: pytest.CaptureFixture[str], options: dict[str, bool], said: str
) -> None:
    restored.restore(**options)
    assert restored.ran == []
    assert said in words_of(capsys)


def test_a_backup_of_another_cluster_is_not_restored(restored: Restored) -> None:
    restored.state["authority"] = "1" * 64
    with pytest.raises(ClusterError) as caught:
        restored.restore()
    assert caught.value.code == "OtherCluster"
    assert restored.ran == []


def test_a_cluster_of_several_members_is_not_restored(restored: Restored) -> None:
    restored.state["members"] = 3
    with pytest.raises(UsageError, match="etcd has 3 members"):
        restored.restore()
    assert restored.ran == []


def test_a_host_that_is_away_is_not_restored(restored: Restored) -> None:
    restored.control.away = True
    with pytest.raises(ClusterError) as caught:
        restored.restore()
    assert caught.value.code == "HostUnreachable"


@pytest.mark.parametrize(
    ("line", "status", "code", "message"),
    [
        ("failed: timed out", 1, "RestoreFailed", "master: the restore of etcd is not finished: timed out"),
        ("Failed to start: Unit maas-etcd-restore.service was already loaded", 1, "ClusterLocked", "another restore"),
        ("stopping the API server and etcd", 255, "HostUnreachable", "was lost during the restore"),
    ],
)
def test_a_restore_that_ends_early_says_how_to_continue(
    restored: Restored, line: str, status: int, code: str, message: str
) -> None:
    restored.lines, restored.error = ["restoring the snapshot", line], status
    if line.startswith("failed"):
        restored.lines.append("Main processes terminated with: code=exited/status=1")
    with pytest.raises(ClusterError) as caught:
        restored.restore()
    assert caught.value.code == code
    assert message in caught.value.message


def test_two_restores_at_once_are_refused(restored: Restored) -> None:
    with lock.hold(restored.control.state, command="restore of etcd of shop"), pytest.raises(LockError):
        restored.restore()
    assert restored.ran == []


def test_the_controller_keeps_the_keys_that_the_backup_needs(restored: Restored) -> None:
    state = restored.control.state
    then, now = (encryption.Keys(keys=(encryption.new_key(),)) for _ in range(2))
    encryption.save(state, now)
    content = {"etcd.db": b"data", "kubernetes/encryption/config.yaml": then.configuration().encode()}
    (state / "etcd-backups" / restored.name).write_bytes(packed(content))
    restored.restore(dry_run=True)
    assert encryption.load(state) == now
    restored.restore()
    found = encryption.load(state)
    assert found is not None
    assert found.names == then.names


def test_an_interrupted_restore_is_continued(restored: Restored, capsys: pytest.CaptureFixture[str]) -> None:
    restored.state["unfinished"] = {"backup": restored.name, "id": "1"}
    restored.restore()
    assert "continue it" in words_of(capsys)
    restored.state["unfinished"] = {"backup": "other", "id": "1"}
    restored.restore()
    assert "discard it" in words_of(capsys)


def test_resources_are_named_as_kubectl_names_them() -> None:
    keys = {
        b"/registry/pods/shop/web": "pods",
        b"/registry/minions/node1": "nodes",
        b"/registry/services/specs/shop/web": "services",
        b"/registry/services/endpoints/shop/web": "endpoints",
        b"/registry/monitoring.coreos.com/prometheuses/monitoring/k8s": "prometheuses.monitoring.coreos.com",
    }
    assert {key: etcd_proof.resource(key) for key in keys} == keys


def test_the_creation_of_an_object_is_read_from_its_stored_form() -> None:
    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    seconds = b"\x08\xaa\xb4\x8e\xd8\x06"  # field 1, a number of several bytes
    metadata = field(1, b"web") + field(3, b"shop") + field(8, seconds)
    stored = b"k8s\0" + field(1, b"\n\x02v1\x12\x03Pod") + field(2, field(1, metadata) + field(2, b"spec"))
    value = 0x2A | 0x34 << 7 | 0x0E << 14 | 0x58 << 21 | 0x06 << 28
    assert etcd_proof.created(stored) == datetime.fromtimestamp(value, UTC)
    text = b'{"kind": "Prometheus", "metadata": {"creationTimestamp": "2026-11-29T07:00:19Z"}}'
    assert etcd_proof.created(text) == datetime(2026, 11, 29, 7, 0, 19, tzinfo=UTC)
    for other in (b"k8s:enc:secretbox:v1:key:xx", b"", b"k8s\0", b"k8s\0\x0a\xff", b"{}", b"{", stored[:20]):
        assert etcd_proof.created(other) is None
