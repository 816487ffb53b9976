"""Verification of signatures with the keys that a user trusts; it needs GnuPG only for OpenPGP signatures."""

from __future__ import annotations

import itertools
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maas import process
from maas.errors import UsageError, VerificationError
from maas.release import cosign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric import ec

ASC = ".asc"
"""Suffix of a detached OpenPGP signature."""

_TAMPERED = "the file was changed, or somebody else signed it; do not use it"


@dataclass(frozen=True)
class Verified:
    """A valid signature.

    Attributes:
        by: The signer, in a form that a person can compare: a fingerprint or an identity.
    """

    by: str


class Trust:
    """The public keys and the identity that a user trusts.

    Args:
        keys: Files of public keys: armored OpenPGP keys, or cosign's PEM.
        identity: Identity of a keyless signer, and its issuer.

    Raises:
        UsageError: A file is not a public key, or nothing is trusted.
    """

    def __init__(self, keys: Sequence[Path], *, identity: tuple[str, str] | None = None) -> None:
        self.openpgp: list[Path] = []
        self.pairs: list[ec.EllipticCurvePublicKey] = []
        self.identity = identity
        for file in keys:
            try:
                content = file.read_bytes()
            except OSError as error:
                raise UsageError(f"cannot read the key {file}", context=[str(error)]) from error
            if b"BEGIN PGP PUBLIC KEY BLOCK" in content:
                self.openpgp.append(file)
            else:
                self.pairs.append(cosign.public_key(content, file))
        if not (self.openpgp or self.pairs or identity):
            raise UsageError(
                "no trusted key: without one, a tampered release could have been re-signed by anyone",
                hint="get the project's public key from another source than the release, and pass it with --key FILE",
            )

    def verify_file(self, file: Path) -> list[Verified]:
        """Verify the signatures beside a file.

        Returns:
            The valid signatures, at least one.

        Raises:
            VerificationError: No trusted key signed the file, or a signature is not valid.
        """
        found = []
        asc, bundle = (file.with_name(file.name + suffix) for suffix in (ASC, cosign.BUNDLE))
        if self.openpgp and asc.is_file():
            found.append(self._verify_openpgp(["--verify", asc, file], file.name))
        if bundle.is_file() and (self.pairs or self.identity):
            found.append(self._verify_bundle(bundle, file))
        if not found:
            others = [path.name for path in (asc, bundle) if path.is_file()]
            raise VerificationError(
                f"{file.name} has no signature of a trusted key",
                context=[f"other signatures: {', '.join(others)}" if others else "there is no signature beside it"],
                hint="check that it is the key of this project; docs/verifying.md says where to find it",
            )
        return found

    def clear_signed(self, file: Path) -> str:
        """Return the text of a clear-signed file.

        Raises:
            VerificationError: The signature is not valid.
        """
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(scratch) / "text"
            self._verify_openpgp(["--output", text, "--decrypt", file], file.name)
            return text.read_text(encoding="utf-8")

    def _verify_openpgp(self, words: Sequence[str | Path], name: str) -> Verified:
        # A keyring with the trusted keys only: the result then does not depend on this user's keyring.
        with tempfile.TemporaryDirectory() as home:
            argv = ["gpg", "--batch", "--no-tty", "--homedir", home, "--trust-model", "always", "--status-fd", "1"]
            process.run([*argv, "--import", *self.openpgp], check=False)
            done = process.run([*argv, *words], check=False)
            process.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        # For an expired or revoked key, GnuPG reports VALIDSIG but not GOODSIG.
        good = "[GNUPG:] GOODSIG " in done.stdout
        valid = re.search(r"^\[GNUPG:\] VALIDSIG (\S+)", done.stdout, re.MULTILINE)
        if done.returncode != 0 or not good or valid is None:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise VerificationError(f"the OpenPGP signature of {name} is not valid", context=lines, hint=_TAMPERED)
        return Verified(f"OpenPGP {valid[1]}")

    def _verify_bundle(self, bundle: Path, file: Path) -> Verified:
        if self.identity and cosign.is_keyless(bundle):
            from maas.release import _sigstore  # noqa: PLC0415 - an optional dependency

            return Verified(_sigstore.verify(bundle, file, *self.identity))
        try:
            return Verified(f"key SHA256:{cosign.verify(bundle, file, self.pairs)}")
        except ValueError as error:
            raise VerificationError(
                f"the signature {bundle.name} is not valid", context=[str(error)], hint=_TAMPERED
            ) from error


def fingerprints(key: Path) -> list[str]:
    """Return the fingerprints of the OpenPGP keys in a file.

    Raises:
        UsageError: The file contains none.
    """
    done = process.run(["gpg", "--batch", "--no-tty", "--with-colons", "--show-keys", key], check=False)
    lines = [line.split(":") for line in done.stdout.splitlines()]
    # The record after `pub` has the fingerprint of the primary key; those of its subkeys follow.
    found = [after[9] for line, after in itertools.pairwise(lines) if line[0] == "pub" and after[0] == "fpr"]
    if not found:
        raise UsageError(f"{key} contains no OpenPGP key", context=done.stderr.splitlines())
    return found
