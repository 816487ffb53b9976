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
        "phase": "Verify the hosts",
        "host": "node1",
        "outcome": "ok",
        "changed": 0,
        "seconds": 1.5,
        "inputs": "ab" * 32,
    }
    return Entry.model_validate(known | changes)


def test_entries_are_appended_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = entry(), entry(host="node2", outcome="failed")
    journal.record(path, [first])
    journal.record(path, [second])
    assert [Entry.model_validate_json(line) for line in path.read_text().splitlines()] == [first, second]
