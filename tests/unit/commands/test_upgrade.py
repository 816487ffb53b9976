from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.support.hosts import facts_of, inventory_of

from maas import components, console, paths
from maas.bundle import Bundle, Manifest
from maas.cluster import certificates, drain, etcd_backups, tunnel, upgrade
from maas.cluster.certificates import Due
from maas.cluster.client import Cluster
from maas.cluster.objects import Node
from maas.commands import _apply, _packages, _preflight, _values, bundle
from maas.commands import upgrade as command
from maas.errors import ClusterError, HostsError, UsageError
from maas.hosts import ansible, encryption, network_plan

if TYPE_CHECKING:
    from pathlib import Path

NEWEST = f"v{components.kubernetes_version()}"
OLD = f"v{components.for_minor(next(iter(components.load().earlier))).kubernetes}"
NOTHING_DUE = Due(None, {}, {}, {})
INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.12, role: worker}
"""


class World:
    """A cluster that an upgrade finds, and what it does to it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.kubelets = dict.fromkeys(("master", "node1", "node2"), OLD)
        self.api, self.ready = OLD, {"master": True, "node1": True, "node2": True}
        self.cordoned: set[str] = set()
        self.steps: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.etcd, self.budgets, self.removed = list[str](), list[str](), list[str]()
        self.due, self.free = NOTHING_DUE, 100 << 30

    def do(self, step: str) -> None:
        if step in self.failing:
            raise self.failing.pop(step)
        self.steps.append(step)

    def nodes(self) -> list[Node]:
        return [
            Node(name, "10.90.0.1", self.ready[name], "down", name == "master", version)
            for name, version in self.kubelets.items()
        ]

    def playbook(self, name: str, *, without: set[str], tags: str, **_: Any) -> None:
        [one, *others] = sorted(self.kubelets.keys() - without)
        self.do(" ".join([name, tags, "" if others else one]).strip())
        if tags == "control-planes":
            self.api = NEWEST
        elif tags == "kubelets":
            assert one in self.cordoned
            self.kubelets[one] = NEWEST

    def drain(self, _: object, node: str, **__: object) -> None:
        self.do(f"drain {node}")
        self.cordoned.add(node)

    def uncordon(self, _: object, node: str) -> None:
        self.do(f"uncordon {node}")
        self.cordoned.discard(node)

    def back_up(self, *_: object) -> etcd_backups.Backup:
        self.do("backup")
        return etcd_backups.Backup(datetime.now(UTC), "one.tar.age", 1)

    def preflight(self, listed: Any, state: Path, **_: Any) -> _preflight.PreflightResult:
        hosts = inventory_of("node1", "node2").model_copy(update={"file": listed.file, "backup": listed.backup})
        facts = {
            host.name: facts_of(
                joined=True,
                kubelet=self.kubelets[host.name],
                api_server=self.api if host.name == "master" else "",
                disk_free=self.free,
            )
            for host in hosts.hosts
        }
        return _preflight.PreflightResult(hosts, state, facts, network_plan.compute(hosts, facts), ())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state = paths.state("shop")
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.1:6443"}))
    made = tmp_path / "hosts.yaml"
    made.write_text(INVENTORY)
    return made


