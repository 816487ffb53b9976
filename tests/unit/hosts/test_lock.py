from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from maas.errors import LockError
from maas.hosts import lock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_run_is_refused_with_the_owner_of_the_lock(tmp_path: Path) -> None:
    with (
        lock.hold(tmp_path, command="bootstrap of shop"),
        pytest.raises(LockError) as caught,
        lock.hold(tmp_path, command="reset of shop"),
    ):
        pass
    (owner,) = caught.value.context
    assert f"process {os.getpid()}" in owner
    assert "bootstrap of shop" in owner


def test_the_refused_run_leaves_the_owner_in_the_file(tmp_path: Path) -> None:
    with lock.hold(tmp_path, command="bootstrap of shop"):
        with pytest.raises(LockError), lock.hold(tmp_path, command="reset of shop"):
            pass
        owner = lock.owner(tmp_path)
    assert owner is not None
    assert owner.command == "bootstrap of shop"


def test_after_a_run_the_next_one_may_work(tmp_path: Path) -> None:
    with lock.hold(tmp_path, command="bootstrap of shop"):
        pass
    with lock.hold(tmp_path, command="reset of shop"):
        owner = lock.owner(tmp_path)
    assert owner is not None
    assert owner.command == "reset of shop"
    assert lock.owner(tmp_path) is None


def test_a_run_that_failed_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock.hold(tmp_path, command="bootstrap of shop"):
        raise RuntimeError
    with lock.hold(tmp_path, command="bootstrap of shop"):
        pass


def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from maas.hosts import lock\n"
        f"held = lock.hold(pathlib.Path({str(tmp_path)!r}), command='bootstrap of shop'); held.__enter__()\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    assert json.loads((tmp_path / lock.FILE).read_text())["command"] == "bootstrap of shop"
    assert lock.owner(tmp_path) is None
    with lock.hold(tmp_path, command="bootstrap of shop"):
        pass


def test_a_file_that_cannot_be_read_still_refuses(tmp_path: Path) -> None:
    with lock.hold(tmp_path, command="bootstrap of shop"):
        (tmp_path / lock.FILE).write_text("{")
        with pytest.raises(LockError), lock.hold(tmp_path, command="reset of shop"):
            pass


def test_nobody_owns_a_cluster_that_was_never_locked(tmp_path: Path) -> None:
    assert lock.owner(tmp_path) is None


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with lock.hold(tmp_path, command="bootstrap of shop"):
        assert (tmp_path / lock.FILE).stat().st_mode & 0o777 == 0o600
