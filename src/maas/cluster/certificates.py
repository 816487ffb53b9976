"""The certificates of a cluster that exists, which of them are to be renewed, and the revocation of a node's VPN certificate."""

from __future__ import annotations

import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

from maas import files, process
from maas.cluster import _certificates_script, host_programs, kubeconfig, tunnel
from maas.errors import PkiError
from maas.hosts import ssh
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from maas.cluster.host_programs import Hosts

METRICS = "/var/lib/maas/metrics/openvpn.prom"
"""What the control-plane host reports of its own certificates, see hack/ansible/roles/base/files/metrics.py."""

_SAMPLE = re.compile(
    r'^kubernetes_certificate_not_after_seconds\{name="(?P<name>[^"]+)",kind="leaf"\} (?P<end>\S+)$', re.MULTILINE
)


PATTERNS = (
    "/etc/kubernetes/pki/**/*.crt",
    "/etc/kubernetes/*.conf",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/etc/openvpn/*/*.conf",
)
RESTARTING = "/var/lib/maas/renewal"
"""Exists on a control plane whose components may still have the certificates of before a renewal, see renew.py."""
CONTROL_PLANE_RENEWAL = timedelta(days=90)
"""A control plane renews its certificates this long before they expire, see renew.py of its role."""
_KUBELET_RENEWAL = timedelta(days=30)
"""A kubelet renews its certificate of a year when 10 to 30 % of it are left. Below, something prevents it."""
_UNFINISHED = "renewal.json"


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
    if (ends_at := kubeconfig.expires(state / "kubeconfig")) is not None:
        found.append(Certificate("kubeconfig on this machine", ends_at, "the next bootstrap, or certificates renew"))
    return found


@dataclass(frozen=True)
class Found:
    """The certificates of a host.

    Attributes:
        control_plane: Expiry and time of issue of each one of the control plane, by its file; none of the CAs.
        kubelet: When the client certificate of the kubelet expires, None if there is none.
        vpn: When the certificates in the configuration of OpenVPN expire, among them that of the CA.
        restarting: Whether a renewal was interrupted before all components were restarted.
    """

    control_plane: dict[str, tuple[datetime, datetime]]
    kubelet: datetime | None
    vpn: frozenset[datetime]
    restarting: bool = False


def read(hosts: Hosts) -> dict[str, Found]:
    """Return the certificates of each host.

    Raises:
        ClusterError: A host does not answer.
    """
    source = resources.files("maas.cluster").joinpath("_certificates_script.py").read_text(encoding="utf-8")
    program = program_text(source, {"patterns": PATTERNS, "restarting": RESTARTING})
    answers = host_programs.run(hosts, program, _certificates_script.MARK)
    return {name: parse(answer, control_plane=name in hosts.control_planes) for name, answer in answers.items()}


def parse(answer: Mapping[str, Any], *, control_plane: bool) -> Found:
    """Return the certificates of a host that it reported; see `read`."""
    from cryptography import x509

    plane, kubelet, vpn = dict[str, tuple[datetime, datetime]](), None, set[datetime]()
    for one in answer["certificates"]:
        path, certificate = one["path"], x509.load_pem_x509_certificate(one["pem"].encode())
        expires = certificate.not_valid_after_utc
        if path.startswith("/etc/openvpn/"):
            vpn.add(expires)
        elif path.startswith("/var/lib/kubelet/"):
            kubelet = expires
        elif control_plane and certificate.issuer != certificate.subject:
            plane[path] = expires, datetime.fromtimestamp(one["written"], UTC)
    return Found(plane, kubelet, frozenset(vpn), restarting=control_plane and answer["restarting"])


@dataclass(frozen=True)
class Due:
    """What is to be renewed.

    Attributes:
        authority: When the CA of the VPN expires, if that is too soon.
        vpn: The hosts whose VPN certificate is renewed, or is not yet the one of this controller; with its expiry there.
        control_planes: The control planes, with the certificate that expires first and its expiry. Also those whose
            components were not restarted after a renewal.
        kubelets: The hosts whose kubelet does not renew its certificate, with its expiry.
    """

    authority: datetime | None
    vpn: dict[str, datetime]
    control_planes: dict[str, tuple[str, datetime]]
    kubelets: dict[str, datetime]

    def __bool__(self) -> bool:
        return bool(self.authority or self.vpn or self.control_planes or self.kubelets)

    @property
    def names(self) -> list[str]:
        """What is to be renewed, for messages."""
        return [
            *(["the CA of the VPN"] if self.authority else []),
            *(f"the VPN certificate of {name}" for name in self.vpn),
            *(f"the control plane {name}" for name in self.control_planes),
            *(f"the kubelet of {name}" for name in self.kubelets),
        ]


def due(state: Path, found: Mapping[str, Found], *, now: datetime | None = None, before: datetime | None = None) -> Due:
    """Return which certificates are to be renewed.

    Args:
        state: The cluster's state directory.
        found: What hosts have.
        now: The current time, for tests.
        before: Also those that were issued before this time, except CAs and those of kubelets.
    """
    from maas.hosts import pki  # most commands read no certificate

    now = now or datetime.now(UTC)
    authority = pki.issued(state / "pki").not_valid_after_utc
    trusted = {one.not_valid_after_utc for one in pki.authorities(state / "pki")}
    vpn, planes, kubelets = {}, {}, {}
    for name, host in found.items():
        own = pki.issued(state / "pki", name)
        if pki.expires_soon(own, now=now, before=before) or host.vpn != {own.not_valid_after_utc, *trusted}:
            vpn[name] = min(host.vpn, default=own.not_valid_after_utc)
        old = [
            path
            for path, (expires, issued) in host.control_plane.items()
            if expires - now < CONTROL_PLANE_RENEWAL or (before is not None and issued < before)
        ]
        if old or host.restarting:
            first = min(old or host.control_plane, key=lambda path: host.control_plane[path])
            planes[name] = first.removeprefix("/etc/kubernetes/"), host.control_plane[first][0]
        if host.kubelet is not None and host.kubelet - now < _KUBELET_RENEWAL:
            kubelets[name] = host.kubelet
    return Due(authority if authority - now < pki.CA_RENEWAL else None, vpn, planes, kubelets)


def begin(state: Path, now: datetime | None = None) -> datetime:
    """Return since when a renewal of all certificates runs: now, or since its beginning if it was interrupted."""
    since = unfinished(state)
    if since is None:
        since = (now or datetime.now(UTC)).replace(microsecond=0)
        files.write_private(state / _UNFINISHED, json.dumps({"since": since.isoformat()}))
    return since


def unfinished(state: Path) -> datetime | None:
    """Return when a renewal of all certificates began that was interrupted, None if there is none."""
    try:
        return datetime.fromisoformat(json.loads((state / _UNFINISHED).read_text(encoding="utf-8"))["since"])
    except FileNotFoundError:
        return None


def end(state: Path) -> None:
    """Note that all certificates have been renewed."""
    (state / _UNFINISHED).unlink(missing_ok=True)


def _vpn(path: Path, name: str, renewal: str) -> Certificate:
    from cryptography import x509  # most commands read no certificate

    return Certificate(name, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc, renewal)


def reject(state: Path, node: str, *, serial: int, address: str, become_password: str | None = None) -> list[str]:
    """Make all hubs reject a node's certificate at once, and verify that the node is disconnected.

    Returns:
        The names of the hubs that do not answer. They learn of it from the others, before their OpenVPN servers start.

    Raises:
        PkiError: The node is still connected, or no hub answers.
    """
    command = ssh.as_root(shlex.join(["/usr/local/lib/maas/revoke", node, str(serial), address]))
    password = f"{become_password or ''}\n"
    hubs = tunnel.hubs(state)

    def run(name: str) -> process.Completed:
        return process.run([*hubs[name], command], input=password, check=False)

    # At the same time: each one verifies that the node does not answer through any of them.
    with ThreadPoolExecutor(len(hubs)) as pool:
        answers = dict(zip(hubs, pool.map(run, hubs), strict=True))
    away = [name for name, done in answers.items() if done.returncode == ssh.FAILED]
    failed = {name: done for name, done in answers.items() if done.returncode and name not in away}
    if failed or len(away) == len(hubs):
        reasons = {name: done.stderr.strip().splitlines()[-1:] for name, done in answers.items() if done.returncode}
        raise PkiError(
            f"{node} is not disconnected from the VPN",
            context=[f"{name}: {''.join(reason) or 'it does not answer'}" for name, reason in reasons.items()],
            hint="its certificate is revoked here; the OpenVPN servers reject it from the next bootstrap on",
            code="RevocationFailed",
        )
    return away


def away_message(away: Sequence[str]) -> str:
    """Return what happens on hubs that did not answer when a certificate was revoked."""
    return f"{', '.join(away)} does not answer, and learns of the revocation from the other hubs before its OpenVPN server starts"
