"""What was done to each host and how it ended: one JSON line per host and phase, only ever added to."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Outcome = Literal["ok", "changed", "failed", "unreachable"]


class Entry(BaseModel):
    """The end of a phase on a host.

    Attributes:
        time: When it ended, UTC.
        playbook: The playbook that the phase is part of.
        phase: Title of the phase.
        host: Name of the host.
        outcome: How it ended there.
        changed: Tasks that changed something.
        seconds: How long the phase ran there.
        inputs: sha256 of all that the host was to be set up with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: datetime
    playbook: str
    phase: str
    host: str
    outcome: Outcome
    changed: int
    seconds: float
    inputs: str


def record(path: Path, entries: Iterable[Entry]) -> None:
    """Add entries to a journal."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{entry.model_dump_json()}\n" for entry in entries)


def read(path: Path) -> list[Entry]:
    """All entries of a journal, oldest first; a line that an interruption cut short is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            continue
    return entries


def latest(entries: Iterable[Entry]) -> dict[str, dict[str, Entry]]:
    """For each host, the last entry of each phase, in the order of time."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        phases = found.setdefault(entry.host, {})
        phases.pop(entry.phase, None)
        phases[entry.phase] = entry
    return found
