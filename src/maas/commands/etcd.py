"""`maas etcd`: back up etcd, list its backups, test that one can be restored, and restore it."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import etcd_backups, etcd_proof, etcd_restore, operation, tunnel
from maas.commands import _hosts
from maas.errors import ClusterError, UsageError
from maas.hosts import encryption, ssh
from maas.hosts import inventory as inventories

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from maas.cluster.etcd_backups import Backup, Description, Opened
    from maas.cluster.etcd_proof import Proof
    from maas.cluster.etcd_restore import Target
    from maas.cluster.host_programs import Hosts
    from maas.hosts.encryption import Keys
    from maas.hosts.inventory import Host, Inventory

_SHOWN = ("nodes", "namespaces", "pods", "deployments", "statefulsets", "services", "configmaps", "secrets")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def backup(name: str, file: Path | None, *, become_password: str | None = None) -> None:
    """Make a backup on each control plane now, and copy it to this controller.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: The inventory has no recipients.
        ClusterError: A control plane does not answer, or its backup failed.
    """
    hosts = _hosts.reach(name, file, become_password=become_password)
    refuse_without_recipients(hosts.inventory)
    for host in _control_planes(hosts):
        with console.phase(f"Backup of {host.name}") as step:
            made = etcd_backups.take(hosts, host)
            path = _copy(hosts, host, made)
            step.note(f"{made.name}, {_size(made.size)}")
        console.line(f"copied to {path}")
    console.line(f"To test that it can be restored: {_command('prove', hosts.inventory, '--identity', 'KEY')}")


def copy_latest(hosts: Hosts, *, without: Iterable[str] = ()) -> None:
    """Copy the latest backup of each control plane to this controller; where there is none yet, make it first.

    A failure is only a warning: a cluster that is set up is worth more than its backup.

    Args:
        hosts: The hosts of the cluster, whose inventory has recipients.
        without: Names of the hosts that are left out.
    """
    for host in _control_planes(hosts):
        if host.name in without:
            continue
        try:
            with console.phase(f"Backup of {host.name}") as step:
                found = etcd_backups.on_host(hosts, host) or [etcd_backups.take(hosts, host)]
                _copy(hosts, host, found[0])
                step.note(f"{found[0].name}, {_size(found[0].size)}, {_age(found[0].taken)} old")
        except ClusterError as error:
            console.warn(f"this controller has no new backup of etcd: {error.message}")


def show(name: str, file: Path | None, *, become_password: str | None = None) -> None:
    """List the backups on the control planes and on this controller, with their ages and sizes.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster.
    """
    hosts = _hosts.reach(name, file, become_password=become_password)
    places: dict[Backup, list[str]] = {}
    for host in _control_planes(hosts):
        try:
            for one in etcd_backups.on_host(hosts, host):
                places.setdefault(one, []).append(host.name)
        except ClusterError as error:
            console.warn(f"only the copies on this controller are listed: {error.message}")
    for one in etcd_backups.copies(hosts.state):
        places.setdefault(one, []).append("controller")
    found = sorted(places, reverse=True)
    if console.json_requested():
        console.document(
            {
                "cluster": hosts.inventory.cluster,
                "backups": [
                    {"name": one.name, "taken": one.taken.isoformat(), "bytes": one.size, "on": places[one]}
                    for one in found
                ],
            }
        )
        return
    if not found:
        refuse_without_recipients(hosts.inventory)
        console.line(f"there is no backup yet; this makes one: {_command('backup', hosts.inventory)}")
        return
    rows = [(one.name, _age(one.taken), _size(one.size), ", ".join(places[one])) for one in found]
    console.table(f"backups of etcd of {hosts.inventory.cluster}", ("backup", "age", "size", "on"), rows)


def prove(name: str, file: Path | None, wanted: str | None, *, identity: Path) -> None:
    """Restore a backup into an etcd of its own on this controller, and show what it contains. No host is contacted.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        wanted: A file, or the name of a backup; by default the newest one on this controller.
        identity: The file with a private key of age.

    Raises:
        UsageError: There is no such backup, or no private key.
        ClusterError: The backup is damaged, or for another key.
    """
    cluster = name if file is None else inventories.load(file).cluster
    state = tunnel.state_dir(cluster)
    same = _same(name, file)
    path = etcd_backups.choose(state, wanted, same=same)
    with ExitStack() as stack:
        with console.phase("Decryption") as step:
            opened = stack.enter_context(etcd_backups.opened(path, identity, same=same))
            step.note(path.name)
        with console.phase("Proof") as step:
            proof = etcd_proof.prove(opened, step)
            step.note(f"{proof.total} objects, etcd answered after {proof.seconds:.1f} s")
        _show_proof(path, opened.description, proof)


def restore(
    name: str,
    file: Path | None,
    wanted: str | None,
    *,
    identity: Path,
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Restore a backup onto the control plane that it is of, or continue an interrupted restore.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        wanted: A file, or the name of a backup; by default the newest one on this controller.
        identity: The file with a private key of age.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such backup, or no private key, or etcd has several members.
        ClusterError: The backup is damaged, for another key or of another cluster, or the restore failed.
    """
    hosts = _hosts.reach(name, file, become_password=become_password)
    cluster, host = hosts.inventory.cluster, hosts.inventory.control_plane
    same = _same(name, file)
    path = etcd_backups.choose(hosts.state, wanted, same=same)
    held = nullcontext() if dry_run else operation.hold(hosts.state, command=f"restore of etcd of {cluster}")
    with held, ExitStack() as stack:
        with console.phase("Decryption") as step:
            opened = stack.enter_context(etcd_backups.opened(path, identity, same=same))
            step.note(path.name)
        target = etcd_restore.inspect(hosts, host)
        etcd_restore.refuse(opened, target, host, control_planes=len(_control_planes(hosts)))
        keys = etcd_restore.keys(opened)
        other_keys = keys is not None and keys.names != _names(encryption.load(hosts.state))
        _show_restore(opened, target, host, keys if other_keys else None)
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        question = f"Replace all objects of {cluster} by those of {opened.description.taken:%F %T} UTC?"
        if not console.confirm(question, assume_yes=yes):
            console.line("nothing was changed")
            return
        with console.phase("Restore") as step:
            kept = etcd_restore.run(hosts, host, opened, step)
            step.note(f"the API server on {host.name} is ready")
        if other_keys and keys is not None:
            encryption.save(hosts.state, keys)
    _show_next(hosts, host, kept)


