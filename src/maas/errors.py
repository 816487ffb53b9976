"""Every failure that a user can meet.

One root, `MaasError`, so that the command line shows any of them in one way: what failed, where, why, and the one
command to go on with. This module imports nothing else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class MaasError(Exception):
    """A failure with a message for the person who runs the tool.

    Args:
        message: What failed, one sentence without a final full stop.
        context: Lines that say where and with what (host, file, the end of a log).
        hint: Why it may have happened, or what to change.
        command: The one command to go on with, ready to be pasted.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        context: Sequence[str] = (),
        hint: str | None = None,
        command: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context = tuple(context)
        self.hint = hint
        self.command = command


class UsageError(MaasError):
    """The command line or a file given to it cannot be acted on; nothing was touched."""

    exit_code = 2


class ProcessError(MaasError):
    """A program that the tool started ended with an error.

    Attributes:
        argv: The words of the command, secrets hidden.
        returncode: Its exit status; negative when a signal ended it.
        stderr: What it wrote to standard error, secrets hidden.
    """

    def __init__(self, argv: Sequence[str], *, returncode: int, stdout: str = "", stderr: str = "") -> None:
        tail = (stderr.strip() or stdout.strip()).splitlines()[-12:]
        super().__init__(f"{argv[0]} ended with status {returncode}", context=(" ".join(argv), *tail))
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class ProcessTimeoutError(MaasError):
    """A program that the tool started did not end in time and was stopped."""

    def __init__(self, argv: Sequence[str], *, seconds: float) -> None:
        super().__init__(f"{argv[0]} did not end within {seconds:g} s", context=(" ".join(argv),))
        self.argv = tuple(argv)
        self.seconds = seconds


class ProgramMissingError(MaasError):
    """A program that the tool needs is not on this machine."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"the program {program} is not installed",
            hint=f"install the package of your distribution that brings {program}, then run the same command again",
        )
        self.program = program


@dataclass(frozen=True, order=True)
class FileProblem:
    """A fault in a file that a user wrote, and its place. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class InventoryError(UsageError):
    """The inventory cannot be used; no host was touched.

    Attributes:
        problems: Everything that is wrong with it, in the order of the file.
    """

    def __init__(self, file: str, problems: Sequence[FileProblem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"the inventory {file} has {count}",
            context=[str(problem) for problem in problems],
            hint="no host was touched; change the file, then run the same command again",
        )
        self.problems = tuple(problems)


class ClusterError(MaasError):
    """A cluster is not in the state that was asked for, or does not answer."""


class LabError(MaasError):
    """The throw-away hosts on this machine could not be made, found or removed."""


class HostKeyError(MaasError):
    """The ssh host key of a host is not the one that was pinned or given, or could not be had."""


class BundleError(MaasError):
    """A component cannot be had, or a bundle is not what its manifest says."""


class PreflightError(MaasError):
    """Hosts could not be looked at, or something about them stands against a cluster."""


class PlanError(MaasError):
    """There is no network plan for these hosts, or a saved one cannot be used."""


class PkiError(MaasError):
    """The keys of the VPN are damaged, or a node has none."""


class LockError(MaasError):
    """Somebody else works on the cluster; nothing was touched."""


class HostsError(MaasError):
    """Hosts could not be set up; the others were."""


class ChartError(MaasError):
    """A chart does not render, or one of its checks failed."""


class ReleaseError(MaasError):
    """A release cannot be made or published; what is published already is as it was."""


class VerificationError(MaasError):
    """A release is not what it should be, or nobody whom the reader trusts has signed it."""
