"""The container engine under the lab: found when it runs, else installed and started after showing the plan."""

from __future__ import annotations

import contextlib
import os
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

_BEFORE = host_state.ENGINE_NOTE
"""There when the lab itself started the engine."""
_PIDFILE = host_state.RUN / "dockerd.pid"
_LOG = host_state.RUN / "dockerd.log"

_DATA_ROOT = Path("/var/lib/docker")
_DISKS = frozenset({"ext2/ext3", "xfs", "btrfs"})
"""File systems, as stat calls them, that overlay2 lies well on."""
_FIREWALL = {"iptables": "iptables-save", "nftables": "nft"}
"""Package and the program of it that is used."""
_ANSWER_SECONDS = 120
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_APT = frozenset({"debian", "ubuntu"})
_SILENT = (OSError, docker.errors.DockerException)
"""What is raised where no engine answers."""


class Start(Enum):
    """How an engine comes to run."""

    RUNS = "it runs"
    SYSTEMD = "by systemd"
    BY_HAND = "by hand"


@dataclass(frozen=True)
class Facts:
    """What decides how the machine gets a container engine.

    Attributes:
        answers: A Docker daemon answers.
        reason: Why it does not, in its own words; empty when it does.
        dockerd: The daemon's program is installed.
        firewall: The packages that look at the firewall, and remove the tables which an engine leaves, that are missing.
        mmdebstrap: The program that makes the hosts' root file system is installed.
        image: The image of a host is there already.
        systemd: systemd is PID 1.
        root: This process may install and start.
        distribution: `ID` of /etc/os-release.
        file_system: Type of the file system on which images and containers would lie.
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
    """What has to happen before the first host can boot.

    Attributes:
        install: Distribution packages to install.
        start: How the engine comes to run.
        storage: Its storage driver; None leaves the choice to the daemon.
    """

    install: tuple[str, ...]
    start: Start
    storage: str | None

    @property
    def changes(self) -> bool:
        """Whether the machine is touched at all."""
        return bool(self.install) or self.start is not Start.RUNS

    def sentences(self) -> list[str]:
        """What would be done, for the person who is asked."""
        said: list[str] = []
        if self.install:
            said.append(f"install the packages {', '.join(self.install)} by apt-get")
        if self.start is Start.SYSTEMD:
            said.append("start the Docker engine by systemctl; `down` stops it again when nothing else uses it")
        elif self.start is Start.BY_HAND:
            said.append(
                f"start the Docker engine by hand, as no init system runs here (log {_LOG}, data {_DATA_ROOT}"
                f"{', ' + self.storage if self.storage else ''}); `down` stops it again when nothing else uses it"
            )
        return said


def _connect() -> DockerClient:
    """A client of the engine that the environment names (DOCKER_HOST), else of the local one."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if address.startswith("unix://"):
        # Where nothing listens the SDK leaves its socket open (docker/docker-py#3268), so it is not asked.
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
    # A user's PATH may lack the directories of the system's programs.
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def examine(*, image: bool) -> Facts:
    """Look at the machine; nothing is changed.

    Args:
        image: The image of a host is in the cache, so that nothing is needed to make it.
    """
    reason = ""
    try:
        _connect().close()
    except _SILENT as error:
        reason = str(error)
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
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
        distribution=release.get("ID", "").strip('"'),
        file_system=process.run(["stat", "--file-system", "--format", "%T", str(existing)]).stdout.strip(),
    )


def plan(facts: Facts) -> Plan:
    """Decide what has to be installed and started.

    Raises:
        LabError: It cannot be done from here; the message says what is missing and how to get it.
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
            f"the lab needs {' and '.join(packages)}, and can install packages on Debian and Ubuntu only",
            context=(
                f"this system calls itself {facts.distribution or 'nothing'}",
                *([facts.reason] if facts.reason else []),
            ),
            hint="install Docker Engine and mmdebstrap in your distribution's way, then run the same command again",
        )
    if packages and not facts.root:
        raise LabError(
            f"the lab needs {' and '.join(packages)}, and only root may install packages",
            context=tuple(filter(None, [facts.reason])),
            command=f"sudo apt-get install --yes {' '.join(packages)}",
        )
    if facts.answers:
        return Plan(tuple(packages), Start.RUNS, None)
    if not facts.root:
        raise LabError(
            "no Docker engine answers, and only root may start one",
            context=(facts.reason,),
            hint="if it runs already, your user may lack the group docker",
            command="sudo systemctl start docker" if facts.systemd else f"sudo {paths.command('up')}",
        )
    if facts.systemd:
        return Plan(tuple(packages), Start.SYSTEMD, None)
    return Plan(tuple(packages), Start.BY_HAND, "overlay2" if facts.file_system in _DISKS else None)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One at a time: starting and stopping the engine, and choosing networks, concern every lab of the machine."""
    directory = host_state.RUN if os.geteuid() == 0 else paths.runtime("lab")
    directory.mkdir(parents=True, exist_ok=True)
    with files.lock(directory / "lab.lock", command="work on the lab's engine", on_wait=console.line):
        yield


def _install(packages: tuple[str, ...]) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    apt = ["apt-get", "--option", "DPkg::Lock::Timeout=600"]
    install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    if process.run(install, env=environment, check=False).returncode != 0:
        # The lists may be old or were never fetched; a second failure is told as it is.
        process.run([*apt, "update"], env=environment)
        process.run(install, env=environment)


