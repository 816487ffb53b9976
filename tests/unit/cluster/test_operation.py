"""One run at a time changes a cluster, whatever controller it is on, and an API that is away stops nobody."""

from __future__ import annotations

import ast
import contextlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import lease_server
from tests.support.lease_server import LeaseServer, lease

from maas import console, files, paths
from maas.cluster import operation, tunnel
from maas.cluster.operation import _read
from maas.errors import ClusterError, LockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from maas.cluster.operation import Operation


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseServer]:
    monkeypatch.setattr(tunnel, "reopen", lambda _: None)
    monkeypatch.setattr(operation, "_RETRY", 0.05)
    monkeypatch.setattr(operation, "_RENEWAL", 0.05)
    monkeypatch.setattr("sys.argv", ["maas", "add", "node3"])
    with lease_server.serve() as made:
        yield made


@pytest.fixture
def controller(server: LeaseServer, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that returns the state directory of the cluster on a controller."""

    def state(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        server.kubeconfig(directory)
        return directory

    return state


@pytest.fixture
def mine(controller: Callable[[str], Path]) -> Path:
    return controller("mine")


def hold(state: Path, command: str = "addition of node3 to shop") -> contextlib.AbstractContextManager[Operation]:
    return operation.hold(state, command=command)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def phase() -> None:
    with console.phase("Next"):
        pass


def stops() -> bool:
    """Whether a phase does not begin."""
    try:
        phase()
    except LockError:
        return True
    return False


def killed(state: Path) -> files.Owner:
    """Leave what a run leaves that was killed."""
    left = files.Owner(
        user="me", host="here", pid=7, command="upgrade of shop", since=datetime(2026, 11, 30, 9, 59, 0, 5, tzinfo=UTC)
    )
    (state / "lock.json").write_text(left.model_dump_json())
    return left


def lease_of(owner: files.Owner) -> dict[str, Any]:
    return lease(f"me@here (PID 7, {owner.command})", acquireTime=f"{owner.since:%FT%T.%fZ}")


def test_a_run_holds_the_lease_until_it_ends(
    server: LeaseServer, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(mine):
        own = files.owner(mine / "lock.json")
        assert own is not None
        assert server.holder == f"{own.user}@{own.host} (PID {own.pid}, addition of node3 to shop)"
        assert server.spec is not None
        assert server.spec["leaseDurationSeconds"] <= 60
        server.later(50)
        wait(lambda: server.spec is not None and server.spec["renewTime"].startswith("2026-11-30T10:00:50."))
        assert datetime.fromisoformat(server.spec["acquireTime"]) == own.since
        phase()
    assert server.holder == ""
    assert "Lock  Lease kube-system/maas-operation" in capsys.readouterr().err


def test_a_run_that_fails_releases_the_lease(server: LeaseServer, mine: Path) -> None:
    with pytest.raises(ClusterError), hold(mine):
        raise ClusterError("no")
    assert server.spec is None


def test_a_second_controller_is_refused_with_who_what_since_when_and_for_how_long(
    server: LeaseServer, mine: Path, controller: Callable[[str], Path]
) -> None:
    with hold(mine, "upgrade of shop to v1.37.2"):
        server.later(20)
        before = server.holder
        with pytest.raises(LockError) as caught, hold(controller("other")):
            pytest.fail("it has begun")
        assert server.holder == before
    error = caught.value
    assert error.code == "ClusterLocked"
    (who,) = error.context
    assert who.startswith(f"{before}, since 2")
    assert "upgrade of shop to v1.37.2" in who
    assert "s by itself in " in str(error.hint)
    assert error.command == paths.same_command()


def test_of_two_that_begin_at_once_one_works(
    server: LeaseServer, controller: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    states, read, reads = [controller("one"), controller("two")], _read, itertools.count()
    found, ended = threading.Barrier(2), threading.Barrier(2)

    def together(api: Any) -> Any:
        result = read(api)
        if next(reads) < 2:
            found.wait(60)  # both have seen that there is no lease
        return result

    def run(state: Path) -> bool:
        works = False
        with contextlib.suppress(LockError), hold(state):
            works = True
            ended.wait(60)
        if not works:
            ended.wait(60)
        return works

    monkeypatch.setattr(operation, "_read", together)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(run, states)) == [False, True]
    assert server.spec is None


def test_the_lease_of_a_killed_run_ends_by_itself(server: LeaseServer, mine: Path) -> None:
    server.spec = lease()
    server.later(59)
    with pytest.raises(LockError) as caught, hold(mine):
        pytest.fail("it has begun")
    assert str(caught.value.hint).endswith("in 1 s")
    server.later(1)
    with hold(mine):
        assert "addition of node3" in server.holder
        assert server.spec["leaseTransitions"] == 1


def test_the_next_run_on_the_same_controller_does_not_wait_for_a_killed_one(server: LeaseServer, mine: Path) -> None:
    server.spec = lease_of(killed(mine))
    with hold(mine):
        assert "addition of node3" in server.holder


def test_a_run_elsewhere_with_the_same_names_and_number_is_not_the_killed_one(server: LeaseServer, mine: Path) -> None:
    killed(mine)
    server.spec = lease("me@here (PID 7, upgrade of shop)")
    with pytest.raises(LockError), hold(mine):
        pytest.fail("it has begun")


def test_a_cluster_without_an_api_can_be_repaired(
    server: LeaseServer, mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(_: Path) -> None:
        raise ClusterError("cannot reach the control-plane host over SSH", code="TunnelFailed")

    monkeypatch.setattr(tunnel, "reopen", closed)
    server.status = 503
    with hold(mine):
        phase()
        said = capsys.readouterr().err
        assert "is not held yet: cannot reach the control-plane host over SSH" in said
        server.status = None
        wait(lambda: "addition of node3" in server.holder)
    assert server.spec is None


@pytest.mark.parametrize("status", [401, 403, 404, 409, 500, 503])
def test_an_api_that_refuses_stops_nobody(
    server: LeaseServer, mine: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status = status
    with hold(mine):
        phase()
    assert "is not held yet: " in capsys.readouterr().err


def test_a_login_page_stops_nobody(server: LeaseServer, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.html = True
    with hold(mine):
        phase()
    assert "is not a Kubernetes API server" in capsys.readouterr().err


def test_a_damaged_kubeconfig_stops_nobody(server: LeaseServer, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "kubeconfig").write_text("{")
    with hold(mine):
        phase()
    assert "is not held yet: " in capsys.readouterr().err
    assert server.spec is None


def test_the_first_bootstrap_holds_the_lease_once_there_is_an_api(
    server: LeaseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(tmp_path, "bootstrap of shop"):
        assert capsys.readouterr().err == ""
        server.kubeconfig(tmp_path)
        wait(lambda: "bootstrap of shop" in server.holder)
    assert server.spec is None


def test_a_renewal_that_fails_for_some_minutes_stops_nothing(server: LeaseServer, mine: Path) -> None:
    with hold(mine):
        server.status = 503
        server.later(300)
        time.sleep(0.1)
        phase()
        server.status = None
        wait(lambda: server.spec is not None and server.spec["renewTime"].startswith("2026-11-30T10:05:00."))
        phase()
        assert server.spec is not None
        assert server.spec["leaseTransitions"] == 0


def test_a_lost_lease_stops_the_run_before_its_next_phase(server: LeaseServer, mine: Path) -> None:
    with hold(mine):
        server.status = 503
        server.later(90)
        with server.lock:
            server.version, server.spec = 50, lease(renewTime="2026-11-30T10:01:30.000000Z")
        server.status = None
        with console.phase("Running"):
            wait(stops)
        with pytest.raises(LockError) as caught:
            phase()
    assert caught.value.code == "LeaseLost"
    assert caught.value.context == ("anna@laptop (PID 7, upgrade of shop), since 2026-11-30 10:00:00 UTC",)
    assert server.holder.startswith("anna@laptop"), "the lease of the other run is left alone"
    phase()


def test_a_lease_that_a_restored_etcd_has_from_before_is_replaced(server: LeaseServer, mine: Path) -> None:
    server.later(30)
    with hold(mine):
        with server.lock:
            server.version, server.spec = 50, lease()
        wait(lambda: "addition of node3" in server.holder)
        phase()


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"holderIdentity": ""},
        lease(renewTime=None),
        lease(leaseDurationSeconds=None),
        lease(renewTime="2099-01-01T00:00:00.000000Z"),
    ],
    ids=["empty", "nobody", "never renewed", "without end", "of the future"],
)
def test_a_lease_that_nobody_can_hold_is_taken(server: LeaseServer, mine: Path, spec: dict[str, Any]) -> None:
    server.spec = spec
    with hold(mine):
        assert "addition of node3" in server.holder


def test_a_lease_without_the_time_when_it_was_acquired_is_named(server: LeaseServer, mine: Path) -> None:
    server.spec = lease(acquireTime=None)
    with pytest.raises(LockError) as caught, hold(mine):
        pytest.fail("it has begun")
    assert caught.value.context == ("anna@laptop (PID 7, upgrade of shop)",)


def test_on_one_controller_the_second_run_does_not_ask_the_api(server: LeaseServer, mine: Path) -> None:
    with hold(mine):
        server.status = 500
        with pytest.raises(LockError, match="another run is in progress"), hold(mine):
            pytest.fail("it has begun")


def test_every_command_that_changes_a_cluster_holds_the_lease() -> None:
    users: dict[str, set[str]] = {"lock.hold": set(), "operation.hold": set()}
    for file in (paths.content() / "src" / "maas" / "commands").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in users:
                users[name].add(file.stem)
    assert users["lock.hold"] == {"state"}, "an export only reads"
    changing = "add bootstrap certificates database encrypt etcd lab reboot remove replace reset revoke rotate_ca state upgrade"
    assert users["operation.hold"] == set(changing.split())
