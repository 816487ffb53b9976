from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths
from maas.cluster import certificates, tunnel
from maas.cluster.client import Cluster
from maas.cluster.host_programs import Hosts
from maas.commands import certificates as command
from maas.errors import ClusterError, HostsError, LockError, UsageError
from maas.hosts import ansible, lock, network_plan, pki, ssh
from maas.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
  - {name: node2, address: 203.0.113.12, role: worker}
"""
FILE = "/etc/kubernetes/pki/apiserver.crt"


class World:
    """Hosts that a renewal finds, and what it does to them."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.plane, self.issued, self.kubelets = 300, datetime.now(UTC) - timedelta(days=9), dict[str, int]()
        self.vpn = {name: self.own(name) for name in ("master", "node1", "node2")}
        self.steps: list[Any] = []
        self.failure: Exception | None = None
        self.without: set[str] = set()

    def own(self, name: str) -> frozenset[datetime]:
        """Return when the certificates that this controller has for a host expire."""
        return frozenset(pki.issued(self.state / "pki", one).not_valid_after_utc for one in (name, None))

    def read(self, hosts: Hosts) -> dict[str, certificates.Found]:
        found = {}
        for host in hosts.inventory.hosts:
            expires = datetime.now(UTC) + timedelta(days=self.plane)
            plane = {FILE: (expires, self.issued)} if host.role == "control-plane" else {}
            kubelet = datetime.now(UTC) + timedelta(days=self.kubelets.get(host.name, 300))
            found[host.name] = certificates.Found(plane, kubelet, self.vpn[host.name])
        return found

    def playbook(self, name: str, *, inventory: Mapping[str, Any], without: set[str], **_: Any) -> None:
        renewal = inventory["all"]["vars"]["renewal"]
        groups = inventory["all"]["children"].values()
        hosts = sorted({one for group in groups for one, own in group["hosts"].items() if own} - set(without))
        self.steps.append((name, hosts, renewal["before"] > 0, renewal["kubelets"]))
        if self.failure:
            raise self.failure
        self.plane, self.issued, self.kubelets = 365, datetime.now(UTC), {}
        self.vpn |= {host: self.own(host) for host in hosts}

    def wait_nodes(self, count: int, **_: object) -> None:
        self.steps.append(f"{count} nodes")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state = paths.state("shop")
    hosts = inventory_of("node1", "node2")
    facts = {host.name: facts_of() for host in hosts.hosts}
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.1:6443"}))
    (state / "plan.json").write_text(network_plan.compute(hosts, facts).to_json())
    (state / "facts.json").write_text(json.dumps({name: one.model_dump(mode="json") for name, one in facts.items()}))
    pki.ensure(
        state / "pki",
        "shop",
        [host.name for host in hosts.hosts],
        hubs=["master"],
        now=datetime.now(UTC) - timedelta(hours=1),
    )
    made = tmp_path / "hosts.yaml"
    made.write_text(INVENTORY)
    return made


