"""Where the time of a run went: a row for each phase of the controller, and for each phase on each host."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from maas import console
from maas.hosts import ansible, journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONTROLLER = "controller"


class Timings:
    """The time from the start of a run."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._since = datetime.now(UTC)

    def show(self, state: Path) -> None:
        """Show the phases of this run in the order of their start, from the journal of a cluster and the terminal."""
        rows = sorted(self._rows(state))
        shown = [(phase, host, f"{start:.1f} s", f"{seconds:.1f} s") for start, host, phase, seconds in rows]
        console.table("timings", ("phase", "host", "start", "duration"), shown)

    def _rows(self, state: Path) -> Iterator[tuple[float, str, str, float]]:
        entries = [entry for entry in journal.read(state / ansible.JOURNAL) if entry.time >= self._since]
        for entry in entries:
            ended = (entry.time - self._since) / timedelta(seconds=1)
            start = (entry.began - self._since) / timedelta(seconds=1) if entry.began else ended - entry.seconds
            yield start, entry.host, entry.phase, entry.seconds
        on_hosts = {entry.phase for entry in entries}
        for phase in console.ended():
            if phase.title not in on_hosts and phase.began >= self._began:
                yield phase.began - self._began, _CONTROLLER, phase.title, phase.duration
