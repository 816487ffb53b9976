"""SSH keys of the lab: one to log in to its hosts, and one for the SSH server of each host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from maas.hosts.known_hosts import HostKey

if TYPE_CHECKING:
    from pathlib import Path


def generate() -> tuple[bytes, HostKey]:
    """Return a new private key in OpenSSH's format, and its public key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    kind, data = public.decode().split()
    return private, HostKey(kind, data)


def path(directory: Path) -> Path:
    """Return the path of the private key to log in to a lab's hosts, whether it exists or not.

    Args:
        directory: The lab's state directory.
    """
    return directory / "ssh" / "id_ed25519"


def login_key(directory: Path) -> Path:
    """Return the private key to log in to a lab's hosts; generate it if there is none.

    Args:
        directory: The lab's state directory.
    """
    file = path(directory)
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        private, public = generate()
        file.with_suffix(".pub").write_text(f"{public.kind} {public.data}\n", encoding="ascii")
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            sink.write(private)
    return file