@pytest.fixture
def world(file: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    assert file.exists()
    made = World(paths.state("shop"))
    answer = Completed(("cat",), 0, "admin", "", 0.0)
    wide = Console(stderr=True, highlight=False, soft_wrap=True, width=160)  # that of pytest-xdist has 80 columns
    monkeypatch.setattr(console, "_err", lambda: wide)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(certificates, "read", made.read)
    monkeypatch.setattr(ansible, "run", made.playbook)
    monkeypatch.setattr(Hosts, "run", lambda *_, **__: answer)
    monkeypatch.setattr(tunnel, "renew_kubeconfig", lambda state, _: Cluster(state / "kubeconfig"))
    monkeypatch.setattr(Cluster, "wait_nodes", lambda _, count, **__: made.wait_nodes(count))
    return made


def renew(file: Path, *without: str, everything: bool = False, dry_run: bool = False, yes: bool = True) -> None:
    command.renew("shop", file, everything=everything, without=without, dry_run=dry_run, yes=yes)


HOSTS = ["master", "node1", "node2"]


def test_what_expires_soon_is_renewed_and_the_same_command_again_changes_nothing(
    file: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.plane, world.kubelets = 80, {"node2": -3}
    renew(file)
    assert world.steps == [("certificates", HOSTS, False, ["node2"]), "3 nodes"]
    output = capsys.readouterr().err
    assert "control plane, pki/apiserver.crt" in output
    assert "renewed: the control plane master, the kubelet of node2" in output
    renew(file)
    assert len(world.steps) == 2
    assert "nothing to renew" in capsys.readouterr().err


def test_everything_is_renewed_on_request_once(file: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = pki.serial(world.state / "pki", "node1")
    renew(file, everything=True)
    assert world.steps == [("certificates", HOSTS, True, []), "3 nodes"]
    assert pki.serial(world.state / "pki", "node1") != before
    assert "every host is disconnected for some seconds" in capsys.readouterr().err
    renew(file)
    assert len(world.steps) == 2, "a renewal that has ended is not continued"


def test_an_interrupted_renewal_of_everything_is_continued_by_either_command(
    file: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.failure = HostsError("node2: host is unreachable")
    with pytest.raises(HostsError):
        renew(file, everything=True)
    serial = pki.serial(world.state / "pki", "node1")
    began = certificates.unfinished(world.state)
    assert began is not None
    world.failure = None
    renew(file)
    assert "this continues the renewal of all certificates" in capsys.readouterr().err
    assert pki.serial(world.state / "pki", "node1") == serial, "what the first run issued is used"
    assert certificates.unfinished(world.state) is None


def test_a_renewal_that_was_killed_before_its_verification_is_verified(
    file: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    renew(file, everything=True)
    certificates.begin(world.state, datetime.now(UTC) - timedelta(minutes=1))
    world.steps.clear()
    renew(file)
    output = capsys.readouterr().err
    assert "this continues the renewal of all certificates" in output
    assert "renewed: all certificates of shop" in output
    assert world.steps == ["3 nodes"]
    assert certificates.unfinished(world.state) is None


@pytest.mark.parametrize("options", [{"dry_run": True}, {"yes": False}])
def test_nothing_is_changed_without_a_confirmation(file: Path, world: World, options: dict[str, bool]) -> None:
    files = {path: path.read_bytes() for path in (world.state / "pki").rglob("*") if path.is_file()}
    renew(file, everything=True, **options)
    assert world.steps == []
    assert certificates.unfinished(world.state) is None
    assert files == {path: path.read_bytes() for path in (world.state / "pki").rglob("*") if path.is_file()}


def test_a_host_that_is_down_is_left_out_and_gets_its_certificate_later(file: Path, world: World) -> None:
    world.vpn["node2"] = frozenset({datetime.now(UTC)})
    renew(file, "node2", everything=True)
    assert world.steps == [("certificates", ["master", "node1"], True, []), "2 nodes"]
    assert pki.issued(world.state / "pki", "node2").not_valid_before_utc < world.issued
    renew(file)
    assert world.steps[2] == ("certificates", HOSTS, False, [])


def test_a_removed_node_gets_no_certificate(file: Path, world: World) -> None:
    pki.revoke(world.state / "pki", "node2")
    renew(file, everything=True)
    assert world.steps == [("certificates", ["master", "node1"], True, []), "2 nodes"]
    assert not (world.state / "pki" / "nodes" / "node2.crt").exists()


def test_what_is_not_renewed_is_an_error(file: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plane = 80
    monkeypatch.setattr(ansible, "run", lambda *_, **__: None)
    with pytest.raises(ClusterError, match="not renewed: the control plane master"):
        renew(file)


@pytest.mark.parametrize(
    ("without", "removed", "message"),
    [
        (["node9"], "", "--without node9: shop has no such host"),
        (["master"], "", "--without leaves no control plane"),
        ([], "node2", "node2 of shop is not in"),
    ],
)
def test_a_host_that_is_not_known_is_refused(
    file: Path, world: World, without: list[str], removed: str, message: str
) -> None:
    file.write_text("\n".join(line for line in INVENTORY.splitlines() if not removed or removed not in line))
    with pytest.raises(UsageError) as caught:
        renew(file, *without, everything=True)
    assert caught.value.message.startswith(message)
    assert world.steps == []


def test_another_run_is_not_disturbed(file: Path, world: World) -> None:
    with lock.hold(world.state, command="bootstrap of shop"), pytest.raises(LockError):
        renew(file, everything=True)
    assert world.steps == []


def test_without_an_answer_of_a_host_nothing_is_changed(
    file: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: Hosts) -> None:
        raise ClusterError("cannot read the state of node1", code="HostUnreachable")

    monkeypatch.setattr(certificates, "read", unreachable)
    with pytest.raises(ClusterError, match="node1"):
        renew(file, everything=True)
    assert certificates.unfinished(world.state) is None


def test_the_table_is_that_of_status(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [certificates.Certificate("CA of the VPN", datetime(2036, 1, 2, tzinfo=UTC), "the next bootstrap")]
    monkeypatch.setattr(certificates, "expiring", lambda _: found)
    assert world.steps == []
    command.show("shop")
    assert "2036-01-02" in capsys.readouterr().err
    monkeypatch.setattr(console, "json_requested", lambda: True)
    command.show("shop")
    assert json.loads(capsys.readouterr().out)["certificates"][0]["expires"] == "2036-01-02T00:00:00+00:00"
