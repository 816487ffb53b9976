"""The exceptions that users can meet.

    MaasError                       Error: a failure that no other class describes
    ├── UsageError                  InvalidUsage: wrong arguments, or a file given as one
    │   └── InventoryError          InvalidInventory
    ├── ProcessError                CommandFailed
    ├── ProcessTimeoutError         CommandTimeout
    ├── ProgramMissingError         CommandNotFound
    ├── LockError                   ClusterLocked
    ├── HostKeyError                HostKeyMismatch
    ├── PreflightError              PreflightFailed
    ├── PlanError                   InvalidPlan
    ├── PkiError                    InvalidCertificates
    ├── HostsError                  HostsFailed
    ├── LabError                    LabFailed
    ├── ClusterError                ClusterFailed
    ├── BundleError                 BundleFailed
    ├── ChartError                  InvalidChart
    ├── ReleaseError                ReleaseFailed
    └── VerificationError           VerificationFailed

The second column is the `code` of the class. An error that scripts or tests need to tell from others of its class has a
code of its own. Codes are stable, wording is not. This module imports nothing else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class MaasError(Exception):
    """An error with a message for the person who runs the tool.

    Args:
        message: What failed, and why: `<what failed>: <cause>`, without a final full stop.
        context: Lines with details (host, file, the end of a log).
        hint: What to do, in the imperative.
        command: The next command, ready to be pasted.
        code: A stable name of this error, where the one of its class is not enough.
    """

    exit_code: ClassVar[int] = 1
    code: str = "Error"

    def __init__(
        self,
        message: str,
        *,
        context: Sequence[str] = (),
        hint: str | None = None,
        command: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context = tuple(context)
        for line in self.context:
            self.add_note(line)  # tracebacks, and so failed tests, show it
        self.hint = hint
        self.command = command
        if code is not None:
            self.code = code

    def data(self) -> dict[str, object]:
        """Return the error for `--output json`."""
        return {
            "code": self.code,
            "message": self.message,
            "context": list(self.context),
            "hint": self.hint,
            "command": self.command,
        }


class UsageError(MaasError):
    """The command line, or a file given with it, is not valid. Nothing was changed."""

    exit_code = 2
    code = "InvalidUsage"


class ProcessError(MaasError):
    """A program exited with an error.

    Attributes:
        argv: The words of the command, secrets hidden.
        returncode: Its exit status; negative when a signal ended it.
        stdout: What it wrote to standard output, secrets hidden.
        stderr: What it wrote to standard error, secrets hidden.
    """

    code = "CommandFailed"

    def __init__(self, argv: Sequence[str], *, returncode: int, stdout: str = "", stderr: str = "") -> None:
        tail = (stderr.strip() or stdout.strip()).splitlines()[-12:]
        super().__init__(f"{argv[0]} exited with status {returncode}", context=(" ".join(argv), *tail))
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class ProcessTimeoutError(MaasError):
    """A program did not end in time and was stopped."""

    code = "CommandTimeout"

    def __init__(self, argv: Sequence[str], *, seconds: float) -> None:
        super().__init__(f"{argv[0]} timed out after {seconds:g} s", context=(" ".join(argv),))
        self.argv = tuple(argv)
        self.seconds = seconds


class ProgramMissingError(MaasError):
    """A program is not installed on this machine."""

    code = "CommandNotFound"

    def __init__(self, program: str) -> None:
        super().__init__(
            f"{program} is not installed",
            hint=f"install the package of your distribution that provides {program}, then run the same command again",
        )
        self.program = program


@dataclass(frozen=True, order=True)
class FileProblem:
    """A problem in a file that a user wrote, and its place. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class InventoryError(UsageError):
    """The inventory is not valid. No host was changed.

    Attributes:
        problems: Everything that is wrong with it, in the order of the file.
    """

    code = "InvalidInventory"

    def __init__(self, file: str, problems: Sequence[FileProblem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"invalid inventory {file}: {count}",
            context=[str(problem) for problem in problems],
            hint="no host was changed; correct the file, then run the same command again",
        )
        self.problems = tuple(problems)


class LockError(MaasError):
    """Another run is working on the cluster."""

    code = "ClusterLocked"


class HostKeyError(MaasError):
    """The SSH host key of a host is not the pinned or given one, or the host does not answer."""

    code = "HostKeyMismatch"


class PreflightError(MaasError):
    """A preflight check failed, or a host could not be checked."""

    code = "PreflightFailed"


class PlanError(MaasError):
    """There is no network plan for these hosts, or a saved plan is not valid."""

    code = "InvalidPlan"


class PkiError(MaasError):
    """Keys or certificates of the VPN are damaged or missing."""

    code = "InvalidCertificates"


class HostsError(MaasError):
    """Some hosts could not be set up; the others were."""

    code = "HostsFailed"


class LabError(MaasError):
    """The disposable hosts on this machine could not be created, found or removed."""

    code = "LabFailed"


class ClusterError(MaasError):
    """A cluster does not answer, or is not in the requested state."""

    code = "ClusterFailed"


class BundleError(MaasError):
    """A component is not available, or a bundle does not match its manifest."""

    code = "BundleFailed"


class ChartError(MaasError):
    """A chart does not render, or one of its checks failed."""

    code = "InvalidChart"


class ReleaseError(MaasError):
    """A release could not be built or published. Published releases are unchanged."""

    code = "ReleaseFailed"


class VerificationError(MaasError):
    """A release is damaged, or not signed by a trusted key."""

    code = "VerificationFailed"
