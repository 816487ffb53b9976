"""The only place that starts programs.

Programs that `run` and `lines` start have process groups of their own and end with the tool: by `stop_all` when a signal
ends it, and by a reaper (maas._reaper) when it is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import locale
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from maas import _reaper
from maas.errors import ProcessError, ProcessTimeoutError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Completed:
    """The result of a program.

    Attributes:
        argv: The words of the command, secrets hidden.
        returncode: Its exit status.
        stdout: What it wrote to standard output, as text.
        stderr: What it wrote to standard error, as text.
        seconds: How long it ran.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


@functools.cache
def _utf8_locale() -> str:
    """Return the name of a UTF-8 locale that is installed; C.UTF-8 is, except on some old systems."""
    current = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
    finally:
        locale.setlocale(locale.LC_CTYPE, current)
    return "C.UTF-8"


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    # Whatever locale the caller has: Ansible refuses all but UTF-8, and messages that are parsed or shown are in English.
    return {**os.environ, "LC_ALL": _utf8_locale(), "LANGUAGE": "", **(env or {})}


_GRACE = 10.0
"""Seconds that a program has to end before it is killed."""


class _Programs:
    """The programs that run, and the reaper that knows them too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._reaper: subprocess.Popen[str] | None = None
        self._stopping = False

    def start(self, words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopping:
                raise KeyboardInterrupt
            if self._reaper is None:
                command = [sys.executable, "-I", "-S", _reaper.__file__]
                self._reaper = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
            child = subprocess.Popen(words, encoding="utf-8", errors="replace", start_new_session=True, **options)
            self._groups.add(child.pid)
            self._tell(f"+{child.pid}")
        return child

    def end(self, child: subprocess.Popen[str]) -> None:
        """Stop a program, if it still runs, with its children."""
        if child.poll() is None:
            self._signal(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE)
            self._signal(child.pid, signal.SIGKILL)  # its children, if it has ended itself
            child.wait()
        with self._lock:
            self._groups.discard(child.pid)
            self._tell(f"-{child.pid}")

    def stop_all(self) -> None:
        # Without the lock: a signal handler calls this, perhaps while its thread holds it.
        self._stopping = True
        for group in list(self._groups):
            self._signal(group, signal.SIGTERM)

    def close(self) -> None:
        """End the reaper: the tool ends, and no program runs."""
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(OSError):
                self._reaper.stdin.close()
            self._reaper.wait()

    @staticmethod
    def _signal(group: int, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(group, number)

    def _tell(self, line: str) -> None:
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(OSError):
                self._reaper.stdin.write(line + "\n")
                self._reaper.stdin.flush()


_programs = _Programs()
atexit.register(_programs.close)


def stop_all() -> None:
    """Stop all programs, and start no further ones: the tool ends."""
    _programs.stop_all()


@contextlib.contextmanager
def _started(words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    child = _programs.start(words, **options)
    try:
        yield child
    finally:
        _programs.end(child)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - the name that subprocess gives it
    timeout: float | None = None,
    check: bool = True,
    secrets: Sequence[str] = (),
    log: Path | None = None,
) -> Completed:
    """Run a program to its end, and return its exit status and output.

    Args:
        argv: The program and its arguments; no shell interprets them.
        cwd: The working directory.
        env: Environment variables to add.
        input: Text for its standard input, which is empty by default.
        timeout: Seconds until it is stopped.
        check: Raise an error for an exit status other than 0.
        secrets: Strings to hide in results, logs and errors.
        log: A file to which the command and its output are appended.

    Raises:
        ProgramMissingError: The program is not installed.
        ProcessError: It failed, and `check` is true.
        ProcessTimeoutError: It did not end in time.
    """
    words = [str(word) for word in argv]
    shown = tuple(_hide(word, secrets) for word in words)
    began = time.monotonic()
    try:
        with _started(
            words,
            cwd=cwd,
            env=_environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            out, err = child.communicate(input or "", timeout)
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise ProgramMissingError(words[0]) from error
    except subprocess.TimeoutExpired as error:
        raise ProcessTimeoutError(shown, seconds=error.timeout) from None
    stdout, stderr = _hide(out, secrets), _hide(err, secrets)
    completed = Completed(shown, child.returncode, stdout, stderr, time.monotonic() - began)
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(shown)}\n{stdout}{stderr}[status {child.returncode}, {completed.seconds:.1f} s]\n")
    if check and child.returncode != 0:
        raise ProcessError(shown, returncode=child.returncode, stdout=stdout, stderr=stderr)
    return completed


def lines(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as in `run`
    log: Path | None = None,
    keep: Collection[int] = (),
) -> Iterator[str]:
    """Run a program, and yield its output (both streams) line by line as it is written.

    Args:
        argv: The program and its arguments; no shell interprets them.
        cwd: The working directory.
        env: Environment variables to add.
        input: A short text for its standard input, which is empty by default.
        log: A file to which its output is appended.
        keep: File descriptors that it inherits.

    Raises:
        ProgramMissingError: The program is not installed.
        ProcessError: It failed.
    """
    words = tuple(str(word) for word in argv)
    tail: list[str] = []
    with contextlib.ExitStack() as stack:
        sink: IO[str] | None = stack.enter_context(log.open("a", encoding="utf-8")) if log is not None else None
        try:
            started = _started(
                words,
                cwd=cwd,
                env=_environment(env),
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(keep),
            )
            process = stack.enter_context(started)
        except FileNotFoundError as error:
            raise ProgramMissingError(words[0]) from error
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(input or "")
        for line in process.stdout or ():
            if sink is not None:
                sink.write(line)
            tail = [*tail[-11:], line.rstrip("\n")]
            yield line.rstrip("\n")
        process.wait()
    if process.returncode != 0:
        raise ProcessError(words, returncode=process.returncode, stderr="\n".join(tail))


def start(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start a program that continues after this process, in its own session, with its output appended to `log`.

    Raises:
        ProgramMissingError: The program is not installed.
    """
    words = [str(word) for word in argv]
    try:
        with log.open("ab") as sink:
            return subprocess.Popen(
                words,
                env=_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except FileNotFoundError as error:
        raise ProgramMissingError(words[0]) from error


@contextlib.contextmanager
def background(argv: Sequence[str | Path], *, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block runs, with its output appended to `log`.

    Raises:
        ProgramMissingError: The program is not installed.
    """
    words = [str(word) for word in argv]
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab"))
        options = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": subprocess.STDOUT}
        try:
            child = stack.enter_context(_started(words, env=_environment(None), **options))
        except FileNotFoundError as error:
            raise ProgramMissingError(words[0]) from error
        yield child


def foreground(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> int:
    """Run a program on the terminal of this process, and return its exit status.

    Raises:
        ProgramMissingError: The program is not installed.
    """
    words = [str(word) for word in argv]
    try:
        return subprocess.run(words, env=_environment(env), check=False).returncode
    except FileNotFoundError as error:
        raise ProgramMissingError(words[0]) from error
