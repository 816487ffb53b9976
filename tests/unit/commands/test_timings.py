from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from maas import console
from maas.commands import _timings
from maas.hosts import ansible, journal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def entry(host: str, *, began: float, seconds: float, known: bool = True) -> journal.Entry:
    start = datetime.now(UTC) + timedelta(seconds=began)
    return journal.Entry(
        time=start + timedelta(seconds=seconds),
        playbook="site",
        phase="Join the workers",
        host=host,
        outcome="ok",
        changed=0,
        seconds=seconds,
        inputs="",
        began=start if known else None,
    )


def test_the_phases_of_this_run_are_shown_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with console.phase("Of another run"):
        pass
    journal.record(tmp_path / ansible.JOURNAL, [entry("node3", began=-90, seconds=4)])
    timings = _timings.Timings()
    entries = [entry("node1", began=20, seconds=4), entry("node2", began=10, seconds=3, known=False)]
    journal.record(tmp_path / ansible.JOURNAL, entries)
    for title in ("Preflight", "Join the workers"):  # the second one is that of the journal
        with console.phase(title):
            pass
    capsys.readouterr()
    timings.show(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    rows = [line.split() for line in lines if "controller" in line or "node" in line]
    assert rows == [
        ["Preflight", "controller", "0.0", "s", "0.0", "s"],
        ["Join", "the", "workers", "node2", "10.0", "s", "3.0", "s"],
        ["Join", "the", "workers", "node1", "20.0", "s", "4.0", "s"],
    ]


def test_without_a_journal_the_phases_of_the_controller_are_shown(tmp_path: Path) -> None:
    _timings.Timings().show(tmp_path)
    assert journal.read(tmp_path / ansible.JOURNAL) == []
