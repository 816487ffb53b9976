from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests call what the commands call, so there is no command line of which to show the command again."""
    monkeypatch.setattr("sys.argv", ["maas", "same", "--command"])
