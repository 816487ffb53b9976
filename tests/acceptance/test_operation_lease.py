"""The Lease of a run on a real API server: refusal, a run that is killed, its end, and one that is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from kubernetes import client
from tests.support.control_plane import control_plane

from maas import console
from maas.cluster import operation, tunnel
from maas.cluster.client import Cluster
from maas.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

# It holds the Lease until it is killed.
RUN = """\
import sys, time
from pathlib import Path
from maas.cluster import operation, tunnel
tunnel.reopen = lambda _: None
operation.DURATION, operation._RENEWAL, operation._RETRY = int(sys.argv[2]), 1.0, 0.5
with operation.hold(Path(sys.argv[1]), command="upgrade of shop to v1.37.2"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with control_plane(tmp_path_factory.mktemp("control-plane")) as kubeconfig:
        yield kubeconfig


@pytest.fixture
def controller(api: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that returns the state directory of the cluster on a controller."""
    monkeypatch.setattr(tunnel, "reopen", lambda _: None)
    monkeypatch.setattr(operation, "_RENEWAL", 0.5)
    monkeypatch.setattr(operation, "_RETRY", 0.5)

    def state(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        shutil.copy(api, directory / "kubeconfig")
        return directory

    return state


def leases(api: Path) -> client.CoordinationV1Api:
    return client.CoordinationV1Api(Cluster(api).client)


def holders(api: Path) -> list[str]:
    selector = f"metadata.name={operation.NAME}"
    found = leases(api).list_namespaced_lease(operation.NAMESPACE, field_selector=selector).items
    return [one.spec.holder_identity for one in found]


def kill_one(state: Path, *, duration: int) -> None:
    """Start a run, and kill it while it works."""
    words = [sys.executable, "-c", RUN, str(state), str(duration)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        os.kill(run.pid, signal.SIGKILL)


def refused(state: Path) -> LockError | None:
    try:
        with operation.hold(state, command="addition of node3 to shop"):
            return None
    except LockError as error:
        return error


def test_one_of_two_controllers_works(api: Path, controller: Callable[[str], Path]) -> None:
    with operation.hold(controller("one"), command="upgrade of shop to v1.37.2"):
        (holder,) = holders(api)
        error = refused(controller("two"))
        assert error is not None
        assert error.context[0].startswith(holder)
        assert "upgrade of shop to v1.37.2" in holder
        first = leases(api).read_namespaced_lease(operation.NAME, operation.NAMESPACE).spec.renew_time
        time.sleep(2.5)
        assert leases(api).read_namespaced_lease(operation.NAME, operation.NAMESPACE).spec.renew_time > first
        assert holders(api) == [holder]
    assert holders(api) == []
    assert refused(controller("two")) is None


def test_after_a_killed_run_the_same_controller_continues_at_once_and_others_when_its_lease_has_ended(
    api: Path, controller: Callable[[str], Path]
) -> None:
    kill_one(controller("one"), duration=60)
    assert refused(controller("two")) is not None
    assert refused(controller("one")) is None
    assert holders(api) == []

    kill_one(controller("one"), duration=5)
    began = time.monotonic()
    assert refused(controller("two")) is not None
    while refused(controller("two")) is not None:
        assert time.monotonic() - began < 30
        time.sleep(0.2)
    assert holders(api) == []


def test_a_run_whose_lease_another_one_has_acquired_stops(api: Path, controller: Callable[[str], Path]) -> None:
    with operation.hold(controller("one"), command="upgrade of shop to v1.37.2"):
        while holders(api) != ["anna@laptop"]:
            found = leases(api).read_namespaced_lease(operation.NAME, operation.NAMESPACE)
            found.spec.holder_identity, found.spec.renew_time = (
                "anna@laptop",
                found.spec.renew_time.replace(microsecond=9),
            )
            with contextlib.suppress(client.ApiException):  # it is renewed meanwhile
                leases(api).replace_namespaced_lease(operation.NAME, operation.NAMESPACE, found)
        time.sleep(2.5)
        with pytest.raises(LockError) as caught, console.phase("Next"):
            pass
        assert caught.value.code == "LeaseLost"
    assert holders(api) == ["anna@laptop"]
    leases(api).delete_namespaced_lease(operation.NAME, operation.NAMESPACE)
