from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas import paths, process
from maas.bundle import tools
from maas.errors import MaasError, ReleaseError, UsageError
from maas.release import signers
from maas.release.signers import KeyPair

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"what is signed")
    return path


@pytest.mark.parametrize("name", ["key", "passphrase"])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    for file in ("key", "passphrase"):
        (tmp_path / file).write_text("it")
        (tmp_path / file).chmod(0o640 if file == name else 0o600)
    with pytest.raises(UsageError, match=f"other users can read .*{name}"):
        KeyPair(tmp_path / "key", tmp_path / "passphrase").ready()


def test_a_key_pair_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "maas.key").touch()
    with pytest.raises(UsageError, match="is not overwritten"):
        signers.generate(tmp_path, passphrase=tmp_path / "passphrase")


def test_the_passphrase_reaches_cosign_but_not_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cosign").write_text(
        '#!/bin/sh\necho "$@" > "$0.words"; echo "$COSIGN_PASSWORD" > "$0.password"; touch file.sigstore.json\n'
    )
    (tmp_path / "cosign").chmod(0o755)
    monkeypatch.setattr(tools, "tool", lambda name: tmp_path / name)
    for file in ("key", "passphrase"):
        (tmp_path / file).write_text("correct horse")
        (tmp_path / file).chmod(0o600)
    monkeypatch.chdir(tmp_path)
    bundle = KeyPair(tmp_path / "key", tmp_path / "passphrase").sign(tmp_path / "file")
    assert bundle.name == "file.sigstore.json"
    assert (tmp_path / "cosign.password").read_text() == "correct horse\n"
    words = (tmp_path / "cosign.words").read_text().split()
    assert "correct" not in words
    # Nothing may leave this machine: cosign uploads to a public log by default.
    assert {"sign-blob", "--tlog-upload=false", "--use-signing-config=false"} <= {*words}


def test_a_secret_in_the_checkout_is_refused() -> None:
    with pytest.raises(UsageError, match="is in the checkout"):
        KeyPair(paths.content() / "release" / "maas.key").ready()


@pytest.mark.usefixtures("home")
def test_a_missing_openpgp_key_is_reported() -> None:
    with pytest.raises(ReleaseError, match="GnuPG has no secret key 0123456789"):
        signers.Gpg("0123456789").ready()


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
    signers.Gpg(user, passphrase).sign(file)
    assert seen
    assert not any(secret in word for word in seen)


def test_a_signer_is_chosen_by_its_prefix() -> None:
    assert isinstance(signers.signer("gpg:0123", passphrase=None), signers.Gpg)
    assert isinstance(signers.signer("key:~/k", passphrase=None), KeyPair)
    for text in ("gpg", "key:", "pgp:0123", "sigstore:me"):
        with pytest.raises(UsageError, match="unknown signer"):
            signers.signer(text, passphrase=None)


def test_keyless_signing_without_a_network_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # An unreachable proxy has the same effect as no network, without waiting for DNS.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(MaasError, match="cannot reach Sigstore") as raised:
        signers.signer("sigstore", passphrase=None).ready()
    assert "--sign key:FILE" in str(raised.value.hint)
