"""The signers of a release.

`gpg` signs with an OpenPGP key of GnuPG's keyring, `key` with a key pair of cosign and without a network, and `sigstore`
with the identity of a workflow. The signature is beside its file: `.asc` from GnuPG, `.sigstore.json` from the other two.
"""

from __future__ import annotations

import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maas import paths, process
from maas.errors import ProcessError, ReleaseError, UsageError
from maas.release import cosign, trust

PUBLIC = "release/keys"
"""Directory of the project's public keys in the repository."""

OPENPGP = "maas.asc"
KEY_PAIR = "maas"
"""Name of a new key pair's files, before `.key` and `.pub`."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Signer(Protocol):
    """Signs files."""

    def ready(self) -> None:
        """Check, before anything is built, that signing will work.

        Raises:
            MaasError: It will not.
        """

    def sign(self, file: Path) -> Path:
        """Sign a file and return the signature beside it."""

    def attest(self, statement: Path) -> Path:
        """Sign a statement about a build and return the signature beside it."""


def signer(text: str, *, passphrase: Path | None) -> Signer:
    """Return the signer for `gpg:FINGERPRINT`, `key:FILE` or `sigstore`.

    Args:
        text: One of the three.
        passphrase: A file with the passphrase of the key, which only its owner can read.

    Raises:
        UsageError: The text is none of the three.
    """
    kind, _, value = text.partition(":")
    match kind:
        case "gpg" if value:
            return Gpg(value, passphrase)
        case "key" if value:
            return KeyPair(Path(value).expanduser(), passphrase)
        case "sigstore" if not value:
            from maas.release._sigstore import Keyless  # noqa: PLC0415 - an optional dependency

            return Keyless()
    raise UsageError(f"unknown signer {text}", hint="use gpg:FINGERPRINT, key:FILE or sigstore")


@dataclass(frozen=True)
class Gpg:
    """A key in GnuPG's keyring. Without a passphrase file, GnuPG's agent provides the passphrase.

    Attributes:
        key: Its fingerprint, or another name that GnuPG finds it by.
    """

    key: str
    passphrase: Path | None = None

    def ready(self) -> None:
        """Look for the key.

        Raises:
            ReleaseError: GnuPG does not have the secret key.
            UsageError: The passphrase file cannot be used.
        """
        if self.passphrase is not None:
            read_secret(self.passphrase)
        try:
            process.run(["gpg", "--batch", "--list-secret-keys", "--", self.key])
        except ProcessError as error:
            raise ReleaseError(f"GnuPG has no secret key {self.key}", context=error.context[1:]) from error

    def sign(self, file: Path) -> Path:
        """Write a detached signature."""
        return self._sign(file, trust.ASC, "--detach-sign")

    def attest(self, statement: Path) -> Path:
        """Write a detached signature of the statement."""
        return self.sign(statement)

    def clear_sign(self, text: str, target: Path) -> None:
        """Write a clear-signed text, the form of a chart's provenance file."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "text"
            file.write_text(text, encoding="utf-8")
            self._sign(file, ".signed", "--clear-sign").replace(target)

    def _sign(self, file: Path, suffix: str, mode: str) -> Path:
        target = file.with_name(file.name + suffix)
        argv: list[str | Path] = ["gpg", "--batch", "--yes", "--armor", "--local-user", self.key]
        secret = None
        if self.passphrase is not None:
            secret = read_secret(self.passphrase)
            argv += ["--pinentry-mode", "loopback", "--passphrase-fd", "0"]
        try:
            process.run([*argv, "--output", target, mode, file], input=secret, secrets=[secret] if secret else ())
        except ProcessError as error:
            raise ReleaseError(f"GnuPG cannot sign {file.name}", context=error.context) from error
        return target


@dataclass(frozen=True)
class KeyPair:
    """A private key of `cosign generate-key-pair`: ECDSA on P-256, encrypted with a passphrase.

    Attributes:
        file: The encrypted key. Only its owner can read it, and it is outside the checkout.
    """

    file: Path
    passphrase: Path | None = None

    def ready(self) -> None:
        """Decrypt the key.

        Raises:
            UsageError: Others can read the file, or it is in the checkout.
            ReleaseError: The file is not such a key, or the passphrase is wrong.
        """
        try:
            cosign.read_key(self.file, passphrase=self._secret())
        except ProcessError as error:
            raise ReleaseError(
                f"cannot decrypt the key {self.file}",
                context=error.context[1:],
                hint="give the file with its passphrase: --passphrase-file FILE",
            ) from error

    def sign(self, file: Path) -> Path:
        """Write a bundle with the signature of a file."""
        target = file.with_name(file.name + cosign.BUNDLE)
        cosign.sign(file, target, key=self.file, passphrase=self._secret())
        return target

    def attest(self, statement: Path) -> Path:
        """Write a bundle with the statement in a DSSE envelope."""
        target = statement.with_name(statement.name + cosign.BUNDLE)
        cosign.attest(statement, target, key=self.file, passphrase=self._secret())
        return target

    def _secret(self) -> str:
        _refuse_exposed(self.file)
        return read_secret(self.passphrase) if self.passphrase is not None else ""


def generate(directory: Path, *, passphrase: Path) -> tuple[Path, Path]:
    """Generate a key pair and return the private and the public file.

    Raises:
        UsageError: The directory is in the checkout, or already has such a key.
    """
    private, public = (directory / f"{KEY_PAIR}.{suffix}" for suffix in ("key", "pub"))
    _refuse_checkout(private)
    if private.exists():
        raise UsageError(f"{private} already exists and is not overwritten")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    cosign.generate_key_pair(directory / KEY_PAIR, passphrase=read_secret(passphrase))
    return private, public


def read_secret(file: Path) -> str:
    """Return the passphrase in a file.

    Raises:
        UsageError: Others can read the file, or it is in the checkout.
    """
    _refuse_exposed(file)
    return file.read_text(encoding="utf-8").rstrip("\n")


def _refuse_exposed(file: Path) -> None:
    """Refuse a secret that others can read, or that could be committed."""
    _refuse_checkout(file)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise UsageError(f"cannot read {file}", context=[str(error)]) from error
    if mode & _OTHERS:
        raise UsageError(f"other users can read {file}", command=f"chmod 600 {file}")


def _refuse_checkout(file: Path) -> None:
    if file.resolve().is_relative_to(paths.content().resolve()):
        raise UsageError(f"{file} is in the checkout and could be committed", hint="store secrets elsewhere")
