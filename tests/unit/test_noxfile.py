from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.support.noxfile import load


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    return load()


def session(*posargs: str) -> Any:
    def error(message: str) -> None:
        raise RuntimeError(message)

    return SimpleNamespace(posargs=list(posargs), error=error)


def test_end_to_end_tests_without_root_are_an_error_unless_left_out(
    noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RuntimeError, match="--without-e2e"):
        noxfile.e2e_requested(session())
    assert noxfile.e2e_requested(session("--without-e2e")) is False


def test_end_to_end_tests_run_as_root(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(noxfile, "APT", "/usr/bin/apt-get")
    assert noxfile.e2e_requested(session("-q")) is True


def test_the_option_is_not_passed_to_pytest(noxfile: ModuleType) -> None:
    assert noxfile.arguments(session("-q", "--without-e2e", "tests/unit")) == ["-q", "tests/unit"]


class Environments:
    """Sessions in checkouts that share one cache. What creates an environment is recorded, not run.

    Attributes:
        created: The directories of the environments, in the order of their creation.
        installed: The requirement files of each of them.
    """

    def __init__(self, noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._noxfile, self._monkeypatch, self._directory = noxfile, monkeypatch, directory
        self.created: list[str] = []
        self.installed: list[list[str]] = []
        monkeypatch.setattr(noxfile, "CACHE", directory / "cache")

    def checkout(self, name: str, **files: str) -> Path:
        requirements = self._directory / name / "requirements"
        requirements.mkdir(parents=True, exist_ok=True)
        for stem, content in files.items():
            (requirements / f"{stem}.txt").write_text(content)
        return requirements.parent

    def use(self, checkout: Path, *names: str, fails: bool = False) -> str:
        """Run a session, and return the environment that its programs run in."""

        def run(*words: str, **_: object) -> None:
            if "venv" in words:
                self.created.append(words[-1])
                Path(words[-1]).mkdir(parents=True, exist_ok=True)
                return
            self.installed.append([words[n + 1] for n, word in enumerate(words) if word == "--requirement"])
            if fails:
                raise RuntimeError

        fake = SimpleNamespace(run=run, log=lambda _: None, env={})
        self._monkeypatch.chdir(checkout)
        self._noxfile.environment(fake, *(f"requirements/{name}.txt" for name in names))
        home = str(fake.env["VIRTUAL_ENV"])
        assert fake.env["PATH"].split(os.pathsep)[0] == f"{home}/bin"
        return home


@pytest.fixture
def environments(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environments:
    return Environments(noxfile, monkeypatch, tmp_path)


def test_sessions_and_checkouts_with_the_same_requirements_share_one_environment(environments: Environments) -> None:
    first = environments.checkout("first", maas="typer==1", dev="pytest==1")
    second = environments.checkout("second", maas="typer==1", dev="pytest==1")
    home = environments.use(first, "maas")
    assert environments.installed == [["requirements/maas.txt"]]
    assert environments.use(first, "maas") == home
    assert environments.use(second, "maas") == home
    assert environments.created == [home]
    both = environments.use(second, "dev", "maas")
    assert environments.use(first, "dev", "maas") == both != home
    assert environments.created == [home, both]


def test_a_changed_requirement_creates_an_environment_beside_the_old_one(environments: Environments) -> None:
    old, new = environments.checkout("old", maas="typer==1"), environments.checkout("new", maas="typer==2")
    first, second = environments.use(old, "maas"), environments.use(new, "maas")
    assert environments.created == [first, second]
    assert first != second
    environments.checkout("old", maas="typer==2")
    assert environments.use(old, "maas") == second
    assert len(environments.created) == 2


def test_another_interpreter_has_an_environment_of_its_own(
    environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = environments.checkout("one", maas="typer==1")
    home = environments.use(checkout, "maas")
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    assert environments.use(checkout, "maas") != home


def test_an_environment_whose_installation_failed_is_created_again(environments: Environments) -> None:
    checkout = environments.checkout("one", maas="typer==1")
    with pytest.raises(RuntimeError):
        environments.use(checkout, "maas", fails=True)
    home = environments.use(checkout, "maas")
    assert environments.created == [home, home]


def test_environments_that_nothing_uses_are_deleted(environments: Environments, noxfile: ModuleType) -> None:
    checkout = environments.checkout("one", maas="typer==1", dev="pytest==1", docs="a==1")
    unused, used = environments.use(checkout, "maas"), environments.use(checkout, "dev")
    long_ago = time.time() - noxfile.UNUSED - 60
    for home in (unused, used):
        os.utime(Path(home) / "ready", (long_ago, long_ago))
    environments.use(checkout, "dev")
    environments.use(checkout, "docs")
    assert [Path(home).exists() for home in (unused, used)] == [False, True]
