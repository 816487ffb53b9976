from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths, process
from maas.codegen import repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    monkeypatch.setattr(paths, "content", lambda: tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    process.run(["git", "init", "--quiet", tmp_path])

    def commit(subject: str, file: str) -> None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(subject)
        process.run(["git", "-C", tmp_path, "add", "--all"])
        process.run(["git", "-C", tmp_path, "commit", "--quiet", "--no-verify", "--message", subject])

    return commit


def test_subjects_are_checked_since_the_check_was_added(commit: Callable[..., None]) -> None:
    commit("a" * 73, "early")
    assert repository.long_subjects() == []
    commit("b" * 73, "src/maas/codegen/repository.py")
    commit("c" * 72, "later")
    commit("d" * 73, "last")
    assert [subject[0] for _, subject in repository.long_subjects()] == ["d"]


def test_files_are_those_that_git_does_not_ignore(commit: Callable[..., None], tmp_path: Path) -> None:
    commit("Start", "kept")
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("ignored", "new"):
        (tmp_path / name).touch()
    (tmp_path / "kept").unlink()
    assert repository.files() == [".gitignore", "new"]