@pytest.fixture
def world(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert file.exists()
    made = World(paths.state("shop"))
    wide = Console(stderr=True, highlight=False, soft_wrap=True, width=160)  # that of pytest-xdist has 80 columns
    monkeypatch.setattr(console, "_err", lambda: wide)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(_preflight, "run", made.preflight)
    monkeypatch.setattr(_preflight.PreflightResult, "save", lambda _: None)
    monkeypatch.setattr(_packages, "needed", lambda _: {})
    monkeypatch.setattr(_values, "refuse_early", lambda _: True)
    monkeypatch.setattr(tunnel, "connect", lambda _: Cluster(made.state / "kubeconfig"))
    monkeypatch.setattr(Cluster, "nodes", lambda _: made.nodes())
    monkeypatch.setattr(Cluster, "wait_ready", lambda *_, **__: [])
    monkeypatch.setattr(Cluster, "wait", lambda _, missing, **__: made.do("wait") if missing() else None)
    monkeypatch.setattr(upgrade, "cordoned", lambda _: sorted(made.cordoned))
    monkeypatch.setattr(upgrade, "etcd_problems", lambda *_: made.etcd)
    monkeypatch.setattr(upgrade, "blocking_budgets", lambda _: made.budgets)
    monkeypatch.setattr(upgrade, "removed_in_use", lambda *_: made.removed)
    monkeypatch.setattr(certificates, "read", lambda _: {})
    monkeypatch.setattr(certificates, "due", lambda *_: made.due)
    monkeypatch.setattr(drain, "contents", lambda *_: drain.NodeContents(True, (), ("a/b",), (), (), ()))
    monkeypatch.setattr(drain, "drain", made.drain)
    monkeypatch.setattr(drain, "uncordon", made.uncordon)
    monkeypatch.setattr(ansible, "run", made.playbook)
    monkeypatch.setattr(command, "_variables", lambda *_: {})
    monkeypatch.setattr(bundle, "prepare", lambda *_, **__: Bundle(tmp_path, Manifest(), "0"))
    monkeypatch.setattr(_apply, "apply", lambda *_, **__: made.do("apply"))
    monkeypatch.setattr(etcd_backups, "take", made.back_up)
    monkeypatch.setattr(etcd_backups, "copy", lambda *_, **__: made.do("copy"))
    return made


def run(file: Path, *, to: str | None = None, dry_run: bool = False, yes: bool = True, **options: Any) -> None:
    chosen = command.Options(**{"soak": 0, "without_backup": True, **options})
    command.run(file, to=to, directory=None, source="auto", values=[], options=chosen, dry_run=dry_run, yes=yes)


WHOLE = [
    "stage",
    "upgrade control-planes",
    *("drain master", "upgrade kubelets master", "uncordon master"),
    *("drain node1", "upgrade kubelets node1", "uncordon node1"),
    *("drain node2", "upgrade kubelets node2", "uncordon node2"),
    "apply",
]


def test_control_planes_come_before_kubelets_and_the_chart_last_and_the_same_command_again_changes_nothing(
    file: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run(file)
    assert world.steps == WHOLE
    output = capsys.readouterr().err
    assert f"{OLD} to {NEWEST}" in output
    assert "There is no downgrade" in output
    run(file)
    assert world.steps == WHOLE
    assert f"every host of shop runs {NEWEST}; nothing was changed" in capsys.readouterr().err
    assert upgrade.unfinished(world.state) is None


@pytest.mark.parametrize("failing", WHOLE)
def test_an_interrupted_upgrade_continues_where_it_stopped(file: Path, world: World, failing: str) -> None:
    world.failing[failing] = HostsError("a task failed")
    with pytest.raises(HostsError):
        run(file)
    progress = upgrade.unfinished(world.state)
    assert progress is not None
    assert progress.before == OLD
    world.ready[progress.cordoned or "node2"] = not progress.cordoned
    if progress.cordoned:
        world.budgets = ["restaurant/app: 1 pods are healthy, it needs 1"]
    run(file)
    assert [step for step in WHOLE if step not in world.steps] == []
    assert not world.cordoned
    for step in ("stage", "upgrade control-planes", "upgrade kubelets node1", "apply"):
        assert world.steps.count(step) == 1
    assert upgrade.unfinished(world.state) is None


def test_a_backup_is_made_and_copied_before_anything_else(file: Path, world: World) -> None:
    recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    file.write_text(f"{INVENTORY}backup: {{recipients: [{recipient}]}}\n")
    run(file, without_backup=False)
    assert world.steps == ["backup", "copy", *WHOLE]


def test_a_dry_run_and_a_refusal_change_nothing(file: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(file, dry_run=True)
    assert "nothing was changed (--dry-run)" in capsys.readouterr().err
    run(file, yes=False)
    assert world.steps == []
    assert upgrade.unfinished(world.state) is None


def test_everything_that_blocks_an_upgrade_is_listed_at_once(file: Path, world: World) -> None:
    world.ready["node1"] = False
    world.cordoned = {"node2"}
    world.etcd = ["etcd has an alarm: NOSPACE"]
    world.budgets = ["restaurant/app: 1 pods are healthy, it needs 1"]
    world.removed = ["things of old/v1, removed in 1.40"]
    world.due = Due(None, {}, {}, {"node2": datetime.now(UTC)})
    with pytest.raises(ClusterError, match="shop cannot be upgraded now") as caught:
        run(file, without_backup=False)
    assert caught.value.code == "UpgradeRefused"
    text = "\n".join(caught.value.context)
    for part in (
        "node1 is not Ready",
        "node2 is cordoned",
        "NOSPACE",
        "no eviction: restaurant/app",
        "in use: things of old/v1",
        "the kubelet of node2",
        "--without-backup",
    ):
        assert part in text
    assert world.steps == []


def test_removed_apis_can_be_accepted(file: Path, world: World) -> None:
    world.removed = ["things of old/v1, removed in 1.40"]
    run(file, accept_removed_apis=True)
    assert world.steps == WHOLE


def test_a_host_without_space_is_refused_before_anything_is_changed(file: Path, world: World) -> None:
    world.free = 1 << 29
    with pytest.raises(ClusterError, match="no space") as caught:
        run(file)
    assert len(caught.value.context) == 3
    assert world.steps == []
    assert upgrade.unfinished(world.state) is None


def test_a_version_that_is_older_or_that_skips_a_minor_is_refused(file: Path, world: World) -> None:
    world.kubelets["node1"] = "v1.2.3"
    with pytest.raises(ClusterError, match="more than one minor version") as caught:
        run(file)
    assert "--to 1.3" in (caught.value.command or "")
    world.kubelets = dict.fromkeys(world.kubelets, NEWEST)
    world.api = NEWEST
    with pytest.raises(ClusterError, match="does not support a downgrade"):
        run(file, to=OLD)
    assert world.steps == []


@pytest.mark.parametrize("version", ["1.2", "1.2.3", f"{components.load().minor}.99", "newest"])
def test_a_version_without_components_is_refused(file: Path, world: World, version: str) -> None:
    with pytest.raises(UsageError, match="has no components for Kubernetes"):
        run(file, to=version)
    assert world.steps == []


def test_an_upgrade_does_not_begin_while_something_else_is_half_done(file: Path, world: World) -> None:
    upgrade.begin(world.state, before=OLD, to="v1.99.0")
    with pytest.raises(ClusterError, match=r"an upgrade to v1\.99\.0 was interrupted") as caught:
        run(file)
    assert "--to 1.99.0" in (caught.value.command or "")
    upgrade.end(world.state)
    certificates.begin(world.state)
    with pytest.raises(ClusterError, match="renewal of all certificates was interrupted"):
        run(file)
    certificates.end(world.state)
    keys = encryption.following(encryption.ensure(world.state, exists=False, found=""))
    encryption.save(world.state, keys)
    with pytest.raises(ClusterError, match=r"rotation of the key for Secrets is not finished \(added\)") as caught:
        run(file)
    assert "encrypt" in (caught.value.command or "")
    assert world.steps == []


def test_a_node_that_is_not_ready_after_the_first_worker_stops_the_upgrade(
    file: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncordon(_: object, node: str) -> None:
        world.cordoned.discard(node)
        world.ready["node2"] = node != "node1"

    monkeypatch.setattr(drain, "uncordon", uncordon)
    with pytest.raises(ClusterError, match="not Ready after the upgrade of the first worker"):
        run(file, soak=0.01)
    assert "upgrade kubelets node1" in world.steps
    assert "drain node2" not in world.steps