def refuse_without_recipients(hosts: Inventory) -> None:
    """Refuse what requires backups in a cluster that makes none.

    Raises:
        UsageError: The inventory has no recipients.
    """
    if hosts.backup is None:
        raise UsageError(
            f"{hosts.cluster} makes no backups of etcd: {hosts.file} has no backup.recipients",
            hint="create a key pair with `age-keygen -o KEY` on a machine that is no host of the cluster, add its public key to "
            "backup.recipients, then run bootstrap",
            command=paths.command("bootstrap", "--inventory", hosts.file),
        )


def _control_planes(hosts: Hosts) -> list[Host]:
    return [host for host in hosts.inventory.hosts if host.role == "control-plane"]


def _copy(hosts: Hosts, host: Host, found: Backup) -> Path:
    backups = hosts.inventory.backup
    return etcd_backups.copy(
        hosts, host, found, keep=backups.keep if backups else len(etcd_backups.copies(hosts.state)) + 1
    )


def _show_proof(path: Path, description: Description, proof: Proof) -> None:
    if console.json_requested():
        console.document(
            {
                "backup": path.name,
                "cluster": description.cluster,
                "host": description.host,
                "taken": description.taken.isoformat(),
                "revision": description.revision,
                "objects": proof.objects,
                "encryptedSecrets": proof.sealed,
                "newest": {"created": proof.newest.isoformat() if proof.newest else None, "key": proof.newest_name},
                "seconds": round(proof.seconds, 1),
            }
        )
        return
    named = {resource.partition(".")[0]: count for resource, count in proof.objects.items()}
    rows: list[tuple[str, object]] = [(resource, named[resource]) for resource in _SHOWN if resource in named]
    rows.append(("all objects", proof.total))
    console.table(f"contents of {path.name}", ("resource", "objects"), rows)
    console.line(
        f"taken on {description.host} {_age(description.taken)} ago, revision {description.revision}, "
        f"Kubernetes {description.kubernetes}"
    )
    if proof.newest:
        console.line(f"newest object: {proof.newest_name}, created {_age(proof.newest)} ago")
    console.line(f"{proof.sealed} Secrets are encrypted, with keys that the backup contains")


def _names(keys: Keys | None) -> tuple[str, ...]:
    return keys.names if keys else ()


def _show_restore(opened: Opened, target: Target, host: Host, keys: Keys | None) -> None:
    said = opened.description
    age = _age(said.taken)
    rows = [
        ("backup", opened.file.name, f"{age} old, of {said.host}, revision {said.revision}, {said.keys} keys"),
        (f"etcd on {host.name}", "replace its data", f"those of now are kept in a directory in {target.data}"),
        ("Kubernetes API", "stop for about a minute", "containers continue to run meanwhile"),
        ("objects", "replace all", f"those of {said.taken:%F %T} UTC"),
        ("pods", "those of the backup", "kubelets stop pods that it does not have, and start those that it has"),
    ]
    if keys is not None:
        rows.append(
            ("keys for Secrets", ", ".join(keys.names), "those of the backup, on the host and on this controller")
        )
    if target.unfinished:
        same = target.unfinished == opened.file.name
        action = "continue it" if same else "discard it"
        rows.append(("interrupted restore", action, target.unfinished))
    console.table("restore of etcd", ("", "", ""), rows)
    console.line(f"All changes of the last {age} are lost: objects that were created, changed or deleted since then.")


def _show_next(hosts: Hosts, host: Host, kept: str) -> None:
    own = hosts.inventory
    console.line("etcd is restored. Next:")
    bootstrap = paths.command("bootstrap", "--inventory", own.file)
    console.line(f"  look at the cluster: {paths.command('status', '--name', own.cluster)}")
    console.line(f"  join hosts and apply settings that are newer than the backup: {bootstrap}")
    console.line(f"  make a new backup: {_command('backup', own)}")
    console.line(f"  delete the data of before, once you do not need them: {ssh.plain_command(host)} rm -r {kept}")


def _command(name: str, hosts: Inventory, *words: str) -> str:
    return paths.command("etcd", name, "--inventory", hosts.file, *words)


def _same(name: str, file: Path | None) -> tuple[object, ...]:
    """Return the options with which another command is about the same cluster."""
    return ("--name", name) if file is None else ("--inventory", file)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _age(taken: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0.0, (datetime.now(UTC) - taken).total_seconds())
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    for limit, unit, name in ((_HOUR, _MINUTE, "min"), (2 * _DAY, _HOUR, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / _DAY:.0f} d"
