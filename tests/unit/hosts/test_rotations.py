from __future__ import annotations

import base64
import hashlib
import json
import stat
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from maas.errors import PkiError
from maas.hosts import rotations
from maas.hosts.rotations import Rotation

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def made(**changes: str) -> Rotation:
    known = {"kind": "etcd", "phase": "trusted", "began": NOW, "old": "old\n", "new": "new\n", "key": "secret\n"}
    return Rotation.model_validate({**known, **changes})


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout


def old_authority(tmp_path: Path) -> str:
    """A CA as kubeadm makes it, but of OpenSSL."""
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
        *("-subj", "/CN=etcd-ca", "-keyout", tmp_path / "old.key", "-out", tmp_path / "old.crt"),
    )
    return (tmp_path / "old.crt").read_text()


def test_what_issues_is_trusted_first_in_every_phase() -> None:
    found = {phase: made(phase=phase).trusted for phase in rotations.PHASES}
    assert found == {"trusted": "old\nnew\n", "issued": "new\nold\n", "dropped": "new\n"}


def test_a_rotation_is_stored_for_its_owner_only_and_deleted_after_its_last_phase(tmp_path: Path) -> None:
    assert rotations.load(tmp_path, "etcd") is None
    assert rotations.unfinished(tmp_path) == []
    rotation: Rotation | None = made()
    assert rotation is not None
    rotations.save(tmp_path, rotation)
    assert rotations.unfinished(tmp_path) == ["etcd"]
    phases = []
    while rotation is not None:
        assert rotations.load(tmp_path, "etcd") == rotation
        (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        phases.append(rotation.phase)
        rotation = rotations.advance(tmp_path, rotation)
    assert phases == ["trusted", "issued", "dropped"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_message_shows_a_key() -> None:
    assert "secret" not in repr(made())


def test_a_damaged_rotation_is_not_begun_again(tmp_path: Path) -> None:
    rotations.save(tmp_path, made())
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_text(json.dumps({"kind": "etcd"}))
    with pytest.raises(PkiError, match="damaged"):
        rotations.load(tmp_path, "etcd")


def test_a_new_ca_has_the_name_of_the_old_one_and_openssl_accepts_both_together(tmp_path: Path) -> None:
    old = old_authority(tmp_path)
    new, key = rotations.new_authority(old)
    assert rotations.matches(new, key)
    assert not rotations.matches(old, key)
    (tmp_path / "new.crt").write_text(new)
    (tmp_path / "new.key").write_text(key)
    text = openssl("x509", "-in", tmp_path / "new.crt", "-noout", "-text")
    assert "CN = etcd-ca" in text
    assert "CA:TRUE" in text
    for name in ("old", "new"):
        (tmp_path / "leaf.cnf").write_text("authorityKeyIdentifier = keyid\n")
        request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}-leaf")
        openssl(*request, "-keyout", tmp_path / "leaf.key", "-out", tmp_path / "leaf.csr")
        authority = ("-CA", tmp_path / f"{name}.crt", "-CAkey", tmp_path / f"{name}.key", "-set_serial", "7")
        openssl(
            *("x509", "-req", "-in", tmp_path / "leaf.csr", *authority, "-days", "5"),
            *("-extfile", tmp_path / "leaf.cnf", "-out", tmp_path / f"{name}-leaf.crt"),
        )
    for text in (old + new, new + old):
        (tmp_path / "both.pem").write_text(text)
        for name in ("old", "new"):
            openssl("verify", "-no-CApath", "-CAfile", tmp_path / "both.pem", tmp_path / f"{name}-leaf.crt")


def test_a_signer_of_tokens_has_the_name_that_api_servers_give_it(tmp_path: Path) -> None:
    public, key = rotations.new_signer()
    assert rotations.matches(public, key)
    (tmp_path / "sa.key").write_text(key)
    (tmp_path / "sa.pub").write_text(public)
    assert openssl("pkey", "-in", tmp_path / "sa.key", "-pubout") == public
    openssl("pkey", "-pubin", "-in", tmp_path / "sa.pub", "-outform", "DER", "-out", tmp_path / "sa.der")
    digest = hashlib.sha256((tmp_path / "sa.der").read_bytes()).digest()
    # pkg/serviceaccount of Kubernetes: base64.RawURLEncoding of the sha256 of the key in DER.
    assert rotations.key_id(public) == base64.urlsafe_b64encode(digest).decode().rstrip("=")
