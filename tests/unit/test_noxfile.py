from __future__ import annotations

import importlib.util
import os
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from maas import paths


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile", paths.content() / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
