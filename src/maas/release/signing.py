"""Who signs a release, and with what.

Three kinds of signers: `gpg` (an OpenPGP key of GnuPG's own store), `key` (a key pair as cosign makes them, used without any
network) and `sigstore` (no key at all, an identity instead). A signature lies beside its file: `.asc` from GnuPG,
`.sigstore.json` from the other two, in the bundle format that `cosign verify-blob --bundle` reads.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from maas import files, paths, process
from maas.errors import ProcessError, ReleaseError, UsageError, VerificationError
from maas.release import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC = "release/keys"
"""Where a project's public keys lie in its repository."""

OPENPGP = "maas.asc"
COSIGN = "maas.pub"
ASC = ".asc"
BUNDLE = ".sigstore.json"

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SECRET = "ENCRYPTED SIGSTORE PRIVATE KEY"  # noqa: S105 - the label of a PEM block
_SCRYPT = {"N": 65536, "r": 8, "p": 1}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Signer(Protocol):
    """Somebody who can sign files."""

    def ready(self) -> None:
        """Find out whether signing will work, before anything is built.

        Raises:
            MaasError: It will not.
        """

    def sign(self, file: Path) -> Path:
        """Sign a file, and return the signature that lies beside it."""

    def attest(self, statement: Path) -> Path:
        """Sign a statement about a build, and return the signature that lies beside it."""


def signer(text: str, *, passphrase: Path | None) -> Signer:
    """The signer that `gpg:FINGERPRINT`, `key:FILE` or `sigstore` names.

    Args:
        text: The name.
        passphrase: A file with the passphrase of the key, readable by its owner only.

    Raises:
        UsageError: There is no such kind, or a file with a secret can be read by others.
    """
    kind, _, what = text.partition(":")
    match kind:
        case "gpg" if what:
            return Gpg(what, passphrase)
        case "key" if what:
            return KeyPair(Path(what).expanduser(), passphrase)
        case "sigstore" if not what:
            from maas.release._sigstore import Keyless  # noqa: PLC0415 - an extra that few install

            return Keyless()
    raise UsageError(f"{text} names no signer", hint="give gpg:FINGERPRINT, key:FILE or sigstore")


