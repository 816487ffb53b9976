"""`maas certificates`: show when the certificates of a cluster expire, and renew them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import certificates, operation, tunnel
from maas.commands import _hosts
from maas.commands.status import certificates_data, show_certificates
from maas.errors import ClusterError
from maas.hosts import ansible, pki

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.cluster.certificates import Due
    from maas.cluster.host_programs import Hosts
    from maas.hosts.network_plan import Plan


def show(name: str) -> None:
    """Show, of each kind of certificate of a cluster, the one that expires first.

    Args:
        name: Name of the lab, or of the cluster in the inventory.

    Raises:
        UsageError: There is no such cluster.
    """
    found = certificates.expiring(name)
    if console.json_requested():
        console.document({"cluster": name, "certificates": certificates_data(found)})
    else:
        show_certificates(found)


def renew(
    name: str,
    file: Path | None,
    *,
    everything: bool,
    without: Sequence[str] = (),
    dry_run: bool,
    yes: bool,
    become_password: str | None = None,
) -> None:
    """Renew the certificates of a cluster that expire soon. The Kubernetes API need not answer for this.

    Each step may be repeated: after an interruption, the same command continues.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        everything: Renew also those that do not expire soon.
        without: Names of hosts that are down.
        dry_run: Show the plan and change nothing.
        yes: Do not ask for confirmation.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or the inventory lacks one of its hosts.
        ClusterError: A host does not answer, or the cluster is not Ready afterwards.
        HostsError: A certificate was not renewed on a host.
    """
    hosts = _hosts.reach(name, file, become_password=become_password)
    cluster, state = hosts.inventory.cluster, hosts.state
    held = nullcontext() if dry_run else operation.hold(state, command=f"renewal of certificates of {cluster}")
    with held:
        members, plan = _hosts.certified(hosts, _hosts.saved_plan(state), without)
        present = members.inventory.model_copy(
            update={"hosts": tuple(host for host in members.inventory.hosts if host.name not in without)}
        )
        reached = replace(members, inventory=present)
        began = certificates.unfinished(state)
        before = began or (datetime.now(UTC) if everything else None)
        with console.phase("Certificates") as step:
            due = certificates.due(state, certificates.read(reached), before=before)
            step.note(f"of {len(present.hosts)} hosts, {len(due.names)} to renew")
        if not due and began is None:
            console.line(
                f"nothing to renew; this shows when they expire: {paths.command('certificates', '--name', cluster)}"
            )
            return
        if due:
            _show(due, plan)
        if began is not None:
            console.line(f"this continues the renewal of all certificates of {began:%F %T} UTC")
        if dry_run:
            console.line("nothing was changed (--dry-run)")
            return
        if due:
            if not console.confirm(f"Renew these certificates of {cluster}?", assume_yes=yes):
                console.line("nothing was changed")
                return
            if everything:
                before = certificates.begin(state)
            _renew(members, plan, due, before=before, without=without)
        with console.phase("Verify") as step:
            left = certificates.due(state, certificates.read(reached), before=before)
            if left:
                raise ClusterError(
                    f"not renewed: {', '.join(left.names)}",
                    hint="run the same command again; the log of Ansible says what it did",
                    command=f"ls -t {state / 'log'}",
                )
            certificates.end(state)
            admin = _hosts.admin_kubeconfig(reached, present.control_planes[0])
            # The kubeconfig on this controller contains a certificate too.
            renewed = tunnel.renew_kubeconfig(state, admin)
            api = replace(renewed, absent=frozenset(without), factor=members.factor)
            api.wait_nodes(len(present.hosts), step=step)
    console.line(f"renewed: {', '.join(due.names) or f'all certificates of {cluster}'}")


def _show(due: Due, plan: Plan) -> None:
    now = datetime.now(UTC)

    def row(what: str, where: str, expires: datetime, action: str) -> tuple[str, str, str, str]:
        return what, where, f"{expires:%Y-%m-%d} ({(expires - now).days} d)", action

    rows = []
    if due.authority:
        action = "renew, with the same key; every host gets it, and its tunnels restart"
        rows.append(row("CA of the VPN", "this controller", due.authority, action))
    for name, expires in due.vpn.items():
        action = "issue; its tunnels restart"
        if name in plan.hubs:
            alone = "every host is disconnected for some seconds" if len(plan.hubs) == 1 else "others take over"
            action = f"issue; its server restarts, {alone}"
        rows.append(row("VPN", name, expires, action))
    for name, (which, expires) in due.control_planes.items():
        rows.append(row(f"control plane, {which}", name, expires, "renew all; its API server restarts"))
    rows += [row("kubelet", name, expires, "issue; it restarts") for name, expires in due.kubelets.items()]
    console.table("renewal of certificates", ("certificate", "on", "expires first", "action"), rows)


def _renew(members: Hosts, plan: Plan, due: Due, *, before: datetime | None, without: Sequence[str]) -> None:
    """Issue the certificates of the VPN, and bring all of them to the hosts."""
    with console.phase("VPN keys") as step:
        directory = members.state / "pki"
        keys = pki.ensure(directory, plan.cluster, list(plan.hosts), hubs=list(plan.hubs), before=before)
        step.note(f"{len(keys.changes)} created or renewed" if keys.changes else "unchanged")
    inventory = _hosts.variables(members.inventory, plan, members.state, pki=keys, without=without)
    inventory["all"]["vars"]["renewal"] = {
        "before": int(before.timestamp()) if before else 0,
        "kubelets": list(due.kubelets),
    }
    ansible.run(
        "certificates",
        inventory=inventory,
        state=members.state,
        retry=paths.same_command(),
        without=without,
        become_password=members.become_password,
    )
