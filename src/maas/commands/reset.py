"""`maas reset`: uninstall what `maas bootstrap` installed."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import operation, tunnel
from maas.commands import _preflight
from maas.hosts import ansible, inventory
from maas.hosts.ansible_inventory import ansible_inventory

if TYPE_CHECKING:
    from pathlib import Path


def reset(file: Path, *, dry_run: bool, yes: bool, become_password: str | None = None) -> None:
    """Uninstall everything that `maas bootstrap` installed on the hosts of an inventory.

    Raises:
        MaasError: A host does not answer, or could not be reset.
    """
    hosts = inventory.load(file)
    state = paths.state_path(hosts.cluster) if dry_run else paths.state(hosts.cluster)
    with nullcontext() if dry_run else operation.hold(state, command=f"reset of {hosts.cluster}"):
        result = _preflight.run(hosts, state, become_password=become_password)
        names = ", ".join(host.name for host in hosts.hosts)
        console.line(f"uninstall Kubernetes with all its volumes, the VPN and all files of bootstrap from {names}")
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if not console.confirm(f'Delete all data of cluster "{hosts.cluster}"?', assume_yes=yes):
            console.line("nothing was changed")
            return
        result.save()
        tunnel.close(state)
        ansible.run(
            "reset",
            inventory=ansible_inventory(
                result.inventory, plan=result.plan, facts=result.facts, known_hosts=result.known_hosts
            ),
            state=state,
            become_password=become_password,
            retry=paths.same_command(),
        )
        # The next bootstrap does not look for an API that is gone.
        (state / tunnel.KUBECONFIG).unlink(missing_ok=True)
    console.line(
        f"Keys and logs are kept in {shlex.quote(str(state))}. "
        "Delete that directory once you no longer need the cluster."
    )
