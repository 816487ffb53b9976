"""Backups of etcd: those that the control planes make, their copies on the controller, and what one contains.

A backup is a tar archive that age has encrypted; hack/ansible/roles/etcd_backup makes it. Only the owner of a private key can
open it, on the controller: hosts have none. In clear text it is only in a private directory, in memory where there is enough.
"""

from __future__ import annotations

import contextlib
import errno
import shlex
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from maas import files, paths, process
from maas.cluster import sealed
from maas.errors import ClusterError, ProcessTimeoutError, UsageError
from maas.hosts import ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host

DIRECTORY = "etcd-backups"
"""Of the copies, in the cluster's state directory."""
SNAPSHOT = "etcd.db"
"""The snapshot in a backup."""

_ON_HOST = "/var/lib/maas/etcd-backups"
_UNIT = "maas-etcd-backup.service"
_SUFFIX = ".tar.gz.age"
_TIME = "%Y%m%dT%H%M%SZ"
_SECONDS = 600
_ROOM = 256 << 20
"""Bytes that a restored snapshot needs beside itself; etcd allocates 64 MB for its log at once."""


@dataclass(frozen=True, order=True)
class Backup:
    """A backup.

    Attributes:
        taken: When it was made.
        name: The name of its file.
        size: Its size in bytes.
    """

    taken: datetime
    name: str
    size: int


class Description(sealed.Contents):
    """What a backup says about itself.

    Attributes:
        cluster: The name of its cluster.
        host: The control plane that made it.
        authority: The sha256 of the CA of its cluster.
        taken: When it was made.
        kubernetes: The version of Kubernetes.
        revision: The revision of etcd.
        keys: Number of keys in etcd.
    """

    cluster: str
    host: str
    authority: str
    taken: datetime
    kubernetes: str
    revision: int
    keys: int


@dataclass(frozen=True)
class Opened:
    """A backup in clear text, whose files have been compared with their digests.

    Attributes:
        file: The encrypted file.
        archive: The tar archive in clear text.
        directory: Its files.
        description: What it says about itself.
        same: The options with which another command is about the same cluster.
    """

    file: Path
    archive: Path
    directory: Path
    description: Description
    same: tuple[object, ...]


