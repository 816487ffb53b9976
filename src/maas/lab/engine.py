"""The Docker engine of the lab: used if it runs, otherwise installed and started after a confirmation."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import docker.errors
import requests

from maas import console, files, paths, process
from maas.errors import LabError
from maas.lab import host_state

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from docker import DockerClient

_SNAPSHOT = host_state.ENGINE_SNAPSHOT
"""Exists if the lab started the engine."""
_PIDFILE = host_state.RUN / "dockerd.pid"
_LOG = host_state.RUN / "dockerd.log"

_DATA_ROOT = Path("/var/lib/docker")
_DISKS = frozenset({"ext2/ext3", "xfs", "btrfs"})
"""File systems, by their names in stat, that overlay2 supports."""
_FIREWALL = {"iptables": "iptables-save", "nftables": "nft"}
"""Package and the program of it that the lab runs."""
_ANSWER_SECONDS = 120
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_APT = frozenset({"debian", "ubuntu"})
_NO_ANSWER = (OSError, docker.errors.DockerException)
"""Raised if no engine answers."""


class Start(Enum):
    """How to start the engine."""

    RUNNING = "already running"
    SYSTEMD = "started by systemd"
    PROCESS = "started as a process"


@dataclass(frozen=True)
class Facts:
    """The facts of this machine that decide how to get a Docker engine.

    Attributes:
        answers: Whether a Docker daemon answers.
        reason: The error if it does not; otherwise empty.
        dockerd: Whether the daemon is installed.
        firewall: Packages with firewall tools that are missing; the lab uses them to remove Docker's tables.
        mmdebstrap: Whether mmdebstrap is installed, which builds the hosts' root file system.
        image: Whether the image of a host is in the cache.
        systemd: Whether systemd is PID 1.
        root: Whether this process can install packages and start daemons.
        distribution: `ID` of /etc/os-release.
        file_system: Type of the file system of Docker's data directory.
    """

    answers: bool
    reason: str
    dockerd: bool
    firewall: tuple[str, ...]
    mmdebstrap: bool
    image: bool
    systemd: bool
    root: bool
    distribution: str
    file_system: str


@dataclass(frozen=True)
class Plan:
    """The changes to this machine that the lab needs.

    Attributes:
        install: Packages of the distribution to install.
        start: How to start the engine.
        storage: Storage driver; None for the daemon's default.
    """

    install: tuple[str, ...]
    start: Start
    storage: str | None

    @property
    def changes(self) -> bool:
        """Whether there is anything to change."""
        return bool(self.install) or self.start is not Start.RUNNING

    def sentences(self) -> list[str]:
        """Return the plan as sentences, for the confirmation."""
        steps: list[str] = []
        if self.install:
            steps.append(f"install the packages {', '.join(self.install)} with apt-get")
        if self.start is Start.SYSTEMD:
            steps.append("start the Docker engine with systemctl; `down` stops it when nothing else uses it")
        elif self.start is Start.PROCESS:
            steps.append(
                f"start the Docker engine as a process, because no init system is running (log {_LOG}, data {_DATA_ROOT}"
                f"{', ' + self.storage if self.storage else ''}); `down` stops it when nothing else uses it"
            )
        return steps


def _connect() -> DockerClient:
    """Return a client of the engine in DOCKER_HOST, or else of the local one."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if address.startswith("unix://"):
        # Try the socket first: if nothing listens, the SDK leaks its own (docker/docker-py#3268).
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.removeprefix("unix://"))
    client = docker.from_env(timeout=_ANSWER_SECONDS)
    try:
        client.ping()
    except BaseException:
        client.close()
        raise
    return client


def _program(name: str) -> str | None:
    # The PATH of a user may not contain the sbin directories.
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def examine(*, image: bool) -> Facts:
    """Gather the facts of this machine. Makes no changes.

    Args:
        image: Whether the image of a host is in the cache, so that mmdebstrap is not needed.
    """
    reason = ""
    try:
        _connect().close()
    except _NO_ANSWER as error:
        reason = str(error)
    existing = next(path for path in (_DATA_ROOT, *_DATA_ROOT.parents) if path.exists())
    return Facts(
        answers=not reason,
        reason=reason,
        dockerd=_program("dockerd") is not None,
        firewall=tuple(package for package, program in _FIREWALL.items() if _program(program) is None),
        mmdebstrap=_program("mmdebstrap") is not None,
        image=image,
        systemd=Path("/run/systemd/system").is_dir(),
        root=os.geteuid() == 0,
        distribution=platform.freedesktop_os_release()["ID"],
        file_system=process.run(["stat", "--file-system", "--format", "%T", str(existing)]).stdout.strip(),
    )


