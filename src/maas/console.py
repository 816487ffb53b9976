"""The only place that writes to the terminal.

Phases, explanations and errors go to standard error. Data for programs goes to standard output: a token, manifests, and
with `--output json` one JSON document per command. On a terminal a running phase is one live line with its elapsed time;
elsewhere each phase is one plain line when it ends, so that a CI log stays readable.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from maas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    from maas.errors import MaasError

Output = Literal["text", "json"]

_MARGIN = 2
_HEARTBEAT = 30.0
"""Seconds between two progress lines of a long phase where there is no terminal."""

_WIDTH = int(os.environ.get("COLUMNS", "0")) or (None if sys.stderr.isatty() else 160)
_lock = threading.RLock()
_live: list[Phase] = []
_ended: list[Phase] = []
_checks: list[Callable[[], None]] = []
_output: Output = "text"


def set_output(output: Output) -> None:
    """Choose the format of results and errors."""
    global _output  # noqa: PLW0603 - a property of the process, as its standard output is
    _output = output


def json_requested() -> bool:
    """Whether results and errors are written as JSON."""
    return _output == "json"


@functools.cache
def _err() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, width=_WIDTH)


def _print(*parts: str | tuple[str, str]) -> None:
    """Print a line to standard error; a part can be a text with its style."""
    from rich.text import Text

    with _lock:
        _err().print(Text.assemble(*parts))


def elapsed(seconds: float) -> str:
    """Return a duration as a person reads it: `3.2 s`, `48 s`, `2 min 05 s`."""
    if seconds < 10:  # noqa: PLR2004 - one decimal is meaningful only here
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"  # noqa: PLR2004


class Phase:
    """A step of a long command, shown while it runs, and as one line when it has ended."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.began = time.monotonic()
        self.duration = 0.0
        self._detail = ""
        self._reported = self.began

    @property
    def seconds(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self.began

    def note(self, text: str) -> None:
        """Show what the phase is doing; the last note stays on its line."""
        self._detail = text
        if not _err().is_terminal and time.monotonic() - self._reported > _HEARTBEAT:
            self._reported = time.monotonic()
            _print(f"  … {self.title}: {text} ({elapsed(self.seconds)})")

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Show the progress of the phase."""
        self.note(f"{done} of {total}{', ' + text if text else ''}")

    def __rich__(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_row(Spinner("dots"), Text(self.title, style="bold"), Text(self._detail), Text(elapsed(self.seconds)))
        return grid

    def end(self, mark: str, style: str) -> None:
        """Write the one line that stays."""
        self.duration = self.seconds
        _ended.append(self)
        detail = f"  {self._detail}" if self._detail else ""
        _print((mark, style), " ", (self.title, "bold"), detail, "  ", (elapsed(self.seconds), "dim"))


def ended() -> list[Phase]:
    """Return the phases of this process that have ended."""
    return list(_ended)


@contextlib.contextmanager
def phase(title: str) -> Iterator[Phase]:
    """Show a step while it runs, and leave one line with its title, last note and duration.

    Phases may nest; only the innermost is live.
    """
    from rich.live import Live

    for check in _checks:
        check()
    step = Phase(title)
    live = (
        Live(step, console=_err(), refresh_per_second=8, transient=True) if _err().is_terminal and not _live else None
    )
    _live.append(step)
    try:
        with live or contextlib.nullcontext():
            yield step
    except BaseException:
        step.end("✗", "red")
        raise
    else:
        step.end("✓", "green")
    finally:
        _live.remove(step)


@contextlib.contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Call a function before each phase that begins while the block runs. What it raises stops the command there."""
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


def line(text: str = "") -> None:
    """Print a line of explanation."""
    _print(text)


def data(text: str) -> None:
    """Print a line to standard output, for programs to read, unchanged."""
    with _lock:
        print(text, flush=True)  # noqa: T201 - the one place that does


def document(content: Any) -> None:
    """Print a JSON document to standard output: the result of a command with `--output json`."""
    data(json.dumps(content, indent=2))


def warn(text: str) -> None:
    """Print a warning."""
    _print(("!", "yellow"), " ", text)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=Text(title) if title else None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    with _lock:
        _err().print()
        _err().print(shown, soft_wrap=False)


def confirm(question: str, *, assume_yes: bool) -> bool:
    """Ask for confirmation before something is changed.

    Raises:
        UsageError: Standard input is not a terminal, and `--yes` was not given.
    """
    if assume_yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"confirmation required, but standard input is not a terminal: {question}",
            hint="run the command again with --yes",
            code="ConfirmationRequired",
        )
    from rich.text import Text

    return _err().input(Text.assemble((question, "bold"), " [y/N] ")).strip().lower() in {"y", "yes"}


def password(question: str) -> str:
    """Ask for a password on the terminal, without showing it.

    Raises:
        UsageError: There is no terminal, or the answer is empty.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"standard input is not a terminal: cannot ask for the {question}")
    answer = getpass.getpass(f"{question}: ", stream=sys.stderr)
    if not answer:
        raise UsageError(f"the {question} is empty")
    return answer


def error(failure: MaasError) -> None:
    """Print an error: what failed, details, a hint and the next command. With `--output json`, one line of JSON."""
    if json_requested():
        _print(json.dumps({"error": failure.data()}))
        return
    _print(("error:", "bold red"), " ", failure.message)
    for text in failure.context:
        _print((" " * _MARGIN + text, "dim"))
    if failure.hint:
        _print(("hint:", "bold"), " ", failure.hint)
    if failure.command:
        _print(("next:", "bold"), " ", failure.command)
