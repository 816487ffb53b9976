"""Run a Python program as root on every host of a cluster, and read the JSON line that it prints."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maas import process
from maas.errors import ClusterError, ProcessTimeoutError
from maas.hosts import ansible, ssh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from maas.hosts.inventory import Host, Inventory

_SECONDS = 60


@dataclass(frozen=True)
class Hosts:
    """The hosts of a cluster, as the tool reaches them.

    Attributes:
        inventory: The hosts; `maas.hosts.ssh.resolve` has completed it.
        state: The cluster's state directory, with the pinned host keys.
        become_password: The password for sudo.
        factor: How many times as long as by default to wait for a host.
    """

    inventory: Inventory
    state: Path
    become_password: str | None = field(default=None, repr=False)
    factor: int = 1

    @property
    def control_planes(self) -> set[str]:
        """The names of the control planes."""
        return {host.name for host in self.inventory.hosts if host.role == "control-plane"}

    def run(self, host: Host, command: str, *, input: str = "", timeout: float = _SECONDS) -> process.Completed:  # noqa: A002 - as process.run
        """Run a command as root on a host, whatever its exit status.

        Args:
            host: The host.
            command: The command for its shell.
            input: The standard input of the command.
            timeout: Seconds after which it is stopped.

        Raises:
            ProcessTimeoutError: It did not end in time.
        """
        text = f"{self.become_password or ''}\n{input}"
        return process.run(self._words(host, command), input=text, timeout=timeout * self.factor, check=False)

    def receive(self, host: Host, command: str, file: Path, *, timeout: float = _SECONDS) -> process.Completed:
        """Run a command as root on a host, and write its output, which need not be text, to a file; see `run`."""
        words = ["sh", "-c", 'exec "$@" > "$0"', str(file), *self._words(host, command)]
        return process.run(words, input=f"{self.become_password or ''}\n", timeout=timeout * self.factor, check=False)

    def follow(self, host: Host, command: str, file: Path) -> Iterator[str]:
        """Run a command as root on a host with a file as its standard input, and yield its output line by line.

        Args:
            host: The host.
            command: The command for its shell.
            file: What it reads; it need not be text.

        Raises:
            ProcessError: It failed.
        """
        words = ["sh", "-c", '{ cat; cat "$0"; } | "$@"', str(file), *self._words(host, command)]
        return process.lines(words, input=f"{self.become_password or ''}\n")

    def disconnect(self, host: Host) -> None:
        """End the connection to a host that further commands would share, because the host stops."""
        words = self.ssh(host)
        process.run([*words[:-1], "-O", "exit", words[-1]], timeout=_SECONDS, check=False)

    def ssh(self, host: Host) -> list[str]:
        """Return the words of an ssh command to a host, the destination last."""
        control = ssh.control_path(self.inventory.cluster, host)
        known = self.state / ansible.KNOWN_HOSTS
        return ssh.command(host, known_hosts=known, control_path=control, factor=self.factor)

    def _words(self, host: Host, command: str) -> list[str]:
        return [*self.ssh(host), ssh.as_root(command)]


def run(hosts: Hosts, program: str, mark: str, *, timeout: float = _SECONDS) -> dict[str, dict[str, Any]]:
    """Run a program on all hosts at the same time, and return its answer for each host.

    Args:
        hosts: The hosts.
        program: A Python program that prints a line with its answer.
        mark: What that line starts with, before the JSON document.
        timeout: Seconds after which it is stopped on a host.

    Raises:
        ClusterError: A host does not answer, or the program failed on it; all of them are listed.
    """
    with ThreadPoolExecutor(len(hosts.inventory.hosts)) as pool:
        answers = list(pool.map(lambda host: ask(hosts, host, program, mark, timeout=timeout), hosts.inventory.hosts))
    found = dict(zip((host.name for host in hosts.inventory.hosts), answers, strict=True))
    failed = {name: answer for name, answer in found.items() if isinstance(answer, str)}
    if failed:
        raise ClusterError(
            f"cannot read the state of {', '.join(failed)}",
            context=[f"{name}: {reason}" for name, reason in failed.items()],
            hint="nothing was changed; every host of the inventory must answer over SSH and allow to become root",
            command=_first_command(hosts.inventory.hosts, failed),
            code="HostUnreachable",
        )
    return {name: answer for name, answer in found.items() if isinstance(answer, dict)}


def ask(hosts: Hosts, host: Host, program: str, mark: str, *, timeout: float = _SECONDS) -> dict[str, Any] | str:
    """Run a program on one host, and return its answer, or why there is none; see `run`."""
    try:
        done = hosts.run(host, "python3 -", input=program, timeout=timeout)
    except ProcessTimeoutError:
        return f"timed out after {timeout * hosts.factor:.0f} s"
    line = next((line for line in done.stdout.splitlines() if line.startswith(mark)), None)
    if line is None:
        if done.returncode == ssh.BECOME_FAILED:
            return f"sudo rejects the password of {host.user}"
        errors = done.stderr.strip().splitlines()
        return errors[-1] if errors else f"ssh exited with status {done.returncode} without a message"
    answer: dict[str, Any] = json.loads(line.removeprefix(mark))
    return answer


def _first_command(hosts: Sequence[Host], failed: Mapping[str, object]) -> str:
    return next(ssh.plain_command(host) for host in hosts if host.name in failed)
