"""Rotations of what all hosts of a cluster trust: its CAs, and the key that signs tokens.

Hosts change one after the other, so that a rotation has phases. A phase is stored before its work begins, and can be repeated
after an interruption:

    trusted    hosts trust the new one too; everything is still issued by the old one
    issued     everything is issued by the new one; hosts still trust the old one
    dropped    hosts no longer trust the old one

Afterwards nothing is stored. The files of a rotation are in the directory rotations/KIND of the cluster's state directory.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, ValidationError

from maas import files
from maas.errors import PkiError

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = "rotations"
CA_VALIDITY = timedelta(days=3650)
"""As that of kubeadm's CAs."""
_BACKDATED = timedelta(minutes=5)
_FILE = "rotation.json"

Kind = Literal["vpn", "service-accounts", "front-proxy", "etcd"]
Phase = Literal["trusted", "issued", "dropped"]
PHASES: tuple[Phase, ...] = ("trusted", "issued", "dropped")


class Rotation(BaseModel):
    """A rotation that is not completed.

    Attributes:
        kind: What is replaced.
        phase: The phase that is carried out, or is to be repeated.
        began: When it began, UTC.
        old: The certificate or public key that is replaced, PEM; empty for the VPN.
        new: The one that replaces it; empty for the VPN.
        key: Its private key, PEM; empty for the VPN.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    phase: Phase
    began: datetime
    old: str = ""
    new: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Rotation(kind={self.kind!r}, phase={self.phase!r})"

    @property
    def trusted(self) -> str:
        """What is trusted in this phase, the one that issues first: programs that need only one take the first."""
        return {"trusted": self.old + self.new, "issued": self.new + self.old, "dropped": self.new}[self.phase]


def load(state: Path, kind: Kind) -> Rotation | None:
    """Return the rotation of a kind that is not completed, None if there is none.

    Raises:
        PkiError: Its file is damaged.
    """
    path = state / DIRECTORY / kind / _FILE
    try:
        return Rotation.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise PkiError(
            f"{path} is damaged",
            hint="restore it from an export of the state; hosts may have the new key already, so do not begin again",
        ) from error


def unfinished(state: Path) -> list[Kind]:
    """Return the kinds with a rotation that is not completed."""
    kinds: tuple[Kind, ...] = ("vpn", "service-accounts", "front-proxy", "etcd")
    return [kind for kind in kinds if (state / DIRECTORY / kind / _FILE).exists()]


def save(state: Path, rotation: Rotation) -> None:
    """Store a rotation."""
    home = state / DIRECTORY / rotation.kind
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_private(home / _FILE, rotation.model_dump_json(indent=1) + "\n")


def advance(state: Path, rotation: Rotation) -> Rotation | None:
    """Store and return the next phase of a rotation. After the last one its files are deleted, and None is returned."""
    following = PHASES[PHASES.index(rotation.phase) + 1 :]
    if not following:
        shutil.rmtree(state / DIRECTORY / rotation.kind)
        return None
    rotation = rotation.model_copy(update={"phase": following[0]})
    save(state, rotation)
    return rotation


def new_authority(old: str, now: datetime | None = None) -> tuple[str, str]:
    """Return the certificate and the private key of a CA with the name of an old one, as kubeadm makes it.

    Args:
        old: The certificate of the old one, PEM.
        now: The current time, for tests.
    """
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    before = x509.load_pem_x509_certificate(old.encode())
    (name,) = before.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(before.subject)
        .issuer_name(before.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(str(name.value))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode(), _private(key)


def new_signer() -> tuple[str, str]:
    """Return a new public key that verifies tokens, and the private one that signs them, as kubeadm makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), _private(key)


def key_id(public: str) -> str:
    """Return the name by which tokens refer to the public key that verifies them (`kid`), as API servers compute it."""
    der = load_pem_public_key(public.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def certificates(text: str) -> list[x509.Certificate]:
    """Return the certificates in a text."""
    return x509.load_pem_x509_certificates(text.encode())


def matches(new: str, key: str) -> bool:
    """Return whether a private key is that of a certificate or of a public key."""
    public = load_pem_private_key(key.encode(), password=None).public_key()
    if "BEGIN CERTIFICATE" in new:
        return x509.load_pem_x509_certificate(new.encode()).public_key() == public
    return load_pem_public_key(new.encode()) == public


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
