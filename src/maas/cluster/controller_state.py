"""The state of a cluster on its controller, packed into a file that age has encrypted, and what another controller has to know.

    state.json        what the file says about itself
    inventory.yaml    the inventory
    pki/, ...         the parts of the state directory that nothing else has

Logs, copies of backups of etcd, the tunnel and the kubeconfig are left out: hosts have them, or they are made again.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import hashlib
import os
import shlex
import socket
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from maas import files
from maas.cluster import kubeconfig, sealed
from maas.errors import ClusterError, ProcessTimeoutError
from maas.hosts import ansible, encryption, rotations, ssh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from maas.cluster.host_programs import Hosts
    from maas.hosts.inventory import Host

INVENTORY = "inventory.yaml"
"""The inventory in the state directory of a controller that took a cluster over."""

_DESCRIPTION = "state.json"
_PARTS = (
    "pki",
    "encryption.json",
    "plan.json",
    "facts.json",
    ansible.KNOWN_HOSTS,
    ansible.JOURNAL,
    "renewal.json",
    "values.json",
    rotations.DIRECTORY,
)
_REQUIRED = (INVENTORY, "plan.json", "facts.json", "pki/ca.key", "pki/ca.crt")
_REVOKED = "/etc/openvpn/server/maas/revoked"
_READ = f"""\
cat /etc/kubernetes/admin.conf || exit
printf '\\n---\\n'
cat {encryption.CONFIGURATION} 2>/dev/null
printf '\\n---\\n'
ls {_REVOKED} 2>/dev/null
true"""
_READ_PARTS = 3
_ROOM = 64 << 20
"""Bytes that the parts need at most; the journal of a cluster of years has some megabytes."""

Relation = Literal["absent", "same", "older", "newer"]


class Description(sealed.Contents):
    """What a file says about itself.

    Attributes:
        cluster: The name of the cluster.
        authority: The sha256 of the CA of its Kubernetes API, empty if it was exported before there was one.
        controller: The machine that it is from.
        exported: When it was made.
        changed: When the state changed last.
    """

    cluster: str
    authority: str
    controller: str
    exported: datetime
    changed: datetime


@dataclass(frozen=True)
class Opened:
    """A file in clear text, whose contents have been compared with their digests.

    Attributes:
        file: The encrypted file.
        directory: Its contents.
        description: What it says about itself.
    """

    file: Path
    directory: Path
    description: Description


def contents(state: Path) -> dict[str, Path]:
    """Return the files of a state directory that a controller cannot do without, by their names in it."""
    paths = [
        path for part in _PARTS for path in ([state / part] if (state / part).is_file() else (state / part).rglob("*"))
    ]
    return {str(path.relative_to(state)): path for path in sorted(paths) if path.is_file()}


def changed(state: Path) -> datetime | None:
    """Return when the state changed last, in whole seconds; None if there is none."""
    times = [path.stat().st_mtime for path in contents(state).values()]
    return datetime.fromtimestamp(int(max(times)), UTC) if times else None


def export(state: Path, inventory: Path, target: Path, *, recipients: Sequence[str]) -> Description:
    """Write the state of a cluster to an encrypted file.

    Args:
        state: The cluster's state directory.
        inventory: Its inventory.
        target: The encrypted file.
        recipients: The public keys of age of those who may open it.

    Raises:
        UsageError: One of the recipients is no public key.
    """
    packed = {INVENTORY: inventory, **contents(state)}
    description = Description(
        format=1,
        cluster=state.name,
        authority=kubeconfig.authority(state / "kubeconfig"),
        controller=f"{_user()}@{socket.gethostname()}",
        exported=datetime.now(UTC),
        changed=changed(state) or datetime.now(UTC),
        files={name: _digest(path) for name, path in packed.items()},
    )
    with sealed.scratch(_ROOM) as directory:
        archive = directory / "state.tar.gz"
        sealed.pack(archive, description, packed, first=_DESCRIPTION)
        sealed.encrypt(archive, target, recipients)
    return description


@contextlib.contextmanager
def opened(file: Path, identity: Path) -> Iterator[Opened]:
    """Decrypt and check an exported state while the block runs; afterwards nothing in clear text is left.

    Args:
        file: The encrypted file.
        identity: A file with the private key, in the format of age-keygen.

    Raises:
        UsageError: The file with the private key is not usable.
        ClusterError: The key is not one of the recipients', or the file is damaged.
    """
    sealed.refuse_identity(identity)
    hint = "copy it again, or export the state again"
    with sealed.scratch(_ROOM) as scratch:
        archive, directory = scratch / "state.tar.gz", scratch / "content"
        directory.mkdir()
        sealed.decrypt(file, identity, archive, code="StateDamaged", hint=hint)
        try:
            description = sealed.unpack(archive, directory, Description, first=_DESCRIPTION, required=_REQUIRED)
        except (tarfile.TarError, EOFError, OSError, ValidationError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise ClusterError(f"{scratch} is full", hint="free some space there") from error
            raise ClusterError(
                f"{file.name} is damaged: {str(error).splitlines()[0] or type(error).__name__}",
                hint=hint,
                code="StateDamaged",
            ) from error
        (directory / "pki" / "revoked").mkdir(exist_ok=True)
        yield Opened(file, directory, description)


def refuse_other(opened: Opened, state: Path) -> None:
    """Refuse a file for a cluster of which this controller has another one by the same name.

    Raises:
        ClusterError: The CAs of their VPNs differ.
    """
    key = state / "pki" / "ca.key"
    if key.exists() and key.read_bytes() != (opened.directory / "pki" / "ca.key").read_bytes():
        raise ClusterError(
            f"this controller has another cluster {opened.description.cluster}: its VPN has another CA",
            hint=f"nothing was changed; if you no longer need that one, move {state} away",
            code="OtherCluster",
        )


def relation(opened: Opened, state: Path) -> Relation:
    """Return what the state on this controller is, compared with a file."""
    own = contents(state)
    if not own:
        return "absent"
    packed = contents(opened.directory)
    if own.keys() == packed.keys() and all(_digest(path) == _digest(packed[name]) for name, path in own.items()):
        return "same"
    since = changed(state)
    return "newer" if since is not None and since >= opened.description.changed else "older"


@dataclass(frozen=True)
class Found:
    """What a control plane says about its cluster.

    Attributes:
        host: The control plane.
        admin: The kubeconfig of its administrator.
        keys: Its EncryptionConfiguration, empty if there is none.
        revoked: The serial numbers of the certificates that its OpenVPN server rejects; empty if it has none.
    """

    host: Host
    admin: str
    keys: str
    revoked: frozenset[str]


def find(hosts: Hosts) -> Found:
    """Return what the first control plane says that answers.

    Raises:
        ClusterError: None answers.
    """
    reasons = []
    for host in hosts.inventory.control_planes:
        try:
            done = hosts.run(host, f"sh -c {shlex.quote(_READ)}")
        except ProcessTimeoutError as error:
            reasons.append(f"{host.name}: timed out after {error.seconds:.0f} s")
            continue
        parts = done.stdout.split("\n---\n")
        if done.returncode == 0 and len(parts) == _READ_PARTS and "clusters" in parts[0]:
            revoked = frozenset(word for word in parts[2].split() if word.isdigit())
            return Found(host, parts[0], parts[1].strip(), revoked)
        said = done.stderr.strip().splitlines() or ["it is no control plane of a cluster"]
        reasons.append(f"{host.name}: {said[-1]}")
    first = hosts.inventory.control_planes[0]
    raise ClusterError(
        "no control plane answers, so nobody knows whether the file is still true",
        context=reasons,
        hint="nothing was changed; this controller needs a way and an SSH key for the hosts of the inventory. With other ones than "
        "the controller of before, pass an inventory of your own with --inventory",
        command=ssh.plain_command(first),
        code="HostUnreachable",
    )


def update(opened: Opened, found: Found) -> list[str]:
    """Add to the contents of a file what its cluster has learned since, and return it in words.

    A certificate that has been revoked since must stay revoked, and Secrets need the key that they are encrypted with.

    Raises:
        ClusterError: The control plane belongs to another cluster.
        PkiError: Its keys for Secrets are not those of MaaS.
    """
    authority = kubeconfig.authority(found.admin)
    if opened.description.authority and authority != opened.description.authority:
        raise ClusterError(
            f"{found.host.name} belongs to another cluster than {opened.file.name}: its Kubernetes CA is another one",
            hint="nothing was changed; a cluster that was reset and made again needs the state of its own controller",
            code="OtherCluster",
        )
    said = []
    known = {path.name for path in (opened.directory / "pki" / "revoked").iterdir()}
    for serial in sorted(found.revoked - known):
        files.write_private(opened.directory / "pki" / "revoked" / serial, b"")
        said.append(f"the certificate {int(serial):x} has been revoked since")
    keys = encryption.load(opened.directory)
    if found.keys:
        now = encryption.read(found.keys)
        if keys is None or set(now.names) - set(keys.names):
            encryption.save(opened.directory, now)
            said.append(f"the key for Secrets is {now.names[0]} now")
    return said


def place(opened: Opened, state: Path, inventory: Path | None) -> Path | None:
    """Write the contents of a file to a state directory; return where other contents of before are, None if there were none.

    After an interruption, the same call continues.

    Args:
        opened: The file.
        state: The cluster's state directory.
        inventory: The inventory to use instead of the one in the file.
    """
    before: Path | None = None
    if relation(opened, state) in {"older", "newer"}:
        before = state / f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        before.mkdir(mode=0o700)
        for part in _PARTS:
            if (state / part).exists():
                (state / part).rename(before / part)
    when = opened.description.changed.timestamp()
    own = {} if inventory is not None else {INVENTORY: opened.directory / INVENTORY}
    for name, path in {**contents(opened.directory), **own}.items():
        target = state / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_private(target, path.read_bytes())
        os.utime(target, (when, when))
    return before


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user ID has no name, as in some containers
        return f"user {os.getuid()}"
