"""The journal of a cluster: the outcome of each phase on each host, one JSON line each. Lines are only appended."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Outcome = Literal["ok", "changed", "failed", "unreachable"]


class Entry(BaseModel):
    """The outcome of a phase on a host.

    Attributes:
        time: When the phase ended, UTC.
        playbook: The playbook that the phase is part of.
        phase: Title of the phase.
        host: Name of the host.
        outcome: The worst result of a task.
        changed: Number of tasks that changed something.
        seconds: Duration of the phase on the host.
        inputs: sha256 of the host's variables.
        began: When the phase began, UTC; lines of earlier versions do not have it.
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
    began: datetime | None = None


def record(path: Path, entries: Iterable[Entry]) -> None:
    """Append entries to a journal."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{entry.model_dump_json()}\n" for entry in entries)


def read(path: Path) -> list[Entry]:
    """Return the entries of a journal, the oldest first; none if there is no journal."""
    if not path.exists():
        return []
    return [Entry.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
