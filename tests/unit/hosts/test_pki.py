from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maas.errors import PkiError
from maas.hosts import pki
from maas.hosts.tls_crypt import ServerKey

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NODES = ("master", "node1", "node2")


def ensured(
    directory: Path, *, nodes: tuple[str, ...] = NODES, days: float = 0, hubs: tuple[str, ...] = ("master",)
) -> pki.Pki:
    return pki.ensure(directory, "shop", nodes, hubs=hubs, now=NOW + timedelta(days=days))


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def purposes(pem: bytes) -> list[x509.ObjectIdentifier]:
    return list(certificate(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_each_node_gets_what_its_openvpn_needs_and_nothing_else(tmp_path: Path) -> None:
    made = ensured(tmp_path)
    assert sorted(made.files_for("master")) == ["ca.crt", "node.crt", "node.key", "tls-crypt-v2-server.key"]
    assert sorted(made.files_for("node1")) == ["ca.crt", "hubs/master.key", "node.crt", "node.key"]
    assert ExtendedKeyUsageOID.SERVER_AUTH in purposes(made.files_for("master")["node.crt"])
    assert purposes(made.files_for("node1")["node.crt"]) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    authority = (tmp_path / "ca.key").read_bytes()
    assert all(authority not in made.files_for(node).values() for node in NODES)


def test_certificates_are_signed_by_the_ca_and_named_after_the_node(tmp_path: Path) -> None:
    files = ensured(tmp_path).files_for("node1")
    authority, leaf = certificate(files["ca.crt"]), certificate(files["node.crt"])
    leaf.verify_directly_issued_by(authority)
    assert [name.value for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["node1"]
    key = load_pem_private_key(files["node.key"], password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert key.public_key() == leaf.public_key()
    assert leaf.not_valid_before_utc == NOW - timedelta(days=1)
    assert leaf.not_valid_after_utc == NOW + pki.NODE_VALIDITY
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_nobody_else_may_read_any_of_it(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    directory.mkdir(mode=0o755)
    ensured(directory)
    pki.revoke(directory, "node1")
    (directory / "ca.key").chmod(0o644)
    ensured(directory)
    for path in (directory, *directory.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_second_call_keeps_every_byte(tmp_path: Path) -> None:
    first = ensured(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    second = ensured(tmp_path, days=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert first.changes
    assert second.changes == ()
    assert second.certificates == first.certificates


def test_a_new_node_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    first = ensured(tmp_path, nodes=("master", "node1"))
    second = ensured(tmp_path)
    assert [sentence.split(":")[0] for sentence in second.changes] == ["node2"]
    assert second.files_for("node1") == first.files_for("node1")


def test_a_certificate_in_its_last_year_is_renewed_with_a_new_key(tmp_path: Path) -> None:
    first = ensured(tmp_path)
    assert first.certificates["node1"].renew_from == NOW + pki.NODE_VALIDITY - pki.NODE_RENEWAL
    days = (pki.NODE_VALIDITY - pki.NODE_RENEWAL).days
    assert ensured(tmp_path, days=days).changes == ()
    old = first.files_for("node1")
    renewed = ensured(tmp_path, days=days + 1)
    assert renewed.changes == tuple(f"{node}: certificate renewed, valid until 2031-11-23" for node in NODES)
    new = renewed.files_for("node1")
    assert new["node.key"] != old["node.key"]
    assert renewed.certificates["node1"].serial != first.certificates["node1"].serial
    assert new["hubs/master.key"] == old["hubs/master.key"]


def test_a_renewed_ca_still_vouches_for_what_it_signed_before(tmp_path: Path) -> None:
    first = ensured(tmp_path).files_for("node1")
    days = (pki.CA_VALIDITY - pki.CA_RENEWAL).days + 1
    renewed = ensured(tmp_path, days=days)
    assert renewed.changes[0].startswith("CA renewed, valid until 2043")
    authority = certificate(renewed.files_for("master")["ca.crt"])
    assert authority.serial_number != certificate(first["ca.crt"]).serial_number
    certificate(first["node.crt"]).verify_directly_issued_by(authority)


def test_a_revoked_certificate_stays_revoked_and_its_node_gets_new_keys(tmp_path: Path) -> None:
    first = ensured(tmp_path)
    serial = pki.revoke(tmp_path, "node1")
    assert serial == first.certificates["node1"].serial
    second = ensured(tmp_path)
    assert second.certificates["node1"].serial != serial
    assert second.files_for("node1")["hubs/master.key"] != (b"")
    assert f"revoked/{serial}" in second.files_for("master")
    assert f"revoked/{serial}" in ensured(tmp_path, days=4000).files_for("master")


def test_a_revoked_certificate_that_comes_back_from_a_backup_is_replaced(tmp_path: Path) -> None:
    old = ensured(tmp_path).files_for("node1")
    serial = pki.revoke(tmp_path, "node1")
    (tmp_path / "nodes" / "node1.crt").write_bytes(old["node.crt"])
    (tmp_path / "nodes" / "node1.key").write_bytes(old["node.key"])
    assert ensured(tmp_path).certificates["node1"].serial != serial


def test_only_a_node_with_a_certificate_can_be_revoked(tmp_path: Path) -> None:
    ensured(tmp_path, nodes=("master", "node1"))
    with pytest.raises(PkiError) as caught:
        pki.revoke(tmp_path, "node3")
    assert caught.value.code == "CertificateNotFound"
    assert caught.value.context == ("certificates: master, node1",)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_damaged_keys_of_a_node_are_re_created(tmp_path: Path, suffix: str, damage: bytes | None) -> None:
    ensured(tmp_path)
    path = tmp_path / "nodes" / f"node1.{suffix}"
    path.unlink() if damage is None else path.write_bytes(damage)
    second = ensured(tmp_path)
    assert len(second.changes) == 1
    assert second.changes[0].startswith(("node1: certificate issued", "node1: certificate re-issued"))
    files = second.files_for("node1")
    key = load_pem_private_key(files["node.key"], password=None)
    assert key.public_key() == certificate(files["node.crt"]).public_key()


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "hubs/master/tls-crypt-v2-server.key"])
def test_a_damaged_ca_is_never_replaced_by_itself(tmp_path: Path, name: str) -> None:
    ensured(tmp_path)
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(PkiError) as caught:
        ensured(tmp_path)
    assert caught.value.code == "InvalidCertificates"
    assert (tmp_path / name).read_bytes() == b"nonsense"


def test_a_missing_ca_key_is_never_replaced_by_itself(tmp_path: Path) -> None:
    ensured(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(PkiError) as caught:
        ensured(tmp_path)
    assert caught.value.code == "InvalidCertificates"
    assert not (tmp_path / "ca.key").exists()


def test_the_ca_of_another_cluster_is_not_mistaken_for_this_one(tmp_path: Path) -> None:
    ensured(tmp_path / "one")
    ensured(tmp_path / "two")
    (tmp_path / "one" / "ca.crt").write_bytes((tmp_path / "two" / "ca.crt").read_bytes())
    with pytest.raises(PkiError) as caught:
        ensured(tmp_path / "one")
    assert caught.value.code == "InvalidCertificates"


def test_a_lost_server_key_gives_every_node_a_new_client_key(tmp_path: Path) -> None:
    ensured(tmp_path)
    (tmp_path / "hubs" / "master" / "tls-crypt-v2-server.key").unlink()
    second = ensured(tmp_path)
    assert [sentence.split(":")[0] for sentence in second.changes] == ["node1", "node2"]
    server = ServerKey.from_pem(second.files_for("master")["tls-crypt-v2-server.key"])
    assert len(server.unwrap(second.files_for("node1")["hubs/master.key"])[0]) == 256


def test_a_node_that_becomes_the_hub_gets_a_server_certificate(tmp_path: Path) -> None:
    ensured(tmp_path)
    moved = ensured(tmp_path, hubs=("node1",))
    assert ExtendedKeyUsageOID.SERVER_AUTH in purposes(moved.files_for("node1")["node.crt"])
    assert purposes(moved.files_for("master")["node.crt"]) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_key_for_one_hub_opens_no_other_one(tmp_path: Path) -> None:
    made = ensured(tmp_path, hubs=("master", "node1"))
    servers = {hub: ServerKey.from_pem(made.files_for(hub)["tls-crypt-v2-server.key"]) for hub in ("master", "node1")}
    files = made.files_for("node2")
    for hub, server in servers.items():
        server.unwrap(files[f"hubs/{hub}.key"])
    with pytest.raises(ValueError, match="wrapped with another server key"):
        servers["master"].unwrap(files["hubs/node1.key"])
    # Hubs connect to each other.
    servers["master"].unwrap(made.files_for("node1")["hubs/master.key"])


def test_a_revocation_reaches_every_hub(tmp_path: Path) -> None:
    ensured(tmp_path, hubs=("master", "node1"))
    serial = pki.revoke(tmp_path, "node2")
    made = ensured(tmp_path, nodes=("master", "node1"), hubs=("master", "node1"))
    assert all(f"revoked/{serial}" in made.files_for(hub) for hub in ("master", "node1"))
    assert not list(tmp_path.glob("hubs/*/clients/node2.key"))


def test_the_keys_of_version_0_1_stay_valid(tmp_path: Path) -> None:
    first = ensured(tmp_path)
    home = tmp_path / "hubs" / "master"
    for key in (home / "clients").iterdir():
        key.rename(tmp_path / "nodes" / f"{key.stem}.tls-crypt-v2.key")
    (home / "tls-crypt-v2-server.key").rename(tmp_path / "tls-crypt-v2-server.key")
    second = ensured(tmp_path)
    assert second.changes == ()
    assert all(second.files_for(node) == first.files_for(node) for node in NODES)


def test_certificates_from_before_a_time_are_renewed_once(tmp_path: Path) -> None:
    pki.ensure(tmp_path, "shop", NODES, hubs=["master"], now=NOW)
    before = NOW + timedelta(hours=1)
    renewed = pki.ensure(tmp_path, "shop", NODES, hubs=["master"], now=before, before=before)
    assert [change.partition(",")[0] for change in renewed.changes] == [
        f"{node}: certificate renewed" for node in NODES
    ]
    again = pki.ensure(tmp_path, "shop", NODES, hubs=["master"], now=before + timedelta(hours=1), before=before)
    assert again.changes == ()


def verified(directory: Path, made: pki.Pki, leaf: bytes) -> bool:
    """Whether OpenSSL, as OpenVPN uses it, accepts a certificate with the CAs that a host gets."""
    (directory / "trusted.pem").write_bytes(made.files_for("node1")["ca.crt"])
    (directory / "leaf.pem").write_bytes(leaf)
    words = ["openssl", "verify", "-no-CApath", "-CAfile", str(directory / "trusted.pem"), str(directory / "leaf.pem")]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_each_phase_of_a_replaced_ca_accepts_what_the_phases_beside_it_issue(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    first = ensured(directory)
    old = first.files_for("node1")["node.crt"]

    pki.prepare_authority(directory, "shop", now=NOW)
    trusting = ensured(directory)
    assert trusting.changes == (), "nothing is issued before every host trusts the new CA"
    assert trusting.files_for("node1")["node.crt"] == old
    assert len(pki.authorities(directory)) == 2
    assert verified(tmp_path, trusting, old)

    pki.promote_authority(directory)
    issuing = ensured(directory, days=1)
    new = issuing.files_for("node1")["node.crt"]
    assert new != old
    assert len(issuing.changes) == len(NODES)
    assert all(verified(tmp_path, issuing, leaf) for leaf in (old, new))
    (directory / "previous").rename(directory / "away")
    assert not verified(tmp_path, issuing, old)
    (directory / "away").rename(directory / "previous")

    pki.drop_authority(directory)
    final = ensured(directory, days=1)
    assert final.changes == ()
    assert len(pki.authorities(directory)) == 1
    assert verified(tmp_path, final, new)
    assert not verified(tmp_path, final, old)
    for path in directory.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_every_step_of_a_replaced_ca_can_be_repeated(tmp_path: Path) -> None:
    ensured(tmp_path)
    pki.prepare_authority(tmp_path, "shop", now=NOW)
    new = (tmp_path / "next" / "ca.crt").read_bytes()
    pki.prepare_authority(tmp_path, "shop", now=NOW)
    assert (tmp_path / "next" / "ca.crt").read_bytes() == new
    # As after an interruption between the key and the certificate.
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous" / "ca.crt").write_bytes((tmp_path / "ca.crt").read_bytes())
    (tmp_path / "next" / "ca.key").replace(tmp_path / "ca.key")
    assert len(pki.authorities(tmp_path)) == 2
    assert (tmp_path / "ca.crt").read_bytes() == new
    pki.promote_authority(tmp_path)
    assert (tmp_path / "ca.crt").read_bytes() == new
    assert len(ensured(tmp_path).changes) == len(NODES)
    pki.drop_authority(tmp_path)
    pki.drop_authority(tmp_path)
    pki.promote_authority(tmp_path)
    assert [one.public_bytes(Encoding.PEM) for one in pki.authorities(tmp_path)] == [new]


def test_the_key_of_a_ca_stays_on_the_controller_while_it_is_replaced(tmp_path: Path) -> None:
    ensured(tmp_path)
    pki.prepare_authority(tmp_path, "shop", now=NOW)
    given = b"".join(ensured(tmp_path).files_for("master").values())
    for home in (tmp_path, tmp_path / "next"):
        assert (home / "ca.key").read_bytes() not in given
