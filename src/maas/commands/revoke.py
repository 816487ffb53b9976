"""`maas revoke`: disconnect a node from the VPN of its cluster."""

from __future__ import annotations

from maas import console, paths
from maas.cluster import certificates, operation, tunnel
from maas.commands import _hosts
from maas.errors import PkiError
from maas.hosts import pki


def revoke(name: str, node: str, *, yes: bool, become_password: str | None = None) -> None:
    """Revoke a node's VPN certificate, and verify that the node is disconnected.

    Its keys are deleted here too: a later bootstrap with the node in the inventory creates new ones.

    Raises:
        PkiError: The node has no certificate, or is the VPN server, or is still connected.
    """
    state = tunnel.state_dir(name)
    plan = _hosts.saved_plan(state)
    if node in plan.hubs:
        raise PkiError(
            f"{node} is a VPN server of {name}, which the other hosts connect to",
            hint=f"revoke one of {', '.join(sorted(plan.hosts.keys() - plan.hubs.keys()))}",
        )
    with operation.hold(state, command=f"revocation of {node} in {name}"):
        question = f"Disconnect {node} from {name}? Its pods are re-created on other nodes."
        if not console.confirm(question, assume_yes=yes):
            console.line("nothing was changed")
            return
        serial = pki.revoke(state / "pki", node)
        address = str(plan.hosts[node].vpn_address)
        with console.phase("Revocation") as step:
            step.note(f"{node}: revoking certificate {serial:x}")
            away = certificates.reject(state, node, serial=serial, address=address, become_password=become_password)
            step.note(f"{node} is disconnected: certificate {serial:x} is revoked, {address} does not answer")
    if away:
        console.warn(certificates.away_message(away))
    console.line(f"remove {node} from the inventory, or the next bootstrap creates new keys for it")
    of = () if name == "lab" else ("--name", name)
    console.line(f"delete its Node object: {paths.command('kubectl', *of, 'delete', 'node', node)}")