def plan(facts: Facts) -> Plan:
    """Plan what to install and start.

    Raises:
        LabError: This process cannot do it; the error says what to do instead.
    """
    packages: list[str] = []
    if not facts.answers and not facts.dockerd:
        packages.append("docker.io")
    if not facts.answers and facts.root and facts.distribution in _APT:
        packages += facts.firewall
    if not facts.image and not facts.mmdebstrap:
        packages.append("mmdebstrap")
    if packages and facts.distribution not in _APT:
        raise LabError(
            f"the lab needs {' and '.join(packages)}, and installs packages on Debian and Ubuntu only",
            context=(
                f"the distribution of this machine is {facts.distribution or 'unknown'}",
                *([facts.reason] if facts.reason else []),
            ),
            hint="install Docker Engine and mmdebstrap with your package manager, then run the same command again",
        )
    if packages and not facts.root:
        raise LabError(
            f"the lab needs {' and '.join(packages)}, and only root can install packages",
            context=tuple(filter(None, [facts.reason])),
            command=f"sudo apt-get install --yes {' '.join(packages)}",
            code="RootRequired",
        )
    if facts.answers:
        return Plan(tuple(packages), Start.RUNNING, None)
    if not facts.root:
        raise LabError(
            "no Docker engine answers, and only root can start one",
            context=(facts.reason,),
            hint="if it is running, add your user to the group docker",
            command="sudo systemctl start docker" if facts.systemd else f"sudo {paths.command('up')}",
            code="RootRequired",
        )
    if facts.systemd:
        return Plan(tuple(packages), Start.SYSTEMD, None)
    return Plan(tuple(packages), Start.PROCESS, "overlay2" if facts.file_system in _DISKS else None)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the lock of all labs: the engine and the choice of networks are common to them."""
    directory = host_state.RUN if os.geteuid() == 0 else paths.runtime("lab")
    directory.mkdir(parents=True, exist_ok=True)
    with files.lock(directory / "lab.lock", command="work on the lab's engine", on_wait=console.line):
        yield


def _install(packages: tuple[str, ...]) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    apt = ["apt-get", "--option", "DPkg::Lock::Timeout=600"]
    install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    if process.run(install, env=environment, check=False).returncode != 0:
        # The package lists may be outdated or missing. An error of the second attempt is reported.
        process.run([*apt, "update"], env=environment)
        process.run(install, env=environment)


def daemon_pid() -> int | None:
    """Return the process ID of the daemon that the lab started; None if it has ended and another process has the ID."""
    if not _PIDFILE.exists():
        return None
    pid = int(_PIDFILE.read_text(encoding="ascii"))
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
    except FileNotFoundError:
        return None
    # A process that ended remains a zombie if PID 1 does not reap it.
    return pid if head.endswith("(dockerd") and tail.split()[0] != "Z" else None


_children: list[subprocess.Popen[bytes]] = []
"""Daemons that this process started. They outlive it; if they end before it, it has to reap them."""


def _start_process(storage: str | None) -> None:
    if daemon_pid() is None:
        # A daemon that was killed leaves its file, and the next one does not start if another process has the ID.
        _PIDFILE.unlink(missing_ok=True)
    arguments = [_program("dockerd") or "dockerd", "--pidfile", str(_PIDFILE), "--data-root", str(_DATA_ROOT)]
    if storage is not None:
        arguments += ["--storage-driver", storage]
    _children.append(process.start(arguments, log=_LOG))


def _wait_for_answer() -> DockerClient:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return _connect()
        except _NO_ANSWER as error:
            ended = any(child.poll() is not None for child in _children)
            if ended or time.monotonic() > deadline:
                tail = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if _LOG.exists() else []
                raise LabError(
                    "the Docker engine exited right after the start"
                    if ended
                    else f"timed out after {_START_SECONDS:g} s waiting for the Docker engine to answer",
                    context=(str(error), *tail),
                    command=f"tail {_LOG}" if _LOG.exists() else "journalctl --unit docker --lines 50",
                ) from error
            time.sleep(0.1)


def ensure(decided: Plan) -> DockerClient:
    """Apply a plan and return a client of the engine; the caller closes it.

    Raises:
        LabError: The engine does not answer, or cannot run hosts.
        ProcessError: A package was not installed.
    """
    if decided.start is Start.RUNNING:
        if decided.install:
            _install(decided.install)
        return _usable(_connect())
    host_state.RUN.mkdir(parents=True, exist_ok=True)
    # The snapshot needs the firewall tools, and installing Docker can start it.
    tools = tuple(package for package in decided.install if package in _FIREWALL)
    if tools:
        _install(tools)
    before = host_state.take_snapshot()
    if decided.install:
        _install(decided.install)
    try:
        # The package may have started it.
        client = _connect()
    except _NO_ANSWER:
        if decided.start is Start.SYSTEMD:
            process.run(["systemctl", "start", "docker.service"])
        else:
            _start_process(decided.storage)
        client = _wait_for_answer()
    if not _SNAPSHOT.exists():  # an earlier snapshot is right: the lab started an engine that ended without a cleanup
        _SNAPSHOT.write_text(before.dump(), encoding="utf-8")
    return _usable(client)


def _usable(client: DockerClient) -> DockerClient:
    information = client.info()
    if information["OSType"] != "linux" or any("rootless" in text for text in information.get("SecurityOptions") or ()):
        client.close()
        raise LabError(
            "the lab needs a Docker engine that runs as root on this machine",
            context=(f"found {information.get('OperatingSystem')} with {information.get('SecurityOptions')}",),
            hint="Docker Desktop and rootless Docker do not make the addresses of containers reachable from here",
        )
    return client


def connect() -> DockerClient:
    """Return a client of the running engine; the caller closes it.

    Raises:
        LabError: No engine answers.
    """
    try:
        return _usable(_connect())
    except _NO_ANSWER as error:
        raise LabError(
            "no Docker engine answers, so no lab is running on this machine",
            context=(str(error),),
            hint="`up` starts the engine and any hosts that stopped when the machine was shut down",
            command=paths.command("up"),
            code="DockerUnavailable",
        ) from error


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Convert the errors of Docker's client.

    Raises:
        LabError: The engine rejected a request or closed the connection.
    """
    try:
        yield
    except docker.errors.APIError as error:
        raise LabError(
            f"Docker rejected the request: {error.explanation or error}",
            hint="see its log for details",
            command=f"tail {_LOG}" if _LOG.exists() else "journalctl --unit docker --lines 50",
        ) from error
    except requests.exceptions.ConnectionError as error:
        raise LabError(
            "the connection to the Docker engine was lost", context=(str(error),), command="docker info"
        ) from error


def release(client: DockerClient) -> list[str]:
    """Stop an engine that the lab started, unless it still has containers or networks. Closes the client if it does.

    Returns:
        What was stopped and removed, one line each; empty if the engine keeps running.
    """
    if not _SNAPSHOT.exists() or client.containers.list(all=True):
        return []
    if any(network.name not in {"bridge", "host", "none"} for network in client.networks.list()):
        return []
    client.close()
    pid = daemon_pid()
    if pid is not None:
        _stop(pid)
    else:
        process.run(["systemctl", "stop", "docker.socket", "docker.service"])
    done = [
        "stopped the Docker engine, which `up` started",
        *host_state.restore(host_state.Snapshot.load(_SNAPSHOT.read_text(encoding="utf-8"))),
    ]
    _SNAPSHOT.unlink()
    return done


def _stop(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _STOP_SECONDS)[0]:
            raise LabError(
                f"timed out after {_STOP_SECONDS:g} s waiting for the Docker engine (process {pid}) to stop",
                command=f"tail {_LOG}",
            )
    finally:
        os.close(handle)
    for child in _children:
        child.wait()
    _children.clear()
