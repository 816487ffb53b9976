"""The PKI of the VPN on the controller.

    ca.key, ca.crt                        the certificate authority; its key stays on the controller
    nodes/NAME.key, .crt                  the certificate of each host; that of a hub is also a server certificate
    hubs/HUB/tls-crypt-v2-server.key      the key of a hub for the control channel
    hubs/HUB/clients/NAME.key             the keys of the other hosts for the control channel of that hub
    revoked/SERIAL                        the name of the host of each revoked certificate
    next/ca.key, .crt                     while the CA is replaced: the one that hosts are to trust before it issues anything
    previous/ca.crt                       while the CA is replaced: the one that has issued what hosts may still have

Revoked certificates are a directory of serial numbers (OpenVPN's ``crl-verify DIR dir``). Unlike a CRL, it does not
expire, which would disconnect all nodes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maas.errors import PkiError
from maas.files import write_private
from maas.hosts.tls_crypt import ServerKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA_VALIDITY = timedelta(days=3650)
NODE_VALIDITY = timedelta(days=1095)
# A bootstrap in the last year of a certificate renews it. The CA is renewed while it is valid longer than what it signs.
NODE_RENEWAL = timedelta(days=365)
CA_RENEWAL = NODE_VALIDITY
# For hosts whose clocks are slow: their certificates must be valid already.
_BACKDATED = timedelta(days=1)
_NEXT, _PREVIOUS = "next", "previous"


@dataclass(frozen=True)
class Certificate:
    """A node's certificate.

    Attributes:
        name: Its common name, which is the node's name.
        serial: Its serial number.
        not_after: Its expiry, UTC.
        renew_from: The time from which `ensure` renews it, UTC.
    """

    name: str
    serial: int
    not_after: datetime
    renew_from: datetime


@dataclass(frozen=True)
class Pki:
    """The PKI of a cluster's VPN.

    Attributes:
        directory: Its directory.
        hubs: The hosts with an OpenVPN server.
        certificates: The certificate of each node by the node's name.
        changes: What `ensure` created or renewed, one line each.
    """

    directory: Path
    hubs: tuple[str, ...]
    certificates: dict[str, Certificate]
    changes: tuple[str, ...]

    def files_for(self, node: str) -> dict[str, bytes]:
        """Return the files for a host's OpenVPN, by name.

        For every host: ca.crt with all CAs that it trusts, node.crt, node.key and hubs/HUB.key for each other hub. For a hub
        also: tls-crypt-v2-server.key, and revoked/SERIAL for each revoked certificate.
        """
        nodes, hubs = self.directory / "nodes", self.directory / "hubs"
        files = {
            "ca.crt": b"".join(one.public_bytes(Encoding.PEM) for one in authorities(self.directory)),
            "node.crt": (nodes / f"{node}.crt").read_bytes(),
            "node.key": (nodes / f"{node}.key").read_bytes(),
        }
        for hub in self.hubs:
            if hub != node:
                files[f"hubs/{hub}.key"] = (hubs / hub / "clients" / f"{node}.key").read_bytes()
        if node in self.hubs:
            files["tls-crypt-v2-server.key"] = (hubs / node / "tls-crypt-v2-server.key").read_bytes()
            files |= {
                f"revoked/{path.name}": path.read_bytes() for path in sorted((self.directory / "revoked").iterdir())
            }
        return files


def ensure(
    directory: Path,
    cluster: str,
    nodes: Sequence[str],
    *,
    hubs: Sequence[str],
    now: datetime | None = None,
    before: datetime | None = None,
) -> Pki:
    """Create missing keys and certificates and renew those that expire soon.

    A renewed certificate has a new key, and the old one stays valid until it expires, so that nodes that are down keep
    their access. A renewed CA keeps its key, so that existing certificates stay valid.

    Args:
        directory: The directory of the PKI; created if it is missing, readable by its owner only.
        cluster: Name of the cluster, part of the CA's name.
        nodes: All hosts, also the hubs.
        hubs: The hosts with an OpenVPN server.
        now: The current time, for tests.
        before: Renew also the certificates of nodes that were issued before this time.

    Raises:
        PkiError: The CA is damaged. It is not re-created, because that would disconnect all nodes.
    """
    return _Issuer(directory, cluster, hubs, now or datetime.now(UTC), before).ensure(nodes)


def issued(directory: Path, name: str | None = None) -> x509.Certificate:
    """Return the certificate of a node, or that of the CA.

    Raises:
        OSError: There is none.
        ValueError: It is damaged.
    """
    path = directory / "ca.crt" if name is None else directory / "nodes" / f"{name}.crt"
    return x509.load_pem_x509_certificate(path.read_bytes())


def authorities(directory: Path) -> list[x509.Certificate]:
    """Return the CAs that hosts trust: the one that issues certificates, and others while it is replaced.

    Raises:
        OSError: There is none.
        ValueError: One of them is damaged.
    """
    _finish_promotion(directory)
    others = [directory / name / "ca.crt" for name in (_NEXT, _PREVIOUS)]
    found = [
        issued(directory),
        *(x509.load_pem_x509_certificate(path.read_bytes()) for path in others if path.exists()),
    ]
    return list(dict.fromkeys(found))


def prepare_authority(directory: Path, cluster: str, *, now: datetime | None = None) -> None:
    """Create the CA that is to replace the present one, unless there is one already. Nothing is issued by it yet.

    Args:
        directory: The directory of the PKI.
        cluster: Name of the cluster, part of the CA's name.
        now: The current time, for tests.
    """
    if not (directory / _NEXT / "ca.crt").exists():
        (directory / _NEXT).mkdir(exist_ok=True, mode=0o700)
        issuer = _Issuer(directory / _NEXT, cluster, (), now or datetime.now(UTC), None)
        issuer.create_authority()


def promote_authority(directory: Path) -> None:
    """Let the CA that hosts trust already replace the present one, which hosts still trust. `ensure` issues by it.

    It can be repeated.
    """
    if (directory / _NEXT / "ca.key").exists():
        (directory / _PREVIOUS).mkdir(exist_ok=True, mode=0o700)
        write_private(directory / _PREVIOUS / "ca.crt", (directory / "ca.crt").read_bytes())
        (directory / _NEXT / "ca.key").replace(directory / "ca.key")
    _finish_promotion(directory)


def drop_authority(directory: Path) -> None:
    """No longer trust the CA that was replaced. It can be repeated."""
    shutil.rmtree(directory / _PREVIOUS, ignore_errors=True)


def _finish_promotion(directory: Path) -> None:
    """Continue where an interruption has left a new key beside the certificate of the old one."""
    if (directory / _NEXT).exists() and not (directory / _NEXT / "ca.key").exists():
        if (directory / _NEXT / "ca.crt").exists():
            (directory / _NEXT / "ca.crt").replace(directory / "ca.crt")
        (directory / _NEXT).rmdir()


def expires_soon(certificate: x509.Certificate, *, now: datetime, before: datetime | None = None) -> bool:
    """Return whether `ensure` renews a certificate of a node.

    Args:
        certificate: The certificate.
        now: The current time.
        before: Renew it also if it was issued before this time.
    """
    old = before is not None and certificate.not_valid_before_utc + _BACKDATED < before
    return old or certificate.not_valid_after_utc - now < NODE_RENEWAL


def serial(directory: Path, node: str) -> int:
    """Return the serial number of a node's certificate.

    Raises:
        PkiError: The node has no certificate.
    """
    try:
        certificate = issued(directory, node)
    except (OSError, ValueError) as error:
        known = sorted(path.stem for path in (directory / "nodes").glob("*.crt"))
        raise PkiError(
            f"{node} has no certificate to revoke",
            context=[f"certificates: {', '.join(known)}"],
            code="CertificateNotFound",
        ) from error
    return certificate.serial_number


def revoke(directory: Path, node: str) -> int:
    """Revoke a node's certificate, delete its keys and return the serial number.

    It takes effect once the hubs have the file of that serial number. `ensure` would create new keys.

    Raises:
        PkiError: The node has no certificate.
    """
    number = serial(directory, node)
    write_private(directory / "revoked" / str(number), node.encode())
    _move_old(directory)
    keys = (directory / "hubs").glob(f"*/clients/{node}.key")
    for path in (directory / "nodes" / f"{node}.key", *keys):
        path.unlink(missing_ok=True)
    shutil.rmtree(directory / "hubs" / node, ignore_errors=True)
    (directory / "nodes" / f"{node}.crt").unlink()  # last: after an interruption, the serial number is still known
    return number


def _move_old(directory: Path) -> None:
    """Move the keys for the control channel of the only hub of version 0.1 to where those of each hub are."""
    old = directory / "tls-crypt-v2-server.key"
    for path in (directory / "nodes").glob("*.crt") if old.exists() else ():
        if path.with_suffix(".tls-crypt-v2.key").exists():
            continue
        clients = directory / "hubs" / path.stem / "clients"
        clients.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key in (directory / "nodes").glob("*.tls-crypt-v2.key"):
            key.rename(clients / f"{key.name.removesuffix('.tls-crypt-v2.key')}.key")
        old.rename(clients.parent / old.name)
        return


class _Issuer:
    def __init__(
        self, directory: Path, cluster: str, hubs: Sequence[str], now: datetime, before: datetime | None
    ) -> None:
        self._directory = directory
        self._nodes = directory / "nodes"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{cluster} VPN CA")])
        self._hubs = tuple(hubs)
        self._now = now.replace(microsecond=0)
        self._before = before
        self._changes: list[str] = []

    def create_authority(self) -> None:
        self._authority()

    def ensure(self, nodes: Sequence[str]) -> Pki:
        _move_old(self._directory)
        _finish_promotion(self._directory)
        homes = [self._directory / "hubs" / hub for hub in self._hubs]
        clients = [home / "clients" for home in homes]
        for directory in (self._directory, self._nodes, self._directory / "revoked", *homes, *clients):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.chmod(0o700)
        key, authority = self._authority()
        servers = {hub: self._server_key(hub) for hub in self._hubs}
        certificates = {}
        for node in nodes:
            certificate = self._certificate(node, key, authority)
            certificates[node] = Certificate(
                node,
                certificate.serial_number,
                certificate.not_valid_after_utc,
                certificate.not_valid_after_utc - NODE_RENEWAL,
            )
            for hub, server in servers.items():
                if node != hub:
                    self._client_key(node, hub, server)
        for path in self._directory.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        return Pki(self._directory, self._hubs, certificates, tuple(self._changes))

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_path, path = self._directory / "ca.key", self._directory / "ca.crt"
        certificate: x509.Certificate | None = None
        if key_path.exists():
            key = self._read_key(key_path)
        elif path.exists():
            raise self._damaged(f"{key_path} is missing")
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(key_path, _pem(key))
        if path.exists():
            try:
                certificate = x509.load_pem_x509_certificate(path.read_bytes())
            except ValueError as error:
                raise self._damaged(f"{path} is not a certificate") from error
            if certificate.public_key() != key.public_key():
                raise self._damaged(f"{path} is not the certificate of {key_path}")
        if certificate is None or certificate.not_valid_after_utc - self._now < CA_RENEWAL:
            usage = _key_usage(key_cert_sign=True, crl_sign=True)
            builder = (
                self._builder(certificate.subject if certificate else self._name, key, CA_VALIDITY)
                .issuer_name(certificate.subject if certificate else self._name)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
            )
            what = "created" if certificate is None else "renewed"
            certificate = builder.sign(key, hashes.SHA256())
            write_private(path, certificate.public_bytes(Encoding.PEM))
            self._changes.append(f"CA {what}, valid until {certificate.not_valid_after_utc:%Y-%m-%d}")
        return key, certificate

    def _read_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise self._damaged(f"{path} is not a private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self._damaged(f"{path} is not an elliptic curve key")
        return key

    def _damaged(self, what: str) -> PkiError:
        return PkiError(
            "the CA of the VPN is damaged",
            context=[what],
            hint=f"restore {self._directory} from a backup. Without one, move the directory away and bootstrap again to create "
            "new keys for all nodes",
        )

    def _server_key(self, hub: str) -> ServerKey:
        path = self._directory / "hubs" / hub / "tls-crypt-v2-server.key"
        if path.exists():
            try:
                return ServerKey.from_pem(path.read_bytes())
            except ValueError as error:
                raise self._damaged(f"{path}: {error}") from error
        key = ServerKey.generate()
        write_private(path, key.to_pem())
        return key

    def _client_key(self, node: str, hub: str, server: ServerKey) -> None:
        path = self._directory / "hubs" / hub / "clients" / f"{node}.key"
        if path.exists():
            try:
                server.unwrap(path.read_bytes())
            except ValueError:
                self._changes.append(
                    f"{node}: tls-crypt-v2 key re-created, because the old one does not match that of {hub}"
                )
            else:
                return
        write_private(path, server.client_key(created=self._now))

    def _certificate(
        self, node: str, ca_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate
    ) -> x509.Certificate:
        kept, reason = self._kept(node, authority)
        if kept is not None:
            return kept
        key = ec.generate_private_key(ec.SECP256R1())
        validity = min(NODE_VALIDITY, authority.not_valid_after_utc - self._now)
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)]), key, validity)
            .issuer_name(authority.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(self._purposes(node)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        # An interruption between the two leaves a pair that does not match, which the next run replaces.
        write_private(self._nodes / f"{node}.key", _pem(key))
        write_private(self._nodes / f"{node}.crt", certificate.public_bytes(Encoding.PEM))
        self._changes.append(f"{node}: {reason}, valid until {certificate.not_valid_after_utc:%Y-%m-%d}")
        return certificate

    def _kept(self, node: str, authority: x509.Certificate) -> tuple[x509.Certificate | None, str]:
        """Return the valid certificate of a node, or why a new one is issued."""
        path = self._nodes / f"{node}.crt"
        if not path.exists():
            return None, "certificate issued"
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = load_pem_private_key((self._nodes / f"{node}.key").read_bytes(), password=None)
            certificate.verify_directly_issued_by(authority)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.ExtensionNotFound):
            return None, "certificate re-issued, because the old one was damaged or is of another CA"
        if key.public_key() != certificate.public_key() or set(usage) != set(self._purposes(node)):
            return None, "certificate re-issued, because the old one had another key or usage"
        if (self._directory / "revoked" / str(certificate.serial_number)).exists():
            return None, "certificate re-issued, because the old one was revoked"
        if expires_soon(certificate, now=self._now, before=self._before):
            return None, "certificate renewed"
        return certificate, ""

    def _purposes(self, node: str) -> list[x509.ObjectIdentifier]:
        """Return what a certificate is for. Hubs are also clients, of each other; other hosts are no servers."""
        server = [ExtendedKeyUsageOID.SERVER_AUTH] if node in self._hubs else []
        return [*server, ExtendedKeyUsageOID.CLIENT_AUTH]

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, validity: timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATED)
            .not_valid_after(self._now + validity)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
