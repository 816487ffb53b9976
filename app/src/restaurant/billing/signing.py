"""Ed25519 signatures of journal entries. `cryptography` is loaded by the first signature, not at startup."""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What comes before the 32 bytes of an Ed25519 key in its standard encodings (RFC 8410).
_PRIVATE = bytes.fromhex("302e020100300506032b657004220420")
_PUBLIC = bytes.fromhex("302a300506032b6570032100")


class Signer:
    """A private key, and whether the journal is known to have its public key."""

    def __init__(self, pem: str, previous: Signer | None = None) -> None:
        """Raises `ValueError` unless `pem` is an unencrypted Ed25519 private key."""
        self._seed = _unwrap(pem, "PRIVATE KEY", _PRIVATE)
        self._previous = previous
        self.introduced = False

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed)

    @cached_property
    def public_key(self) -> str:
        """The public key, 32 bytes in base64."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    @property
    def key(self) -> str:
        """The fingerprint of the public key."""
        return fingerprint(self.public_key)

    def sign(self, text: str) -> str:
        """The signature of `text` in base64."""
        return base64.b64encode(self._private.sign(text.encode())).decode()

    def introduction(self, replaces: str | None) -> dict[str, str | None]:
        """What the journal records of this key; the key that it `replaces` endorses it, if it is configured."""
        endorsed = self._previous is not None and self._previous.key == replaces
        return {
            "key": self.key,
            "public_key": self.public_key,
            "replaces": replaces,
            "endorsement": self._previous.sign(self.public_key) if self._previous is not None and endorsed else None,
        }

    def remember(self) -> None:
        """The journal has the public key."""
        self.introduced = True


def new_key() -> str:
    """A private key as PEM, such as `openssl genpkey -algorithm ed25519` makes."""
    import secrets

    return _wrap(_PRIVATE + secrets.token_bytes(32), "PRIVATE KEY")


def public_pem(public_key: str) -> str:
    """A public key as PEM, which other programs read."""
    return _wrap(_PUBLIC + base64.b64decode(public_key), "PUBLIC KEY")


def read_public_keys(text: str) -> list[str]:
    """The public keys in a PEM file, which may contain several. Raises `ValueError` unless they are Ed25519 keys."""
    end = "-----END PUBLIC KEY-----"
    blocks = [block + end for block in text.split(end) if block.strip()]
    if not blocks:
        raise ValueError("not an Ed25519 public key in PEM format")
    return [base64.b64encode(_unwrap(block, "PUBLIC KEY", _PUBLIC)).decode() for block in blocks]


def fingerprint(public_key: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 hash of a public key. Raises `ValueError`."""
    return hashlib.sha256(base64.b64decode(public_key, validate=True)).hexdigest()[:16]


def is_valid(public_key: str, text: str, signature: str | None) -> bool:
    """Whether `signature` of `text` was made with the private part of `public_key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature or "", validate=True), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _wrap(der: bytes, label: str) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def _unwrap(pem: str, label: str, prefix: bytes) -> bytes:
    body = pem.strip().removeprefix(f"-----BEGIN {label}-----").removesuffix(f"-----END {label}-----")
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        der = b""
    if len(der) != len(prefix) + 32 or not der.startswith(prefix):
        raise ValueError(f"not an Ed25519 {label.lower()} in PEM format")
    return der[len(prefix) :]
