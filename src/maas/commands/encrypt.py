"""`maas encrypt`: show which keys encrypt Secrets in etcd, and rotate the key."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import encryption, operation
from maas.commands import _hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import encryption as keys_of

if TYPE_CHECKING:
    from pathlib import Path

    from maas.commands._hosts import Members
    from maas.hosts.encryption import Keys, Phase

_TITLES: dict[Phase, str] = {
    "complete": "New key",
    "added": "Key on every API server",
    "promoted": "Secrets with the new key",
    "dropped": "Old key removed",
}


def status(name: str, file: Path | None, *, become_password: str | None = None) -> None:
    """Show the keys, the phase of a rotation, and which API servers have loaded them.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        become_password: The password for sudo on the hosts.

    Raises:
        ClusterError: An API server does not have the keys, or Secrets are not encrypted.
    """
    members = _hosts.connect(name, file, become_password=become_password)
    keys = _keys(members)
    loaded = encryption.ControlPlanes(members.hosts, members.addresses).loaded()
    late = [host for host, digest in loaded.items() if digest != keys.digest]
    if console.json_requested():
        console.document(
            {
                "cluster": members.hosts.inventory.cluster,
                "phase": keys.phase,
                "keys": [{"name": key.name, "created": key.created and key.created.isoformat()} for key in keys.keys],
                "apiServers": {host: host not in late for host in loaded},
            }
        )
    else:
        rows = [
            (
                key.name,
                "encrypts and decrypts" if key == keys.keys[0] else "decrypts",
                f"{key.created:%Y-%m-%d}" if key.created else "unknown",
            )
            for key in keys.keys
        ]
        console.table(f"keys of {members.hosts.inventory.cluster}", ("key", "use", "created"), rows)
        console.line(f"rotation: {keys.phase}")
        console.line(f"API servers with these keys: {', '.join(host for host in loaded if host not in late) or 'none'}")
    if late:
        raise ClusterError(
            f"the API server on {', '.join(late)} does not use these keys",
            hint="bootstrap writes them to every control plane and applies them",
            command=paths.command("bootstrap", "--inventory", members.hosts.inventory.file),
            code="EncryptionIncomplete",
        )
    if keys.phase != "complete":
        raise ClusterError(
            f"the rotation of the key is not finished ({keys.phase})",
            hint="this continues it",
            command=paths.command("encrypt", "rotate", "--inventory", members.hosts.inventory.file),
            code="EncryptionIncomplete",
        )


def rotate(
    name: str, file: Path | None, *, yes: bool, dry_run: bool = False, become_password: str | None = None
) -> None:
    """Replace the key that encrypts Secrets, or continue an interrupted replacement.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        yes: Do not ask for confirmation.
        dry_run: Show the phases and change nothing.
        become_password: The password for sudo on the hosts.

    Raises:
        ClusterError: A control plane does not answer, or a Secret could not be written. The same command continues.
    """
    members = _hosts.connect(name, file, become_password=become_password)
    cluster, state = members.hosts.inventory.cluster, members.hosts.state
    with nullcontext() if dry_run else operation.hold(state, command=f"rotation of the encryption key of {cluster}"):
        keys = _keys(members)
        absent = sorted(members.hosts.control_planes - {node.name for node in members.cluster.nodes() if node.ready})
        if absent:
            raise ClusterError(
                f"{', '.join(absent)} is not Ready, and every control plane must have the new key before it is used",
                hint="nothing was changed; start the host first",
                command=paths.command("status", "--name", cluster),
                code="NotReady",
            )
        console.line(f"keys: {', '.join(keys.names)}; rotation: {keys.phase}")
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f"Replace the key that encrypts the Secrets of {cluster}?", assume_yes=yes):
            console.line("nothing was changed")
            return
        servers = encryption.ControlPlanes(members.hosts, members.addresses)
        if keys.phase == "complete":
            with console.phase(_TITLES[keys.phase]) as step:
                keys = encryption.advance(state, keys, members.cluster, servers, step)
                step.note(keys.names[-1])
        while keys.phase != "complete":
            with console.phase(_TITLES[keys.phase]) as step:
                keys = encryption.advance(state, keys, members.cluster, servers, step)
    console.line(f"every Secret is encrypted with the key {keys.names[0]}")


def _keys(members: Members) -> Keys:
    keys = keys_of.load(members.hosts.state)
    if keys is None:
        raise UsageError(
            f"this controller has no keys for the Secrets of {members.hosts.inventory.cluster}",
            hint="bootstrap reads those of the control plane, or makes the first one and encrypts every Secret",
            command=paths.command("bootstrap", "--inventory", members.hosts.inventory.file),
        )
    return keys
