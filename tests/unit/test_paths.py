from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths

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
