from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from maas import paths, process
from maas.errors import MaasError, ReleaseError, UsageError, VerificationError
from maas.release import signing
from maas.release.signing import KeyPair, Trust

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.release.conftest import Keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"what is signed")
    return path


@pytest.mark.parametrize("which", [0, 1])
def test_a_signature_holds_for_its_file_and_says_whose_it_is(keys: Keys, file: Path, which: int) -> None:
    signer: signing.Signer = (keys.gpg, keys.pair)[which]
    signer.sign(file)
    (verified,) = Trust([keys.public[which]]).file(file)
    assert (keys.gpg.key if which == 0 else "SHA256:") in verified.by


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_byte_and_a_foreign_key_are_refused(keys: Keys, foreign: Keys, file: Path, which: int) -> None:
    signer: signing.Signer = (keys.gpg, keys.pair)[which]
    signer.sign(file)
    with pytest.raises(VerificationError, match="does not hold"):
        Trust([foreign.public[which]]).file(file)
    file.write_bytes(b"what is signeD")
    with pytest.raises(VerificationError, match="does not hold"):
        Trust([keys.public[which]]).file(file)


def test_what_a_revoked_key_signed_is_refused(home: Path, file: Path, tmp_path: Path) -> None:
    user = "gone <gone@example.org>"
    process.run(["gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"])
    signing.Gpg(user).sign(file)
    public = tmp_path / "public.asc"
    public.write_text(process.run(["gpg", "--batch", "--armor", "--export", user]).stdout)
    Trust([public]).file(file)
    (certificate,) = (home / "openpgp-revocs.d").glob(f"{signing.fingerprints(public)[0]}.rev")
    process.run(["gpg", "--batch", "--import"], input=certificate.read_text().replace(":-----BEGIN", "-----BEGIN"))
    public.write_text(process.run(["gpg", "--batch", "--armor", "--export", user]).stdout)
    with pytest.raises(VerificationError, match="does not hold"):
        Trust([public]).file(file)


def test_a_statement_is_signed_with_its_type(keys: Keys, file: Path) -> None:
    bundle = keys.pair.attest(file)
    Trust([keys.public[1]]).file(file)
    said = json.loads(bundle.read_text())
    said["dsseEnvelope"]["payloadType"] = "text/plain"
    bundle.write_text(json.dumps(said))
    with pytest.raises(VerificationError, match="does not hold"):
        Trust([keys.public[1]]).file(file)


def test_a_statement_about_something_else_is_no_signature_of_the_file(keys: Keys, file: Path) -> None:
    keys.pair.attest(file)
    file.write_bytes(b"another statement")
    with pytest.raises(VerificationError, match="does not hold"):
        Trust([keys.public[1]]).file(file)


def test_a_file_without_a_signature_of_somebody_believed_is_refused(keys: Keys, file: Path) -> None:
    with pytest.raises(VerificationError, match="no signature of anybody who is believed"):
        Trust([keys.public[0]]).file(file)
    keys.pair.sign(file)
    with pytest.raises(VerificationError, match="no signature of anybody who is believed"):
        Trust([keys.public[0]]).file(file)


def test_nobody_believed_is_no_verification() -> None:
    with pytest.raises(UsageError, match="nobody is believed"):
        Trust([])


def test_a_key_pair_is_private_encrypted_and_not_overwritten(keys: Keys) -> None:
    text = keys.pair.file.read_text()
    assert text.startswith("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----")
    assert keys.pair.file.stat().st_mode & 0o077 == 0
    assert keys.pair.passphrase is not None
    with pytest.raises(UsageError, match="not overwritten"):
        signing.generate(keys.pair.file.parent, passphrase=keys.pair.passphrase)


def test_a_wrong_passphrase_is_said_before_anything_is_built(keys: Keys, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("something else")
    wrong.chmod(0o600)
    with pytest.raises(ReleaseError, match="the passphrase does not open"):
        KeyPair(keys.pair.file, wrong).ready()


def test_a_secret_that_others_can_read_is_refused(keys: Keys, tmp_path: Path) -> None:
    open_to_all = tmp_path / "passphrase"
    open_to_all.write_text("it")
    open_to_all.chmod(0o640)
    with pytest.raises(UsageError, match="can be read by others"):
        KeyPair(keys.pair.file, open_to_all).ready()


def test_a_secret_in_the_checkout_is_refused() -> None:
    with pytest.raises(UsageError, match="lies in the checkout"):
        KeyPair(paths.content() / "release" / "maas.key").ready()


@pytest.mark.usefixtures("home")
def test_an_openpgp_key_that_is_not_there_is_said() -> None:
    with pytest.raises(ReleaseError, match="GnuPG has no secret key 0123456789"):
        signing.Gpg("0123456789").ready()


@pytest.mark.usefixtures("home")
def test_passphrases_reach_gnupg_but_not_as_arguments(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "correct horse battery staple"  # noqa: S105 - of a key that lives for this test
    user = "locked <locked@example.org>"
    generate = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--quick-generate-key", user]
    process.run([*generate, "ed25519", "sign", "never"], input=secret)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(secret)
    passphrase.chmod(0o600)
    seen: list[str] = []
    run = process.run

    def watched(argv: list[str | Path], **options: object) -> process.Completed:
        seen.extend(str(word) for word in argv)
        return run(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", watched)
    signing.Gpg(user, passphrase).sign(file)
    assert seen
    assert not any(secret in word for word in seen)


def test_a_signer_is_named_by_its_kind() -> None:
    assert isinstance(signing.signer("gpg:0123", passphrase=None), signing.Gpg)
    assert isinstance(signing.signer("key:~/k", passphrase=None), KeyPair)
    for text in ("gpg", "key:", "pgp:0123", "sigstore:me"):
        with pytest.raises(UsageError, match="names no signer"):
            signing.signer(text, passphrase=None)


def test_keyless_signing_says_what_it_lacks_where_nothing_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that is not there: the same as no network, without waiting for a name to be looked up.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(MaasError, match="Sigstore cannot be reached") as raised:
        signing.signer("sigstore", passphrase=None).ready()
    assert "--sign key:FILE" in str(raised.value.hint)
