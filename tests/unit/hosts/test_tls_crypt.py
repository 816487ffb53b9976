from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from maas.hosts.tls_crypt import ServerKey

# Made by OpenVPN 2.6.14: --genkey tls-crypt-v2-server, and --tls-crypt-v2 SERVER --genkey tls-crypt-v2-client.
DATA = Path(__file__).parent / "data"
SERVER = (DATA / "tls-crypt-v2-server.key").read_bytes()
CLIENT = (DATA / "tls-crypt-v2-client.key").read_bytes()


def test_a_server_key_of_openvpn_is_read_and_written_byte_by_byte() -> None:
    assert ServerKey.from_pem(SERVER).to_pem() == SERVER


def test_a_client_key_of_openvpn_is_unwrapped_and_wrapped_again_byte_by_byte() -> None:
    server = ServerKey.from_pem(SERVER)
    key, metadata = server.unwrap(CLIENT)
    assert len(key) == 256
    assert metadata[0] == 1
    assert datetime.fromtimestamp(int.from_bytes(metadata[1:], "big"), UTC).year == 2026
    assert server.wrap(key, metadata) == CLIENT


def test_each_client_has_a_key_of_its_own_with_the_time_of_its_creation() -> None:
    server, created = ServerKey.generate(), datetime(2026, 1, 1, tzinfo=UTC)
    one, other = (server.client_key(created=created) for _ in range(2))
    assert one != other
    assert len(one) == len(CLIENT)
    assert server.unwrap(one)[1] == b"\x01" + int(created.timestamp()).to_bytes(8, "big")


def test_a_client_key_of_another_server_is_refused() -> None:
    with pytest.raises(ValueError, match="another server key"):
        ServerKey.generate().unwrap(CLIENT)


@pytest.mark.parametrize("pem", [b"", b"\xff", SERVER, CLIENT[:200], CLIENT.replace(b"\nvuTK", b"\n!!!!")])
def test_what_is_no_client_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServerKey.from_pem(SERVER).unwrap(pem)


@pytest.mark.parametrize("pem", [b"", CLIENT, SERVER.replace(b"93Q=", b"")])
def test_what_is_no_server_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServerKey.from_pem(pem)
