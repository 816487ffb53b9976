"""A cluster goes from one controller to another one, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import lease_server
from tests.support.hosts import facts_of, inventory_of

from maas import console, paths
from maas.bundle import tools
from maas.cluster import controller_state, tunnel
from maas.cluster.host_programs import Hosts
from maas.commands import _hosts
from maas.commands import state as command
from maas.errors import ClusterError, LockError, MaasError, UsageError
from maas.hosts import encryption, lock, network_plan, pki, ssh
from maas.process import Completed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
  - {name: node1, address: 203.0.113.11, role: worker}
"""
AGE = """\
#!/bin/sh
# In place of age: the first line of a file has the recipients.
if [ "$1" = --decrypt ]; then
    own=$(sed -n 's/# public key: //p' "$3")
    head -n 1 "$6" | grep -q -- "$own" || { echo "age: error: no identity matched any of the recipients" >&2; exit 1; }
    tail -n +2 "$6" > "$5"
else
    case $* in *"--recipient age1"*) ;; *) echo "age: error: malformed recipient" >&2; exit 1 ;; esac
    echo "$*"
    for last; do :; done
    cat "$last"
fi
"""
ANNA, BORIS = "age1anna", "age1boris"


def kubeconfig(authority: str) -> str:
    data = base64.b64encode(authority.encode()).decode()
    return json.dumps({"clusters": [{"cluster": {"certificate-authority-data": data}}]}) + "\n"


@dataclass
class World:
    """Two controllers, and a control plane that answers either."""

    home: Path
    inventory: Path
    monkeypatch: pytest.MonkeyPatch
    admin: str = ""
    keys: str = ""
    revoked: str = ""
    away: str = ""
    opened: int = 0

    def on(self, controller: str) -> Path:
        """Work on a controller; return where the state of the cluster is there."""
        self.monkeypatch.setenv("XDG_STATE_HOME", str(self.home / controller))
        return paths.state_path("shop")

    def key(self, name: str) -> Path:
        file = self.home / f"{name}.key"
        file.write_text(f"# public key: age1{name}\nAGE-SECRET-KEY-1\n")
        file.chmod(0o600)
        return file

    def run(self, *_: object, **__: object) -> Completed:
        if self.away:
            return Completed(("ssh",), ssh.FAILED, "", self.away, 0.0)
        return Completed(("ssh",), 0, f"{self.admin}\n---\n{self.keys}\n---\n{self.revoked}\n", "", 0.0)

    def open_tunnel(self, state: Path, *, ssh: list[str], api: str, **_: object) -> Any:
        assert ssh[-1] == "203.0.113.10"
        assert any(str(state) in word for word in ssh), "the pinned host keys are those of this controller"
        (state / "access.json").write_text(json.dumps({"ssh": ssh, "api": api}))
        (state / "kubeconfig").write_text(self.admin)
        self.opened += 1

        class Api:
            def nodes(self) -> list[Any]:
                return []

        return Api()

    def export(self, target: Path, *recipients: str) -> Path:
        command.export_state("shop", self.inventory, target, recipients=recipients or (ANNA,))
        return target

    def adopt(
        self, file: Path, who: str = "anna", /, *, force: bool = False, dry_run: bool = False, yes: bool = True
    ) -> None:
        options: dict[str, Any] = {"inventory": None, "become_password": None}
        command.adopt(file, identity=self.key(who), force=force, dry_run=dry_run, yes=yes, **options)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    inventory = tmp_path / "hosts.yaml"
    inventory.write_text(INVENTORY)
    made = World(tmp_path, inventory, monkeypatch)
    made.on("old")
    state = paths.state("shop")
    hosts = inventory_of("node1")
    facts = {host.name: facts_of() for host in hosts.hosts}
    (state / "plan.json").write_text(network_plan.compute(hosts, facts).to_json())
    (state / "facts.json").write_text(json.dumps({name: one.model_dump(mode="json") for name, one in facts.items()}))
    (state / "known_hosts").write_text("203.0.113.10 ssh-ed25519 AAAA\n")
    (state / "log").mkdir()
    (state / "log" / "site.log").write_text("long")
    pki.ensure(state / "pki", "shop", [host.name for host in hosts.hosts], hubs=["master"])
    keys = encryption.ensure(state, exists=False, found="")
    made.admin, made.keys = kubeconfig("first"), keys.configuration()
    (state / "access.json").write_text(json.dumps({"ssh": ["ssh", "master"], "api": "10.90.0.1:6443"}))
    (state / "kubeconfig").write_text(made.admin)
    program = tmp_path / "age"
    program.write_text(AGE)
    program.chmod(0o755)
    monkeypatch.setattr(tools, "tool", lambda _: program)
    monkeypatch.setattr(console, "confirm", lambda *_, assume_yes: assume_yes)
    monkeypatch.setattr(ssh, "resolve", lambda inventory: inventory)
    monkeypatch.setattr(Hosts, "run", lambda _, *words, **options: made.run(*words, **options))
    monkeypatch.setattr(tunnel, "open_tunnel", made.open_tunnel)
    monkeypatch.setattr(tunnel, "reopen", lambda _: None)
    return made


