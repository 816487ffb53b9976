"""Keys of the lab: one that opens its hosts, and one for each host's ssh server, known before the first contact."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from pathlib import Path


def new() -> tuple[bytes, str]:
    """A private key in OpenSSH's format, and the public one as it stands in authorized_keys."""
    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = made.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public.decode()


def fingerprint(public: str) -> str:
    """What OpenSSH shows of a public key: `SHA256:...`."""
    blob = base64.b64decode(public.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def opener(directory: Path) -> Path:
    """The key that opens the lab's hosts, made when there is none."""
    path = directory / "ssh" / "id_ed25519"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        private, public = new()
        path.with_suffix(".pub").write_text(f"{public}\n", encoding="ascii")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
    return path
