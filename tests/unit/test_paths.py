from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths
from maas.errors import MaasError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_checkout_is_its_own_content() -> None:
    assert (paths.content() / "pyproject.toml").is_file()


def test_states_are_private_even_when_they_were_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "maas" / "shop").mkdir(parents=True, mode=0o755)
    assert paths.state("shop").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_an_empty_or_relative_directory_of_the_environment_means_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.cache() == tmp_path / ".cache" / "maas"


def test_the_path_of_a_state_directory_is_known_without_creating_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = paths.state_path("shop")
    assert list(tmp_path.iterdir()) == []
    assert path == paths.state("shop")


def test_runtime_directories_are_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = paths.runtime("a")
    assert path.stat().st_mode & 0o777 == 0o700
    assert path == paths.runtime("a") != paths.runtime("b")


@pytest.mark.parametrize("kind", ["open to others", "link", "file"])
def test_a_runtime_directory_that_another_user_could_have_created_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = paths.runtime("a")
    if kind == "open to others":
        path.chmod(0o755)
    else:
        path.rmdir()
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        path.touch(mode=0o600)
    with pytest.raises(MaasError) as caught:
        paths.runtime("a")
    assert caught.value.code == "UnsafeDirectory"