@dataclass(frozen=True)
class Gpg:
    """A key in GnuPG's store; without a passphrase file its agent asks, or has been asked.

    Attributes:
        key: Its fingerprint, or whatever GnuPG finds it by.
    """

    key: str
    passphrase: Path | None = None

    def ready(self) -> None:
        """Look for the key.

        Raises:
            ReleaseError: GnuPG has no such secret key.
        """
        _secret(self.passphrase) if self.passphrase else None
        try:
            process.run(["gpg", "--batch", "--list-secret-keys", "--", self.key])
        except ProcessError as error:
            raise ReleaseError(f"GnuPG has no secret key {self.key}", context=error.context[1:]) from error

    def sign(self, file: Path) -> Path:
        """Write a detached signature."""
        return self._sign(file, ASC, "--detach-sign")

    def attest(self, statement: Path) -> Path:
        """Write a detached signature of the statement."""
        return self.sign(statement)

    def clear_sign(self, text: str, target: Path) -> None:
        """Write a text with its signature around it, as Helm wants the provenance of a chart."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "text"
            file.write_text(text, encoding="utf-8")
            self._sign(file, ".signed", "--clear-sign").replace(target)

    def _sign(self, file: Path, suffix: str, how: str) -> Path:
        target = file.with_name(file.name + suffix)
        argv: list[str | Path] = ["gpg", "--batch", "--yes", "--armor", "--local-user", self.key]
        secret = None
        if self.passphrase is not None:
            secret = _secret(self.passphrase)
            argv += ["--pinentry-mode", "loopback", "--passphrase-fd", "0"]
        try:
            process.run([*argv, "--output", target, how, file], input=secret, secrets=[secret] if secret else ())
        except ProcessError as error:
            raise ReleaseError(f"GnuPG did not sign {file.name}", context=error.context) from error
        return target


@dataclass(frozen=True)
class KeyPair:
    """A private key in a file as `cosign generate-key-pair` writes it: ECDSA on P-256, encrypted by a passphrase.

    Attributes:
        file: The encrypted key; readable by its owner only, and outside of the checkout.
    """

    file: Path
    passphrase: Path | None = None

    def ready(self) -> None:
        """Decrypt the key.

        Raises:
            UsageError: The file can be read by others, or lies in the checkout.
            ReleaseError: It is no such key, or has another passphrase.
        """
        self._key()

    def sign(self, file: Path) -> Path:
        """Write a bundle with the signature of a file."""
        digest = hashlib.sha256(file.read_bytes()).digest()
        message = {"messageDigest": {"algorithm": "SHA2_256", "digest": _base64(digest)}}
        signature = self._key().sign(file.read_bytes(), ec.ECDSA(hashes.SHA256()))
        return self._write(file, {"messageSignature": {**message, "signature": _base64(signature)}})

    def attest(self, statement: Path) -> Path:
        """Write a bundle with the statement in an envelope (DSSE)."""
        payload = statement.read_bytes()
        signature = self._key().sign(_envelope(payload), ec.ECDSA(hashes.SHA256()))
        envelope = {
            "payload": _base64(payload),
            "payloadType": provenance.PAYLOAD,
            "signatures": [{"sig": _base64(signature)}],
        }
        return self._write(statement, {"dsseEnvelope": envelope})

    def _write(self, file: Path, content: dict[str, Any]) -> Path:
        hint = _base64(hashlib.sha256(_der(self._key().public_key())).digest())
        bundle = {"mediaType": _BUNDLE_TYPE, "verificationMaterial": {"publicKey": {"hint": hint}}, **content}
        target = file.with_name(file.name + BUNDLE)
        target.write_text(json.dumps(bundle, sort_keys=True) + "\n", encoding="utf-8")
        return target

    def _key(self) -> ec.EllipticCurvePrivateKey:
        return _private(self.file, self.passphrase)


def generate(directory: Path, *, passphrase: Path) -> tuple[Path, Path]:
    """Make a key pair as cosign does, and return the private and the public file.

    Raises:
        UsageError: The directory is in the checkout, or has such a key already.
    """
    private, public = directory / "maas.key", directory / COSIGN
    _outside(private)
    if private.exists():
        raise UsageError(f"{private} is there already; it is not overwritten")
    key = ec.generate_private_key(ec.SECP256R1())
    salt, nonce = os.urandom(32), os.urandom(24)
    secret = hashlib.scrypt(
        _secret(passphrase).encode(),
        salt=salt,
        n=_SCRYPT["N"],
        r=_SCRYPT["r"],
        p=_SCRYPT["p"],
        maxmem=256 * _SCRYPT["N"] * _SCRYPT["r"],
        dklen=32,
    )
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kept = {
        "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _base64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
        "ciphertext": _base64(_seal(secret, nonce, plain)),
    }
    text = base64.encodebytes(json.dumps(kept).encode()).decode().replace("\n", "")
    body = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_private(private, f"-----BEGIN {_SECRET}-----\n{body}\n-----END {_SECRET}-----\n".encode())
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(encoding, form))
    return private, public


@dataclass(frozen=True)
class Verified:
    """A signature that holds.

    Attributes:
        by: Who made it, as a person compares it: a fingerprint or an identity.
    """

    by: str


class Trust:
    """The public keys, and the identity, that somebody who verifies believes.

    Args:
        keys: Files of public keys: OpenPGP's in ASCII, or PEM as cosign writes them.
        identity: Who signs without a key, and at which issuer.

    Raises:
        UsageError: A file is no such key, or nobody is believed at all.
    """

    def __init__(self, keys: Sequence[Path], *, identity: tuple[str, str] | None = None) -> None:
        self.openpgp: list[Path] = []
        self.pairs: list[ec.EllipticCurvePublicKey] = []
        self.identity = identity
        for file in keys:
            try:
                text = file.read_bytes()
            except OSError as error:
                raise UsageError(f"the key {file} cannot be read", context=[str(error)]) from error
            if b"BEGIN PGP PUBLIC KEY BLOCK" in text:
                self.openpgp.append(file)
            elif b"BEGIN PUBLIC KEY" in text:
                self.pairs.append(_public(text, file))
            else:
                raise UsageError(f"{file} is no public key", hint="give an armored OpenPGP key or cosign's PEM")
        if not (self.openpgp or self.pairs or identity):
            raise UsageError(
                "nobody is believed: whoever changed a release could have signed it too",
                hint="give the project's public key, which you have from somewhere else than the release: --key FILE",
            )

    def file(self, file: Path) -> list[Verified]:
        """Check the signatures of a file, and say who made those that hold.

        Raises:
            VerificationError: None holds, or one that should hold does not.
        """
        found = []
        asc, bundle = (file.with_name(file.name + suffix) for suffix in (ASC, BUNDLE))
        if self.openpgp and asc.is_file():
            found.append(self._openpgp(["--verify", asc, file], file.name))
        if bundle.is_file() and (self.pairs or self.identity):
            found.append(self._bundle(bundle, file))
        if not found:
            there = [path.name for path in (asc, bundle) if path.is_file()]
            raise VerificationError(
                f"{file.name} has no signature of anybody who is believed",
                context=[f"signed by others: {', '.join(there)}" if there else "there is no signature beside it"],
                hint="is it the key of this project? docs/verifying.md says where to find it",
            )
        return found

    def clear_signed(self, file: Path) -> str:
        """The text of a clear-signed file, whose signature holds.

        Raises:
            VerificationError: It does not.
        """
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(scratch) / "text"
            self._openpgp(["--output", text, "--decrypt", file], file.name)
            return text.read_text(encoding="utf-8")

    def _openpgp(self, words: Sequence[str | Path], name: str) -> Verified:
        # A store of its own, with the believed keys alone: GnuPG's answer then cannot depend on this user's keys.
        with tempfile.TemporaryDirectory() as home:
            argv = ["gpg", "--batch", "--no-tty", "--homedir", home, "--trust-model", "always", "--status-fd", "1"]
            process.run([*argv, "--import", *self.openpgp], check=False)
            done = process.run([*argv, *words], check=False)
            process.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        # A good signature of a key that has expired or was revoked is not called GOODSIG, and is VALIDSIG all the same.
        good = "[GNUPG:] GOODSIG " in done.stdout
        valid = re.search(r"^\[GNUPG:\] VALIDSIG (\S+)", done.stdout, re.MULTILINE)
        if done.returncode != 0 or not good or valid is None:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise VerificationError(
                f"the OpenPGP signature of {name} does not hold",
                context=said,
                hint="the file was changed, or somebody else has signed it; do not use it",
            )
        return Verified(f"OpenPGP {valid[1]}")

    def _bundle(self, bundle: Path, file: Path) -> Verified:
        wrong = VerificationError(
            f"the signature {bundle.name} does not hold",
            hint="the file was changed, or somebody else has signed it; do not use it",
        )
        content = file.read_bytes()
        try:
            said = json.loads(bundle.read_text(encoding="utf-8"))
            if "publicKey" not in said["verificationMaterial"]:
                if self.identity is None:
                    raise wrong
                from maas.release._sigstore import verify  # noqa: PLC0415 - an extra that few install

                return Verified(verify(bundle, file, *self.identity))
            if envelope := said.get("dsseEnvelope"):
                payload = base64.b64decode(envelope["payload"], validate=True)
                if payload != content or envelope["payloadType"] != provenance.PAYLOAD:
                    raise wrong
                content, signature = _envelope(payload), envelope["signatures"][0]["sig"]
            else:
                signature = said["messageSignature"]["signature"]
            raw = base64.b64decode(signature, validate=True)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise wrong from error
        for key in self.pairs:
            try:
                key.verify(raw, content, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return Verified(f"key SHA256:{hashlib.sha256(_der(key)).hexdigest()}")
        raise wrong


def fingerprints(key: Path) -> list[str]:
    """The fingerprints of the OpenPGP keys in a file.

    Raises:
        UsageError: There is none.
    """
    done = process.run(["gpg", "--batch", "--no-tty", "--with-colons", "--show-keys", key], check=False)
    lines = [line.split(":") for line in done.stdout.splitlines()]
    # The line after `pub` has the fingerprint of the key itself; those of its subkeys follow.
    found = [after[9] for line, after in itertools.pairwise(lines) if line[0] == "pub" and after[0] == "fpr"]
    if not found:
        raise UsageError(f"{key} holds no OpenPGP key", context=done.stderr.splitlines())
    return found


def _envelope(payload: bytes) -> bytes:
    """What a DSSE signature is about: type and payload, each with its length before it."""
    kind = provenance.PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@lru_cache
def _private(file: Path, passphrase: Path | None) -> ec.EllipticCurvePrivateKey:
    _guard(file)
    secret = _secret(passphrase) if passphrase else ""
    try:
        kept = json.loads(_unwrap(file.read_text(encoding="ascii")))
        kdf = kept["kdf"]["params"]
        opener = hashlib.scrypt(
            secret.encode(),
            salt=base64.b64decode(kept["kdf"]["salt"]),
            n=kdf["N"],
            r=kdf["r"],
            p=kdf["p"],
            maxmem=256 * kdf["N"] * kdf["r"],
            dklen=32,
        )
        nonce, text = (base64.b64decode(value) for value in (kept["cipher"]["nonce"], kept["ciphertext"]))
        plain = _open(opener, nonce, text)
        if plain is None:
            raise ReleaseError(f"the passphrase does not open {file}", hint="name it: --passphrase-file")
        key = serialization.load_der_private_key(plain, None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{file} is no key of cosign's", context=[repr(error)]) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ReleaseError(f"{file} holds another kind of key than ECDSA")
    return key


def _seal(secret: bytes, nonce: bytes, plain: bytes) -> bytes:
    try:
        from nacl.secret import SecretBox  # noqa: PLC0415 - only those who sign have it
    except ImportError as error:
        raise _incomplete() from error
    return SecretBox(secret).encrypt(plain, nonce).ciphertext


def _open(secret: bytes, nonce: bytes, text: bytes) -> bytes | None:
    """What `_seal` sealed, or None when the secret is another one."""
    try:
        from nacl.exceptions import CryptoError  # noqa: PLC0415 - only those who sign have it
        from nacl.secret import SecretBox  # noqa: PLC0415
    except ImportError as error:
        raise _incomplete() from error
    try:
        return SecretBox(secret).decrypt(text, nonce)
    except CryptoError:
        return None


def _incomplete() -> UsageError:
    return UsageError("the library that reads cosign's keys is not installed", command="pip install pynacl")


def _public(text: bytes, file: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(text)
    except ValueError as error:
        raise UsageError(f"{file} is no public key", context=[str(error)]) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(f"{file} holds another kind of key than ECDSA")
    return key


def _der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _unwrap(text: str) -> bytes:
    # cosign's older files say COSIGN where newer ones say SIGSTORE; what is inside is the same.
    found = re.search(r"-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----(.*?)-----END", text, re.DOTALL)
    if found is None:
        raise ValueError("no encrypted private key in it")
    return base64.b64decode(found[1])


def _secret(file: Path) -> str:
    _guard(file)
    try:
        return file.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise UsageError(f"{file} cannot be read", context=[str(error)]) from error


def _guard(file: Path) -> None:
    """Refuse a secret that others can read, or that could be committed."""
    _outside(file)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise UsageError(f"{file} cannot be read", context=[str(error)]) from error
    if mode & _OTHERS:
        raise UsageError(f"{file} can be read by others", command=f"chmod 600 {file}")


def _outside(file: Path) -> None:
    if file.resolve().is_relative_to(paths.content().resolve()):
        raise UsageError(f"{file} lies in the checkout, where it could be committed", hint="keep secrets elsewhere")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