def texts(state: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in controller_state.contents(state).items()}


def test_another_controller_has_the_keys_the_plan_and_the_inventory(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    old = texts(world.on("old"))
    file = world.export(world.home / "shop.age", ANNA, BORIS)
    assert file.stat().st_mode & 0o777 == 0o600
    new = world.on("new")
    world.adopt(file, "boris")
    assert texts(new) == old
    assert {"pki/ca.key", "encryption.json", "plan.json", "known_hosts"} <= old.keys()
    assert not (new / "log").exists()
    assert world.opened == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in controller_state.contents(new).values())
    # Every command finds the inventory with the name alone.
    assert [host.name for host in _hosts.find_inventory("shop", None).hosts] == ["master", "node1"]
    assert "shop is on this controller now" in capsys.readouterr().err
    world.adopt(file)
    assert texts(new) == old, "the same command again changes nothing"
    assert not list(new.glob("before-*"))


@pytest.mark.parametrize(("dry_run", "yes"), [(True, True), (False, False)])
def test_nothing_is_written_without_a_confirmation(world: World, *, dry_run: bool, yes: bool) -> None:
    file = world.export(world.home / "shop.age")
    new = world.on("new")
    world.adopt(file, dry_run=dry_run, yes=yes)
    assert not new.exists()
    assert world.opened == 0


def test_what_the_cluster_has_learned_since_is_taken_over(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    file = world.export(world.home / "shop.age")
    keys = encryption.Keys(keys=(encryption.new_key(),))
    world.keys, world.revoked = keys.configuration(), "4711"
    new = world.on("new")
    world.adopt(file)
    assert (new / "pki" / "revoked" / "4711").exists(), "bootstrap would let the revoked node connect again"
    loaded = encryption.load(new)
    assert loaded is not None
    assert loaded.names == keys.names
    assert "1267 has been revoked since" in " ".join(capsys.readouterr().err.split())


def test_a_newer_state_is_replaced_only_with_force_and_kept(world: World) -> None:
    file = world.export(world.home / "shop.age")
    old = world.on("old")
    serial = pki.revoke(old / "pki", "node1")
    later = controller_state.changed(old)
    assert later is not None
    os.utime(old / "pki" / "revoked" / str(serial), (later.timestamp() + 9,) * 2)
    before = texts(old)
    with pytest.raises(ClusterError) as caught:
        world.adopt(file)
    assert caught.value.code == "StateNewer"
    assert texts(old) == before
    world.adopt(file, force=True)
    assert (old / "pki" / "nodes" / "node1.crt").exists()
    (kept,) = old.glob("before-*")
    assert (kept / "pki" / "revoked" / str(serial)).exists()


def test_an_older_state_is_replaced_and_kept(world: World) -> None:
    old = world.on("old")
    first = world.export(world.home / "first.age")
    new = world.on("new")
    world.adopt(first)
    world.on("old")
    (old / "known_hosts").write_text("203.0.113.10 ssh-ed25519 BBBB\n")
    os.utime(old / "known_hosts", (old.stat().st_mtime + 60,) * 2)
    second = world.export(world.home / "second.age")
    world.on("new")
    world.adopt(second)
    assert "BBBB" in (new / "known_hosts").read_text()
    (kept,) = new.glob("before-*")
    assert "AAAA" in (kept / "known_hosts").read_text()


def other_cluster(world: World, _: Path) -> None:
    world.admin = kubeconfig("second")


def same_name(world: World, _: Path) -> None:
    pki.ensure(paths.state("shop") / "pki", "shop", ["x"], hubs=["x"])
    assert world.opened == 0


def away(world: World, _: Path) -> None:
    world.away = "ssh: connect to host 203.0.113.10 port 22: Connection timed out\n"


def truncated(_: World, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-99])