def _daemon() -> int | None:
    """The process of the daemon that was started by hand; None where it has ended, whoever has its number now."""
    if not _PIDFILE.exists():
        return None
    pid = int(_PIDFILE.read_text(encoding="ascii"))
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
    except FileNotFoundError:
        return None
    # A process that ended stays a zombie where PID 1 does not see to it.
    return pid if head.endswith("(dockerd") and tail.split()[0] != "Z" else None


_children: list[subprocess.Popen[bytes]] = []
"""Daemons that this process itself started: they outlive it, and while it lives it has to see to their end."""


def _start_by_hand(storage: str | None) -> None:
    if _daemon() is None:
        # A daemon that was killed leaves its file, and the next one refuses to start when any process has the number.
        _PIDFILE.unlink(missing_ok=True)
    arguments = [_program("dockerd") or "dockerd", "--pidfile", str(_PIDFILE), "--data-root", str(_DATA_ROOT)]
    if storage is not None:
        arguments += ["--storage-driver", storage]
    _children[:] = [process.start(arguments, log=_LOG)]


def _wait_for_answer() -> DockerClient:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return _connect()
        except _SILENT as error:
            ended = any(child.poll() is not None for child in _children)
            if ended or time.monotonic() > deadline:
                tail = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if _LOG.exists() else []
                raise LabError(
                    "the Docker engine ended as soon as it was started"
                    if ended
                    else f"the Docker engine was started and does not answer after {_START_SECONDS:g} s",
                    context=(str(error), *tail),
                    command=f"tail {_LOG}" if _LOG.exists() else "journalctl --unit docker --lines 50",
                ) from error
            time.sleep(0.1)


def ensure(decided: Plan) -> DockerClient:
    """Carry out a plan, and give a client of the engine; the caller closes it.

    Raises:
        LabError: The engine does not answer, or is one that hosts cannot run in.
        ProcessError: A package could not be installed.
    """
    if decided.start is Start.RUNS:
        if decided.install:
            _install(decided.install)
        return _usable(_connect())
    host_state.RUN.mkdir(parents=True, exist_ok=True)
    # What the firewall was like can be told only by its own tools, and installing an engine may start it.
    tools = tuple(package for package in decided.install if package in _FIREWALL)
    if tools:
        _install(tools)
    before = host_state.observe()
    if decided.install:
        _install(decided.install)
    try:
        # A package's own script may have started it already.
        client = _connect()
    except _SILENT:
        if decided.start is Start.SYSTEMD:
            process.run(["systemctl", "start", "docker.service"])
        else:
            _start_by_hand(decided.storage)
        client = _wait_for_answer()
    if not _BEFORE.exists():  # an engine that the lab started and that died left its traces; the first note holds
        _BEFORE.write_text(before.dump(), encoding="utf-8")
    return _usable(client)


def _usable(client: DockerClient) -> DockerClient:
    information = client.info()
    if information["OSType"] != "linux" or any("rootless" in text for text in information.get("SecurityOptions") or ()):
        client.close()
        raise LabError(
            "hosts of the lab need a Docker engine that runs as root on this Linux machine",
            context=(f"found {information.get('OperatingSystem')} with {information.get('SecurityOptions')}",),
            hint="the controller reaches the hosts at their addresses on the engine's bridges",
        )
    return client


def connect() -> DockerClient:
    """A client of the running engine; the caller closes it.

    Raises:
        LabError: None answers.
    """
    try:
        return _usable(_connect())
    except _SILENT as error:
        raise LabError(
            "no Docker engine answers, so no lab runs on this machine",
            context=(str(error),),
            hint="hosts that were there when the machine was last shut down are found again by `up`",
            command=paths.command("up"),
        ) from error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """What the engine refuses, as an error for the person who asked.

    Raises:
        LabError: The engine refused, or went away.
    """
    try:
        yield
    except docker.errors.APIError as error:
        raise LabError(
            f"the Docker engine refused: {error.explanation or error}",
            hint="its own log may say more",
            command=f"tail {_LOG}" if _LOG.exists() else "journalctl --unit docker --lines 50",
        ) from error
    except requests.exceptions.ConnectionError as error:
        raise LabError("the Docker engine went away", context=(str(error),), command="docker info") from error


def release(client: DockerClient) -> list[str]:
    """Stop an engine that the lab started, when no container and no network of anybody is left in it.

    The client is closed when the engine is stopped.

    Returns:
        What was stopped and taken away, one sentence each; empty when the engine stays.
    """
    if not _BEFORE.exists() or client.containers.list(all=True):
        return []
    if any(network.name not in {"bridge", "host", "none"} for network in client.networks.list()):
        return []
    client.close()
    pid = _daemon()
    if pid is not None:
        _stop(pid)
    else:
        process.run(["systemctl", "stop", "docker.socket", "docker.service"])
    said = [
        "the Docker engine, which `up` had started",
        *host_state.put_back(host_state.Traces.load(_BEFORE.read_text(encoding="utf-8"))),
    ]
    _BEFORE.unlink()
    return said


def _stop(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _STOP_SECONDS)[0]:
            raise LabError(f"the Docker engine (process {pid}) does not stop", command=f"tail {_LOG}")
    finally:
        os.close(handle)
    for child in _children:
        child.wait()
    _children.clear()
