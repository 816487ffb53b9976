"""Atomic writes leave the old content or the new one; a lock admits one process and names it."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maas import files
from maas.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(TypeError), files.replacing(path) as fresh, fresh.open("w") as file:
        file.writelines(["half", None])  # type: ignore[list-item]
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"kept": "old"}


def test_a_reader_of_the_old_file_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    files.write(path, "old")
    with path.open() as reader:
        files.write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("write", "mode"), [(files.write, 0o644), (files.write_private, 0o600)], ids=["public", "private"]
)
def test_a_file_has_its_mode_whatever_the_file_before_it_had(
    tmp_path: Path, write: Callable[[Path, bytes], None], mode: int
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    write(path, b"content")
    assert path.stat().st_mode & 0o777 == mode


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "directory" / "target"
    source.write_text("content")
    files.copy(source, target, mode=0o755)
    target.write_text("damaged")
    assert source.read_text() == "content"
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_second_process_is_refused_with_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.lock(path, command="bootstrap of shop"):
        for _ in range(2):  # the first refusal must leave the owner in the file
            with pytest.raises(LockError) as caught, files.lock(path, command="reset of shop"):
                pass
            (owner,) = caught.value.context
            assert owner.startswith("bootstrap of shop, started by ")


def test_a_second_process_waits_for_the_first_if_it_may(tmp_path: Path) -> None:
    path, waiting = tmp_path / "lock", threading.Event()
    order: list[str] = []

    def on_wait(text: str) -> None:
        order.append(text)
        waiting.set()

    def second() -> None:
        with files.lock(path, command="second", on_wait=on_wait):
            order.append("second")

    thread = threading.Thread(target=second)
    with files.lock(path, command="first"):
        thread.start()
        assert waiting.wait(timeout=10)
        order.append("first")
    thread.join(timeout=10)
    assert order[0].startswith("waiting for another run: first, started by ")
    assert order[1:] == ["first", "second"]


def test_a_run_that_failed_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.lock(tmp_path / "lock", command="one"):
        raise RuntimeError
    with files.lock(tmp_path / "lock", command="two"):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import os, pathlib; from maas import files\n"
        f"held = files.lock(pathlib.Path({str(path)!r}), command='bootstrap of shop'); held.__enter__()\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    left = files.owner(path)
    assert left is not None
    assert left.command == "bootstrap of shop"
    with files.lock(path, command="addition to shop") as own:
        assert files.owner(path) == own
        assert own.command == "addition to shop"
    assert files.owner(path) is None


def test_no_other_module_has_locks_of_its_own() -> None:
    package = Path(files.__file__).parent
    users = {file.name for file in package.rglob("*.py") if "fcntl" in file.read_text(encoding="utf-8")}
    assert users == {"files.py"}


def test_a_user_without_a_name_can_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", unknown)
    with files.lock(tmp_path / "lock", command="bootstrap of shop"):
        owner = files.Owner.model_validate_json((tmp_path / "lock").read_text())
    assert owner.user == f"user {os.getuid()}"


def test_a_lock_file_with_unreadable_content_still_refuses(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.lock(path, command="bootstrap of shop"):
        path.write_text("{")
        with pytest.raises(LockError, match="another run is in progress"), files.lock(path, command="reset of shop"):
            pass


def test_a_lock_file_is_readable_by_its_owner_only_and_is_never_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "lock", tmp_path / "link"
    with files.lock(path, command="bootstrap of shop"):
        assert path.stat().st_mode & 0o777 == 0o600
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), files.lock(link, command="bootstrap of shop"):
        pass
    assert not (tmp_path / "elsewhere").exists()
