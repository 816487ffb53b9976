"""The only place that starts programs."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from maas.errors import ProcessError, ProcessTimeoutError, ProgramMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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


def _environment(env: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if env is None else {**os.environ, **env}


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
        done = subprocess.run(  # noqa: PLW1510 - the status is checked below, with the secrets hidden
            words,
            cwd=cwd,
            env=_environment(env),
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise ProgramMissingError(words[0]) from error
    except subprocess.TimeoutExpired as error:
        raise ProcessTimeoutError(shown, seconds=error.timeout) from None
    stdout, stderr = _hide(done.stdout, secrets), _hide(done.stderr, secrets)
    completed = Completed(shown, done.returncode, stdout, stderr, time.monotonic() - began)
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(shown)}\n{stdout}{stderr}[status {done.returncode}, {completed.seconds:.1f} s]\n")
    if check and done.returncode != 0:
        raise ProcessError(shown, returncode=done.returncode, stdout=stdout, stderr=stderr)
    return completed


def lines(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[str]:
    """Run a program, and yield its output (both streams) line by line as it is written.

    Raises:
        ProgramMissingError: The program is not installed.
        ProcessError: It failed.
    """
    words = tuple(str(word) for word in argv)
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(words[0]) from error
    tail: list[str] = []
    sink: IO[str] | None = log.open("a", encoding="utf-8") if log is not None else None
    try:
        with process:
            for line in process.stdout or ():
                if sink is not None:
                    sink.write(line)
                tail = [*tail[-11:], line.rstrip("\n")]
                yield line.rstrip("\n")
    finally:
        if process.poll() is None:
            process.terminate()
        if sink is not None:
            sink.close()
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
