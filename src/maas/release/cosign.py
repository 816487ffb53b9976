"""Signatures in cosign's bundle format: the pinned cosign signs, and this module verifies without it.

Verification needs no program, so a user can verify a release with this tool only.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from maas import process
from maas.bundle import tools
from maas.errors import UsageError
from maas.release import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUNDLE = ".sigstore.json"
"""Suffix of a signature."""

_OFFLINE = ("--tlog-upload=false", "--use-signing-config=false", "--yes")
_TIMEOUT = 60.0


def generate_key_pair(prefix: Path, *, passphrase: str) -> None:
    """Write PREFIX.key and PREFIX.pub.

    Raises:
        ProcessError: cosign failed.
    """
    _run("generate-key-pair", "--output-key-prefix", prefix, passphrase=passphrase)


def read_key(key: Path, *, passphrase: str) -> None:
    """Decrypt a private key to check it.

    Raises:
        ProcessError: The file is not such a key, or the passphrase is wrong.
    """
    _run("public-key", "--key", key, passphrase=passphrase)


def sign(file: Path, bundle: Path, *, key: Path, passphrase: str) -> None:
    """Write a bundle with the signature of a file.

    Raises:
        ProcessError: cosign failed.
    """
    _run("sign-blob", *_OFFLINE, "--key", key, "--bundle", bundle, file, passphrase=passphrase)
    bundle.chmod(0o644)  # cosign's is readable by its owner only


def attest(statement: Path, bundle: Path, *, key: Path, passphrase: str) -> None:
    """Write a bundle with an in-toto statement and its signature.

    Raises:
        ProcessError: cosign failed.
    """
    files = ("--key", key, "--bundle", bundle, "--statement", statement)
    _run("attest-blob", *_OFFLINE, *files, passphrase=passphrase)
    bundle.chmod(0o644)


def public_key(content: bytes, file: Path) -> ec.EllipticCurvePublicKey:
    """Read a public key.

    Args:
        content: The key, in PEM.
        file: Its file, for the error.

    Raises:
        UsageError: It is not a public ECDSA key.
    """
    try:
        key = serialization.load_pem_public_key(content)
    except ValueError as error:
        raise UsageError(f"{file} is not a public key", hint="use an armored OpenPGP key or cosign's PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(f"{file} is not an ECDSA key")
    return key


def is_keyless(bundle: Path) -> bool:
    """Return whether a bundle contains a certificate of an identity instead of a key."""
    try:
        return "publicKey" not in json.loads(bundle.read_text(encoding="utf-8"))["verificationMaterial"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def verify(bundle: Path, file: Path, keys: Sequence[ec.EllipticCurvePublicKey]) -> str:
    """Verify the signature of a file.

    Returns:
        The SHA-256 of the public key that verifies it, in hexadecimal.

    Raises:
        ValueError: The bundle is not valid, or none of the keys verifies it.
    """
    try:
        content, signature = _signed(json.loads(bundle.read_text(encoding="utf-8")), file.read_bytes())
    except (OSError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(repr(error)) from error
    for key in keys:
        try:
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()
    raise ValueError("no trusted key verifies it")


def envelope(payload: bytes) -> bytes:
    """Return what a DSSE signature of a statement signs: type and payload, each after its length."""
    kind = provenance.PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signed(bundle: dict[str, Any], content: bytes) -> tuple[bytes, bytes]:
    """Return the signed bytes and the signature of a bundle for a file with this content."""
    if (dsse := bundle.get("dsseEnvelope")) is None:
        return content, base64.b64decode(bundle["messageSignature"]["signature"], validate=True)
    if dsse["payloadType"] != provenance.PAYLOAD or base64.b64decode(dsse["payload"], validate=True) != content:
        raise ValueError("it is the signature of another statement")
    return envelope(content), base64.b64decode(dsse["signatures"][0]["sig"], validate=True)


def _run(command: str, *words: str | Path, passphrase: str) -> None:
    environment = {"COSIGN_PASSWORD": passphrase}
    process.run([tools.tool("cosign"), command, *words], env=environment, secrets=[passphrase], timeout=_TIMEOUT)
