"""Keyless signing with Sigstore, whose library the extra `keyless` installs.

A short-lived certificate binds the signature to an identity of an OpenID provider (in a workflow: the workflow itself), and a
public log records it. All three services need the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maas.errors import ReleaseError, UsageError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

_BUNDLE = ".sigstore.json"


class Keyless:
    """Signs with the identity of the current workflow."""

    def __init__(self) -> None:
        self._signing: Any = None
        self._token: Any = None

    def ready(self) -> None:
        """Get the identity and the configuration of the services.

        Raises:
            UsageError: The library is not installed.
            ReleaseError: There is no identity, or a service does not answer.
        """
        try:
            from sigstore.models import ClientTrustConfig  # noqa: PLC0415
            from sigstore.oidc import IdentityToken, detect_credential  # noqa: PLC0415
            from sigstore.sign import SigningContext  # noqa: PLC0415
        except ImportError as error:
            raise _missing() from error
        try:
            self._signing = SigningContext.from_trust_config(ClientTrustConfig.production())
            credential = detect_credential()
        except Exception as error:  # the library does not wrap the errors of its transports
            raise ReleaseError(
                "cannot reach Sigstore",
                context=[repr(error)[:300]],
                hint="keyless signing needs the network; offline, sign with --sign gpg:FINGERPRINT or --sign key:FILE",
            ) from error
        if credential is None:
            raise ReleaseError(
                "no identity for keyless signing",
                hint="run in a workflow with the permission `id-token: write`, or sign with gpg: or key:",
            )
        self._token = IdentityToken(credential)

    def sign(self, file: Path) -> Path:
        """Write a bundle with the signature of a file."""
        with self._signing.signer(self._token) as signer:
            return _write(file, signer.sign_artifact(file.read_bytes()))

    def attest(self, statement: Path) -> Path:
        """Write a bundle with the statement in an envelope (DSSE)."""
        from sigstore.dsse import Statement  # noqa: PLC0415

        with self._signing.signer(self._token) as signer:
            return _write(statement, signer.sign_dsse(Statement(statement.read_bytes())))


def verify(bundle: Path, file: Path, identity: str, issuer: str) -> str:
    """Verify a bundle against an identity, without the network, and return that identity.

    Raises:
        UsageError: The library is not installed.
        VerificationError: The signature is not valid, or has another identity.
    """
    try:
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import Bundle  # noqa: PLC0415
        from sigstore.verify import Verifier, policy  # noqa: PLC0415
    except ImportError as error:
        raise _missing() from error
    try:
        verifier = Verifier.production(offline=True)
        parsed = Bundle.from_json(bundle.read_bytes())
        trusted = policy.Identity(identity=identity, issuer=issuer)
        if b'"dsseEnvelope"' in bundle.read_bytes():
            _, payload = verifier.verify_dsse(parsed, trusted)
            if payload != file.read_bytes():
                raise VerificationError(f"{bundle.name} is the signature of another statement than {file.name}")
        else:
            verifier.verify_artifact(file.read_bytes(), parsed, trusted)
    except (Error, ValueError) as error:
        raise VerificationError(
            f"the signature {bundle.name} is not valid for {identity}",
            context=[str(error)[:300]],
            hint="the file was changed, or somebody else signed it; do not use it",
        ) from error
    return f"{identity} ({issuer})"


def _write(file: Path, bundle: Any) -> Path:
    target = file.with_name(file.name + _BUNDLE)
    target.write_text(bundle.to_json() + "\n", encoding="utf-8")
    return target


def _missing() -> UsageError:
    return UsageError("the Sigstore library is not installed", command="pip install 'maas[keyless]'")
