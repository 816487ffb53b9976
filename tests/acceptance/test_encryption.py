"""Secrets are ciphertext in etcd, and a new key replaces the old one in phases, with a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.encrypting_server import EncryptingServer

from maas import console
from maas.cluster import encryption
from maas.hosts import encryption as keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.hosts.encryption import Keys

SECRETS = [f"s{number:02}" for number in range(12)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptingServer]:
    made = EncryptingServer(tmp_path_factory.mktemp("server"))
    with made.run(""):
        for name in SECRETS:
            made.cluster.core.create_namespaced_secret(
                "default", {"metadata": {"name": name}, "stringData": {"pin": "4711-clear"}}
            )
        yield made


def keys_in(stored: bytes) -> str:
    """The name of the key that encrypted a value of etcd."""
    prefix, _, rest = stored.partition(b"k8s:enc:secretbox:v1:")
    assert prefix == b""
    return rest.partition(b":")[0].decode()


def advance(server: EncryptingServer, state: Path, keys: Keys) -> Keys:
    with console.phase("rotation") as step:
        return encryption.advance(state, keys, server.cluster, server, step)


def test_a_cluster_of_before_is_encrypted_then_rotated_and_each_phase_can_be_repeated(
    server: EncryptingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "_PAGE", 5)
    assert b"4711-clear" in server.stored("default", SECRETS[0])
    first = keys_of.ensure(tmp_path, exists=True, found="")
    assert first.phase == "promoted"
    keys = advance(server, tmp_path, first)
    assert keys.phase == "complete"
    assert {keys_in(server.stored("default", name)) for name in SECRETS} == set(first.names)
    assert b"4711-clear" not in server.stored("default", SECRETS[0])

    phases: list[str] = []
    while not phases or keys.phase != "complete":
        before = keys
        keys = advance(server, tmp_path, before)
        phases.append(keys.phase)
        assert keys_of.load(tmp_path) == keys
        if before.phase in {"added", "promoted"}:
            # As after an interruption before the new phase was stored.
            keys_of.save(tmp_path, before)
            keys = advance(server, tmp_path, before)
        secret = server.cluster.core.read_namespaced_secret(SECRETS[-1], "default")
        assert secret.data is not None, f"Secrets can be read in {keys.phase}"
    assert phases == ["added", "promoted", "dropped", "complete"]
    assert len(keys.keys) == 1
    assert keys.names != first.names
    assert {keys_in(server.stored("default", name)) for name in SECRETS} == set(keys.names)
    assert set(server.loaded().values()) == {keys.digest}
