from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from maas import process
from maas.errors import UsageError, VerificationError
from maas.release import signers, trust
from maas.release.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.release.conftest import Keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"what is signed")
    return path


@pytest.mark.parametrize("which", [0, 1])
def test_a_valid_signature_names_its_signer(keys: Keys, file: Path, which: int) -> None:
    signer: signers.Signer = (keys.gpg, keys.pair)[which]
    signer.sign(file)
    (verified,) = Trust([keys.public[which]]).verify_file(file)
    assert (keys.gpg.key if which == 0 else "SHA256:") in verified.by


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_file_and_an_untrusted_key_are_refused(keys: Keys, foreign: Keys, file: Path, which: int) -> None:
    signer: signers.Signer = (keys.gpg, keys.pair)[which]
    signer.sign(file)
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([foreign.public[which]]).verify_file(file)
    file.write_bytes(b"what is signeD")
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([keys.public[which]]).verify_file(file)


def test_the_signature_of_a_revoked_key_is_refused(home: Path, file: Path, tmp_path: Path) -> None:
    user = "gone <gone@example.org>"
    process.run(["gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"])
    signers.Gpg(user).sign(file)
    public = tmp_path / "public.asc"
    public.write_text(process.run(["gpg", "--batch", "--armor", "--export", user]).stdout)
    Trust([public]).verify_file(file)
    (certificate,) = (home / "openpgp-revocs.d").glob(f"{trust.fingerprints(public)[0]}.rev")
    process.run(["gpg", "--batch", "--import"], input=certificate.read_text().replace(":-----BEGIN", "-----BEGIN"))
    public.write_text(process.run(["gpg", "--batch", "--armor", "--export", user]).stdout)
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([public]).verify_file(file)


def test_the_signature_of_a_statement_covers_its_type(keys: Keys, file: Path) -> None:
    bundle = keys.pair.attest(file)
    Trust([keys.public[1]]).verify_file(file)
    said = json.loads(bundle.read_text())
    said["dsseEnvelope"]["payloadType"] = "text/plain"
    bundle.write_text(json.dumps(said))
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([keys.public[1]]).verify_file(file)


def test_the_signature_of_another_statement_is_refused(keys: Keys, file: Path) -> None:
    keys.pair.attest(file)
    file.write_bytes(b"another statement")
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([keys.public[1]]).verify_file(file)


def test_a_file_without_a_signature_of_a_trusted_key_is_refused(keys: Keys, file: Path) -> None:
    with pytest.raises(VerificationError, match="no signature of a trusted key"):
        Trust([keys.public[0]]).verify_file(file)
    keys.pair.sign(file)
    with pytest.raises(VerificationError, match="no signature of a trusted key"):
        Trust([keys.public[0]]).verify_file(file)


def test_without_a_trusted_key_there_is_no_verification() -> None:
    with pytest.raises(UsageError, match="no trusted key"):
        Trust([])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dsseEnvelope": {}}', '{"messageSignature": {"signature": "%"}}'])
def test_a_damaged_bundle_is_refused(keys: Keys, file: Path, text: str) -> None:
    keys.pair.sign(file).write_text(text)
    with pytest.raises(VerificationError, match="is not valid"):
        Trust([keys.public[1]]).verify_file(file)


def test_a_file_that_is_not_a_key_cannot_be_trusted(file: Path) -> None:
    with pytest.raises(UsageError, match="is not a public key"):
        Trust([file])
