from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maas.hosts import journal
from maas.hosts.journal import Entry

if TYPE_CHECKING:
    from pathlib import Path


def entry(**changes: Any) -> Entry:
    known = {
        "time": datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
        "playbook": "site",
        "phase": "VPN connected",
        "host": "node1",
        "outcome": "ok",
        "changed": 0,
        "seconds": 1.5,
        "inputs": "ab" * 32,
    }
    return Entry.model_validate(known | changes)


def test_what_was_recorded_is_read_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = entry(), entry(host="node2", outcome="failed")
    journal.record(path, [first])
    journal.record(path, [second])
    assert journal.read(path) == [first, second]


def test_a_line_that_was_cut_short_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.record(path, [entry()])
    with path.open("a") as file:
        file.write('{"time": "2026-11-23T05:0\n')
    journal.record(path, [entry(host="node2")])
    assert [one.host for one in journal.read(path)] == ["node1", "node2"]


def test_a_cluster_without_a_journal_has_no_entries(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "journal.jsonl") == []


def test_the_latest_entry_of_each_phase_counts() -> None:
    entries = [
        entry(phase="Hosts prepared"),
        entry(outcome="failed"),
        entry(outcome="changed"),
        entry(host="node2", outcome="unreachable"),
    ]
    found = journal.latest(entries)
    assert {phase: one.outcome for phase, one in found["node1"].items()} == {
        "Hosts prepared": "ok",
        "VPN connected": "changed",
    }
    assert found["node2"]["VPN connected"].outcome == "unreachable"