def parse(name: str, size: int) -> Backup | None:
    """Return the backup of a file, or None if the file is none."""
    try:
        taken = datetime.strptime(name.partition("-")[0], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Backup(taken, name, size) if name.endswith(_SUFFIX) else None


def copies(state: Path) -> list[Backup]:
    """Return the backups on this controller, the newest first."""
    found = (parse(path.name, path.stat().st_size) for path in (state / DIRECTORY).glob(f"*{_SUFFIX}"))
    return sorted((backup for backup in found if backup), reverse=True)


def on_host(hosts: Hosts, host: Host) -> list[Backup]:
    """Return the backups on a control plane, the newest first.

    Raises:
        ClusterError: The host does not answer.
    """
    script = f"[ ! -d {_ON_HOST} ] || find {_ON_HOST} -name '*{_SUFFIX}' -printf '%f %s\\n'"
    lines = run(hosts, host, f"sh -c {shlex.quote(script)}").splitlines()
    found = (parse(name, int(size)) for name, _, size in (line.rpartition(" ") for line in lines))
    return sorted((backup for backup in found if backup), reverse=True)


def take(hosts: Hosts, host: Host) -> Backup:
    """Make a backup on a control plane and return it.

    Raises:
        ClusterError: The host does not answer, or there is no new backup.
    """
    before = {backup.name for backup in on_host(hosts, host)}
    done = _run(hosts, host, f"systemctl start {_UNIT}", timeout=_SECONDS)
    new = [backup for backup in on_host(hosts, host) if backup.name not in before]
    if done.returncode != 0 or not new:
        log = run(hosts, host, f"journalctl --no-pager --output cat --lines 8 --unit {_UNIT}").splitlines()
        said = [line for line in log if "maas-etcd-backup.service" not in line and not line.startswith("Starting")]
        raise ClusterError(
            f"{host.name}: the backup of etcd failed",
            context=said[-4:] or done.stderr.strip().splitlines()[-4:],
            hint="earlier backups were kept; see the log on the host",
            command=f"{ssh.plain_command(host)} journalctl -u {_UNIT}",
            code="BackupFailed",
        )
    return new[0]


def copy(hosts: Hosts, host: Host, backup: Backup, *, keep: int) -> Path:
    """Copy a backup from a control plane to this controller, unless it is here, and return its path.

    Args:
        hosts: The hosts of the cluster.
        host: The control plane.
        backup: One of its backups.
        keep: The number of copies to keep.

    Raises:
        ClusterError: The host does not answer, or the copy is not complete.
    """
    directory = hosts.state / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / backup.name
    if not (path.is_file() and path.stat().st_size == backup.size):
        with files.replacing(path, mode=0o600) as fresh:
            done = hosts.receive(host, f"cat {shlex.quote(f'{_ON_HOST}/{backup.name}')}", fresh, timeout=_SECONDS)
            if done.returncode != 0 or fresh.stat().st_size != backup.size:
                raise ClusterError(
                    f"{host.name}: the backup {backup.name} was not copied completely",
                    context=done.stderr.strip().splitlines()[-2:],
                    hint="run the same command again",
                    code="HostUnreachable",
                )
    for old in copies(hosts.state)[keep:]:
        (directory / old.name).unlink()
    return path


def choose(state: Path, wanted: str | None, *, same: tuple[object, ...]) -> Path:
    """Return the file of a backup on this controller.

    Args:
        state: The cluster's state directory.
        wanted: The path of a file, or the name of a backup; without it, the newest one.
        same: The options with which another command is about the same cluster.

    Raises:
        UsageError: There is no such backup here.
    """
    found = copies(state)
    if wanted is None and found:
        return state / DIRECTORY / found[0].name
    for path in (Path(wanted), state / DIRECTORY / wanted) if wanted is not None else ():
        if path.is_file():
            return path
    raise UsageError(
        "there is no backup of etcd on this controller" if wanted is None else f"there is no backup {wanted}",
        hint="this lists the backups" if found else "this makes one and copies it to this controller",
        command=paths.command("etcd", "list" if found else "backup", *same),
        code="BackupNotFound",
    )


@contextlib.contextmanager
def opened(file: Path, identity: Path, *, same: tuple[object, ...]) -> Iterator[Opened]:
    """Decrypt and check a backup while the block runs; afterwards nothing in clear text is left.

    Args:
        file: The backup.
        identity: A file with the private key, in the format of age-keygen.
        same: The options with which another command is about the same cluster.

    Raises:
        UsageError: The file with the private key is not usable.
        ClusterError: The key is not one of the recipients', or the backup is damaged.
    """
    sealed.refuse_identity(identity)
    older = "copy it again, or use an older backup"
    listing = paths.command("etcd", "list", *same)
    with sealed.scratch(file.stat().st_size * 12 + _ROOM) as directory:
        archive = directory / "backup.tar.gz"
        sealed.decrypt(file, identity, archive, code="BackupDamaged", hint=older, command=listing)
        content = directory / "content"
        content.mkdir()
        try:
            description = sealed.unpack(archive, content, Description, first="backup.json", required=[SNAPSHOT])
        except (tarfile.TarError, EOFError, OSError, ValidationError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise ClusterError(f"{directory.parent} is full", hint="free some space there") from error
            raise ClusterError(
                f"{file.name} is damaged: {str(error).splitlines()[0] or type(error).__name__}",
                hint="use an older backup",
                command=listing,
                code="BackupDamaged",
            ) from error
        yield Opened(file, archive, content, description, same)


def run(hosts: Hosts, host: Host, command: str, *, text: str = "", timeout: float = 60) -> str:
    """Run a command as root on a host and return its output.

    Raises:
        ClusterError: The host does not answer, or the command failed.
    """
    done = _run(hosts, host, command, text=text, timeout=timeout)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ClusterError(f"{host.name}: {lines[-1]}", context=lines[:-1][-4:], command=ssh.plain_command(host))
    return done.stdout


def _run(hosts: Hosts, host: Host, command: str, *, text: str = "", timeout: float = 60) -> process.Completed:
    try:
        done = hosts.run(host, command, input=text, timeout=timeout)
    except ProcessTimeoutError as error:
        raise unreachable(host, f"timed out after {error.seconds:.0f} s") from error
    if done.returncode == ssh.FAILED:
        raise unreachable(host, (done.stderr.strip().splitlines() or ["ssh failed without a message"])[-1])
    if done.returncode == ssh.BECOME_FAILED:
        raise unreachable(host, f"sudo rejects the password of {host.user}")
    return done


def unreachable(host: Host, reason: str) -> ClusterError:
    """Return the error for a host that does not answer."""
    return ClusterError(
        f"{host.name} does not answer: {reason}",
        hint="nothing was changed; start the host, then run the same command again",
        command=ssh.plain_command(host),
        code="HostUnreachable",
    )
