"""Restore a backup of etcd onto the control plane that it is of; hack/ansible/roles/etcd_backup has the program on the host."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import paths
from maas.cluster import etcd_backups
from maas.errors import ClusterError, ProcessError, UsageError
from maas.hosts import encryption, ssh

if TYPE_CHECKING:
    from maas.cluster.etcd_backups import Opened
    from maas.cluster.host_programs import Hosts
    from maas.console import Phase
    from maas.hosts.encryption import Keys
    from maas.hosts.inventory import Host

_PROGRAM = "/usr/local/lib/maas/etcd-restore"
_UNIT = "maas-etcd-restore"
# In memory, only for root, and deleted by systemd when the unit ends in any way; the name of the unit admits only one.
_RUN = (
    f"systemd-run --quiet --pipe --wait --collect --unit {_UNIT} --property RuntimeDirectory={_UNIT} "
    f"--property RuntimeDirectoryMode=0700 --property UMask=0077 {_PROGRAM} run"
)
_FAILED, _KEPT = "failed: ", "kept: "


@dataclass(frozen=True)
class Target:
    """The control plane that a backup is restored onto.

    Attributes:
        authority: The sha256 of its CA.
        members: Number of members of etcd.
        data: The directory of etcd's data.
        unfinished: The name of the backup whose restore was interrupted, empty if there is none.
    """

    authority: str
    members: int
    data: str
    unfinished: str


def inspect(hosts: Hosts, host: Host) -> Target:
    """Return the state of a control plane.

    Raises:
        ClusterError: It does not answer, or is no control plane.
    """
    try:
        said = json.loads(etcd_backups.run(hosts, host, f"{_PROGRAM} inspect"))
    except ClusterError as error:
        if "No such file" not in error.message and "not found" not in error.message:
            raise
        raise ClusterError(
            f"{host.name} does not have the program that restores etcd",
            hint="bootstrap installs it; a host that was reset needs bootstrap first, which makes a new cluster there",
            command=paths.command("bootstrap", "--inventory", hosts.inventory.file),
        ) from error
    unfinished = said["unfinished"] or {}
    return Target(said["authority"], said["members"], said["data"], unfinished.get("backup", ""))


def refuse(opened: Opened, target: Target, host: Host, *, control_planes: int) -> None:
    """Refuse a backup that must not be restored onto a host.

    Args:
        opened: The backup.
        target: The state of the host.
        host: The host.
        control_planes: Number of control planes in the inventory.

    Raises:
        ClusterError: It is of another cluster.
        UsageError: etcd has several members.
    """
    if opened.description.authority != target.authority:
        raise ClusterError(
            f"{opened.file.name} is a backup of another cluster: {opened.description.cluster}, made on "
            f"{opened.description.host}",
            context=[f"its CA is {opened.description.authority[:16]}, that of {host.name} is {target.authority[:16]}"],
            hint="nothing was changed; use a backup of this cluster, which this lists",
            command=paths.command("etcd", "list", *opened.same),
            code="OtherCluster",
        )
    members = max(target.members, control_planes)
    if members > 1:
        raise UsageError(
            f"etcd has {members} members, and `maas etcd restore` restores a cluster with one control plane only",
            hint="nothing was changed: the other members would continue with the present data, as a second cluster",
        )


def keys(opened: Opened) -> Keys | None:
    """Return the keys that the Secrets of a backup are encrypted with, or None if they are not encrypted."""
    file = opened.directory / "kubernetes" / "encryption" / "config.yaml"
    return encryption.read(file.read_text(encoding="utf-8")) if file.is_file() else None


def run(hosts: Hosts, host: Host, opened: Opened, step: Phase) -> str:
    """Restore a backup, or continue to do so, and return the directory on the host with the data of before.

    Raises:
        ClusterError: The restore failed. The same command continues.
    """
    last = kept = ""
    try:
        for line in hosts.follow(host, f"{_RUN} {shlex.quote(opened.file.name)}", opened.archive):
            # systemd-run may say in its own words that the program failed, after the program has said why.
            last = last if last.startswith(_FAILED) else line
            if line.startswith(_KEPT):
                kept = line.removeprefix(_KEPT)
            else:
                step.note(line)
    except ProcessError as error:
        raise _failed(host, last, error) from error
    return kept


def _failed(host: Host, last: str, error: ProcessError) -> ClusterError:
    if "already loaded" in last or "already exists" in last:
        return ClusterError(
            f"another restore of etcd is running on {host.name}",
            hint="wait for its end; its log is on the host",
            command=f"{ssh.plain_command(host)} journalctl --follow --identifier {_UNIT}",
            code="ClusterLocked",
        )
    if error.returncode == ssh.FAILED:
        return ClusterError(
            f"the connection to {host.name} was lost during the restore",
            context=[last] if last else [],
            hint="it continues there; its log ends with `kept` when it has succeeded, and otherwise the same command continues it",
            command=f"{ssh.plain_command(host)} journalctl --follow --identifier {_UNIT}",
            code="HostUnreachable",
        )
    reason = last.removeprefix(_FAILED) or f"exit status {error.returncode}"
    return ClusterError(
        f"{host.name}: the restore of etcd is not finished: {reason}",
        hint="fix the cause, then run the same command again: it continues. The data of before are kept beside the new ones",
        code="RestoreFailed",
    )
