"""OpenVPN's tls-crypt-v2 keys: one per client, wrapped with a key of the server.

The format is described in doc/tls-crypt-v2.txt of OpenVPN's source:

    server key   PEM of 128 bytes: two halves of 64, whose first 32 bytes are Ke (AES-256-CTR) and Ka (HMAC-SHA-256)
    client key   PEM of Kc || WKc, where Kc are 256 random bytes
    WKc          T || AES-256-CTR(Ke, T[:16], Kc || metadata) || len
    T            HMAC-SHA-256(Ka, len || Kc || metadata)
    len          length of WKc, 16 bits, big endian
    metadata     0x01 and the time of creation, 64 bits, big endian
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from datetime import datetime

_SERVER = "OpenVPN tls-crypt-v2 server key"
_CLIENT = "OpenVPN tls-crypt-v2 client key"
_SERVER_BYTES = 128
_CLIENT_BYTES = 256
_TAG = 32
_LENGTH = 2
_TIMESTAMP = 1
_COLUMNS = 64


@dataclass(frozen=True)
class ServerKey:
    """The key with which the server unwraps the clients' keys."""

    data: bytes

    @classmethod
    def generate(cls) -> ServerKey:
        """Return a new random key."""
        return cls(os.urandom(_SERVER_BYTES))

    @classmethod
    def from_pem(cls, pem: bytes) -> ServerKey:
        """Read a key file.

        Raises:
            ValueError: It is not a tls-crypt-v2 server key.
        """
        data = _decode(_SERVER, pem)
        if len(data) != _SERVER_BYTES:
            raise ValueError(f"a tls-crypt-v2 server key has {_SERVER_BYTES} bytes, not {len(data)}")
        return cls(data)

    def to_pem(self) -> bytes:
        """Return the key file."""
        return _encode(_SERVER, self.data)

    def client_key(self, *, created: datetime) -> bytes:
        """Return the key file of a new client."""
        metadata = struct.pack("!BQ", _TIMESTAMP, int(created.timestamp()))
        return self.wrap(os.urandom(_CLIENT_BYTES), metadata)

    def wrap(self, key: bytes, metadata: bytes) -> bytes:
        """Return the key file of a client with 256 random bytes."""
        length = struct.pack("!H", _TAG + len(key) + len(metadata) + _LENGTH)
        tag = self._tag(length, key + metadata)
        return _encode(_CLIENT, key + tag + self._cipher(tag, key + metadata) + length)

    def unwrap(self, pem: bytes) -> tuple[bytes, bytes]:
        """Return the 256 random bytes and the metadata in a client's key file.

        Raises:
            ValueError: It is not a tls-crypt-v2 client key, or another server key wrapped it.
        """
        data = _decode(_CLIENT, pem)
        key, wrapped = data[:_CLIENT_BYTES], data[_CLIENT_BYTES:]
        tag, text, length = wrapped[:_TAG], wrapped[_TAG:-_LENGTH], wrapped[-_LENGTH:]
        if len(text) <= _CLIENT_BYTES or struct.unpack("!H", length)[0] != len(wrapped):
            raise ValueError("tls-crypt-v2 client key with a wrong length")
        plain = self._cipher(tag, text)
        if not hmac.compare_digest(tag, self._tag(length, plain)) or plain[:_CLIENT_BYTES] != key:
            raise ValueError("tls-crypt-v2 client key wrapped with another server key")
        return key, plain[_CLIENT_BYTES:]

    def _tag(self, length: bytes, plain: bytes) -> bytes:
        return hmac.digest(self.data[64:96], length + plain, "sha256")

    def _cipher(self, tag: bytes, text: bytes) -> bytes:
        cipher = Cipher(algorithms.AES256(self.data[:32]), modes.CTR(tag[:16])).encryptor()
        return cipher.update(text) + cipher.finalize()


def _encode(name: str, data: bytes) -> bytes:
    text = base64.b64encode(data).decode()
    lines = [text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS)]
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""]).encode()


def _decode(name: str, pem: bytes) -> bytes:
    lines = pem.decode("ascii").split("\n")
    if lines[0] != f"-----BEGIN {name}-----" or lines[-2:] != [f"-----END {name}-----", ""]:
        raise ValueError(f"not an {name}")
    try:
        return base64.b64decode("".join(lines[1:-2]), validate=True)
    except binascii.Error as error:
        raise ValueError(f"damaged {name}") from error
