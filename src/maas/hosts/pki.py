"""The PKI of the VPN on the controller.

    ca.key, ca.crt                        the certificate authority; its key stays on the controller
    tls-crypt-v2-server.key               the hub's key for the control channel
    nodes/NAME.key, .crt                  the hub's server certificate and the client certificates of the other nodes
    nodes/NAME.tls-crypt-v2.key           the other nodes' keys for the control channel
    revoked/SERIAL                        one empty file for each revoked certificate

Revoked certificates are a directory of serial numbers (OpenVPN's ``crl-verify DIR dir``). Unlike a CRL, it does not
expire, which would disconnect all nodes.
"""

from __future__ import annotations

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
        hub: The node with the OpenVPN server.
        certificates: The certificate of each node by the node's name.
        changes: What `ensure` created or renewed, one line each.
    """

    directory: Path
    hub: str
    certificates: dict[str, Certificate]
    changes: tuple[str, ...]

    def files_for(self, node: str) -> dict[str, bytes]:
        """Return the files for a node's OpenVPN, by name.

        For the hub: ca.crt, server.crt, server.key, tls-crypt-v2.key and revoked/SERIAL for each revoked certificate.
        For other nodes: ca.crt, client.crt, client.key and tls-crypt-v2.key.
        """
        nodes = self.directory / "nodes"
        kind = "server" if node == self.hub else "client"
        files = {
            "ca.crt": (self.directory / "ca.crt").read_bytes(),
            f"{kind}.crt": (nodes / f"{node}.crt").read_bytes(),
            f"{kind}.key": (nodes / f"{node}.key").read_bytes(),
        }
        if node != self.hub:
            return files | {"tls-crypt-v2.key": (nodes / f"{node}.tls-crypt-v2.key").read_bytes()}
        revoked = {f"revoked/{path.name}": b"" for path in sorted((self.directory / "revoked").iterdir())}
        return files | {"tls-crypt-v2.key": (self.directory / "tls-crypt-v2-server.key").read_bytes()} | revoked


def ensure(directory: Path, cluster: str, nodes: Sequence[str], *, hub: str, now: datetime | None = None) -> Pki:
    """Create missing keys and certificates and renew those that expire soon.

    A renewed certificate has a new key, and the old one stays valid until it expires, so that nodes that are down keep
    their access. A renewed CA keeps its key, so that existing certificates stay valid.

    Args:
        directory: The directory of the PKI; created if it is missing, readable by its owner only.
        cluster: Name of the cluster, part of the CA's name.
        nodes: All nodes with the hub.
        hub: The node with the OpenVPN server.
        now: The current time, for tests.

    Raises:
        PkiError: The CA is damaged. It is not re-created, because that would disconnect all nodes.
    """
    return _Issuer(directory, cluster, hub, now or datetime.now(UTC)).ensure(nodes)


def revoke(directory: Path, node: str) -> int:
    """Revoke a node's certificate, delete its keys and return the serial number.

    It takes effect once the hub has the file of that serial number. `ensure` would create new keys.

    Raises:
        PkiError: The node has no certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate((directory / "nodes" / f"{node}.crt").read_bytes())
    except (OSError, ValueError) as error:
        known = sorted(path.stem for path in (directory / "nodes").glob("*.crt"))
        raise PkiError(
            f"{node} has no certificate to revoke",
            context=[f"certificates: {', '.join(known)}"],
            code="CertificateNotFound",
        ) from error
    write_private(directory / "revoked" / str(certificate.serial_number), b"")
    for suffix in ("crt", "key", "tls-crypt-v2.key"):
        (directory / "nodes" / f"{node}.{suffix}").unlink(missing_ok=True)
    return certificate.serial_number


class _Issuer:
    def __init__(self, directory: Path, cluster: str, hub: str, now: datetime) -> None:
        self._directory = directory
        self._nodes = directory / "nodes"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{cluster} VPN CA")])
        self._hub = hub
        self._now = now.replace(microsecond=0)
        self._changes: list[str] = []

    def ensure(self, nodes: Sequence[str]) -> Pki:
        for directory in (self._directory, self._nodes, self._directory / "revoked"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.chmod(0o700)
        key, authority = self._authority()
        server = self._server_key()
        certificates = {}
        for node in nodes:
            certificate = self._certificate(node, key, authority)
            certificates[node] = Certificate(
                node,
                certificate.serial_number,
                certificate.not_valid_after_utc,
                certificate.not_valid_after_utc - NODE_RENEWAL,
            )
            if node != self._hub:
                self._client_key(node, server)
        for path in (*self._directory.iterdir(), *self._nodes.iterdir()):
            if path.is_file():
                path.chmod(0o600)
        return Pki(self._directory, self._hub, certificates, tuple(self._changes))

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

    def _server_key(self) -> ServerKey:
        path = self._directory / "tls-crypt-v2-server.key"
        if path.exists():
            try:
                return ServerKey.from_pem(path.read_bytes())
            except ValueError as error:
                raise self._damaged(f"{path}: {error}") from error
        key = ServerKey.generate()
        write_private(path, key.to_pem())
        return key

    def _client_key(self, node: str, server: ServerKey) -> None:
        path = self._nodes / f"{node}.tls-crypt-v2.key"
        if path.exists():
            try:
                server.unwrap(path.read_bytes())
            except ValueError:
                self._changes.append(
                    f"{node}: tls-crypt-v2 key re-created, because the old one does not match the hub's"
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
        server = node == self._hub
        key = ec.generate_private_key(ec.SECP256R1())
        validity = min(NODE_VALIDITY, authority.not_valid_after_utc - self._now)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)]), key, validity)
            .issuer_name(authority.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
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
            return None, "certificate re-issued, because the old one was damaged"
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if node == self._hub else ExtendedKeyUsageOID.CLIENT_AUTH
        if key.public_key() != certificate.public_key() or purpose not in usage:
            return None, "certificate re-issued, because the old one had another key or usage"
        if (self._directory / "revoked" / str(certificate.serial_number)).exists():
            return None, "certificate re-issued, because the old one was revoked"
        if certificate.not_valid_after_utc - self._now < NODE_RENEWAL:
            return None, "certificate renewed"
        return certificate, ""

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
