from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas.codegen import lint
from maas.commands import development
from maas.commands import render as command
from maas.errors import ChartError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_lint_reports_every_problem_of_every_check_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "one": lambda: iter([lint.Fault("a.yaml", "is wrong"), lint.Fault("b.yaml", "is wrong too")]),
        "two": lambda: iter([lint.Fault("c.yaml", "as well")]),
        "three": lambda: iter(()),
    }
    monkeypatch.setattr(lint, "CHECKS", found)
    with pytest.raises(ChartError, match="3 problems") as failed:
        development.lint()
    assert failed.value.context == ("one: a.yaml: is wrong", "one: b.yaml: is wrong too", "two: c.yaml: as well")


def test_render_refuses_an_unknown_helm_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Helm 5 is not supported"):
        command.render([], kubernetes="1.37.0", helm="5")
    with pytest.raises(UsageError, match="no such file") as refused:
        command.render([tmp_path / "nowhere.yaml"], kubernetes="1.37.0", helm="4")
    assert str(tmp_path / "nowhere.yaml") in refused.value.context
