"""The certificates of a cluster that exists, and the revocation of a node's VPN certificate."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maas import process
from maas.cluster import tunnel
from maas.errors import PkiError, ProcessError
from maas.hosts import ssh

if TYPE_CHECKING:
    from pathlib import Path

METRICS = "/var/lib/maas/metrics/openvpn.prom"
"""What the control-plane host reports of its own certificates, see hack/ansible/roles/base/files/metrics.py."""

_SAMPLE = re.compile(
    r'^kubernetes_certificate_not_after_seconds\{name="(?P<name>[^"]+)",kind="leaf"\} (?P<end>\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Certificate:
    """A certificate, or the one of several that expires first.

    Attributes:
        name: What it is for.
        expires: When it expires, UTC.
        renewal: What renews it, and when.
    """

    name: str
    expires: datetime
    renewal: str


def expiring(name: str) -> list[Certificate]:
    """Return, of each kind of certificate of a cluster, the one that expires first."""
    state = tunnel.state_dir(name)
    found = [_vpn(state / "pki" / "ca.crt", "CA of the VPN", "the next bootstrap, in its last three years")]
    nodes = [
        _vpn(path, f"VPN certificate of {path.stem}", "the next bootstrap, in its last year")
        for path in (state / "pki" / "nodes").glob("*.crt")
    ]
    found += sorted(nodes, key=lambda certificate: certificate.expires)[:1]
    # A control-plane host that does not answer is reported elsewhere.
    metrics = process.run([*tunnel.ssh(state), f"cat {METRICS}"], check=False).stdout
    ends = [(float(match["end"]), match["name"]) for match in _SAMPLE.finditer(metrics)]
    if ends:
        end, which = min(ends)
        when = datetime.fromtimestamp(end, UTC)
        found.append(Certificate(f"control plane, {which}", when, "its host, three months before"))
    return found


def _vpn(path: Path, name: str, renewal: str) -> Certificate:
    from cryptography import x509  # most commands read no certificate

    return Certificate(name, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc, renewal)


def reject(state: Path, node: str, *, serial: int, address: str, become_password: str | None = None) -> None:
    """Make the VPN server reject a node's certificate at once, and verify that the node is disconnected.

    Raises:
        PkiError: The node is still connected.
    """
    command = ssh.as_root(shlex.join(["/usr/local/lib/maas/revoke", node, str(serial), address]))
    password = become_password or ""
    try:
        process.run([*tunnel.ssh(state), command], input=f"{password}\n")
    except ProcessError as error:
        raise PkiError(
            f"{node} is not disconnected from the VPN",
            context=error.context,
            hint="its certificate is revoked here; the VPN server rejects it from the next bootstrap on",
            code="RevocationFailed",
        ) from error