def exchanged(_: World, file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-3000] + hashlib.sha256(content).digest() + content[-3000:])


def gone(_: World, file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("spoil", "who", "code", "message"),
    [
        (other_cluster, "anna", "OtherCluster", "master belongs to another cluster than shop.age"),
        (same_name, "anna", "OtherCluster", "this controller has another cluster shop"),
        (away, "anna", "HostUnreachable", "no control plane answers"),
        (truncated, "anna", "StateDamaged", "shop.age is damaged"),
        (exchanged, "anna", "StateDamaged", "shop.age is damaged"),
        (gone, "anna", "FileNotFound", "there is no file"),
        (lambda *_: None, "boris", "WrongKey", "is not one that shop.age is encrypted to"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_before_anything_is_written(
    world: World, spoil: Callable[[World, Path], None], who: str, code: str, message: str
) -> None:
    file = world.export(world.home / "shop.age")
    new = world.on("new")
    spoil(world, file)
    before = texts(new)
    with pytest.raises(MaasError) as caught:
        world.adopt(file, who)
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.hint
    assert texts(new) == before
    assert world.opened == 0


def test_the_inventory_of_another_cluster_is_refused(world: World) -> None:
    file = world.export(world.home / "shop.age")
    world.on("new")
    world.inventory.write_text(INVENTORY.replace("shop", "bakery"))
    with pytest.raises(UsageError, match=r"is the inventory of bakery, and shop\.age has the state of shop"):
        command.adopt(
            file,
            identity=world.key("anna"),
            inventory=world.inventory,
            force=False,
            dry_run=False,
            yes=True,
            become_password=None,
        )


@pytest.mark.parametrize(
    ("recipients", "target", "code", "message"),
    [
        ((), "shop.age", "InvalidUsage", "nobody to encrypt it for"),
        (("ssh-rsa",), "shop.age", "InvalidUsage", "malformed recipient"),
        ((ANNA,), "hosts.yaml", "FileExists", "exists"),
        ((ANNA,), "no/shop.age", "FileNotFound", "does not exist"),
    ],
)
def test_an_export_that_nobody_could_use_is_refused(
    world: World, recipients: tuple[str, ...], target: str, code: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        command.export_state("shop", world.inventory, world.home / target, recipients=recipients)
    assert caught.value.code == code
    assert message in caught.value.message
    assert not (world.home / "shop.age").exists()


def test_the_recipients_of_backups_are_the_default(world: World) -> None:
    recipient = "age1mnu7qzkfe6cfwchgzf66hrnd449u4vfp3jsv5zypuvcd03hv6gxq8f6hhz"
    world.inventory.write_text(f"{INVENTORY}backup: {{recipients: [{recipient}]}}\n")
    command.export_state("shop", world.inventory, world.home / "shop.age", recipients=())
    assert recipient in (world.home / "shop.age").read_bytes().splitlines()[0].decode()


def test_a_cluster_is_not_adopted_while_another_run_changes_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = world.export(world.home / "shop.age")
    world.on("new")

    def open_tunnel(state: Path, **options: Any) -> Any:
        api = world.open_tunnel(state, **options)
        server.kubeconfig(state)
        return api

    monkeypatch.setattr(tunnel, "open_tunnel", open_tunnel)
    with lease_server.serve() as server:
        server.spec = lease_server.lease()
        with pytest.raises(LockError) as caught:
            world.adopt(file)
        assert "upgrade of shop" in caught.value.context[0]
        server.spec = None
        world.adopt(file)
        assert server.spec is None
    assert world.opened == 2


def test_a_run_in_progress_is_not_exported(world: World) -> None:
    with lock.hold(world.on("old"), command="bootstrap of shop"), pytest.raises(LockError):
        world.export(world.home / "shop.age")
