from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths
from maas.cluster import authorities, certificates, control_planes, hubs
from maas.cluster.client import Cluster
from maas.cluster.control_planes import ControlPlane
from maas.cluster.host_programs import Hosts
from maas.cluster.objects import Node
from maas.commands import _gates, _hosts
from maas.commands import rotate_ca as command
from maas.errors import ClusterError, HostsError, LockError, UsageError
from maas.hosts import ansible, journal, lock, network_plan, pki, rotations
from maas.hosts.inventory import Host, Inventory
from maas.hosts.rotations import Kind, Rotation

PLANES = ("master", "master2", "master3")
NODES = (*PLANES, "node1")


class World:
    """A cluster, what its hosts trust, and what was done, in order."""

    def __init__(self, state: Path) -> None:
        planes = tuple(
            Host(name=name, address=f"203.0.113.{n}", role="control-plane") for n, name in enumerate(PLANES, 20)
        )
        self.inventory = Inventory(
            file=Path("/hosts.yaml"),
            cluster="shop",
            hub={"endpoint": "203.0.113.20"},
            hosts=(*planes, inventory_of("node1").hosts[1]),
        )
        self.state = state
        self.not_ready: set[str] = set()
        self.steps: list[str] = []
        self.failing: dict[str, BaseException] = {}
        self.vpn: dict[str, frozenset[datetime]] = {}
        self.skipped: set[str] = set()

    def step(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]
        self.steps.append(name)

    def nodes(self) -> list[Node]:
        return [Node(one, "", one not in self.not_ready, "down", control_plane=False, version="") for one in NODES]

    def planes(self, *_: object) -> dict[str, ControlPlane]:
        voters = {name: name for name in PLANES}
        return {name: ControlPlane(announces=True, own=name, leader="master", voters=voters) for name in PLANES}

    def playbook(self, name: str, *, inventory: dict[str, Any], **_: object) -> None:
        groups = inventory["all"]["children"].values()
        given = {host: own["vpn"] for group in groups for host, own in group["hosts"].items() if own}
        authority = pki.issued(self.state / "pki")
        trusted = given["node1"]["ca"].count("BEGIN CERTIFICATE")
        self.step(f"{name}: {len(given)} hosts, {trusted} CAs")
        for host in given.keys() - self.skipped:
            own = pki.issued(self.state / "pki", host)
            own.verify_directly_issued_by(authority)
            self.vpn[host] = frozenset(
                {own.not_valid_after_utc, *(one.not_valid_after_utc for one in pki.authorities(self.state / "pki"))}
            )

    def read(self, hosts: Hosts) -> dict[str, certificates.Found]:
        return {
            host.name: certificates.Found({}, None, self.vpn.get(host.name, frozenset()))
            for host in hosts.inventory.hosts
        }

    def begin(self, _: Hosts, kind: Kind) -> Rotation:
        self.step("begin")
        return Rotation(kind=kind, phase="trusted", began=datetime.now(UTC), old="old", new="new", key="key")

    def apply(self, _: Hosts, host: Host, rotation: Rotation) -> list[str]:
        self.step(f"{rotation.phase} {host.name}")
        return ["etcd"]

    def tokens(self, _: Hosts, __: Cluster, rotation: Rotation, ___: object) -> None:
        self.step(f"tokens {rotation.phase}")

    def headers(self, _: Cluster, rotation: Rotation) -> None:
        self.step(f"headers {rotation.phase}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = World(paths.state("shop"))
    facts = {name: facts_of() for name in NODES}
    plan = network_plan.compute(made.inventory, facts)
    (made.state / "facts.json").write_text(
        json.dumps({name: one.model_dump(mode="json") for name, one in facts.items()})
    )
    # Before the new CA: the tests compare the times when certificates expire, which have whole seconds.
    pki.ensure(made.state / "pki", "shop", NODES, hubs=list(plan.hubs), now=datetime(2026, 1, 1, tzinfo=UTC))
    members = _hosts.Members(
        Cluster(made.state / "kubeconfig"), Hosts(made.inventory, made.state), plan, dict.fromkeys(NODES, "")
    )
    wide = Console(stderr=True, highlight=False, soft_wrap=True, width=200)
    monkeypatch.setattr(console, "_err", lambda: wide)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(_hosts, "connect", lambda *_, **__: members)
    monkeypatch.setattr(Cluster, "nodes", lambda _: made.nodes())
    monkeypatch.setattr(Cluster, "workloads", lambda _: [])
    monkeypatch.setattr(Cluster, "wait", lambda _, missing, **__: missing())
    monkeypatch.setattr(_gates.Gates, "_alerts", lambda _: ["the critical alert KubernetesAuthorityExpiring is firing"])
    monkeypatch.setattr(control_planes, "inspect", made.planes)
    monkeypatch.setattr(hubs, "gather", lambda _: [])
    monkeypatch.setattr(certificates, "read", made.read)
    monkeypatch.setattr(ansible, "run", made.playbook)
    monkeypatch.setattr(authorities, "begin", made.begin)
    monkeypatch.setattr(authorities, "apply", made.apply)
    monkeypatch.setattr(authorities, "replace_tokens", made.tokens)
    monkeypatch.setattr(authorities, "publish_headers", made.headers)
    return made


def rotate(kind: Kind, *, dry_run: bool = False, yes: bool = True) -> None:
    command.rotate(kind, "shop", None, dry_run=dry_run, yes=yes)


def phase(name: str) -> list[str]:
    return [f"{name} {host}" for host in PLANES]


def test_every_host_trusts_both_cas_of_the_vpn_before_one_issues_and_after_the_other_did(world: World) -> None:
    before = pki.issued(world.state / "pki")
    rotate("vpn")
    assert world.steps == ["vpn: 4 hosts, 2 CAs", "vpn: 4 hosts, 2 CAs", "vpn: 4 hosts, 1 CAs"]
    after = pki.issued(world.state / "pki")
    assert after.public_key() != before.public_key()
    assert {frozenset(times) for times in world.vpn.values()} == {
        frozenset({pki.issued(world.state / "pki", name).not_valid_after_utc, after.not_valid_after_utc})
        for name in NODES
    }
    assert rotations.unfinished(world.state) == []


def test_a_host_that_did_not_get_the_new_ca_stops_the_rotation_before_anything_is_issued(world: World) -> None:
    world.skipped = {"node1"}
    before = pki.issued(world.state / "pki")
    with pytest.raises(ClusterError, match="node1 does not have what this controller has issued"):
        rotate("vpn")
    assert pki.issued(world.state / "pki") == before
    assert pki.issued(world.state / "pki", "master").issuer == before.subject
    world.skipped = set()
    rotate("vpn")
    assert pki.issued(world.state / "pki") != before
    assert len(pki.authorities(world.state / "pki")) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupted_rotation_of_the_vpn_is_continued(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    runs = 0

    def playbook(name: str, **options: Any) -> None:
        nonlocal runs
        runs += 1
        if runs == number:
            raise HostsError("node1: host is unreachable")
        world.playbook(name, **options)

    monkeypatch.setattr(ansible, "run", playbook)
    with pytest.raises(HostsError):
        rotate("vpn")
    assert rotations.unfinished(world.state) == ["vpn"]
    rotate("vpn")
    assert "this continues the rotation of" in capsys.readouterr().err
    assert world.steps == ["vpn: 4 hosts, 2 CAs", "vpn: 4 hosts, 2 CAs", "vpn: 4 hosts, 1 CAs"]
    assert rotations.unfinished(world.state) == []


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("etcd", {}),
        ("front-proxy", dict.fromkeys(rotations.PHASES, "headers")),
        ("service-accounts", {"issued": "tokens"}),
    ],
)
def test_control_planes_change_one_after_the_other_in_each_phase(
    world: World, kind: Kind, after: dict[str, str]
) -> None:
    rotate(kind)
    expected = ["begin"]
    for name in rotations.PHASES:
        expected += [*phase(name), *([f"{after[name]} {name}"] if name in after else [])]
    assert world.steps == expected


