"""Certificates of a cluster that exists: until when they hold, and taking a node's way in away."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from maas import console, paths, process
from maas.cluster import tunnel
from maas.errors import PkiError, ProcessError
from maas.hosts import lock, network_plan, pki

if TYPE_CHECKING:
    from pathlib import Path

METRICS = "/var/lib/maas/metrics/openvpn.prom"
"""What the hub's host says of its own certificates, see hack/ansible/roles/base/files/metrics.py."""

_SAMPLE = re.compile(
    r'^kubernetes_certificate_not_after_seconds\{name="(?P<name>[^"]+)",kind="leaf"\} (?P<end>\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Ending:
    """A certificate, or several of a kind of which this one ends first.

    Attributes:
        what: What it is for.
        end: Until when it holds, UTC.
        renewal: Who renews it.
    """

    what: str
    end: datetime
    renewal: str


def overview(name: str) -> list[Ending]:
    """Of each kind of certificate of a cluster the one that ends first."""
    state = tunnel.state_of(name)
    again = "the next bootstrap, in its last year"
    found = [_vpn(state / "pki" / "ca.crt", "authority of the VPN", "the next bootstrap, in its last three years")]
    nodes = [_vpn(path, f"VPN certificate of {path.stem}", again) for path in (state / "pki" / "nodes").glob("*.crt")]
    found += sorted(nodes, key=lambda ending: ending.end)[:1]
    # Where they are not to be had the hub's host is down or does not answer, which is said elsewhere.
    said = process.run([*tunnel.ssh(state), f"cat {METRICS}"], check=False).stdout
    ends = [(float(match["end"]), match["name"]) for match in _SAMPLE.finditer(said)]
    if ends:
        end, which = min(ends)
        when = datetime.fromtimestamp(end, UTC)
        found.append(Ending(f"control plane, {which}", when, "its host, three months before"))
    return found


def _vpn(path: Path, what: str, renewal: str) -> Ending:
    return Ending(what, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc, renewal)


def revoke(name: str, node: str, *, yes: bool) -> None:
    """Take a node's way into the VPN away, at once, and prove that it is cut off.

    Its keys are forgotten here too: a later bootstrap with the node in the inventory would let it in with new ones.

    Raises:
        PkiError: The node has no certificate, or is the hub, or is not cut off.
    """
    state = tunnel.state_of(name)
    planned = network_plan.Plan.from_json((state / "plan.json").read_text(encoding="utf-8"))
    if node == planned.hub:
        raise PkiError(
            f"{node} is the hub of {name}: without its certificate no node has a VPN",
            hint=f"its nodes can be revoked: {', '.join(set(planned.hosts) - {node})}",
        )
    with lock.hold(state, command=f"revocation of {node} in {name}"):
        if not console.confirm(f"Cut {node} off from {name}? Its pods start anew elsewhere.", assume_yes=yes):
            console.line("nothing was changed")
            return
        serial = pki.revoke(state / "pki", node)
        address = str(planned.hosts[node].vpn_address)
        with console.phase("Revocation") as step:
            step.note(f"{node}: certificate {serial:x} is refused by the hub")
            _cut(state, node, serial, address)
            step.note(f"{node} is cut off: certificate {serial:x} is refused, {address} does not answer")
    console.line(f"take {node} out of the inventory, or the next bootstrap gives it new keys")
    arguments = f"delete node {node}" if name == "lab" else f"--name {name} delete node {node}"
    console.line(f"Kubernetes still knows it: {paths.command('kubectl', arguments)}")


def _cut(state: Path, node: str, serial: int, address: str) -> None:
    command = f"{tunnel.AS_ROOT} {shlex.join(['/usr/local/lib/maas/revoke', node, str(serial), address])}"
    try:
        process.run([*tunnel.ssh(state), command])
    except ProcessError as error:
        raise PkiError(
            f"{node} is not cut off",
            context=error.context,
            hint="its certificate is revoked here; the hub refuses it from the next bootstrap on",
        ) from error