def test_an_interrupted_rotation_of_etcd_repeats_its_phase_with_the_same_key(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.failing["issued master2"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        rotate("etcd")
    stored = rotations.load(world.state, "etcd")
    assert stored is not None
    assert (stored.phase, stored.key) == ("issued", "key")
    entries = journal.read(world.state / ansible.JOURNAL)
    assert [(entry.phase, entry.host, entry.outcome) for entry in entries if entry.host == "master2"] == [
        ("Trust both", "master2", "changed"),
        ("Issue by the new one", "master2", "failed"),
    ]
    world.failing.clear()
    world.steps.clear()
    rotate("etcd")
    assert world.steps == [*phase("issued"), *phase("dropped")]
    assert "completed" in capsys.readouterr().err


def test_a_second_rotation_waits_for_the_first(world: World) -> None:
    rotations.save(world.state, world.begin(Hosts(world.inventory, world.state), "etcd"))
    world.steps.clear()
    with pytest.raises(UsageError) as caught:
        rotate("vpn")
    assert caught.value.message == "the rotation of the CA of etcd is not completed"
    assert "rotate-ca -- etcd" in str(caught.value.command)
    assert world.steps == []


@pytest.mark.parametrize("kind", ["vpn", "etcd"])
def test_a_rotation_does_not_begin_while_a_host_is_away(world: World, kind: Kind) -> None:
    world.not_ready = {"node1"}
    with pytest.raises(ClusterError) as caught:
        rotate(kind)
    assert caught.value.message == "the rotation does not begin: the cluster is not healthy"
    assert caught.value.context == ("node node1 is not Ready: down",)
    assert world.steps == []
    assert rotations.unfinished(world.state) == []
    assert not (world.state / "pki" / "next").exists()


def test_a_host_that_is_no_node_now_but_has_a_certificate_would_be_locked_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = _hosts.connect("shop", None)
    del members.addresses["node1"]
    monkeypatch.setattr(_hosts, "connect", lambda *_, **__: members)
    with pytest.raises(ClusterError, match="node1 is away: every host must take part in a rotation"):
        rotate("vpn")
    assert world.steps == []


@pytest.mark.parametrize("options", [{"dry_run": True}, {"yes": False}])
@pytest.mark.parametrize("kind", ["vpn", "front-proxy"])
def test_nothing_is_changed_without_a_confirmation(
    world: World, capsys: pytest.CaptureFixture[str], kind: Kind, options: dict[str, bool]
) -> None:
    files = {path: path.read_bytes() for path in world.state.rglob("*") if path.is_file()}
    rotate(kind, **options)
    assert world.steps == []
    assert "Issue by the new one" in capsys.readouterr().err
    found = {path: path.read_bytes() for path in world.state.rglob("*") if path.is_file() and path.name != lock.FILE}
    assert found == files


def test_what_cannot_be_replaced_is_refused() -> None:
    assert command.known("front-proxy") == "front-proxy"
    with pytest.raises(UsageError) as caught:
        command.known("cluster")
    assert caught.value.message == "cluster cannot be replaced"
    assert caught.value.hint == "choose one of vpn, service-accounts, front-proxy, etcd"


def test_another_run_is_not_disturbed(world: World) -> None:
    with lock.hold(world.state, command="bootstrap of shop"), pytest.raises(LockError):
        rotate("etcd")
    assert world.steps == []
